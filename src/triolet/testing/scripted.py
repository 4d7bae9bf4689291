"""A log whose faults are a script: slow, full, unreadable, failing on the third append, overrun, or without its tail.

::

    log = ScriptedLog(MemoryLog(), [failing("append", nth=3)])      # from the beginning
    live = Triolet(app, log=log)
    …
    with log.having(full()):                                        # for a while
        ...
    log.lose(5)                                                     # now

While nothing of it is under way, the log is the one inside, and keeps the contract as that does. All faults but the one
that says so are such as disks and servers have, so an app has to bear them.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, Literal, get_args

import msgspec
import trio

from ..errors import ConfigError, LogAway, LogBroken, LogError, LogFull, LogUncertain
from ..event import Cursor, Draft, Event
from ..log import EventLog, Kept, MemoryLog, Page, Status
from ..log.answers import Claim
from ..log.epoch import draw_epoch

__all__ = ["LogFault", "Operation", "ScriptedLog", "away", "failing", "full", "slow", "unreadable"]

Operation = Literal["open", "append", "read", "claim", "commit", "release"]
"""What a fault is in: ``read`` is also asking for the head, the end or the list of channels; what is in ``append`` is
in ``commit`` and in deleting as well."""

OPERATIONS: Final = get_args(Operation)

REMEMBERED: Final = 100_000
"""Events whose order of storing is known, so that the last of them can be lost."""


@dataclass(frozen=True, slots=True)
class LogFault:
    """What is wrong with some calls.

    Attributes:
        on: which kind of call.
        nth: which of them, counted from 1 since the fault began: one, several (a range), or all.
        channel: only calls for this channel count and suffer; commits, if it is one of theirs.
        before: seconds from the call until the log does it. Those of a cancelled call are over.
        after: seconds from then until the caller is told. A call that is cancelled meanwhile was done all the same.
        error: what is raised, instead of doing it.
        stored: the call is done all the same, and its caller is told the error: so it is when the connection to a
            server breaks within a call. The error then promises nothing.
    """

    on: Operation
    nth: int | range | None = None
    channel: str | None = None
    before: float = 0.0
    after: float = 0.0
    error: type[LogError] | None = None
    stored: bool = False

    def __post_init__(self) -> None:
        first = min(self.nth, default=0) if isinstance(self.nth, range) else 1 if self.nth is None else self.nth
        if self.on not in OPERATIONS or first < 1 or min(self.before, self.after) < 0:
            raise ValueError(f"this would never happen: {self}")

    def meets(self, count: int) -> bool:
        """Whether the call of this number suffers."""
        return self.nth is None or (count == self.nth if isinstance(self.nth, int) else count in self.nth)


def slow(on: Operation, before: float, after: float = 0.0) -> LogFault:
    """Take time: so many seconds until it is done, so many more until the caller is told. Calls wait side by side, as
    with a server far away; what they find is of when it is done."""
    return LogFault(on, before=before, after=after)


def full() -> LogFault:
    """Store nothing, for there is no room; what is there can be read."""
    return LogFault("append", error=LogFull)


def unreadable() -> LogFault:
    """Find that what is stored is damaged. Appending goes on, as it does to a file with a bad sector."""
    return LogFault("read", error=LogBroken)


def away(patience: float = 1.0) -> tuple[LogFault, ...]:
    """Be out of reach, as a server can: each call waits so many seconds and fails, surely without having been done. The
    log says that it is stale meanwhile. For ``with log.having(*away()):``."""
    calls: tuple[Operation, ...] = ("append", "read", "claim", "release")
    return tuple(LogFault(on, before=patience, error=LogAway) for on in calls)


def failing(
    on: Operation, nth: int | range | None = None, *, stored: bool = False, error: type[LogError] | None = None
) -> LogFault:
    """Raise an error: LogError, where no other is given.

    Args:
        on, nth: which calls.
        stored: the call is done before; its caller cannot know, and is told so by LogUncertain.
        error: raised instead.
    """
    return LogFault(on, nth, error=error or (LogUncertain if stored else LogError), stored=stored)


@dataclass(slots=True)
class _Underway:
    """A fault, and how many calls it has counted."""

    fault: LogFault
    count: int = 0


class ScriptedLog(EventLog):
    """A log around another, with faults that begin and end when they are told to.

    Args:
        inner: what stores. Only a MemoryLog can :meth:`lose` its tail.
        script: faults from the beginning on; their calls are counted over the whole life of this object.

    Bounds: those of ``inner``, and the order of the last 100,000 events.
    """

    patience = math.inf

    def __init__(self, inner: EventLog, script: Sequence[LogFault] = ()) -> None:
        self.inner = inner
        self._underway = [_Underway(fault) for fault in script]
        self._listeners: list[_Listener] = []
        self._order: deque[str] = deque(maxlen=REMEMBERED)
        self._heads: dict[str, int] = {}

    @contextmanager
    def having(self, *faults: LogFault) -> Iterator[None]:
        """Let these faults be under way for the time of a ``with`` block. Calls are counted from its beginning."""
        mine = [_Underway(fault) for fault in faults]
        self._underway += mine
        try:
            yield
        finally:
            self._underway = [one for one in self._underway if not any(one is own for own in mine)]

    # --- faults that are a moment

    def overrun(self, events: int) -> None:
        """Let every listener of :meth:`tail` lose so many events, the oldest, of its next step; an empty step tells it
        so, before what is left. It is what comes of a hub that was busy for too long."""
        for listener in self._listeners:
            listener.overrun(events)

    def lose(self, events: int, *, lies: bool = False) -> None:
        """Lose what was stored last, over all channels: a file system that had not written it before the power went, or
        a replica that had not received it before it was promoted. What was announced cannot be called back.

        Between two openings, or while it is open. It begins a new epoch then, and tells its listeners, by an empty
        step, that something was lost.

        Args:
            events: how many.
            lies: break the contract: the epoch stays, the same offsets are given again to other events, and nobody is
                told. What comes of it is what epochs are for.

        Raises:
            ConfigError: ``inner`` is no MemoryLog.
        """
        if not isinstance(self.inner, MemoryLog):
            raise ConfigError("only a MemoryLog can be made to lose its tail: give ScriptedLog(MemoryLog(…))")
        lost = Counter(self._order.pop() for _ in range(min(events, len(self._order))))
        _cut_off(self.inner, lost)
        for channel, count in lost.items():
            self._heads[channel] -= count
        if not lies:
            over = _begin_epoch(self.inner)
            for listener in self._listeners:
                listener.begin_again(over)

    # --- the contract

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ScriptedLog]:
        """Open the log. See EventLog."""
        fault = await self._meet("open")
        async with self.inner.open():
            await _come_back(fault)
            yield self

    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        """Store drafts in order. See EventLog."""
        fault = await self._meet("append", channel)
        events = await self.inner.append(channel, drafts)
        self._note(channel, events)  # before anything is awaited, so that the order is that of storing
        await _come_back(fault)
        return events

    @property
    def can_commit(self) -> bool:
        """Whether the log inside can. See EventLog."""
        return self.inner.can_commit

    async def claim(self, key: bytes, print: bytes, holder: bytes, seconds: float) -> Kept | None:
        """Begin what is to happen once. See EventLog."""
        fault = await self._meet("claim")
        kept = await self.inner.claim(key, print, holder, seconds)
        await _come_back(fault)
        return kept

    async def commit(
        self, key: bytes, holder: bytes, answer: bytes, seconds: float, writes: Sequence[tuple[str, Sequence[Draft]]]
    ) -> list[list[Event]] | Kept:
        """Store events and an answer together. See EventLog."""
        fault = await self._meet("commit", *[channel for channel, _ in writes])
        done = await self.inner.commit(key, holder, answer, seconds, writes)
        if not isinstance(done, Kept):
            for events in filter(None, done):
                self._note(events[0].channel, events)
        await _come_back(fault)
        return done

    async def release(self, key: bytes, holder: bytes) -> None:
        """Give a claim back. See EventLog."""
        fault = await self._meet("release")
        await self.inner.release(key, holder)
        await _come_back(fault)

    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        """Return the events after a cursor. See EventLog."""
        fault = await self._meet("read", channel)
        page = await self.inner.read(channel, after, limit=limit, max_bytes=max_bytes)
        await _come_back(fault)
        return page

    async def head(self, channel: str) -> Cursor:
        """Return the cursor of the newest event. See EventLog."""
        fault = await self._meet("read", channel)
        head = await self.inner.head(channel)
        await _come_back(fault)
        return head

    @property
    def can_end(self) -> bool:
        """Whether the log inside can. See EventLog."""
        return self.inner.can_end

    async def status(self, channel: str) -> Status:
        """Return how far a channel has come, and whether it has ended. See EventLog."""
        fault = await self._meet("read", channel)
        status = await self.inner.status(channel)
        await _come_back(fault)
        return status

    async def delete(self, channel: str) -> Event:
        """Forget all events of a channel. See EventLog."""
        fault = await self._meet("append", channel)
        event = await self.inner.delete(channel)
        self._note(channel, [event])
        await _come_back(fault)
        return event

    async def channels(self, prefix: str = "", after: str = "", limit: int = 1_000) -> list[str]:
        """Return the names of channels. See EventLog."""
        fault = await self._meet("read")
        names = await self.inner.channels(prefix, after, limit)
        await _come_back(fault)
        return names

    @contextmanager
    def tail(self) -> Iterator[AsyncIterator[Sequence[Event]]]:
        """Listen to what is appended from now on. See EventLog."""
        with self.inner.tail() as steps:
            listener = _Listener(steps)
            self._listeners.append(listener)
            try:
                yield listener
            finally:
                self._listeners.remove(listener)

    @property
    def stale(self) -> bool:
        """Whether the log is away. See EventLog."""
        return self.inner.stale or any(one.fault.error is LogAway for one in self._underway)

    def _note(self, channel: str, events: Sequence[Event]) -> None:
        """Remember whose events were stored, and when; repeats were stored before."""
        if events:
            known = self._heads.get(channel, min(event.offset for event in events) - 1)
            self._heads[channel] = newest = max(known, *(event.offset for event in events))
            self._order.extend([channel] * (newest - known))

    async def _meet(self, on: Operation, *channels: str) -> LogFault:
        """Suffer what comes before a call is done. Return what comes after, or raise."""
        met = LogFault(on)
        kinds = ("commit", "append") if on == "commit" else (on,)
        for one in self._underway:
            if one.fault.on in kinds and one.fault.channel in (None, *channels):
                one.count += 1
                if one.fault.meets(one.count):
                    met = _both(met, one.fault)
        if met.before:
            await trio.sleep(met.before)
        if met.error is not None and not met.stored:
            await trio.lowlevel.checkpoint()
            raise met.error(f"the log's script fails this {on}: nothing was done")
        return met


def _both(one: LogFault, other: LogFault) -> LogFault:
    """Two faults in one call: their times add up, and the first error is it."""
    first = one if one.error is not None else other
    before, after = one.before + other.before, one.after + other.after
    return replace(one, before=before, after=after, error=first.error, stored=first.stored)


async def _come_back(fault: LogFault) -> None:
    if fault.after:
        await trio.sleep(fault.after)
    if fault.error is not None:
        raise fault.error(f"the log's script fails this {fault.on}: it may have been done")


class _Listener(AsyncIterator[Sequence[Event]]):
    """What one listener hears, and what it has lost."""

    def __init__(self, steps: AsyncIterator[Sequence[Event]]) -> None:
        self._steps = steps
        self._lost = False
        self._dropping = 0
        self._left: Sequence[Event] = ()
        self._over: set[str] = set()
        self._waiting = trio.CancelScope()

    def overrun(self, events: int) -> None:
        self._dropping += events

    def begin_again(self, over: str) -> None:
        """An epoch is over: what of it waits is not heard any more, for whoever is told reads the log."""
        self._over.add(over)
        self._lost, self._left = True, ()
        self._waiting.cancel()

    async def __anext__(self) -> Sequence[Event]:
        """Cancellation: nothing is lost, as the log inside promises it."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._lost and not self._left:
            with trio.CancelScope() as self._waiting:
                events = await anext(self._steps)
                if not events:
                    return events
                # Dropped and told in one, for who is told asks the log what has become of it up to then.
                self._lost = self._lost or self._dropping > 0
                left, self._dropping = events[self._dropping :], 0
                self._left = [event for event in left if event.cursor.epoch not in self._over] if self._over else left
        await trio.lowlevel.cancel_shielded_checkpoint()
        if self._lost:
            self._lost = False
            return ()
        taken, self._left = self._left, ()
        return taken


