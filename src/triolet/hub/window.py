"""The newest events of one channel, in memory and encoded once per codec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from ..event import Cursor, Event
from ..limits import Limits
from ..wire.codec import Codec, size_of
from .follower import Follower, LiveGroup

__all__ = ["Window"]

_BATCHES_KEPT = 8


class Window:
    """What the hub knows of one channel: its newest events, how far they were written, and who is live.

    ``head`` is the newest offset known here; ``flushed`` the one up to which rounds have begun to be
    written, and with it the position of every live follower. Events ``first`` to ``head`` are held, without
    a hole. ``watched`` are the followers that are behind and may hold publishers up. Bounds: ``limits.window_events``
    and ``limits.window_bytes``, but always the newest event; the hub bounds the bytes of all windows.

    Args:
        hold: is told how many bytes more (or less) are held here, in every form.
    """

    __slots__ = (
        "_batches",
        "_bytes",
        "_changed",
        "_events",
        "_held",
        "_hold",
        "_limits",
        "_parts",
        "channel",
        "early",
        "epoch",
        "flushed",
        "followers",
        "head",
        "live",
        "ready",
        "room",
        "rounds",
        "watched",
    )

    def __init__(self, channel: str, limits: Limits, hold: Callable[[int], None]) -> None:
        self.channel = channel
        self.epoch = ""
        self.head = -1
        self.flushed = -1
        self.live: dict[Codec, LiveGroup] = {}
        self.early: list[Follower] = []
        self.followers = 0
        self.rounds = 0
        self.ready: trio.Event | None = None
        self.watched: dict[Follower, None] = {}
        self.room: trio.Event | None = None
        self._limits = limits
        self._hold = hold
        self._held = 0
        self._events: list[Event] = []
        self._bytes = 0
        self._parts: dict[Codec, dict[int, Any]] = {}
        self._batches: dict[tuple[Codec, int, int], Any] = {}
        self._changed: trio.Event | None = None

    @property
    def first(self) -> int:
        """Offset of the oldest event held; ``head + 1`` where none is."""
        return self.head + 1 - len(self._events)

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, self.head)

    def begin(self, head: Cursor) -> None:
        """Start (again) at a head, with no events held."""
        self.epoch, self.head = head.epoch, head.offset
        self.flushed = self.head
        self._forget()

    def append(self, event: Event) -> None:
        """Take an event from the tail.

        One that is known already is passed over. One after a hole (the tail was overrun), or of another
        epoch, starts the window again: live followers, who are not at its beginning then, read from the log.
        """
        epoch, offset = event.cursor.epoch, event.cursor.offset
        if epoch != self.epoch:
            self.begin(Cursor(epoch, offset - 1))
            self.flushed = -1
        elif offset <= self.head:
            return
        elif offset != self.head + 1:
            self._forget()
        self.head = offset
        self._events.append(event)
        size = len(event.json)
        self._bytes += size
        self._holds(size)
        while len(self._events) > 1 and (
            len(self._events) > self._limits.window_events or self._bytes > self._limits.window_bytes
        ):
            self._drop_oldest()

    def holds(self, after: Cursor) -> bool:
        """Whether everything after a cursor is here, so that the log need not be asked."""
        return after.epoch in ("", self.epoch) and self.first - 1 <= after.offset <= self.head

    def batch(self, codec: Codec, after: int, upto: int) -> Any:
        """Join the events after one offset up to another; made once for all who stand at the same place."""
        at = (codec, after, upto)
        batch = self._batches.get(at)
        if batch is None:
            if len(self._batches) >= _BATCHES_KEPT:
                self._holds(-size_of(self._batches.pop(next(iter(self._batches)))))
            batch = self._batches[at] = codec.join(self._encoded(codec, after, upto))
            self._holds(size_of(batch))
        return batch

    def events(self, after: int, limit: int, max_bytes: int) -> list[Event]:
        """The events after an offset that is held, within the bounds of a page: one at least, if there is one."""
        page: list[Event] = []
        start = after + 1 - self.first
        for at in range(start, min(len(self._events), start + limit)):
            max_bytes -= len(self._events[at].json)
            if page and max_bytes < 0:
                break
            page.append(self._events[at])
        return page

    async def changed(self) -> None:
        """Wait until the next round. Cancelling loses nothing."""
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()

    def announce(self) -> None:
        """A round begins: wake whoever waits for it."""
        self.rounds += 1
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def rest(self) -> None:
        """Nobody follows now: keep the events, and forget what they look like on the wire."""
        self._parts.clear()
        self._batches.clear()
        self._holds(self._bytes - self._held)
        self.live.clear()

    def shrink(self) -> None:
        """Hold no events: who needs them reads the log."""
        self._forget()

    def unwatch(self, follower: Follower) -> None:
        """A follower is behind no longer."""
        if follower in self.watched:
            del self.watched[follower]
            self.look_again()

    def look_again(self) -> None:
        """A watched follower has got on: who waits to publish is to look again."""
        if self.room is not None:
            self.room.set()
            self.room = None

    async def make_room(self) -> None:
        """Wait until a watched follower has got on. Cancelling loses nothing."""
        if self.room is None:
            self.room = trio.Event()
        await self.room.wait()

    def published_at(self, cursor: Cursor) -> float | None:
        """When an event was published, in seconds since 1970; None where it is not held here."""
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
        event = self._events.pop(0)
        size = len(event.json)
        self._bytes -= size
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
