"""The ticker's own tests. Run them in this folder with ``pytest``: ten years pass in a moment."""

from __future__ import annotations

import pytest
import trio
from app import MONTHS, app
from prices import NAMES
from trio.testing import MockClock

from triolet.testing import cut, serve

MSFT = "/stocks/MSFT/events"


async def test_prices_come_at_the_pace_that_was_chosen(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse(MSFT) as page:
        await server.post("/rate?value=10")
        await page.expect(event="price")
        began = trio.current_time()
        for _ in range(100):
            await page.expect(event="price")
        assert trio.current_time() - began == pytest.approx(10)
        await server.post("/rate?value=0")
        await page.nothing_for(3600)


async def test_ten_years_are_told_in_order(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.long_poll(MSFT, after=0) as page:
        await server.post("/rate?value=40")
        for date, prices in MONTHS:
            await page.expect(data={"date": date, "price": prices["MSFT"], "lap": 0})


async def test_one_socket_follows_all_shares_and_one_is_not_traded_before_2004(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.websocket("/ticker") as page:
        await server.post("/rate?value=40")
        for symbol in NAMES:
            await page.follow(f"/stocks/{symbol}/events", after=0)
        google = await page.pick(lambda message: message.get("key") == "GOOG", "a price of Google's")
        assert google["data"]["date"] == "2004-08-01"


async def test_of_what_a_box_has_missed_it_gets_the_newest_and_is_told(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.follow("/stocks/MSFT/latest", through="/ticker") as box:
        await server.post("/rate?value=10")
        await box.expect(event="price")
        with cut(box):
            await trio.sleep(5)
        await server.post("/rate?value=0")
        await box.reconnect()
        gap = await box.until("gap")
        newest = await box.expect(event="price")
        assert (gap["reason"], gap["missed"] >= 40) == ("conflated", True)
        assert newest["id"] == gap["to"]
        await box.nothing_for(600)
