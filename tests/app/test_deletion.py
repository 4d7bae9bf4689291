"""``live.delete`` and ``live.channels``: what was deleted is given to nobody any more, and which channels there are."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import ConfigError, Limits, Triolet
from triolet.testing.faults import stalled
from triolet.testing.server import serve

from .processes import processes
from .test_ends import EACH, expect_end, make_channel


@pytest.mark.parametrize("transport", EACH)
async def test_who_follows_a_channel_that_is_deleted_hears_of_an_end_and_nobody_its_events(
    transport: str, autojump_clock: MockClock
) -> None:
    async with processes(2, make_shop) as (one, other), AsyncExitStack() as stack:
        followers = [
            await stack.enter_async_context(process.server.client(transport, ORDERS)) for process in (one, other)
        ]
        for client in followers:
            await client.until("live")
        await one.live.publish_many(ORDER, ["secret"] * 3)
        for client in followers:
            for _ in range(3):
                await client.expect("event")
        tombstone = await one.live.delete(ORDER)
        for client in followers:
            await expect_end(client, str(tombstone.cursor), {"outcome": "deleted"})
        for process in (one, other):
            for after in ("0", f"{tombstone.cursor.epoch}.1", *([] if "poll" in transport else ["-50"]), None):
                async with process.server.client(transport, ORDERS, after=after) as late:
                    if after == f"{tombstone.cursor.epoch}.1":
                        await late.expect("gap", reason="expired", missed=2)
                    await expect_end(late, str(tombstone.cursor), {"outcome": "deleted"})
        again = await one.live.publish(ORDER, "anew")
        assert again.offset == tombstone.offset + 1
        for process in (one, other):
            async with process.server.client(transport, ORDERS, after="0") as late:
                await late.expect("event", data="anew")
                assert [event["data"] for event in late.events] == ["anew"]
            async with process.server.client(transport, ORDERS) as late:
                await late.until("live")


async def test_pages_that_others_share_are_forgotten_with_what_was_deleted(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(window_events=1, page_events=100))
    async with serve(app) as server, AsyncExitStack() as stack:
        await live.publish_many(ORDER, ["secret" * 100] * 20)
        slow = await stack.enter_async_context(server.client("sse", ORDERS, after="0", kernel_bytes=2_000))
        with stalled(slow):  # it takes part in catching up, and so the page is kept
            await trio.sleep(0.002)
            assert live.service.hub.replay.statistics().pages == 1
            await live.delete(ORDER)
            async with server.client("sse", ORDERS, after="0") as late:
                await late.expect("end", data={"outcome": "deleted"})
                assert late.events == []


async def test_a_deleted_channel_is_as_new_when_nothing_tells_of_it_any_more(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(keep_seconds=60))
    async with serve(app) as server:
        await live.publish(ORDER, 1)
        async with server.client("sse", ORDERS) as client:  # whose window stays
            await client.until("live")
            await live.delete(ORDER)
            await client.expect("end")
        await trio.sleep(100)
        for transport in EACH:
            async with server.client(transport, ORDERS) as client:
                await client.until("live")
                event = await live.publish(ORDER, transport)
                await client.expect("event", id=str(event.cursor))


async def test_channels_are_listed_without_those_of_triolets_own(autojump_clock: MockClock) -> None:
    app, live = make_channel(member=lambda order_id: "ann")
    async with serve(app) as server, server.client("sse", ORDERS) as client:
        await client.until("live")
        await trio.sleep(1)
        for name in ("a", "orders/1", "orders/2", "triolet", "triolet-x", "u"):
            await live.publish(name, 1)
        assert [name async for name in _all(live)] == ["a", "orders/1", "orders/2", "triolet", "triolet-x", "u"]
        assert await live.channels("orders/") == ["orders/1", "orders/2"]
        assert await live.channels("orders/", after="orders/1") == ["orders/2"]
        assert await live.channels("triolet.") == []
        assert await live.channels(limit=1) == ["a"]
        assert await live.channels(after="triolet", limit=1) == ["triolet-x"]
        for limit in (0, 1_001, True, "1"):
            with pytest.raises(ConfigError):
                await live.channels(limit=limit)  # type: ignore[arg-type]  # that is what is tried


async def _all(live: Triolet) -> Any:
    after = ""
    while page := await live.channels(after=after, limit=2):
        for name in page:
            yield name
        after = page[-1]
