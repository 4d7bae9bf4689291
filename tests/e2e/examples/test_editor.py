"""The editor in a browser: two pages write one text, with and without a network, and with a server that is killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.browser import Browser, Page
from tests.e2e.looks import check_looks
from tests.e2e.needs import needs
from tests.e2e.server import Server

from .stage import served

pytestmark = needs("chromium", "front:editor")

LINES = """
Array.from(document.querySelector("[data-text]").shadowRoot.querySelectorAll(".cm-line"), (line) => {
  const copy = line.cloneNode(true);
  for (const other of copy.querySelectorAll(".caret, .cm-placeholder")) other.remove();
  return copy.textContent;
}).join("\\n")
"""
"""The text, without the others' names in it."""

CONTENT = "document.querySelector('[data-text]').shadowRoot.querySelector('.cm-content')"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    pytest.importorskip("pycrdt", reason="edits are merged by pycrdt", exc_type=ImportError)
    with served("editor", tmp_path) as server:
        yield server


@contextmanager
def writer(browser: Browser, server: Server, document: str = "minutes") -> Iterator[Page]:
    with browser.page(f"{server.url}/documents/{document}") as page:
        page.still()
        page.call("Emulation.setFocusEmulationEnabled", enabled=True)
        live(page)
        yield page


def live(page: Page) -> None:
    page.wait("document.querySelector('[data-badge]')?.dataset.state === 'live'")


def write(page: Page, text: str) -> None:
    """Type at the cursor."""
    page.evaluate(f"{CONTENT}.focus(), 0")
    page.call("Input.insertText", text=text)


def stored(page: Page) -> None:
    page.wait("document.querySelector('.pad').dataset.unsent === '0'")


def waits(page: Page) -> None:
    page.wait("document.querySelector('[data-stored]').dataset.stored === 'waits'")


def has(page: Page, text: str) -> None:
    page.wait(f"{LINES} === {text!r}")


def test_two_write_at_once_and_one_of_them_without_a_network(browser: Browser, server: Server) -> None:
    with writer(browser, server) as ada, writer(browser, server) as ben:
        write(ada, "milk")
        has(ben, "milk")
        ben.wait(f"{CONTENT}.querySelector('.caret .flag')")
        ben.wait("document.querySelectorAll('[data-here] li').length === 1")

        ada.offline(True)
        ada.wait("document.querySelector('[data-badge]').dataset.state === 'connecting'")
        write(ada, " and honey")
        waits(ada)
        write(ben, "Buy ")
        stored(ben)
        has(ben, "Buy milk")
        has(ada, "milk and honey")
        ada.offline(False)
        for page in (ada, ben):
            has(page, "Buy milk and honey")
            stored(page)

        ben.click("[data-undo]")
        for page in (ada, ben):
            has(page, "milk and honey")
        assert ben.complaints == []


def test_a_server_that_is_killed_loses_nothing_that_was_written_before_or_meanwhile(
    browser: Browser, server: Server
) -> None:
    with writer(browser, server) as ada, writer(browser, server) as ben:
        write(ada, "before, ")
        write(ben, "")
        has(ben, "before, ")
        server.kill()
        for page in (ada, ben):
            page.wait("document.querySelector('[data-badge]').dataset.state === 'connecting'")
        write(ada, "meanwhile")
        waits(ada)
        server.start()
        for page in (ada, ben):
            live(page)
            has(page, "before, meanwhile")
        stored(ada)
    with writer(browser, server) as newcomer:
        has(newcomer, "before, meanwhile")


def test_what_a_page_could_not_send_before_it_was_closed_the_next_one_sends(browser: Browser, server: Server) -> None:
    with writer(browser, server) as page:
        write(page, "kept")
        stored(page)
        page.click("[data-cut]")
        page.wait("document.querySelector('[data-badge]').dataset.state === 'connecting'")
        write(page, " in the page")
        waits(page)
    with writer(browser, server) as page:
        has(page, "kept in the page")
        stored(page)
        assert page.evaluate("Object.keys(localStorage)") == []


def show(page: Page) -> None:
    """Have two write on the page, one of them without a network."""
    page.call("Emulation.setFocusEmulationEnabled", enabled=True)
    live(page)
    page.wait(f"{CONTENT}.textContent.includes('triolet')")
    page.click("#second")
    page.wait("document.querySelectorAll('[data-badge][data-state=live]').length === 2")
    page.wait("document.querySelectorAll('[data-here] li').length === 2")
    page.call("Input.insertText", text="We are two now.\n\n")
    page.wait(f"{CONTENT}.querySelector('.caret') && document.querySelector('.pad + .pad').dataset.unsent === '0'")
    page.wait("new Set(Array.from(document.querySelectorAll('[data-size]'), (one) => one.textContent)).size === 1")


@needs("npm:axe-core")
def test_nothing_on_it_is_hard_to_read_or_out_of_reach(browser: Browser, server: Server) -> None:
    check_looks(browser, server.url, show)
