"""Who listens to a log: the bounded half of ``EventLog.tail`` that every log of ours shares."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import trio

from ..errors import ConfigError, NotServingError
from ..event import Event
from ..home import Home

__all__ = ["Tail", "TailStatistics"]

TAIL_EVENTS: Final = 16_384
"""Most events that wait for one listener: 32 default windows. A hub that is further behind reads faster
from the log than from here."""

TAIL_BYTES: Final = 32 << 20
"""And the bytes of their data."""


@dataclass(frozen=True, slots=True)
class TailStatistics:
    """What listeners had to hold: ``waiting`` and ``peak`` in events, over all listeners of now."""

    listeners: int
    waiting: int
    peak: int
    dropped: int


class Tail:
    """Hand what was appended to whoever listens, without ever waiting for them.

    A log opens it for as long as it is open itself, and calls :meth:`announce` with each append's events in
    the order of their offsets. Order within a channel is therefore the caller's.

    Bounds: ``max_events`` and ``max_bytes`` for each listener; past either, its oldest batches are dropped
    (one batch always stays), and its next step is an empty one.
    """

    def __init__(self, max_events: int = TAIL_EVENTS, max_bytes: int = TAIL_BYTES) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._listeners: list[_Listener] = []
        self._dropped = 0
        self._is_open = False
        self._home: Home | None = None

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Let listeners in for the time of a block. Afterwards what they have not taken is still theirs, and
        then their iteration ends.

        Raises:
            ConfigError: it is open already: one log object is opened once at a time.
            WrongThreadError: no Trio runs here.
        """
        if self._is_open:
            raise ConfigError("this log is open already; make a second log object to open it twice")
        self._home = Home()
        self._is_open = True
        try:
            yield
        finally:
            self._is_open = False
            for listener in self._listeners:
                listener.end()

    def check_open(self) -> None:
        """Raise NotServingError outside of :meth:`opened`, and WrongThreadError in another run of Trio than its."""
        if not self._is_open or self._home is None:
            raise NotServingError("the log is not open: use it inside `async with log.open()`")
        self._home.check("a method of the log")

    def announce(self, events: Sequence[Event]) -> None:
        """Give one append's events to every listener. The sequence is kept, not copied: leave it alone."""
        if events and self._listeners:
            size = sum([len(event.json) for event in events])
            for listener in self._listeners:
                self._dropped += listener.put(events, size)

    def lose(self) -> None:
        """Tell every listener that something was lost, by an empty step before what comes next.

        What waits is dropped: it may be of an earlier epoch, and whoever is told asks the log anyway.
        """
        for listener in self._listeners:
            self._dropped += listener.lose()

    @contextmanager
    def listen(self) -> Iterator[AsyncIterator[Sequence[Event]]]:
        """Listen for the time of a block: what ``EventLog.tail`` returns.

        Raises:
            NotServingError: the log is not open.
        """
        self.check_open()
        listener = _Listener(self._max_events, self._max_bytes)
        self._listeners.append(listener)
        try:
            yield listener
        finally:
            self._listeners.remove(listener)

    def statistics(self) -> TailStatistics:
        """Count what waits, the most that ever waited, and what was dropped."""
        return TailStatistics(
            listeners=len(self._listeners),
            waiting=sum(listener.waiting for listener in self._listeners),
            peak=max((listener.peak for listener in self._listeners), default=0),
            dropped=self._dropped,
        )


class _Listener(AsyncIterator[Sequence[Event]]):
    """One listener's batches, oldest first, and the task that waits for more."""

    __slots__ = ("_batches", "_bytes", "_ended", "_lost", "_max_bytes", "_max_events", "_waiter", "peak", "waiting")

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._batches: deque[tuple[Sequence[Event], int]] = deque()
        self._bytes = 0
        self._waiter = trio.lowlevel.ParkingLot()
        self._ended = False
        self._lost = False
        self.waiting = 0
        self.peak = 0

    def put(self, events: Sequence[Event], size: int) -> int:
        """Add a batch; return how many events were dropped for it."""
        self._batches.append((events, size))
        self._bytes += size
        self.waiting += len(events)
        dropped = 0
        while (self.waiting > self._max_events or self._bytes > self._max_bytes) and len(self._batches) > 1:
            oldest, oldest_size = self._batches.popleft()
            self._bytes -= oldest_size
            self.waiting -= len(oldest)
            dropped += len(oldest)
            self._lost = True
        if self.waiting > self.peak:
            self.peak = self.waiting
        self._waiter.unpark_all()
        return dropped

    def lose(self) -> int:
        """Drop everything; return how many events that were."""
        dropped = self.waiting
        self._batches.clear()
        self._bytes = self.waiting = 0
        self._lost = True
        self._waiter.unpark_all()
        return dropped

    def end(self) -> None:
        self._ended = True
        self._waiter.unpark_all()

    async def __anext__(self) -> Sequence[Event]:
        """Wait for events and take all. Cancellation: nothing is lost, they stay for the next step."""
        if self._batches or self._lost or self._ended:
            await trio.lowlevel.checkpoint()
        while not (self._batches or self._lost):
            if self._ended:
                raise StopAsyncIteration
            await self._waiter.park()
        if self._lost:
            self._lost = False
            return ()
        if len(self._batches) == 1:
            taken = self._batches[0][0]
        else:
            taken = [event for events, _ in self._batches for event in events]
        self._batches.clear()
        self._bytes = self.waiting = 0
        return taken
