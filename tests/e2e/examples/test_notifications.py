"""The notifications in a browser: HTML in an event stream, which htmx swaps in, and no script of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.browser import Browser, Page
from tests.e2e.looks import check_looks
from tests.e2e.needs import needs
from tests.e2e.server import Server

from .stage import served

pytestmark = needs("chromium", "front:notifications")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served("notifications", tmp_path_factory.mktemp("notifications")) as server:
        yield server


@contextmanager
def entered(browser: Browser, url: str, user: str) -> Iterator[Page]:
    """The page of a user. A browser has a session for each name of a host."""
    with browser.page(url) as page:
        be(page, user)
        yield page


def be(page: Page, user: str) -> None:
    page.evaluate(f"fetch('/login', {{method: 'POST', body: new URLSearchParams({{user: '{user}'}})}}).then(() => 0)")
    page.visit(str(page.evaluate("location.origin")))
    page.wait("document.querySelector('#notes')?._htmx?.sse?.status === 200")


def send(page: Page, to: str, text: str) -> None:
    """Fill the form and send it, and wait until there is another one."""
    page.evaluate("document.querySelector('.sender').id = 'sent'")
    page.evaluate(
        f"(({{to, text}}) => {{ to.value = {json.dumps(to)}; text.value = {json.dumps(text)} }})(sent.elements)"
    )
    page.click("#sent button")
    page.wait("!document.getElementById('sent')")


def wait_for(page: Page, unread: int, *texts: str) -> None:
    """Look at a page, and wait until it shows these notes, the newest first, and counts so many as unread. In a tab
    that nobody looks at htmx lets the stream go, and when it is looked at again it comes back to where it was."""
    page.call("Page.bringToFront")
    page.wait(
        "JSON.stringify(Array.from(document.querySelectorAll('#notes .text'), (one) => one.textContent)) === "
        f"JSON.stringify({json.dumps(texts)}) && document.getElementById('unread').textContent === '{unread}'"
    )


def test_notes_come_once_whatever_happens_to_server_and_network(browser: Browser, server: Server) -> None:
    other = server.url.replace("127.0.0.1", "localhost")
    with entered(browser, server.url, "Ada") as ada, entered(browser, other, "Ben") as ben:
        wait_for(ada, 0)
        send(ben, "Ada", "<img src=x onerror=harm()>")
        send(ben, "Ada", "two")
        wait_for(ada, 2, "two", "<img src=x onerror=harm()>")
        with browser.page(server.url) as tab:
            wait_for(tab, 2, "two", "<img src=x onerror=harm()>")
            ada.click("#notes li:last-child .mark button")
            for page in (ada, tab):
                wait_for(page, 1, "two", "<img src=x onerror=harm()>")
                assert page.evaluate("document.querySelectorAll('#notes form').length") == 1
                assert page.evaluate("document.querySelectorAll('#notes img').length") == 0
            assert ada.complaints == ben.complaints == tab.complaints == []

        wait_for(ada, 1, "two", "<img src=x onerror=harm()>")
        server.kill()
        ada.wait("document.querySelector('#notes')._htmx.sse.attempt > 0")
        server.start()
        send(ben, "Ada", "three")
        wait_for(ada, 2, "three", "two", "<img src=x onerror=harm()>")

        ada.offline(True)
        send(ben, "Ada", "four")
        ada.offline(False)
        wait_for(ada, 3, "four", "three", "two", "<img src=x onerror=harm()>")
        wait_for(ben, 0)


NOTES = [
    ("Ben", "The printer on the second floor has paper again."),
    ("Ada", "Would you swap Thursday for Friday? Please tell me before noon."),
    ("Ben", "Minutes of Monday are in the usual place."),
    ("Ada", "Your parcel is at the front desk. It is heavy: bring somebody."),
    ("Cleo", "Lunch is at one, in the yard."),
]
READ = ("printer", "Minutes")


def show(page: Page) -> None:
    """An inbox with something in it."""
    be(page, "Cleo")
    if page.evaluate("!document.querySelector('#notes li')"):
        for user, text in NOTES:
            be(page, user)
            send(page, "Cleo", text)
        be(page, "Cleo")
        for text in READ:
            page.evaluate(
                "Array.from(document.querySelectorAll('#notes li')).find((one) => "
                f"one.textContent.includes({json.dumps(text)})).querySelector('button').click()"
            )
    page.wait(f"document.querySelectorAll('#notes li').length === {len(NOTES)}")
    page.wait(f"document.getElementById('unread').textContent === '{len(NOTES) - len(READ)}'")


@needs("npm:axe-core")
def test_nothing_on_it_is_hard_to_read_or_out_of_reach(browser: Browser, server: Server) -> None:
    check_looks(browser, server.url, show)
    check_looks(browser, server.url, at_the_door)


def at_the_door(page: Page) -> None:
    page.evaluate("fetch('/logout', {method: 'POST'}).then(() => 0)")
    page.visit(str(page.evaluate("location.origin")))
    page.wait("document.querySelectorAll('.door button').length === 3")
