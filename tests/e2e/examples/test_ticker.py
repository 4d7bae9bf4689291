"""The ticker in a browser: five channels on one WebSocket, drawn as a chart that has no hole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.browser import Browser, Page
from tests.e2e.looks import check_looks
from tests.e2e.needs import needs
from tests.e2e.server import Server

from .stage import served

pytestmark = needs("chromium")

ENVIRONMENT = {"TICKER_RATE": "5"}
TRADED_FROM_THE_START = ("MSFT", "AMZN", "IBM", "AAPL")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    pytest.importorskip("vega_datasets", reason="the prices are in vega-datasets", exc_type=ImportError)
    with served("ticker", tmp_path, ENVIRONMENT) as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    with browser.page(server.url) as page:
        yield page


def drawn(page: Page) -> dict[str, int]:
    """How many points each line has."""
    lines = page.evaluate(
        "Object.fromEntries(Array.from(document.querySelectorAll('polyline'),"
        " line => [line.dataset.symbol, Number(line.dataset.points)]))"
    )
    return {str(symbol): int(points) for symbol, points in lines.items()}


def wait_for_points(page: Page, count: int) -> None:
    page.wait(f"document.querySelector('polyline[data-symbol=MSFT]')?.dataset.points >= {count}")


def stop(page: Page, server: Server) -> int:
    """Stop the clock; return how many months the log has, once the page has drawn them all."""
    server.request("POST", "/rate?value=0")
    head = server.request("GET", "/stocks/AAPL/events")["cursor"].split(".")[1]
    page.wait(f"document.querySelector('polyline[data-symbol=AAPL]').dataset.points === '{head}'")
    return int(head)


def test_prices_are_drawn_as_they_come_and_go_on_after_a_kill(page: Page, server: Server) -> None:
    wait_for_points(page, 5)
    page.wait("document.getElementById('badge').dataset.state === 'live'")
    assert page.complaints == []
    server.kill()
    page.wait("document.getElementById('badge').dataset.state === 'connecting'")
    server.start()
    wait_for_points(page, 15)
    months = stop(page, server)
    assert [drawn(page)[symbol] for symbol in TRADED_FROM_THE_START] == [months] * 4
    assert (page.text("#faults"), page.text("#gaps")) == ("0", "0")


def test_what_came_while_disconnected_is_drawn_and_marked(page: Page, server: Server) -> None:
    wait_for_points(page, 5)
    bands = "document.querySelectorAll('.bands rect').length"
    earlier = page.evaluate(bands)  # on a busy machine a browser may have lost its line before: it is marked, and right
    page.click("#cut")
    page.wait("document.getElementById('badge').dataset.state === 'connecting'")
    before = drawn(page)["MSFT"]
    page.wait("document.getElementById('badge').dataset.state === 'live'")
    page.wait(f"{bands} === {earlier} + 1")
    wait_for_points(page, before + 20)
    months = stop(page, server)
    assert [drawn(page)[symbol] for symbol in TRADED_FROM_THE_START] == [months] * 4
    assert (page.text("#faults"), page.text("#gaps")) == ("0", "0")
    assert page.text("#left-out") != "0", "a box gets the newest price, and is told of the others"
    assert page.complaints == []


def test_the_pace_is_chosen_on_the_page(page: Page, server: Server) -> None:
    wait_for_points(page, 2)
    page.evaluate("rate.value = 0, rate.dispatchEvent(new Event('input'))")
    page.wait("await fetch('/state').then(answer => answer.json()).then(({ rate }) => rate === 0)")
    assert page.text("#rate-shown") == "stopped"


def show(page: Page) -> None:
    """Have the page draw some months."""
    page.wait("Number(document.querySelector('polyline')?.dataset.points) > 3")


@needs("npm:axe-core")
def test_nothing_on_it_is_hard_to_read_or_out_of_reach(browser: Browser, server: Server) -> None:
    check_looks(browser, server.url, show)
