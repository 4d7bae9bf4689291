"""A log of one's own that breaks its contract: nobody is sent what it returned, and it is said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from triolet import Cursor, Draft, Event, Gap, Limits, LogError
from triolet.log import MemoryLog, Page
from triolet.testing import ScriptedLog

from .doubles import CHANNEL, Client, HandTailLog, Sink, blocked, live, publish, running


class Wrong(MemoryLog):
    def __init__(self, change: Callable[[list[Event]], list[Event]]) -> None:
        super().__init__()
        self._change = change

    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        page = await super().read(channel, after, limit=limit, max_bytes=max_bytes)
        return msgspec.structs.replace(page, events=tuple(self._change(list(page.events))))


WRONG: dict[str, Callable[[list[Event]], list[Event]]] = {
    "a hole": lambda events: events[:1] + events[2:],
    "reversed": lambda events: events[::-1],
    "repeated": lambda events: events[:1] + events,
    "empty": lambda events: [],
}


@pytest.mark.parametrize("name", WRONG)
async def test_no_client_is_sent_a_page_that_breaks_the_contract(name: str, caplog: pytest.LogCaptureFixture) -> None:
    log = Wrong(WRONG[name])
    async with running(log) as hub:
        await publish(log, 5)
        await blocked()  # the tail's are passed over: nobody has a window yet
        client = await Client(hub, Sink()).follow(Cursor("", 1))
        with pytest.raises(LogError, match="breaks its contract"):
            await client.read_on()
        assert client.seen == []
        with pytest.raises(LogError, match="breaks its contract"):
            await hub.page(CHANNEL, Cursor("", 1))
    assert "Wrong.read(): the log breaks its contract" in caplog.text


class Deaf(MemoryLog):
    @contextmanager
    def tail(self) -> Iterator[AsyncIterator[Sequence[Event]]]:
        with super().tail() as steps:
            yield self._one(steps)

    async def _one(self, steps: AsyncIterator[Sequence[Event]]) -> AsyncIterator[Sequence[Event]]:
        yield await anext(steps)


async def test_a_tail_that_just_ends_is_said_and_listened_to_again_and_nobody_misses_an_event(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    log = Deaf()
    async with running(log) as hub:
        (client,) = await live(hub)
        for count in range(3):
            await publish(log, 2)
            await trio.sleep(60)
            assert hub.stale
            await client.read_on()
            assert client.seen == list(range(1, 2 * count + 3))
    assert caplog.text.count("Deaf.tail() failed, and is listened to again") == 3


async def test_a_follow_of_the_newest_events_that_the_log_cannot_find_leaves_nothing_behind() -> None:
    log = Wrong(lambda events: events[::-1] * 2)
    async with running(log, Limits(window_events=1)) as hub:
        await publish(log, 5)
        with pytest.raises(LogError, match="breaks its contract"):
            await Client(hub, Sink()).follow(Cursor("", -3))
        assert hub.statistics().followers == 0


class Forging(MemoryLog):
    """Its tail tells of an event as nobody has published it."""

    @contextmanager
    def tail(self) -> Iterator[AsyncIterator[Sequence[Event]]]:
        with super().tail() as steps:
            yield self._forged(steps)

    async def _forged(self, steps: AsyncIterator[Sequence[Event]]) -> AsyncIterator[Sequence[Event]]:
        async for step in steps:
            yield [msgspec.structs.replace(event, name="a\nevent: triolet.bye") for event in step]


async def test_what_a_tail_forges_reaches_nobody_and_what_is_in_the_log_does(caplog: pytest.LogCaptureFixture) -> None:
    log = Forging()
    async with running(log) as hub:
        client = await Client(hub, Sink()).follow(Cursor("", 0))
        await publish(log, 3)
        await blocked()
        await client.read_on()
        assert client.seen == [1, 2, 3]
        assert b"triolet.bye" not in client.sink.taken
    assert "the tail of Forging tells of what no event can be" in caplog.text


class Forgetful(MemoryLog):
    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        await super().append(channel, drafts)
        return []


async def test_an_append_that_does_not_return_its_events_is_the_stores_fault() -> None:
    async with running(Forgetful()) as hub:
        with pytest.raises(LogError, match=r"Forgetful.append\(\) returned 0 events for 1 drafts"):
            await hub.publish(CHANNEL, [Draft.of(1)])


def told_future(gaps: list[Gap]) -> list[tuple[int, int, str]]:
    return [(gap.after.offset, gap.to.offset, gap.reason) for gap in gaps]


async def test_numbers_that_an_overrun_finds_gone_back_are_a_gap() -> None:
    log = ScriptedLog(MemoryLog())
    async with running(log) as hub:
        (client,) = await live(hub)
        await publish(log, 5)
        await blocked()
        log.lose(2, lies=True)
        log.overrun(1)
        await publish(log, 1, channel="another")
        await blocked()
        assert told_future(await client.read_on()) == [(5, 3, "future")]
        await publish(log)
        await blocked()
        assert client.live
        assert client.seen == [1, 2, 3, 4, 5, 4]


async def test_another_event_under_a_number_that_was_told_is_a_gap(caplog: pytest.LogCaptureFixture) -> None:
    log = ScriptedLog(MemoryLog())
    async with running(log) as hub:
        (client,) = await live(hub)
        await publish(log, 5)
        await blocked()
        log.lose(3, lies=True)
        await log.append(CHANNEL, [Draft.of("another")])
        await blocked()
        assert told_future(await client.read_on()) == [(5, 3, "future")]
        assert client.live
    assert "the log stands at" in caplog.text


async def test_a_log_that_is_behind_its_own_tail_leaves_nobody_silent() -> None:
    """One that reads from a replica, or has lost its newest: who is behind and finds nothing there waits for a round
    that begins where it does."""
    log = ScriptedLog(MemoryLog())
    async with running(log, Limits(window_events=1)) as hub:
        (seen,) = await live(hub)
        await publish(log, 5)
        await blocked()
        await seen.read_on()
        assert seen.live
        log.lose(1, lies=True)
        late = await Client(hub, Sink()).follow(Cursor("", 2))
        assert await late.read_on() == []
        assert told_future(await seen.read_on()) == [(5, 4, "future")]
        assert late.seen == [3, 4]
        await publish(log)
        await blocked()
        assert late.seen == [3, 4, 5]
        assert seen.seen[-1] == 5
        assert seen.live
        assert late.live


async def test_a_poll_that_waits_hears_what_comes_under_a_number_that_was_told() -> None:
    log = ScriptedLog(MemoryLog())
    async with running(log) as hub, trio.open_nursery() as nursery:
        await hub.page(CHANNEL, None)
        await publish(log, 5)
        await blocked()
        page = await hub.page(CHANNEL, Cursor("", 0))
        polled: list[Any] = []

        async def poll() -> None:
            polled.append(await hub.page(CHANNEL, page.end, 10))

        nursery.start_soon(poll)
        await blocked()
        log.lose(2, lies=True)
        await publish(log)
        await blocked()
        assert polled[0].gap.reason == "future"


async def test_an_event_that_a_tail_tells_twice_is_sent_once() -> None:
    log = HandTailLog()
    async with running(log) as hub:
        (client,) = await live(hub)
        events = await publish(log, 2)
        for _ in range(3):
            await log.tell(*events)
        assert client.live
        assert client.seen == [1, 2]
