"""A page on another port in a real browser: what a listed origin may do, and what the browser keeps from another."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import pytest

from .browser import Browser, Page, PageError, open_browser
from .needs import needs
from .server import Server, serving

pytestmark = needs("chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Where the page comes from: another origin on the same site, so that cookies go along."""
    with serving(tmp_path_factory.mktemp("home")) as home:
        yield home


@pytest.fixture(scope="module", params=["straight", "middleware"])
def server(request: pytest.FixtureRequest, home: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("E2E_ORIGINS", json.dumps([home.url.upper() + "/"]))
        if request.param == "middleware":
            patch.setenv("E2E_MIDDLEWARE", "1")
        with serving(tmp_path_factory.mktemp("server"), "origins_app:app") as server:
            yield server


@pytest.fixture
def page(browser: Browser, home: Server, server: Server) -> Iterator[Page]:
    """A page of the listed origin, whose visitor is logged in as Ada."""
    with browser.page(f"{server.url}/login/ada") as page:
        page.visit(f"{home.url}/")
        page.evaluate("globalThis.heard = []")
        yield page


def say(server: Server, channel: str) -> None:
    request = urllib.request.Request(f"{server.url}/say/{channel}", method="POST", data=b"")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def test_a_listed_page_follows_by_eventsource_with_its_visitors_cookies(page: Page, server: Server) -> None:
    page.evaluate(
        f"""(() => {{
            globalThis.source = new EventSource("{server.url}/mine", {{withCredentials: true}});
            source.addEventListener("message", (event) => heard.push(JSON.parse(event.data)));
        }})()"""
    )
    page.wait("source.readyState === EventSource.OPEN")
    say(server, "users/ada")
    page.wait("heard.includes('hello')")
    page.evaluate("source.close()")


def test_a_listed_page_polls_by_fetch_from_its_cursor(page: Page, server: Server) -> None:
    say(server, "users/ada")
    polls = page.evaluate(
        f"""(async () => {{
            const ask = (more) => fetch("{server.url}/mine" + more, {{
                credentials: "include", headers: {{"Last-Event-ID": "0", "Idempotency-Key": "7", "X-Tab": "a"}},
            }});
            const answers = [await ask(""), await ask("?wait=1"), await ask("?wait=none")];
            return Promise.all(answers.map(
                async (answer) => [answer.status, answer.headers.get("etag"), await answer.json()]));
        }})()"""
    )
    for status, _, body in polls[:2]:
        assert (status, body["events"][0]["data"]) == (200, "hello")
    assert polls[0][1].startswith('"0-')
    assert (polls[2][0], polls[2][2]["error"]) == (400, "wait")


def test_a_listed_page_reads_that_it_may_not(page: Page, server: Server) -> None:
    for accept in ("text/event-stream", "application/json"):
        asked = f'{{headers: {{accept: "{accept}"}}}}'
        assert page.evaluate(f'fetch("{server.url}/mine", {asked}).then((answer) => answer.status)') == 401


@pytest.mark.parametrize("transport", ["sse", "long-poll", "poll", "websocket"])
def test_a_listed_page_imports_the_script_and_follows_with_it(page: Page, server: Server, transport: str) -> None:
    page.evaluate(
        f"""(async () => {{
            const {{follow}} = await import("{server.url}/triolet/triolet.js");
            globalThis.following = follow("{server.url}/mine", {{
                transport: "{transport}",
                fetch: (url, asked) => fetch(url, {{...asked, credentials: "include"}}),
                onEvent: (event) => heard.push(event.data),
                onState: (state) => {{ globalThis.state = state; }},
            }});
        }})()"""
    )
    page.wait("globalThis.state === 'live'")
    say(server, "users/ada")
    page.wait("heard.includes('hello')")
    page.evaluate("following.close()")


def test_a_listed_page_agrees_on_the_apps_own_subprotocol(page: Page, server: Server) -> None:
    page.evaluate(
        f"""(() => {{
            globalThis.charger = new WebSocket("ws{server.url.removeprefix("http")}/charger", ["soap", "ocpp1.6"]);
            charger.onmessage = (message) => heard.push(message.data, charger.protocol);
        }})()"""
    )
    page.wait("heard.length === 2")
    assert page.evaluate("heard") == ["ocpp1.6", "ocpp1.6"]
    page.evaluate("charger.close()")


def test_a_page_that_is_not_listed_reads_nothing(browser: Browser, home: Server, server: Server) -> None:
    with browser.page(f"{server.url}/login/ada") as page:
        page.visit(f"{home.url.replace('127.0.0.1', 'localhost')}/")
        for asked in (
            f'fetch("{server.url}/news")',
            f'fetch("{server.url}/news", {{headers: {{"Last-Event-ID": "0"}}}})',
            f'import("{server.url}/triolet/triolet.js")',
            f"""new Promise((yes, no) => {{
                const socket = new WebSocket("ws{server.url.removeprefix("http")}/news");
                socket.onopen = yes;
                socket.onerror = () => no(new Error("refused"));
            }})""",
        ):
            with pytest.raises(PageError):
                page.evaluate(asked)
        page.complaints.clear()  # of the browser, which says so too
    assert f"'{home.url.replace('127.0.0.1', 'localhost')}'" in server.log
