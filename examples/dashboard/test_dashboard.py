"""The dashboard's own tests. Run them with ``pytest``: the figures are this machine's, the time is not."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from app import app
from trio.testing import MockClock

from triolet.testing import TRANSPORTS, Client, cut, serve, slow_reader

EVENTS = "/machine/events"


async def offsets(page: Client, count: int) -> list[int]:
    """Those of the next figures, of which none may be missing."""
    return [int((await page.expect(event="figures"))["id"].split(".")[1]) for _ in range(count)]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_chart_begins_with_what_the_log_has_and_goes_on(transport: str, autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server:
        await trio.sleep(30.5)
        async with server.client(transport, EVENTS, after=-20) as page:
            assert await offsets(page, 25) == list(range(12, 37))


async def test_it_is_measured_once_for_all_who_look_and_says_how_many(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse(EVENTS) as first, server.websocket(EVENTS) as second:

        def seen_by_two(message: dict[str, Any]) -> bool:
            return bool(message["type"] == "event" and message["data"]["viewers"] == 2)

        one, same = [await page.pick(seen_by_two, "the figures") for page in (first, second)]
        assert (one["id"], one["data"]) == (same["id"], same["data"])
        assert set(one["data"]) == {"cpu", "mem", "net", "disk", "procs", "viewers", "behind", "late", "own"}


async def test_who_reads_slowly_gets_the_newest_and_is_told_and_holds_up_nobody(autojump_clock: MockClock) -> None:
    async with (
        serve(app, log="memory:") as server,
        server.sse(EVENTS, kernel_bytes=2_000) as slow,
        server.sse(EVENTS) as quick,
    ):
        with slow_reader(slow, bytes_per_second=80):
            for _ in range(60):
                await quick.expect(event="figures", within=2)
            gap = await slow.until("gap")
            assert (gap["reason"], gap["missed"] >= 3) == ("conflated", True)
            assert (await slow.expect(event="figures"))["id"] == gap["to"]


async def test_who_was_away_is_given_what_was_missed_for_that_is_the_chart(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse(EVENTS) as page:
        first = (await offsets(page, 1))[0]
        with cut(page):
            await trio.sleep(60)
        await page.reconnect()
        assert await offsets(page, 70) == list(range(first + 1, first + 71))


async def test_processes_are_told_to_who_looks(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.follow("/processes/events", through="/live") as page:
        told = await page.until("tell")
        assert 1 <= len(told["data"]) <= 8
        assert [percent for _, percent in told["data"]] == sorted(
            [percent for _, percent in told["data"]], reverse=True
        )
