"""``live.follow``: a task of the server's own, as a client of a channel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from tests.shop import ORDER, make_shop
from triolet import Cursor, CursorError, Event, Feed, Gap, Limits, Live, LogError, NotServingError, Triolet
from triolet.errors import ChannelNameError
from triolet.event import NOW_CHANNEL
from triolet.log import MemoryLog
from triolet.testing.scripted import away, unreadable
from triolet.testing.server import serve

from .processes import processes


@asynccontextmanager
async def script(limits: Limits | None = None) -> AsyncIterator[Triolet]:
    async with Triolet(log=MemoryLog(limits, epoch="e"), limits=limits) as live:
        yield live


async def take(feed: Feed, count: int) -> list[object]:
    """So many items: events as their data, and of the others their kind and place."""
    items: list[object] = []
    with trio.fail_after(60):
        for _ in range(count):
            item = await anext(feed)
            said = (type(item).__name__, str(item.to if isinstance(item, Gap) else item.cursor))
            items.append(item.data if isinstance(item, Event) else (type(item).__name__, said[1]))
    return items


async def test_it_gives_what_is_kept_and_says_once_that_it_has_caught_up(autojump_clock: MockClock) -> None:
    async with script(Limits(page_events=2)) as live:
        await live.publish_many(ORDER, [1, 2, 3])
        async with live.follow(ORDER, after=0) as feed:
            assert await take(feed, 4) == [1, 2, 3, ("Live", "e.3")]
            await live.publish(ORDER, 4)
            assert await take(feed, 1) == [4]
            with trio.move_on_after(200) as waited:
                await anext(feed)
            assert waited.cancelled_caught
            await live.publish_many(ORDER, [5, 6, 7, 8])
            assert await take(feed, 5) == [5, 6, 7, 8, ("Live", "e.8")]


@pytest.mark.parametrize("after", [None, "e.2", Cursor("e", 2), 2, -1])
async def test_it_begins_where_it_is_told_to(after: object, autojump_clock: MockClock) -> None:
    async with script() as live:
        await live.publish_many(ORDER, [1, 2, 3])
        async with live.follow(ORDER, after) as feed:  # type: ignore[arg-type]  # a text, a cursor or a number, by turns
            await live.publish(ORDER, 4)
            expected: list[object] = [3, 4, ("Live", "e.4")]
            if after is None:
                expected = [("Live", "e.3"), 4]
            elif after == -1:
                expected = [3, ("Live", "e.3"), 4]
            assert await take(feed, len(expected)) == expected


async def test_it_ends_with_its_channel_and_has_the_ends_data(autojump_clock: MockClock) -> None:
    async with script() as live, trio.open_nursery() as nursery:
        found: list[object] = []

        async def listen() -> None:
            async with live.follow(ORDER) as feed:
                async for item in feed:
                    found.append(item)
                assert feed.end is not None
                found.append(feed.end.data)
                with pytest.raises(StopAsyncIteration):
                    await anext(feed)

        nursery.start_soon(listen)
        await trio.sleep(1)
        event = await live.publish(ORDER, 1)
        await live.end(ORDER, "done")
        await trio.sleep(1)
        assert found == [Live(Cursor("e", 0)), event, "done"]
        async with live.follow(ORDER) as feed:
            assert [item async for item in feed] == []
            assert feed.end is not None


async def test_what_is_lost_is_a_gap(autojump_clock: MockClock) -> None:
    async with script(Limits(keep_events=2, window_events=1)) as live:
        await live.publish_many(ORDER, [1, 2, 3, 4, 5])
        async with live.follow(ORDER, "e.1") as feed:
            assert await take(feed, 4) == [("Gap", "e.3"), 4, 5, ("Live", "e.5")]


async def test_a_cancellation_loses_nothing(autojump_clock: MockClock) -> None:
    async with script(Limits(page_events=3)) as live, live.follow(ORDER) as feed, trio.open_nursery() as nursery:

        async def publish() -> None:
            for n in range(50):
                await live.publish(ORDER, n)
                await trio.sleep(0.03)

        nursery.start_soon(publish)
        events: list[object] = []
        while len(events) < 50:
            with trio.move_on_after(0.01):
                item = await anext(feed)
                if isinstance(item, Event):
                    events.append(item.data)
                    assert feed.cursor == item.cursor
        assert events == list(range(50))


async def test_where_it_stands_is_behind_what_was_given(autojump_clock: MockClock) -> None:
    async with script() as live:
        await live.publish_many(ORDER, [1, 2, 3])
        async with live.follow(ORDER, 0) as feed:
            assert feed.cursor == Cursor("", 0)
            await take(feed, 2)
        async with live.follow(ORDER, feed.cursor) as again:
            assert await take(again, 2) == [3, ("Live", "e.3")]
        with pytest.raises(RuntimeError):
            await anext(feed)


async def test_a_log_that_is_away_is_waited_for_and_another_fault_is_told(autojump_clock: MockClock) -> None:
    log = MemoryLog()
    async with processes(2, lambda: make_shop(limits=Limits(window_events=1)), log) as (one, other):
        await one.live.publish_many(ORDER, [1, 2, 3])
        with other.log.having(*away()):
            async with trio.open_nursery() as nursery:
                found: list[object] = []

                async def listen() -> None:
                    async with other.live.follow(ORDER, 0) as feed:
                        found.extend(await take(feed, 4))

                nursery.start_soon(listen)
                await trio.sleep(5)
                assert found == []
                nursery.start_soon(trio.sleep, 0)
                other.log._underway.clear()
        assert found[:3] == [1, 2, 3]
        with other.log.having(unreadable()), pytest.raises(LogError):
            async with other.live.follow("another", 0) as feed:
                await anext(feed)


async def test_it_is_no_client(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, live.follow(ORDER) as feed:
        live.tell(ORDER, "is only for clients")
        await live.publish(ORDER, 1)
        first = str(feed.cursor)
        assert (await take(feed, 2), server.connections) == ([("Live", first), 1], 0)
        assert live.statistics().counts.tells["written"] == 0


async def test_one_that_outlives_its_app_is_told_so(autojump_clock: MockClock) -> None:
    live = Triolet()
    with pytest.raises(NotServingError):
        async with live.follow(ORDER):
            raise AssertionError("nothing is served")
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            async with live.follow(ORDER) as feed:
                await anext(feed)
                with pytest.raises(NotServingError):
                    await anext(feed)

        async with live:
            nursery.start_soon(listen)
            await trio.sleep(1)


async def test_what_cannot_be_followed_is_refused_at_once(autojump_clock: MockClock) -> None:
    live = Triolet()
    for channel in ("", NOW_CHANNEL, "triolet.identity"):
        with pytest.raises(ChannelNameError):
            live.follow(channel)
    with pytest.raises(CursorError):
        live.follow(ORDER, "no cursor")
