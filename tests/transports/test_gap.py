"""What is gone is said, on every transport in the same words; then the stream goes on."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import Limits
from triolet.log import MemoryLog
from triolet.testing.clients import TRANSPORTS
from triolet.testing.faults import stalled
from triolet.testing.server import serve

SMALL = Limits(keep_events=3, window_events=1)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("after", "gap", "heard"),
    [
        ("e.1", {"from": "e.1", "to": "e.4", "missed": 3, "reason": "expired"}, [5, 6, 7]),
        ("1", {"from": "e.1", "to": "e.4", "missed": 3, "reason": "expired"}, [5, 6, 7]),
        ("e.0", {"from": "e.0", "to": "e.4", "missed": 4, "reason": "expired"}, [5, 6, 7]),
        ("d.6", {"from": "d.6", "to": "e.4", "missed": None, "reason": "epoch"}, [5, 6, 7]),
        ("e.99", {"from": "e.99", "to": "e.7", "missed": None, "reason": "future"}, []),
        ("999999999999999999", {"from": "e.999999999999999999", "to": "e.7", "missed": None, "reason": "future"}, []),
    ],
)
async def test_a_gap_has_the_same_fields_on_every_transport(
    transport: str, after: str, gap: dict[str, object], heard: list[int], autojump_clock: MockClock
) -> None:
    app, live = make_shop(SMALL, log=MemoryLog(SMALL, epoch="e"))
    async with serve(app) as server:
        await live.publish_many(ORDER, [1, 2, 3, 4, 5, 6, 7])
        async with server.client(transport, ORDERS, after=after) as client:
            assert await client.expect("gap") == {"type": "gap", "channel": ORDER, **gap}
            await client.until("live")
            assert [event["data"] for event in client.events] == heard
            assert client.cursor == "e.7"
            await live.publish(ORDER, 8)
            await client.expect(data=8)


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_stream_with_a_gap_opens_where_its_client_said_it_was(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop(SMALL, log=MemoryLog(SMALL, epoch="e"))
    async with serve(app) as server:
        await live.publish_many(ORDER, [1, 2, 3, 4, 5])
        async with server.client(transport, ORDERS, after="e.1") as client:
            await client.expect("open", cursor="e.1")
            await client.expect("gap", from_="e.1")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_cursor_that_misses_nothing_gets_no_gap(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_shop(SMALL, log=MemoryLog(SMALL, epoch="e"))
    async with serve(app) as server:
        await live.publish_many(ORDER, [1, 2, 3, 4, 5])
        for after in ("e.2", "e.3", "e.5", "5"):
            async with server.client(transport, ORDERS, after=after) as client:
                await client.until("live")
                assert "gap" not in {message["type"] for message in client.heard}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_everything_may_be_gone(transport: str, autojump_clock: MockClock) -> None:
    clock = 1_000.0
    limits = Limits(keep_seconds=10, window_events=1)
    app, live = make_shop(limits, log=MemoryLog(limits, clock=lambda: clock, epoch="e"))
    async with serve(app) as server:
        await live.publish_many(ORDER, [1, 2, 3])
        clock += 11
        async with server.client(transport, ORDERS, after="e.1") as client:
            await client.expect("gap", from_="e.1", to="e.3", missed=2, reason="expired")


async def test_a_live_client_that_falls_out_of_retention_hears_a_gap(autojump_clock: MockClock) -> None:
    limits = Limits(keep_events=5, window_events=2, page_events=2)
    app, live = make_shop(limits, log=MemoryLog(limits, epoch="e"))
    big = "x" * 2_000
    async with serve(app) as server, server.client("websocket", ORDERS, kernel_bytes=4_000) as client:
        await client.until("live")
        with stalled(client):
            for n in range(1, 21):
                await live.publish(ORDER, [n, big])
        await client.until("live")
        seen = [event["data"][0] for event in client.events]
        gaps = [message for message in client.heard if message["type"] == "gap"]
        missed = [n for gap in gaps for n in range(int(gap["from"][2:]) + 1, int(gap["to"][2:]) + 1)]
        assert sorted(seen + missed) == list(range(1, 21))
        assert gaps
