"""The conformance suite finds what it is for: logs that are wrong in one thing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from itertools import chain

import pytest
import trio

from triolet.errors import NotServingError
from triolet.event import Cursor, Draft, Event
from triolet.log import EventLog, Kept, MemoryLog, Page
from triolet.log.answers import Answers
from triolet.log.jobs import Writes
from triolet.log.tail import Tail
from triolet.testing import check_log
from triolet.testing.log_commands import COMMAND_CHECKS


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


class ClaimsForAll(MemoryLog):
    async def claim(self, key: bytes, print: bytes, holder: bytes, seconds: float) -> Kept | None:
        kept = await super().claim(key, print, holder, seconds)
        return None if kept is not None and kept.answer is None else kept


class ClaimsForEver(MemoryLog):
    async def claim(self, key: bytes, print: bytes, holder: bytes, seconds: float) -> Kept | None:
        return await super().claim(key, print, holder, 1e9)


class DoesNotRenew(MemoryLog):
    async def claim(self, key: bytes, print: bytes, holder: bytes, seconds: float) -> Kept | None:
        claim = self._answers._claims.get(key)
        until = claim and claim.until
        kept = await super().claim(key, print, holder, seconds)
        if claim is not None and until and until > self._clock():
            claim.until = until
        return kept


class AnyoneReleases(MemoryLog):
    async def release(self, key: bytes, holder: bytes) -> None:
        claim = self._answers._claims.get(key)
        await super().release(key, holder if claim is None else claim.holder)


class ReleasesNothing(MemoryLog):
    async def release(self, key: bytes, holder: bytes) -> None:
        await trio.lowlevel.checkpoint()


class AnyoneCommits(MemoryLog):
    async def commit(
        self, key: bytes, holder: bytes, answer: bytes, seconds: float, writes: Writes
    ) -> list[list[Event]] | Kept:
        claim = self._answers._claims.get(key)
        return await super().commit(key, holder if claim is None else claim.holder, answer, seconds, writes)


class CommitsTwice(MemoryLog):
    async def commit(
        self, key: bytes, holder: bytes, answer: bytes, seconds: float, writes: Writes
    ) -> list[list[Event]] | Kept:
        done = await super().commit(key, holder, answer, seconds, writes)
        return done if isinstance(done, Kept) else [await self.append(channel, drafts) for channel, drafts in writes]


class CommitsPieceByPiece(MemoryLog):
    async def commit(
        self, key: bytes, holder: bytes, answer: bytes, seconds: float, writes: Writes
    ) -> list[list[Event]] | Kept:
        held = self._answers.held(key, holder, self._clock())
        if isinstance(held, Kept) or held.events is not None:
            return await super().commit(key, holder, answer, seconds, writes)
        done = []
        for channel, drafts in writes:
            done.append(await self.append(channel, drafts))
            await trio.lowlevel.checkpoint()
        self._answers.settle(key, answer, done, self._clock() + seconds)
        return done


class AnswersFirst(MemoryLog):
    async def commit(
        self, key: bytes, holder: bytes, answer: bytes, seconds: float, writes: Writes
    ) -> list[list[Event]] | Kept:
        done = await super().commit(key, holder, answer, seconds, [(channel, ()) for channel, _ in writes])
        if isinstance(done, Kept):
            return done
        await trio.lowlevel.checkpoint()
        return [await self.append(channel, drafts) for channel, drafts in writes]


class CommitsInSilence(MemoryLog):
    async def commit(
        self, key: bytes, holder: bytes, answer: bytes, seconds: float, writes: Writes
    ) -> list[list[Event]] | Kept:
        tail, self._tail = self._tail, Mute()
        try:
            return await super().commit(key, holder, answer, seconds, writes)
        finally:
            self._tail = tail


class AnswersText(MemoryLog):
    async def commit(
        self, key: bytes, holder: bytes, answer: bytes, seconds: float, writes: Writes
    ) -> list[list[Event]] | Kept:
        return await super().commit(key, holder, answer.decode(errors="replace").encode(), seconds, writes)


class KeepsAnswersForEver(MemoryLog):
    async def commit(
        self, key: bytes, holder: bytes, answer: bytes, seconds: float, writes: Writes
    ) -> list[list[Event]] | Kept:
        return await super().commit(key, holder, answer, 1e9, writes)


class ForgetsAnswersWhenClosed(MemoryLog):
    @asynccontextmanager
    async def open(self) -> AsyncIterator[MemoryLog]:
        async with super().open() as log:
            self._answers = Answers()
            yield log


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
        (ClaimsForAll, "a key that is held by another is running"),
        (ClaimsForEver, "a claim lapses"),
        (DoesNotRenew, "renews the claim"),
        (AnyoneReleases, "only its holder releases"),
        (ReleasesNothing, "is released"),
        (AnyoneCommits, "nor what another holds"),
        (CommitsTwice, "is stored once|repeated, returns|numbered on"),
        (CommitsPieceByPiece, "whole or not at all|in all of its channels"),
        (AnswersFirst, "whole or not at all|in all of its channels|its answer|returns"),
        (CommitsInSilence, "announced once"),
        (AnswersText, "byte for byte"),
        (KeepsAnswersForEver, "then nothing is kept"),
        (ForgetsAnswersWhenClosed, "keeps its answers"),
    ],
)
async def test_a_wrong_log_is_found(wrong: type[MemoryLog], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        await check_log(wrong)


async def test_a_log_without_commands_is_checked_without_them(caplog: pytest.LogCaptureFixture) -> None:
    class Plain(MemoryLog):
        can_commit = property(lambda self: False)
        claim, commit, release = EventLog.claim, EventLog.commit, EventLog.release

    await check_log(Plain)
    told = [record.getMessage() for record in caplog.records if record.name == "triolet.testing"]
    assert len(told) == len(COMMAND_CHECKS)
    assert told[0] == "Plain cannot commit, so apps with it have no commands: _check_claims is left out"


async def test_processes_that_do_not_share_claims_are_found() -> None:
    await check_log(Right, pair=lambda limits, clock: (shared := SharedInPart(limits, clock), shared.other(False)))
    with pytest.raises(AssertionError, match="a claim is every process's"):
        await check_log(Right, pair=lambda limits, clock: (shared := SharedInPart(limits, clock), shared.other(True)))


class SharedInPart(MemoryLog):
    """A log of which another process has a second hold; with ``alone`` each has its own claims."""

    def other(self, alone: bool) -> EventLog:
        second = SharedInPart(self._limits, self._clock, self._epoch)
        second._channels, second._bare_heads, second._tail = self._channels, self._bare_heads, Again(self._tail)
        if not alone:
            second._answers = self._answers
        return second


class Again(Tail):
    """A tail that is another log's."""

    def __init__(self, tail: Tail) -> None:
        super().__init__()
        self._tail = tail

    def check_open(self) -> None:
        self._tail.check_open()

    def announce(self, events: Sequence[Event]) -> None:
        self._tail.announce(events)

    @contextmanager
    def listen(self) -> Iterator[AsyncIterator[Sequence[Event]]]:
        with self._tail.listen() as steps:
            yield steps


async def test_a_log_that_forgets_nothing_is_found() -> None:
    def factory(limits: object, clock: Callable[[], float]) -> EventLog:
        return KeepsEverything(clock)

    with pytest.raises(AssertionError, match="2,000 were kept"):
        await check_log(factory)
