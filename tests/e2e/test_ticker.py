"""The ticker in a browser: five channels on one WebSocket, drawn as a chart that has no hole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .browser import Page, open_browser
from .needs import needs
from .server import Server, serving

pytestmark = [needs("chromium"), pytest.mark.timeout(120)]

TICKER = Path(__file__).parents[2] / "examples" / "ticker"
TRADED_FROM_THE_START = ("MSFT", "AMZN", "IBM", "AAPL")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    pytest.importorskip("vega_datasets", reason="the prices are in vega-datasets", exc_type=ImportError)
    monkeypatch.setenv("TICKER_DB", str(tmp_path / "ticker.db"))
    monkeypatch.setenv("TICKER_RATE", "5")
    with serving(tmp_path, "app:app", arguments=["--app-dir", str(TICKER)]) as server:
        yield server


@pytest.fixture
def page(server: Server) -> Iterator[Page]:
    with open_browser() as browser, browser.page(server.url) as page:
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
