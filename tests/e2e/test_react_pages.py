"""The page that the documentation makes with React, in a real browser, while its server is killed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages import kept

from .browser import Browser, Page, open_browser
from .needs import needs
from .react.project import REACTS, bundle, make_project
from .server import Server

pytestmark = [
    needs("chromium", "node", "npm:esbuild", "npm:react", "npm:react-18"),
]

EXAMPLE = kept("pages") / "order.jsx"

OF_THE_NETWORK = re.compile(r"\bnet::ERR_|^WebSocket connection to ")
"""What the browser itself says where a server is not there, or no more."""

STATES = "[...document.querySelectorAll('li')].map(({textContent}) => textContent)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def server(tmp_path: Path, react: str) -> Iterator[Server]:
    project = make_project(tmp_path / "project", react)
    shutil.copy(EXAMPLE, project)
    bundle(project / EXAMPLE.name, tmp_path / "page.js")
    server = Server(
        tmp_path, "react_app:app", log="sqlite:///orders.db", limits={"beat_seconds": 1, "lease_seconds": 3}
    )
    server.start()
    try:
        yield server
        assert not server.crashes()
    finally:
        server.kill()


def complaints(page: Page) -> list[str]:
    return [one for one in page.complaints if not OF_THE_NETWORK.search(one)]


def says(element: str, text: str) -> str:
    return f"document.querySelector('#{element}')?.textContent === '{text}'"


@pytest.mark.parametrize("react", REACTS)
def test_a_page_shows_each_event_once_although_its_server_is_killed(browser: Browser, server: Server) -> None:
    expected = ["placed", "paid"]
    server.request("POST", "/orders/A123", expected)
    with browser.page(f"{server.url}/") as page:
        page.wait(says("state", "live"))
        page.wait(says("members", "ada"))
        assert page.evaluate(STATES) == expected

        for number in range(3):
            some = [f"{number}: {n}" for n in range(200)]
            server.request("POST", "/orders/A123", some)
            server.kill()  # while they are on their way
            expected += some
            page.wait(says("state", "connecting"))
            page.click("button")
            page.wait("document.querySelector('button').disabled")
            server.start()
            page.wait("!document.querySelector('button').disabled")
            expected.append("picked")
            assert page.text("#outcome") == "A123"

        server.request("POST", "/orders/A123", ["delivered"])
        page.wait(f"{STATES}.includes('delivered')")
        assert page.evaluate(STATES) == [*expected, "delivered"]
        page.wait(says("state", "live"))
        page.wait(says("members", "ada"))
        assert not complaints(page)
