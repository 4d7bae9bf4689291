"""The ticker, in memory: real prices at the pace that was chosen, each once."""

from __future__ import annotations

from types import ModuleType

import pytest
import trio

from triolet.testing.server import MemoryServer, serve

SYMBOLS = ("MSFT", "AMZN", "IBM", "GOOG", "AAPL")


async def prices(server: MemoryServer, symbol: str) -> list[tuple[str, float]]:
    """All prices of a share that were published, page by page."""
    found, after, live = [], "0", False
    while not live:
        body = (await server.get(f"/stocks/{symbol}/events?after={after}")).json
        found += [(event["data"]["date"], event["data"]["price"]) for event in body["events"]]
        after, live = body["cursor"], body["live"]
    return found


def test_the_prices_are_those_of_the_data_set(ticker: ModuleType) -> None:
    assert len(ticker.MONTHS) == 123
    assert ticker.MONTHS[0] == ("2000-01-01", {"MSFT": 39.81, "AMZN": 64.56, "IBM": 100.52, "AAPL": 25.94})
    assert ticker.MONTHS[-1][0] == "2010-03-01"
    assert sum(len(month) for _, month in ticker.MONTHS) == 560
    assert ticker.MONTHS[ticker.FIRST_MONTH["GOOG"]][0] == "2004-08-01"


async def test_months_pass_at_the_pace_that_was_chosen(
    ticker: ModuleType, autojump_clock: trio.testing.MockClock
) -> None:
    async with serve(ticker.app) as server:
        await trio.sleep(4.9)
        assert len(await prices(server, "MSFT")) == 20
        assert (await server.post("/rate?value=10")).json == {"rate": 10}
        await trio.sleep(0.95)
        assert len(await prices(server, "MSFT")) == 30
        await server.post("/rate?value=0")
        before = await prices(server, "MSFT")
        await trio.sleep(3_600)
        assert await prices(server, "MSFT") == before


async def test_ten_years_come_in_order_and_begin_anew(
    ticker: ModuleType, autojump_clock: trio.testing.MockClock
) -> None:
    async with serve(ticker.app) as server:
        await server.post("/rate?value=40")
        await trio.sleep((len(ticker.MONTHS) * 2 + ticker.LAST_LOOK) / 40)
        for symbol in SYMBOLS:
            lap = [(date, month[symbol]) for date, month in ticker.MONTHS if symbol in month]
            found = await prices(server, symbol)
            assert found[: 2 * len(lap)] == [*lap, *lap][: len(found)]
            assert len(found) > len(lap) or symbol == "GOOG"


async def test_a_month_that_was_cut_short_is_made_whole(
    ticker: ModuleType, autojump_clock: trio.testing.MockClock
) -> None:
    async with serve(ticker.app) as server:
        await server.post("/rate?value=0")
        state = (await server.get("/state")).json
        assert [share["symbol"] for share in state["shares"]] == list(SYMBOLS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ticker.publish_prices)  # as after a restart: it begins with the last month again
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        assert [len(await prices(server, symbol)) for symbol in SYMBOLS] == [1, 1, 1, 0, 1]


@pytest.mark.parametrize("value", ["", "-1", "41", "nan", "fast"])
async def test_a_pace_that_cannot_be_is_refused(
    ticker: ModuleType, autojump_clock: trio.testing.MockClock, value: str
) -> None:
    async with serve(ticker.app) as server:
        assert (await server.post(f"/rate?value={value}")).status == 400


async def test_a_share_that_is_not_traded_is_not_found(
    ticker: ModuleType, autojump_clock: trio.testing.MockClock
) -> None:
    async with serve(ticker.app) as server:
        assert (await server.get("/stocks/TRIO/events")).status == 404
