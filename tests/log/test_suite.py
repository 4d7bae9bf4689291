"""The conformance suite finds what it is for: logs that are wrong in one thing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from itertools import chain

import pytest
import trio

from triolet.errors import NotServingError
from triolet.event import Cursor, Draft, Event
from triolet.log import EventLog, MemoryLog, Page
from triolet.log.tail import Tail
from triolet.testing import check_log


class Right(MemoryLog):
    """Nothing is wrong with it."""


class NumbersFromZero(MemoryLog):
    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        page = await super().read(channel, after, limit=limit, max_bytes=max_bytes)
        events = [_moved(event, -1) for event in page.events]
        return Page(tuple(events), page.gap, page.head)


class SkipsInSilence(MemoryLog):
    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        page = await super().read(channel, after, limit=limit, max_bytes=max_bytes)
        return Page(page.events, None, page.head)


class CutsNoPage(MemoryLog):
    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        return await super().read(channel, after, limit=limit, max_bytes=1 << 40)


class GivesNothingOfTheLarge(MemoryLog):
    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        page = await super().read(channel, after, limit=limit, max_bytes=max_bytes)
        fits = sum(len(event.json) for event in page.events) <= max_bytes
        return page if fits else Page((), page.gap, page.head)


class ForgetsTheHead(MemoryLog):
    async def head(self, channel: str) -> Cursor:
        head = await super().head(channel)
        page = await super().read(channel, Cursor("", 0), limit=1, max_bytes=1)
        return head if page.events else Cursor(head.epoch, 0)


class IgnoresDedupe(MemoryLog):
    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        return await super().append(channel, [Draft(d.json, d.name, d.key) for d in drafts])


class ParsesTheData(MemoryLog):
    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        return await super().append(channel, [Draft(b"".join(d.json.split()), d.name, d.key, d.dedupe) for d in drafts])


class FoldsNames(MemoryLog):
    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        return await super().append(channel.lower(), drafts)


class IsSplitByCancellation(MemoryLog):
    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        stored = []
        for draft in drafts:
            stored.append(await super().append(channel, [draft]))
            await trio.lowlevel.checkpoint()
        return list(chain.from_iterable(stored))


class AnnouncesNothingWhenCancelled(MemoryLog):
    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        tail, self._tail = self._tail, Mute()
        try:
            events = await super().append(channel, drafts)
        finally:
            self._tail = tail
        await trio.lowlevel.checkpoint()
        self._tail.announce(events)
        return events


class Mute(Tail):
    def check_open(self) -> None:
        pass

    def announce(self, events: Sequence[Event]) -> None:
        pass


class TailsBackwards(MemoryLog):
    @contextmanager
    def tail(self) -> Iterator[AsyncIterator[Sequence[Event]]]:
        with super().tail() as tail:
            yield Backwards(tail)


class Backwards(AsyncIterator[Sequence[Event]]):
    def __init__(self, tail: AsyncIterator[Sequence[Event]]) -> None:
        self._tail = tail

    async def __anext__(self) -> Sequence[Event]:
        return (await anext(self._tail))[::-1]


class ServesWhenClosed(MemoryLog):
    def tail(self) -> AbstractContextManager[AsyncIterator[Sequence[Event]]]:
        try:
            return super().tail()
        except NotServingError:
            return TailsBackwards().tail()

    async def head(self, channel: str) -> Cursor:
        try:
            return await super().head(channel)
        except NotServingError:
            return Cursor("e", 0)


class IsEmptyWhenOpenedAgain(MemoryLog):
    @asynccontextmanager
    async def open(self) -> AsyncIterator[MemoryLog]:
        async with super().open() as log:
            self._channels.clear()
            self._bare_heads.clear()
            yield log


class KeepsEverything(MemoryLog):
    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(None, clock)


def _moved(event: Event, by: int) -> Event:
    cursor = Cursor(event.cursor.epoch, event.offset + by)
    return Event(cursor, event.channel, event.name, event.json, event.key, event.published_at)


async def test_a_right_log_passes() -> None:
    await check_log(Right)


@pytest.mark.parametrize(
    ("wrong", "promise"),
    [
        (NumbersFromZero, "what is read is what append returned"),
        (SkipsInSilence, "a gap"),
        (CutsNoPage, "holds what fits"),
        (GivesNothingOfTheLarge, "at least one event"),
        (ForgetsTheHead, "the head stays"),
        (IgnoresDedupe, "a repeated dedupe returns the first event"),
        (ParsesTheData, "byte for byte"),
        (FoldsNames, "names of channels stay|what append returned"),
        (IsSplitByCancellation, "whole or not at all"),
        (AnnouncesNothingWhenCancelled, "order of the offsets|is announced"),
        (TailsBackwards, "a listener hears what append returns"),
        (ServesWhenClosed, "not open"),
        (IsEmptyWhenOpenedAgain, "has kept everything"),
    ],
)
async def test_a_wrong_log_is_found(wrong: type[MemoryLog], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        await check_log(wrong)


async def test_a_log_that_forgets_nothing_is_found() -> None:
    def factory(limits: object, clock: Callable[[], float]) -> EventLog:
        return KeepsEverything(clock)

    with pytest.raises(AssertionError, match="2,000 were kept"):
        await check_log(factory)
