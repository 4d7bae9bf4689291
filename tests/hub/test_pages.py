"""Pages of many channels that are waited for in one task."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from triolet import Cursor, Draft
from triolet.hub import Hub, Subscription
from triolet.log import MemoryLog, Page

from .doubles import blocked, publish, running

NAMES = ("a", "b", "c")


class CountingLog(MemoryLog):
    """Counts how often it is read."""

    reads = 0

    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        self.reads += 1
        return await super().read(channel, after, limit=limit, max_bytes=max_bytes)


class LateLog(MemoryLog):
    """Gives what it has read a second later."""

    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        page = await super().read(channel, after, limit=limit, max_bytes=max_bytes)
        await trio.sleep(1)
        return page


@pytest.mark.parametrize("channel", NAMES)
async def test_a_wait_ends_with_the_first_event_of_any_channel(channel: str, autojump_clock: MockClock) -> None:
    log = MemoryLog(epoch="e")
    async with running(log) as hub, trio.open_nursery() as nursery:

        async def later() -> None:
            await trio.sleep(3)
            await publish(log, 1, channel)

        nursery.start_soon(later)
        pages = await hub.pages([Subscription(name) for name in NAMES], 10)
        assert trio.current_time() == 3
        assert [len(page.events) for page in pages] == [name == channel for name in NAMES]
        assert hub.statistics().followers == 0


@pytest.mark.parametrize("channel", ["a", "b"])
async def test_a_round_that_goes_by_while_pages_are_read_is_not_waited_out(
    channel: str, autojump_clock: MockClock
) -> None:
    log = LateLog(epoch="e")
    async with running(log) as hub, trio.open_nursery() as nursery:
        for name in ("a", "b"):
            await publish(log, 1, name)
        await blocked()  # the windows begin behind these

        async def later() -> None:
            await trio.sleep(0.5 if channel == "a" else 1.5)
            await publish(log, 1, channel)

        nursery.start_soon(later)
        asked = [
            Subscription(name, Cursor("e", 0), allow=lambda event: event.cursor != Cursor("e", 1)) for name in "ab"
        ]
        pages = await hub.pages(asked, 30)
        assert [len(page.events) for page in pages] == [name == channel for name in "ab"]
        assert trio.current_time() < 10


async def test_a_wait_that_is_cancelled_leaves_nothing(autojump_clock: MockClock) -> None:
    async with running(MemoryLog(epoch="e")) as hub:
        with trio.move_on_after(1):
            await hub.pages([Subscription(name) for name in NAMES], 10)
        assert hub.statistics().followers == 0
        assert all(not audience._parked for audience in hub.windows)


async def test_a_channel_that_stands_there_twice_is_read_twice(autojump_clock: MockClock) -> None:
    log = MemoryLog(epoch="e")
    async with running(log) as hub:
        await publish(log, 2, "a")
        pages = await hub.pages([Subscription("a", Cursor("e", after)) for after in (0, 1)], 10)
        assert [[event.offset for event in page.events] for page in pages] == [[1, 2], [2]]
        assert hub.statistics().followers == 0


async def _texts(log: MemoryLog, *texts: str) -> None:
    await log.append("a", [Draft.of(text, key="k", fold="concat") for text in texts])


async def _folded(hub: Hub, polls: int, **options: Any) -> list[Any]:
    """What so many polls are answered that come at once."""
    told: list[Any] = []

    async def poll() -> None:
        (page,) = await hub.pages([Subscription("a", Cursor("e", 0), folds=True, **options)])
        told.append([(event.data, event.folded) for event in page.events])

    async with trio.open_nursery() as nursery:
        for _ in range(polls):
            nursery.start_soon(poll)
    return told


async def test_polls_of_the_same_are_folded_once(autojump_clock: MockClock) -> None:
    log = CountingLog(epoch="e")
    async with running(log) as hub:
        await _texts(log, "one ", "two ", "three")
        await blocked()
        assert await _folded(hub, 64) == [[("one two three", 3)]] * 64
        assert log.reads == 1
        assert hub.replay.statistics().bytes == 0, "nothing is kept when they have their answers"


async def test_each_is_asked_about_what_it_may_see_before_it_is_folded(autojump_clock: MockClock) -> None:
    log = CountingLog(epoch="e")
    async with running(log) as hub:
        await _texts(log, "one ", "two ", "three")
        await blocked()
        told: list[Any] = []

        async def poll(seen: int) -> None:
            told.extend(await _folded(hub, 1, allow=lambda event: event.offset != seen))

        async with trio.open_nursery() as nursery:
            for seen in (1, 3):
                nursery.start_soon(poll, seen)
        assert sorted(told) == [[("one two ", 2)], [("two three", 2)]]


async def test_a_folded_page_that_is_shared_has_what_was_published_before_it_was_asked_for(
    autojump_clock: MockClock,
) -> None:
    log = LateLog(epoch="e")
    async with running(log) as hub:
        await _texts(log, "one ", "two ")
        await blocked()
        told: list[Any] = []

        async def poll(after: float) -> None:
            await trio.sleep(after)
            told.extend(await _folded(hub, 1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll, 0)
            await trio.sleep(0.5)
            await _texts(log, "three")
            nursery.start_soon(poll, 0.1)
            nursery.start_soon(poll, 0.2)
        assert told == [[("one two ", 2)], [("one two three", 3)], [("one two three", 3)]]
