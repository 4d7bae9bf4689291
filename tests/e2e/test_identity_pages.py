"""Pages in a real browser whose visitor logs out in another tab, or whose token's time is over."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from .browser import Browser, Page, open_browser
from .needs import needs
from .server import Server, serving

pytestmark = needs("chromium")

APP = "identity_page.identity_app:app"

every_stream = pytest.mark.parametrize("transport", ["sse", "websocket"])
every_transport = pytest.mark.parametrize("transport", ["sse", "websocket", "long-poll", "poll"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path, APP) as server:
        yield server
        assert not server.crashes()


def order(server: Server, name: object) -> None:
    server.request("POST", f"/orders/{name}")


def orders(page: Page) -> list[str]:
    """What the page shows of the orders."""
    return list(page.evaluate("Array.from(document.querySelectorAll('#orders li'), line => line.textContent)"))


def shows(page: Page, element: str, text: str) -> None:
    page.wait(f"document.querySelector('#{element}').textContent === '{text}'")


def shows_order(page: Page, name: object) -> None:
    page.wait(f"Array.from(document.querySelectorAll('#orders li')).some(line => line.textContent === '{name}')")


def lobby(server: Server) -> str:
    """A URL of the server's at which nothing runs."""
    return f"{server.url}/static/desk.js"


def log_in(page: Page, user: str) -> None:
    page.evaluate(f"fetch('/login/{user}', {{method: 'POST'}})")


# --- a session


@every_transport
def test_a_page_is_signed_out_by_a_logout_in_another_tab(browser: Browser, server: Server, transport: str) -> None:
    url = f"{server.url}/?transport={transport}"
    with browser.page(lobby(server)) as other, browser.page(lobby(server)) as page:
        log_in(page, "ann")
        page.visit(url)
        shows(page, "state", "live")
        order(server, "A1")
        shows_order(page, "A1")
        other.visit(url)
        other.click("#logout")
        shows(page, "state", "signed out")
        order(server, "A2")
        log_in(other, "bob")
        other.visit(url)
        shows_order(other, "A2")
        assert orders(page) == ["A1"]
        shows(page, "state", "signed out")


@pytest.mark.parametrize("transport", ["sse", "long-poll", "poll"])
def test_a_page_that_is_loaded_after_the_logout_is_refused(browser: Browser, server: Server, transport: str) -> None:
    """On a WebSocket a browser tells its page only that nothing was opened."""
    with browser.page(lobby(server)) as page:
        log_in(page, "ann")
        page.visit(f"{server.url}/?transport={transport}")
        shows(page, "state", "live")
        page.click("#logout")
        shows(page, "state", "signed out")
        page.visit(f"{server.url}/?transport={transport}")
        shows(page, "state", "signed out")
        order(server, "A1")
        assert orders(page) == []


def test_a_logout_leaves_the_users_other_login_alone(browser: Browser, server: Server) -> None:
    """At another name of the same server a page has cookies of its own."""
    elsewhere = server.url.replace("127.0.0.1", "localhost")
    with browser.page(lobby(server)) as page, browser.page(f"{elsewhere}/static/desk.js") as phone:
        for tab, url in ((page, server.url), (phone, elsewhere)):
            log_in(tab, "ann")
            tab.visit(f"{url}/")
            shows(tab, "state", "live")
        page.click("#logout")
        shows(page, "state", "signed out")
        order(server, "A1")
        shows_order(phone, "A1")
        shows(phone, "state", "live")
        assert (orders(page), orders(phone)) == ([], ["A1"])


# --- a token


@every_stream
def test_a_page_outlives_its_token_and_misses_nothing(browser: Browser, server: Server, transport: str) -> None:
    """Each renewal is at least a quarter of the token's time after the one before: the fifth is past its end."""
    with browser.page(f"{server.url}/desk?user=ann&transport={transport}") as page:
        shows(page, "state", "live")
        numbers = count(1)
        while int(page.text("#renewed")) < 5:
            order(server, last := next(numbers))
            shows_order(page, last)
        assert orders(page) == [str(number) for number in range(1, last + 1)]
        assert page.evaluate("states") == ["behind", "live"]
        assert page.text("#refused") == "0"
        assert not [complaint for complaint in page.complaints if "favicon" not in complaint]


@every_stream
def test_a_page_whose_renewal_is_refused_ends_and_misses_nothing_when_it_is_let_in_again(
    browser: Browser, server: Server, transport: str
) -> None:
    with browser.page(f"{server.url}/desk?user=eve&transport={transport}") as page:
        shows(page, "state", "live")
        order(server, "A1")
        shows_order(page, "A1")
        server.request("POST", "/block/eve")
        shows(page, "ended", "expired")
        assert int(page.text("#refused")) >= 1
        assert "connecting" in page.evaluate("states")
        order(server, "A2")
        assert orders(page) == ["A1"]
        server.request("POST", "/unblock/eve")
        shows_order(page, "A2")
        assert orders(page) == ["A1", "A2"]


@every_transport
def test_a_page_with_one_token_ends_when_its_time_is_over(browser: Browser, server: Server, transport: str) -> None:
    with browser.page(f"{server.url}/desk?user=ann&once&transport={transport}") as page:
        shows(page, "state", "live")
        order(server, "A1")
        shows_order(page, "A1")
        shows(page, "state", "gone")
        shows(page, "ended", "expired")
        order(server, "A2")
        assert orders(page) == ["A1"]


@pytest.mark.parametrize("transport", ["long-poll", "poll"])
def test_polls_go_on_with_the_next_token(browser: Browser, server: Server, transport: str) -> None:
    with browser.page(f"{server.url}/desk?user=ann&transport={transport}") as page:
        shows(page, "state", "live")
        order(server, "A1")
        shows(page, "ended", "expired")
        order(server, "A2")
        shows_order(page, "A2")
        assert orders(page) == ["A1", "A2"]


def test_an_event_source_of_the_pages_own_is_let_in_by_a_ticket(browser: Browser, server: Server) -> None:
    with browser.page(lobby(server)) as page:
        page.evaluate(
            """(async () => {
                const {ticketed} = await import("/triolet/triolet.js");
                const token = async () => (await (await fetch("/token/ann", {method: "POST"})).json()).token;
                globalThis.heard = [];
                globalThis.source = new EventSource(await ticketed("/orders/events?after=0", {token}));
                source.onmessage = (event) => heard.push(JSON.parse(event.data));
            })()"""
        )
        page.wait("source.readyState === EventSource.OPEN")
        order(server, "A1")
        page.wait("heard.includes('A1')")
        assert page.evaluate("heard") == ["A1"]
        page.evaluate("source.close()")
