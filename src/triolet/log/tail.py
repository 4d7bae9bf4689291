"""The listeners of a log: what stands behind ``EventLog.tail`` in each of Triolet's own logs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import trio

from ..bounds import TAIL_BYTES, TAIL_EVENTS
from ..errors import ConfigError, NotServingError
from ..event import Event
from ..sync.bounded_channel import BoundedChannel, ChannelStatistics
from ..sync.home import Home

__all__ = ["Tail", "TailStatistics", "Waiting", "is_own", "waiting"]


@dataclass(frozen=True, slots=True)
class TailStatistics:
    """What the present listeners hold.

    Attributes:
        listeners: how many there are.
        waiting: events that wait for them, all together.
        peak: the most events that ever waited for one of them.
        dropped: events that were ever dropped, for these and earlier listeners.
    """

    listeners: int
    waiting: int
    peak: int
    dropped: int


class Waiting(NamedTuple):
    """What waits for one listener of a log.

    Attributes:
        events: how many.
        bytes: of their data.
        max_events: the most that may wait; 0 where nobody listens, or the log does not tell.
        max_bytes: the same in bytes.
        dropped: events that this listener has ever lost, as they were too many.
    """

    events: int = 0
    bytes: int = 0
    max_events: int = 0
    max_bytes: int = 0
    dropped: int = 0


class Tail:
    """Hands what was appended to all listeners, without ever waiting for them.

    A log opens it for as long as it is open itself, and calls :meth:`announce` with each append's events in
    the order of their offsets. So the order within a channel is the caller's business.

    Bounds: ``max_events`` and ``max_bytes`` for each listener. Past either of them its oldest batches are dropped
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
        """Let listeners in for the time of a block. Afterwards they can still take what waits for them, and then their
        iteration ends.

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
                listener.put(events, size)

    def lose(self) -> None:
        """Tell every listener that something was lost, by an empty step before what comes next.

        What waits is dropped: it may be of an earlier epoch, and a listener that is told so asks the log anyway.
        """
        for listener in self._listeners:
            listener.lose()

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
            self._dropped += listener.dropped

    def statistics(self) -> TailStatistics:
        """Return what waits, the most that ever waited, and what was dropped."""
        held = [listener.statistics() for listener in self._listeners]
        return TailStatistics(
            listeners=len(held),
            waiting=sum(channel.items for channel in held),
            peak=max((channel.peak_items for channel in held), default=0),
            dropped=self._dropped + sum(listener.dropped for listener in self._listeners),
        )


def is_own(batches: object) -> bool:
    """Whether what a log's tail gave is a listener of ours, and no log of somebody else's stands before it."""
    return isinstance(batches, _Listener)


def waiting(batches: object) -> Waiting:
    """Count what waits for one listener of a log; nothing where a log of somebody else's does not tell."""
    if not isinstance(batches, _Listener):
        return Waiting()
    seen = batches.statistics()
    return Waiting(seen.items, seen.bytes, seen.max_items, seen.max_bytes, batches.dropped)


class _Listener(AsyncIterator[Sequence[Event]]):
    """One listener's batches, oldest first. What is lost is dropped here, and told by an empty step in its place.

    A loss of everything is an item like any other, an empty batch: so it wakes a listener wherever that is on its way
    to wait, and comes after what was taken before it. A loss of the oldest is a flag, told before what is left.
    """

    __slots__ = ("_channel", "_has_ended", "_home", "_is_lost", "_kept", "dropped")

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self._channel = BoundedChannel[Sequence[Event]](max_events, max_bytes)
        self._home = Home()
        self._is_lost = False
        self._has_ended = False
        self._kept: Sequence[Event] | None = None  # taken from the channel, for the next step
        self.dropped = 0

    def statistics(self) -> ChannelStatistics:
        """Return what waits, in events."""
        return self._channel.statistics()

    def put(self, events: Sequence[Event], size: int) -> None:
        """Add a batch, and drop the oldest ones that then are past the bounds. The batch itself always stays."""
        if self._has_ended:
            return
        count = len(events)
        while not self._channel.fits(size, count) and self._channel.queued:
            self._drop(self._channel.receive_nowait())
        self._channel.send_nowait(events, size, count)

    def lose(self) -> None:
        """Drop everything, and have a step tell so."""
        if self._kept is not None:
            self._drop(self._kept)
            self._kept = None
        while self._channel.queued:
            self._drop(self._channel.receive_nowait())
        self._is_lost = self._has_ended  # where nothing more may be put in, the flag tells of it
        if not self._has_ended:
            self._channel.send_nowait((), 0, 0)

    def end(self) -> None:
        """Let nothing more come: the log is closed."""
        self._has_ended = True
        self._channel.end()

    async def __anext__(self) -> Sequence[Event]:
        """Wait for events and take all. Cancellation: nothing is lost, they stay for the next step."""
        self._home.check("the iterator of a log's tail")
        if self._kept is None and not self._is_lost:
            try:
                self._kept = await self._channel.receive()
            except trio.EndOfChannel:
                raise StopAsyncIteration from None
        else:
            await trio.lowlevel.checkpoint()
        if self._is_lost:
            self._is_lost = False
            return ()
        taken, self._kept = self._kept or (), None
        while taken and self._channel.queued:
            more = self._channel.receive_nowait()
            if not more:  # what was lost was lost after this
                self._kept = more
                break
            taken = [*taken, *more]
        return taken

    def _drop(self, events: Sequence[Event]) -> None:
        self.dropped += len(events)
        self._is_lost = True
