"""The newest events of one channel, in memory and encoded once per codec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..bounds import LOG_RETRY_SECONDS, WINDOW_BATCHES
from ..clock import wall_time
from ..event import Cursor, Event
from ..limits import Limits
from ..wire.codec import Codec, size_of

__all__ = ["Window"]


class Window:
    """The newest events of one channel, without a hole, and their forms on the wire.

    It knows events and codecs, and no follower.

    Attributes:
        epoch: the life of the log that its events belong to.
        head: the newest offset known here. Events ``first`` to ``head`` are held.
        flushed: the offset up to which rounds have begun to be written, and with it the position of every live
            follower. It is behind ``head`` while events wait for their round.
        kept: how much of the channel retention keeps.
        ended: whether the event at ``head`` has ended the channel. Nobody is live then: who has come to it hears of it.

    Args:
        hold: is told how many bytes more (or less) are held here, in every form.

    Bounds: ``limits.window_events`` and ``limits.window_bytes``, or what retention keeps where that is less, but always
    the newest event. What is older than retention keeps is not given: the log is asked, and tells the gap. The
    bytes of all windows together are bounded by :class:`~.windows.Windows`.
    """

    __slots__ = (
        "_batches",
        "_began",
        "_bytes",
        "_events",
        "_held",
        "_hold",
        "_most",
        "_parts",
        "channel",
        "ended",
        "epoch",
        "flushed",
        "head",
        "kept",
    )

    def __init__(self, channel: str, limits: Limits, hold: Callable[[int], None]) -> None:
        self.channel = channel
        self.epoch = ""
        self.head = -1
        self.flushed = -1
        self._began = -1, 0.0
        self.ended = False
        self.kept = limits.kept(channel)
        self._most = min(limits.window_events, self.kept.events), min(limits.window_bytes, self.kept.bytes)
        self._hold = hold
        self._held = 0
        self._events: list[Event] = []
        self._bytes = 0
        self._parts: dict[Codec, dict[int, Any]] = {}
        self._batches: dict[tuple[Codec, int, int], Any] = {}

    @property
    def first(self) -> int:
        """Offset of the oldest event held; ``head + 1`` if none is held."""
        return self.head + 1 - len(self._events)

    @property
    def cursor(self) -> Cursor:
        """The newest event's cursor."""
        return Cursor(self.epoch, self.head)

    def begin(self, head: Cursor, ended: bool = False) -> None:
        """Start (again) at a head, with no events held; ``ended`` says whether the channel ends there."""
        self.ended = ended
        self.epoch, self.head = head.epoch, head.offset
        self.flushed = self.head
        self._began = self.head, wall_time()
        self._forget()

    def append(self, event: Event) -> bool:
        """Take an event from the tail.

        One that is known already is passed over. One after a hole (the tail was overrun), or of another
        epoch, starts the window again: live followers, which are not at its beginning then, read from the log.

        Returns:
            Whether that can be. The log's numbers have gone back where its tail has told of this offset before, and of
            another event, or tells of it long after the log has said that its head is there or further.
        """
        epoch, offset = event.cursor.epoch, event.cursor.offset
        if epoch != self.epoch:
            self.begin(Cursor(epoch, offset - 1))
            self.flushed = -1  # far before `first`: the round finds a hole, and all live followers read the log
        elif offset <= self.head:
            return self._is_counted(event)
        elif offset != self.head + 1:
            self._forget()  # what is held must have no hole: `first` is computed from the head and the length
        elif self.ended or event.is_tombstone:
            self._forget()  # what was deleted, or what tells of that and is dropped by the first event that comes after
        self.head = offset
        self.ended = event.ends
        self._events.append(event)
        size = len(event.json)
        self._bytes += size
        self._holds(size)
        most_events, most_bytes = self._most
        while len(self._events) > 1 and (len(self._events) > most_events or self._bytes > most_bytes):
            self._drop_oldest()
        return True

    def _is_counted(self, event: Event) -> bool:
        # Most often it came through the tail while the log was asked for the head, and is counted in that.
        if event.offset >= self.first:
            return self._events[event.offset - self.first] == event
        began, at = self._began
        return event.offset <= began and event.published_at <= at + LOG_RETRY_SECONDS

    def knows(self, place: Cursor) -> bool:
        """Whether a place is one of the life that is held here, so that offsets can be compared; a bare offset is."""
        return place.epoch in ("", self.epoch)

    def holds(self, after: Cursor) -> bool:
        """Tell whether everything after a cursor is here, so that the log need not be asked."""
        # A cursor past the head is not "all is here": the client may have seen events that the log has lost, and only
        # the log can tell it so, with a gap.
        return self.knows(after) and self.first - 1 <= after.offset <= self.head

    def gives(self, after: Cursor) -> bool:
        """Whether it holds what comes after a cursor, and retention keeps it still.

        Else a client would be given from memory what the log, or another process, gives no more.
        """
        if not self.holds(after):
            return False
        too_old = wall_time() - self.kept.seconds
        return after.offset == self.head or self._events[after.offset + 1 - self.first].published_at >= too_old

    def batch(self, codec: Codec, after: int, upto: int) -> Any:
        """Return the events after one offset up to another, joined: made once for all followers at the same place."""
        at = (codec, after, upto)
        batch = self._batches.get(at)
        if batch is None:
            if len(self._batches) >= WINDOW_BATCHES:
                self._holds(-size_of(self._batches.pop(next(iter(self._batches)))))
            batch = self._batches[at] = codec.join(self._encoded(codec, after, upto))
            self._holds(size_of(batch))
        return batch

    def pairs(self, codec: Codec, after: int, upto: int) -> list[tuple[Event, Any]]:
        """Return the events after one offset up to another, each with its form: for followers that may not see all."""
        parts = self._encoded(codec, after, upto)
        return list(zip(self._events[after + 1 - self.first : upto + 1 - self.first], parts, strict=True))

    def events(self, after: int, limit: int, max_bytes: int) -> list[Event]:
        """Return the events after an offset that is held, within the bounds of a page: one at least, if there is one.

        Args:
            after: an offset for which :meth:`holds` is true.
            limit: most events.
            max_bytes: most bytes of their data.
        """
        page: list[Event] = []
        start = after + 1 - self.first
        for at in range(start, min(len(self._events), start + limit)):
            max_bytes -= len(self._events[at].json)
            if page and max_bytes < 0:
                break
            page.append(self._events[at])
        return page

    def rest(self) -> None:
        """Keep the events, and forget their encoded forms: there is no follower now, and a poll encodes anew."""
        self._parts.clear()
        self._batches.clear()
        self._holds(self._bytes - self._held)

    def shrink(self) -> None:
        """Hold no events: a follower that needs them reads the log."""
        self._forget()

    def published_at(self, cursor: Cursor) -> float | None:
        """Return when an event was published, in seconds since 1970; None if it is not held here."""
        at = cursor.offset - self.first
        return self._events[at].published_at if cursor.epoch == self.epoch and 0 <= at < len(self._events) else None

    def _encoded(self, codec: Codec, after: int, upto: int) -> list[Any]:
        known = self._parts.setdefault(codec, {})
        parts = []
        first = self.first
        for offset in range(after + 1, upto + 1):
            part = known.get(offset)
            if part is None:
                part = known[offset] = codec.event(self._events[offset - first])
                self._holds(len(part))
            parts.append(part)
        return parts

    def _drop_oldest(self) -> None:
        event = self._events.pop(0)  # a list and not a deque: pages index into it, and it is short
        size = len(event.json)
        self._bytes -= size
        # Joined batches that hold it stay: they are still right, for they are looked up by both of their ends, and
        # WINDOW_BATCHES bounds them.
        for known in self._parts.values():
            part = known.pop(event.cursor.offset, None)
            if part is not None:
                size += len(part)
        self._holds(-size)

    def _forget(self) -> None:
        self._events.clear()
        self._bytes = 0
        self._parts.clear()
        self._batches.clear()
        self._holds(-self._held)

    def _holds(self, more: int) -> None:
        self._held += more
        self._hold(more)
