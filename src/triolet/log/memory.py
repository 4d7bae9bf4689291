"""The log in memory: as fast as a log can be, and gone with its process."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager

import trio

from ..bounds import MEMORY_APPENDS_IN_A_ROW, MEMORY_SWEEP_CHANNELS, MEMORY_SWEEPS
from ..clock import wall_time
from ..errors import ChannelEnded
from ..event import DELETED, END, Cursor, Draft, Event
from ..limits import Limits, Retention
from .answers import Answers
from .contract import EventLog, Kept, Page, Status, check_order, check_repeated, resume
from .epoch import draw_epoch
from .tail import Tail

__all__ = ["MemoryLog"]


class MemoryLog(EventLog):
    """Keeps every channel in this process's memory.

    **What an acknowledgement means**: when ``append`` returns, the event is in memory and on its way to
    every follower of this process. It survives neither the end of the process nor a crash; other processes
    do not see it. Each MemoryLog draws an epoch of its own, so a client that comes back to a restarted
    server is told by a gap that the log was begun again.

    Use it for tests, for demos, and where the newest state can be published anew after a restart.

    Args:
        limits: ``keep_events``, ``keep_bytes`` and ``keep_seconds`` apply to each channel, or what ``keep`` says of it.
            Of the bytes, those of the data count; the newest event stays whatever its size.
        clock: what time it is, in seconds since 1970. Tests give one that they can set.
        epoch: fixed in tests; drawn at random otherwise.

    Bounds: retention, for each channel. A channel of which nothing is kept costs its name and a number. Answers of
    :meth:`commit`, with the events that were stored with them: 256 MiB; then :meth:`claim` raises LogFull.
    """

    patience = math.inf

    def __init__(
        self, limits: Limits | None = None, clock: Callable[[], float] = wall_time, epoch: str | None = None
    ) -> None:
        self._limits = limits or Limits()
        self._clock = clock
        self._epoch = epoch or draw_epoch()
        self._channels: dict[str, _Channel] = {}
        self._bare_heads: dict[str, int] = {}
        self._deleted: dict[str, int] = {}  # at which offset, by channel
        self._answers = Answers()
        self._tail = Tail()
        self._turns = MEMORY_APPENDS_IN_A_ROW
        self._unswept: list[str] = []
        self._next_sweep = clock() + self._limits.shortest_seconds / MEMORY_SWEEPS

    @asynccontextmanager
    async def open(self) -> AsyncIterator[MemoryLog]:
        """Open the log for the time of a block. Its events stay between two openings of the same object."""
        with self._tail.opened():
            yield self

    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        """Store drafts in order and return them as events. See EventLog.

        It notices a cancellation each time, and gives way to other tasks at every 64th call.

        Cancellation: nothing was stored.
        """
        await self._turn(len(drafts))
        if not drafts:
            return []
        # Nothing below awaits: stored, expired and announced in one step, which no cancellation can split.
        check_order([(channel, drafts)])
        self._check_goes_on(channel, drafts)
        events, new = self._store(channel, drafts, self._clock())
        self._tail.announce(new)
        return events

    async def claim(self, key: bytes, print: bytes, holder: bytes, seconds: float) -> Kept | None:
        """Begin what is to happen once. See EventLog.

        Raises:
            LogFull: so many answers are kept that there is no room for another.

        Cancellation: it is not held.
        """
        await self._turn(1)
        return self._answers.claim(key, print, holder, seconds, self._clock())

    async def commit(
        self, key: bytes, holder: bytes, answer: bytes, seconds: float, writes: Sequence[tuple[str, Sequence[Draft]]]
    ) -> list[list[Event]] | Kept:
        """Store events of any channels, and the answer, in one step. See EventLog.

        Cancellation: nothing was stored.
        """
        await self._turn(sum([len(drafts) for _, drafts in writes]))
        now = self._clock()
        claim = self._answers.held(key, holder, now)
        if isinstance(claim, Kept):
            return claim
        if claim.events is not None:
            check_repeated(writes, [len(events) for events in claim.events])
            return [list(events) for events in claim.events]
        # Nothing here awaits, as in `append`.
        check_order(writes)
        for channel, drafts in writes:
            self._check_goes_on(channel, drafts)
        stored = [self._store(channel, drafts, now) for channel, drafts in writes]
        self._answers.settle(key, answer, [tuple(events) for events, _ in stored], now + seconds)
        self._tail.announce([event for _, new in stored for event in new])
        return [events for events, _ in stored]

    async def release(self, key: bytes, holder: bytes) -> None:
        """Give a claim back. See EventLog.

        Cancellation: it is still held.
        """
        await self._turn(1)
        self._answers.release(key, holder)

    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        """Return the events after a cursor. See EventLog."""
        self._tail.check_open()
        await trio.lowlevel.checkpoint()
        self._tail.check_open()
        kept = self._fresh(channel)
        head = self._head(channel, kept)
        oldest = kept.oldest if kept is not None else head + 1
        position, gap = resume(after, self._epoch, oldest, head)
        events = kept.page(position, limit, max_bytes) if kept is not None and position < head else ()
        return Page(events, gap, Cursor(self._epoch, head))

    async def head(self, channel: str) -> Cursor:
        """Return the cursor of the newest event. See EventLog."""
        return (await self.status(channel)).head

    async def status(self, channel: str) -> Status:
        """Return how far a channel has come, and whether it has ended. See EventLog."""
        self._tail.check_open()
        await trio.lowlevel.checkpoint()
        self._tail.check_open()
        kept, deleted = self._fresh(channel), self._deleted.get(channel)
        head, end = Cursor(self._epoch, self._head(channel, kept)), None if kept is None else kept.end
        return Status(head, end, None if deleted is None else Cursor(self._epoch, deleted))

    async def delete(self, channel: str) -> Event:
        """Forget all events of a channel. See EventLog.

        Cancellation: nothing was deleted.
        """
        await self._turn(1)
        head = self._head(channel, self._channels.get(channel))
        kept = self._channels[channel] = _Channel(head, self._limits.kept(channel))
        self._bare_heads.pop(channel, None)
        event = kept.bury(self._epoch, channel, self._clock())
        self._deleted[channel] = event.offset
        self._tail.announce([event])
        return event

    async def channels(self, prefix: str = "", after: str = "", limit: int = 1_000) -> list[str]:
        """Return the names of channels of which an event is kept. See EventLog."""
        self._tail.check_open()
        await trio.lowlevel.checkpoint()
        self._tail.check_open()
        names = [name for name in self._channels if name.startswith(prefix) and name > after]
        found: list[str] = []
        for name in sorted(names):
            if len(found) == limit:
                break
            if self._fresh(name) is not None:
                found.append(name)
        return found

    def tail(self) -> AbstractContextManager[AsyncIterator[Sequence[Event]]]:
        """Listen to what is appended from now on. See EventLog, and Tail for the bounds."""
        return self._tail.listen()

    async def _turn(self, drafts: int) -> None:
        """Notice a cancellation, and after some drafts let the other tasks have their turn."""
        self._tail.check_open()
        self._turns -= max(1, drafts)
        if self._turns > 0:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._turns = MEMORY_APPENDS_IN_A_ROW
            await trio.lowlevel.checkpoint()
        self._tail.check_open()

    def _store(self, channel: str, drafts: Sequence[Draft], now: float) -> tuple[list[Event], Sequence[Event]]:
        """Store drafts. Return their events, and those of them that are new."""
        if not drafts:
            return [], ()
        kept = self._channels.get(channel)
        if kept is None:
            kept = self._channels[channel] = _Channel(self._bare_heads.pop(channel, 0), self._limits.kept(channel))
        before = kept.head
        events = kept.add(self._epoch, channel, drafts, now)
        kept.expire(now)
        if now >= self._next_sweep:
            self._sweep(now)
        return events, events if kept.head - before == len(events) else _newer(events, before)

    def _check_goes_on(self, channel: str, drafts: Sequence[Draft]) -> None:
        kept = self._channels.get(channel)
        if kept is not None and kept.has_ended and not kept.knows(drafts):
            raise ChannelEnded(channel)

    def _head(self, channel: str, kept: _Channel | None) -> int:
        return kept.head if kept is not None else self._bare_heads.get(channel, 0)

    def _fresh(self, channel: str) -> _Channel | None:
        """Return a channel without what is past its age, or None if nothing of it is kept."""
        kept = self._channels.get(channel)
        if kept is not None and not kept.expire(self._clock()):
            self._bare_heads[channel] = self._channels.pop(channel).head
            return None
        return kept

    def _sweep(self, now: float) -> None:
        """Take one step through all channels, to drop what is past its age also where no one reads or appends."""
        # A step and not a pass: with many channels a pass would hold up all other tasks. A copy of the names, because
        # channels come and go between two steps.
        if not self._unswept:
            self._unswept = list(self._channels)
        for channel in self._unswept[-MEMORY_SWEEP_CHANNELS:]:
            self._fresh(channel)
        del self._unswept[-MEMORY_SWEEP_CHANNELS:]
        if not self._unswept:
            self._next_sweep = now + self._limits.shortest_seconds / MEMORY_SWEEPS


class _Channel:
    """The events that are kept of one channel, in a list whose first ``_dead`` places are expired and not yet cut off.

    A list, not a deque: a page is a slice, and one event costs 64 bytes of list instead of 760 of deque.
    """

    __slots__ = ("_bytes", "_dead", "_dedupe", "_events", "_keep", "has_ended", "head")

    def __init__(self, head: int, keep: Retention) -> None:
        self.head = head
        self.has_ended = False
        self._keep = keep
        self._events: list[Event] = []
        self._dead = 0
        self._bytes = 0
        self._dedupe: OrderedDict[str, Event] | None = None

    @property
    def oldest(self) -> int:
        return self.head - len(self._events) + self._dead + 1

    @property
    def end(self) -> Event | None:
        """The event that has ended it, or deleted what was before; None where there is none."""
        return self._events[-1] if self._events and self._events[-1].ends else None

    def knows(self, drafts: Sequence[Draft]) -> bool:
        """Whether all drafts are repeats."""
        return self._dedupe is not None and all(draft.dedupe in self._dedupe for draft in drafts)

    def add(self, epoch: str, channel: str, drafts: Sequence[Draft], now: float) -> list[Event]:
        """Give the drafts their places, and return their events; for a repeated ``dedupe``, the first event again."""
        if self.end is not None and not self.has_ended:  # it was deleted, and begins anew
            self._events.clear()
            self._dead = self._bytes = 0
        added = []
        for draft in drafts:
            dedupe = draft.dedupe
            if dedupe is not None:
                if self._dedupe is None:
                    self._dedupe = OrderedDict()
                first = self._dedupe.get(dedupe)
                if first is not None:
                    added.append(first)
                    continue
            self.head += 1
            event = Event(Cursor(epoch, self.head), channel, draft.name, draft.json, draft.key, now, draft.fold)
            self._events.append(event)
            self._bytes += len(draft.json)
            self.has_ended = draft.name == END
            if dedupe is not None and self._dedupe is not None:
                self._dedupe[dedupe] = event
            added.append(event)
        return added

    def bury(self, epoch: str, channel: str, now: float) -> Event:
        """Put the event here that stands for what was deleted, of a channel that holds nothing else."""
        self.head += 1
        event = Event(Cursor(epoch, self.head), channel, END, DELETED, None, now)
        self._events.append(event)
        self._bytes += len(DELETED)
        return event

    def expire(self, now: float) -> int:
        """Drop what is no longer to be kept, oldest first, but never an end. Return how many events are left."""
        events, keep = self._events, self._keep
        dead, count = self._dead, len(self._events)
        last = count - self.has_ended
        too_old = now - keep.seconds
        while dead < last and (
            count - dead > keep.events
            or events[dead].published_at < too_old
            or (self._bytes > keep.bytes and count - dead > 1)
        ):
            self._bytes -= len(events[dead].json)
            dead += 1
        if dead != self._dead:
            self._forget(dead)
        return len(self._events) - self._dead

    def _forget(self, dead: int) -> None:
        """Cut the expired places off once they are an eighth of the list: few others are moved for each append."""
        if self._dedupe:
            oldest = self._events[0].offset + dead
            # Both are in the order of offsets: the first that is kept ends the search.
            while self._dedupe and next(iter(self._dedupe.values())).offset < oldest:
                self._dedupe.popitem(last=False)
        if dead * 8 >= len(self._events):
            del self._events[:dead]
            dead = 0
        self._dead = dead

    def page(self, position: int, limit: int, max_bytes: int) -> tuple[Event, ...]:
        """Return the events after an offset, which must not be before the oldest kept."""
        start = len(self._events) - (self.head - position)
        events = self._events[start : start + limit]
        if self._bytes > max_bytes:  # else no page can be too large, and nothing need be added up
            size = 0
            for count, event in enumerate(events):
                size += len(event.json)
                if size > max_bytes:
                    return tuple(events[: max(count, 1)])
        return tuple(events)


def _newer(events: Sequence[Event], offset: int) -> list[Event]:
    """Return the events without those that were there before, and each once: what listeners have not heard yet."""
    found = {event.offset: event for event in events if event.offset > offset}
    return list(found.values())
