"""A log of one's own that breaks its contract: nobody is sent what it returned, and it is said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
import pytest
import trio
from trio.testing import MockClock

from triolet import Cursor, Draft, Event, Limits, LogError
from triolet.log import MemoryLog, Page

from .doubles import CHANNEL, Client, Sink, blocked, live, publish, running


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
