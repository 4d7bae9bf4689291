"""The game in a browser: who plays is seen by the others, and a slow line gets fewer states and the newest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.e2e.browser import Browser, Page
from tests.e2e.looks import check_looks
from tests.e2e.needs import needs
from tests.e2e.server import Server, wait_for
from triolet import Triolet

from .stage import served

pytestmark = needs("chromium")

TICK = "Number(document.getElementById('canvas').dataset.tick ?? 0)"
LEFT_OUT = "Number(document.getElementById('canvas').dataset.leftOut ?? 0)"
STATE = "document.getElementById('badge').dataset.state"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("game")
    trio.run(swallow, folder / "game.db")
    with served("game", folder) as server:
        yield server


async def swallow(database: Path) -> None:
    """A game of before, so that the board shows who was good."""
    async with Triolet(log=f"sqlite:///{database}") as live:
        for whom in ("Pip", "Mist", "Tarn"):
            await live.publish("news", {"by": "Grace", "whom": whom}, name="swallowed")


def play(page: Page, name: str) -> None:
    """Take a seat, and wait until the drop is there."""
    page.wait(f"{TICK} > 0 && {STATE} === 'live'")
    page.evaluate(f"document.getElementById('name').value = '{name}'")
    page.click("#start button")
    plays(page, name)


def plays(page: Page, name: str) -> None:
    """Wait until a state has come that has the player's drop in it."""
    page.wait(f"document.getElementById('canvas').dataset.me?.startsWith('{name}')")


def has_news(page: Page, text: str) -> None:
    page.wait(f"Array.from(document.querySelectorAll('#news li')).some(one => one.textContent.startsWith('{text}'))")


def comings(server: Server) -> Counter[str]:
    """How often each has taken a seat, by the log."""
    events = server.request("GET", "/news/events?after=0")["events"]
    return Counter(event["data"]["who"].rstrip("′") for event in events if event["event"] == "joined")


def grace(page: Page) -> None:
    """Wait until the board says what it must: three that were swallowed before this server was started."""
    page.wait("Array.from(document.querySelectorAll('#board li'), one => one.textContent).includes('Grace3')")


def test_two_play_and_go_on_after_a_kill_and_offline(browser: Browser, server: Server) -> None:
    with browser.page(server.url) as page, browser.page(server.url) as other:
        play(page, "Ada")
        play(other, "Lin")
        has_news(page, "Lin has come")
        grace(page)
        assert page.complaints == []
        server.kill()
        page.wait(f"{STATE} === 'connecting'")
        server.start()
        wait_for(lambda: comings(server) == {"Ada": 2, "Lin": 2}, "both to take a seat again", seconds=40)
        plays(page, "Ada")
        grace(page)
        page.offline(True)
        page.wait(f"{STATE} === 'connecting'")
        page.offline(False)
        page.wait(f"{STATE} === 'live'")
        tick = page.evaluate(TICK)
        page.wait(f"{TICK} > {tick}")
        plays(page, "Ada")


def test_a_slow_line_gets_fewer_states_and_goes_on(browser: Browser, server: Server) -> None:
    with browser.page(server.url) as page:
        play(page, "Max")
        page.click("#slow")
        before = page.evaluate(LEFT_OUT)
        page.wait(f"{LEFT_OUT} > {before} + 40")
        plays(page, "Max")
        page.click("#slow")
        page.wait("Number(document.getElementById('rate').textContent) > 8")
        assert page.complaints == []


def show(page: Page) -> None:
    """Have the page play, with a board and news."""
    play(page, "Ada")
    grace(page)
    has_news(page, "Ada")
    page.click("#slow")
    page.wait(f"{LEFT_OUT} > 30")


def pose(page: Page) -> None:
    """For a picture: a game that has gone on for a while, seen at its full pace and then over a slow line."""
    play(page, "Ada")
    tick = page.evaluate(TICK)
    page.wait(f"{TICK} > {tick} + 600", seconds=90)
    page.click("#slow")
    page.wait(f"{LEFT_OUT} > 25")
    page.evaluate("document.activeElement.blur()")


@needs("npm:axe-core")
def test_nothing_on_it_is_hard_to_read_or_out_of_reach(browser: Browser, server: Server) -> None:
    check_looks(browser, server.url, show)
