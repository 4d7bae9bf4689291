"""A place that the program has kept in its life before this: its channel, and what is told if that is another now."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import Triolet
from triolet.client import Events, Gap, MemoryStore
from triolet.testing import MemoryServer, serve

from .stage import WAYS, client_of, data, options_of, take, told

MINE = "/inbox/events"
NAME = "http://shop.test/inbox/events"


class Inboxes:
    """An app of which one URL is another channel for whoever is logged in."""

    def __init__(self) -> None:
        self.app = QuartTrio("inboxes")
        self.live = live = Triolet(self.app)
        self.who = 7

        @live.channel(MINE)
        async def mine() -> str:
            return f"inbox/{self.who}"

        live.socket("/live")

    async def publish(self, *numbers: int) -> None:
        for number in numbers:
            await self.live.publish(f"inbox/{self.who}", number)


async def follow(stack: AsyncExitStack, server: MemoryServer, store: MemoryStore, way: str, **more: Any) -> Events:
    client = await stack.enter_async_context(client_of(server, store=store, **options_of(way)))
    return await stack.enter_async_context(client.follow(MINE, **more))


@pytest.mark.parametrize("way", WAYS)
async def test_a_place_before_another_login_is_told_as_a_gap(way: str, autojump_clock: MockClock) -> None:
    inboxes, store = Inboxes(), MemoryStore()
    async with serve(inboxes.app) as server:
        await inboxes.publish(1, 2)
        async with AsyncExitStack() as stack:
            events = await follow(stack, server, store, way, after=0)
            assert await data(events, 2) == [1, 2]
            await take(events, 1)
        assert store.cursors[NAME].endswith(".2 inbox/7")
        inboxes.who = 8
        await inboxes.publish(*range(10, 15))
        async with AsyncExitStack() as stack:
            events = await follow(stack, server, store, way)
            items = await take(events, 5)
            assert told(items) == ["gap epoch", 12, 13, 14, "live"]
            assert isinstance(items[0], Gap)
            assert items[0].missed is None
        assert store.cursors[NAME].endswith(".5 inbox/8")
        async with AsyncExitStack() as stack:
            events = await follow(stack, server, store, way)
            assert told(await take(events, 1)) == ["live"]


async def test_two_urls_under_one_name_are_told_from_each_other(autojump_clock: MockClock) -> None:
    inboxes, store = Inboxes(), MemoryStore()

    @inboxes.live.channel("/news/events")
    async def news() -> str:
        return "news"

    async with serve(inboxes.app) as server, client_of(server, store=store) as client:
        await inboxes.publish(1, 2)
        async with client.follow(MINE, after=0, name="x") as events:
            await take(events, 3)
        async with client.follow("/news/events", name="x") as events:
            (item,) = await take(events, 1)
            assert isinstance(item, Gap)


async def test_a_place_that_names_no_channel_is_gone_on_from(autojump_clock: MockClock) -> None:
    inboxes, store = Inboxes(), MemoryStore()
    async with serve(inboxes.app) as server:
        await inboxes.publish(1, 2, 3)
        store.cursors[NAME] = "2"
        async with AsyncExitStack() as stack:
            events = await follow(stack, server, store, "sse")
            assert told(await take(events, 2)) == [3, "live"]
            await events.commit()
        assert store.cursors[NAME].endswith(".3 inbox/7")


async def test_what_waits_for_the_program_is_kept_as_that_of_its_own_channel(autojump_clock: MockClock) -> None:
    inboxes, store = Inboxes(), MemoryStore()
    async with serve(inboxes.app) as server, AsyncExitStack() as stack:
        await inboxes.publish(1, 2)
        events = await follow(stack, server, store, "poll", after=0, auto_commit=False)
        assert await data(events, 1) == [1]
        inboxes.who = 8
        await inboxes.publish(10, 11, 12)
        await trio.sleep(10)  # another poll has told of the other channel
        assert events.channel == "inbox/8"
        found: list[tuple[Any, str]] = []
        for _ in range(4):
            await events.commit()
            (item,) = await take(events, 1)
            found.append((told([item])[0], store.cursors[NAME].partition(".")[2]))
        assert found == [(2, "1 inbox/7"), ("live", "2 inbox/7"), ("gap epoch", "2 inbox/7"), (12, "2 inbox/8")]
