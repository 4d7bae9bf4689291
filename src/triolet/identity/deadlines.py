"""When what a client was let in with ends: one heap and one task for all connections of a process.

Why a deadline is looked at before writing too. A task wakes when the scheduler gets to it. In a process that lags, or
where an event is published in the very moment of a deadline, the pump or a writer may run first, and would write an
event to a client that has no right to it any more. So all that write events ask here first (:meth:`Deadlines.enforce`),
which costs one comparison where nothing is due: the task is there for deadlines in a quiet process.

**Ten thousand may end in the same moment**, where one login or one token stands behind them. To leave the hub is cheap,
and is done with all of them at once, before anything is written (:meth:`Holder.lapse`). To end a connection, and to
warn its client, wakes its tasks: the task does that with a few in each turn of the event loop, so the others are served
meanwhile.

Nothing in the heap refers to a connection. It holds times and numbers, and an entry counts only while it says the time
that its holder waits for. So what was renewed or has ended is not searched for: its entry is passed over when its time
comes, or left out when there are more such entries than others.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from typing import Protocol

import trio

from ..bounds import ENDED_AT_ONCE
from .bounds import DEADLINES_STALE

__all__ = ["Deadlines", "Holder"]


class Holder(Protocol):
    """What ends at a deadline.

    Attributes:
        due: Trio's time of what comes next for it; only :class:`Deadlines` sets it.
        key: names it to its client, hashed; None where it has no name. Only :class:`Deadlines` sets it.
    """

    due: float
    key: bytes | None

    @property
    def until(self) -> float:
        """Trio's time at which it ends; infinite where it does not."""

    @property
    def warns_at(self) -> float:
        """Trio's time from which on its client is to be warned; not before ``until`` where it is not."""

    def warn(self, seconds: float) -> None:
        """Warn its client: it ends in so many seconds."""

    def lapse(self) -> None:
        """Be over. It must not wait, and costs little: when this returns, its client gets no event any more."""

    def expire(self) -> None:
        """End, a moment after it is over."""


class Deadlines:
    """The deadlines of one process.

    Bounds: a holder, a name, a turn and at most two entries of the heap for each connection that expires, and
    ``DEADLINES_STALE`` entries more. A connection that does not expire is not here.
    """

    __slots__ = ("_earlier", "_first", "_heap", "_holders", "_named", "_turns")

    def __init__(self) -> None:
        self._holders: dict[int, Holder] = {}
        self._named: dict[bytes, int] = {}
        self._heap: list[tuple[float, int]] = []
        self._first = math.inf
        self._earlier = trio.Event()
        self._turns: dict[int, Holder] = {}  # to be warned or ended by the task

    def __len__(self) -> int:
        return len(self._holders)

    def find(self, id: int) -> Holder | None:
        """Return what ends under a number, unless it does not, or has ended."""
        return self._holders.get(id)

    def find_named(self, key: bytes) -> Holder | None:
        """Return what has this hash for a name."""
        id = self._named.get(key)
        return None if id is None else self._holders.get(id)

    def name(self, id: int, key: bytes | None) -> None:
        """Give a holder this hash for its only name; None takes its name away."""
        holder = self._holders[id]
        if holder.key is not None:
            del self._named[holder.key]
        holder.key = key
        if key is not None:
            self._named[key] = id

    def put(self, id: int, holder: Holder) -> None:
        """Warn and end a holder at its times, which may be others than before."""
        if holder.until == math.inf:
            self.remove(id)
            return
        self._holders[id] = holder
        self._turns.pop(id, None)
        self._wait(id, holder, min(holder.warns_at, holder.until))
        if len(self._heap) > 2 * len(self._holders) + DEADLINES_STALE:
            self._heap = [(holder.due, id) for id, holder in self._holders.items()]
            heapify(self._heap)

    def remove(self, id: int) -> None:
        """Let go of a holder. It is no error if it is not there."""
        self._turns.pop(id, None)
        if id in self._holders:
            self.name(id, None)
            del self._holders[id]

    def enforce(self) -> None:
        """Have all be over that is due by now. It never waits, and nearly always there is nothing to do."""
        if self._first != math.inf and self._first <= (now := trio.current_time()):
            self._enforce(now)

    async def run(self) -> None:
        """Do what is due, when it is, for ever.

        Cancellation: what becomes due is done by those that write, before they write.
        """
        while True:
            # No await between here and the wait: an earlier deadline that comes later finds this event, and sets it.
            self._earlier = trio.Event()
            if self._turns:
                await trio.lowlevel.checkpoint()
            else:
                with trio.move_on_at(self._first):
                    await self._earlier.wait()
            self.enforce()
            self._take_turns()

    def _enforce(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            due, id = heappop(self._heap)
            holder = self._holders.get(id)
            if holder is None or holder.due != due:
                continue  # it has ended, or was renewed
            if holder.until <= now:
                self.remove(id)
                holder.lapse()
            else:
                self._wait(id, holder, holder.until)
            self._turns[id] = holder
        self._first = self._heap[0][0] if self._heap else math.inf
        if self._turns:
            self._earlier.set()

    def _take_turns(self) -> None:
        now = trio.current_time()
        for _ in range(min(len(self._turns), ENDED_AT_ONCE)):
            id = next(iter(self._turns))
            holder = self._turns.pop(id)
            if holder.until <= now:
                holder.expire()
            else:
                holder.warn(holder.until - now)

    def _wait(self, id: int, holder: Holder, due: float) -> None:
        holder.due = due
        heappush(self._heap, (due, id))
        if due < self._first:
            self._first = due
            self._earlier.set()
