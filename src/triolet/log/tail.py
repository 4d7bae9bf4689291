"""The listeners of a log: what stands behind ``EventLog.tail`` in each of Triolet's own logs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import trio

from ..errors import ConfigError, NotServingError
from ..event import Event
from ..sync.bounded_channel import BoundedChannel, ChannelStatistics

__all__ = ["Tail", "TailStatistics"]

TAIL_EVENTS: Final = 16_384
"""Most events that wait for one listener: 32 default windows. A hub that is further behind reads faster
from the log than from here."""

TAIL_BYTES: Final = 32 << 20
"""Most bytes of the data of the events that wait for one listener."""


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

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Let listeners in for the time of a block. Afterwards they can still take what waits for them, and then their
        iteration ends.

        Raises:
            ConfigError: the app's fault; one log object is opened once at a time.
        """
        if self._is_open:
            raise ConfigError("this log is open already; make a second log object to open it twice")
        self._is_open = True
        try:
            yield
        finally:
            self._is_open = False
            for listener in self._listeners:
                listener.end()

    def check_open(self) -> None:
        """Raise NotServingError outside of :meth:`opened`."""
        if not self._is_open:
            raise NotServingError("the log is not open: use it inside `async with log.open()`")

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


class _Listener(AsyncIterator[Sequence[Event]]):
    """The batches of one listener, oldest first. What is lost is dropped here, and told by an empty step.

    A batch that a waiting listener was woken with counts as waiting until its task runs: a loss in between is told
    too, and the batch is dropped with the rest.
    """

    __slots__ = ("_channel", "_has_ended", "_is_lost", "dropped")

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self._channel = BoundedChannel[Sequence[Event]](max_events, max_bytes)
        self._is_lost = False
        self._has_ended = False
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
        """Drop everything, and make the next step an empty one."""
        self._is_lost = True
        while self._channel.queued:
            self._drop(self._channel.receive_nowait())
        if self._channel.awaited:  # else nothing need wake it: it looks at `_is_lost` before it waits
            self._channel.send_nowait((), 0, 0)

    def end(self) -> None:
        """Let nothing more come: the log is closed."""
        self._has_ended = True
        self._channel.end()

    async def __anext__(self) -> Sequence[Event]:
        """Wait for events, and take all that wait.

        Cancellation: nothing is lost; the events stay for the next step.
        """
        if self._is_lost:
            await trio.lowlevel.checkpoint()
            return self._tell()
        try:
            taken = await self._channel.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        if self._is_lost:  # since it was woken
            self._drop(taken)
            return self._tell()
        if self._channel.queued:  # all at once: a hub that is late then writes one round and not many
            taken = list(taken)
            while self._channel.queued:
                taken += self._channel.receive_nowait()
        return taken

    def _drop(self, events: Sequence[Event]) -> None:
        self.dropped += len(events)
        self._is_lost = True

    def _tell(self) -> Sequence[Event]:
        self._is_lost = False
        return ()