def _cut_off(log: MemoryLog, counts: Counter[str]) -> None:
    """Take the newest events out of a log, so many of each channel. Some may have expired already."""
    for channel, count in counts.items():
        kept = log._channels.get(channel)
        if kept is None:
            log._bare_heads[channel] -= count
            continue
        kept.head -= count
        while kept._events and kept._events[-1].offset > kept.head:
            kept._bytes -= len(kept._events.pop().json)
        kept._dead = min(kept._dead, len(kept._events))
        dedupes: dict[str, Event] = kept._dedupe or {}
        for dedupe in [name for name, event in dedupes.items() if event.offset > kept.head]:
            del dedupes[dedupe]
    # What was stored together is lost together. A claim of which nothing is stored lapses by itself.
    for key, claim in list(log._answers._claims.items()):
        if any(event.offset > log._head(event.channel, log._channels.get(event.channel)) for event in _of(claim)):
            log._answers._drop(key)


def _begin_epoch(log: MemoryLog) -> str:
    """Let a log go on under another epoch. Return the one that is over."""
    over, log._epoch = log._epoch, draw_epoch()

    def moved(event: Event) -> Event:
        return msgspec.structs.replace(event, cursor=Cursor(log._epoch, event.offset))

    for kept in log._channels.values():
        kept._events[:] = map(moved, kept._events)
        if kept._dedupe:
            kept._dedupe.update({dedupe: moved(event) for dedupe, event in kept._dedupe.items()})
    for claim in log._answers:
        if claim.events is not None:
            claim.events = [list(map(moved, events)) for events in claim.events]
    return over


def _of(claim: Claim) -> Iterator[Event]:
    """The events that were stored with an answer."""
    return chain.from_iterable(claim.events or ())
