"""Pages of a channel's events, for followers that are behind and for polls: from the window, or from the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from ..bounds import CONFLATED_PAGES, FUTURES_NAMED
from ..counters import Metrics
from ..errors import SnapshotError
from ..event import Cursor, Event, Gap
from ..limits import Limits
from ..log.checked import read_checked, status_checked
from ..log.contract import EventLog, Page
from ..wire.fold import Folder
from .condense import Condenser
from .filter import Filter
from .replay import Replay
from .snapshots import Snapshot, Source
from .window import Window

__all__ = ["Gathered", "Pages", "Room", "are_lost", "ends_at", "starts_after"]

logger = logging.getLogger("triolet.hub")


class Room(NamedTuple):
    """What is left of a page."""

    events: int
    bytes: int


class Gathered(NamedTuple):
    """What many pages were condensed to: after where, what was lost before it, up to where, and the newest event's
    cursor."""

    start: Cursor
    gap: Gap | None
    events: list[Event]
    position: Cursor
    head: Cursor

    @property
    def size(self) -> int:
        """Bytes of its events."""
        return sum([len(event.json) for event in self.events])


class Pages:
    """Reads pages of channels.

    Args:
        log: what is no longer in a window is read from it.
        limits: ``page_events`` and ``page_bytes`` bound what is read at once.
        replay: shares what is much work: states, and folded pages.
        metrics: where states that an app failed to give are counted.
        went_back: is told a channel and its head, where that is before what is known.

    Bounds: ``FUTURES_NAMED`` names of channels that were warned of.
    """

    def __init__(
        self,
        log: EventLog,
        limits: Limits,
        replay: Replay,
        metrics: Metrics,
        went_back: Callable[[str, Cursor], None],
    ) -> None:
        self._log = log
        self._limits = limits
        self._whole = Room(limits.page_events, limits.page_bytes)
        self._replay = replay
        self._metrics = metrics
        self._went_back = went_back
        self._futures: set[tuple[str, str]] = set()

    async def take(self, source: Source, window: Window) -> Snapshot:
        """Return a channel's state.

        Raises:
            SnapshotError: the app's fault; there is none.
            LogError: the store's fault; the log cannot be read.

        Cancellation: nothing is lost.
        """
        take = partial(self._take, source, window)
        try:
            if not source.is_shared:
                return await take()
            place = (Snapshot, window.channel, window.cursor, source)
            return await self._replay.page(place, take, is_state=True)
        except SnapshotError:
            self._metrics.snapshots["failed"] += 1
            raise

    async def _take(self, source: Source, window: Window) -> Snapshot:
        snapshot = await source.take(self._log, self._limits, window.channel)
        cursor = snapshot.cursor
        if window.knows(cursor) and cursor.offset > window.head:
            # Most often the window has only not heard of it yet.
            head = (await status_checked(self._log, window.channel)).head
            if cursor.epoch in ("", head.epoch) and cursor.offset > head.offset:
                self._warn_of_future(str(source), window.channel, cursor, head)
        return snapshot

    def _warn_of_future(self, source: str, channel: str, cursor: Cursor, head: Cursor) -> None:
        if (source, channel) in self._futures or len(self._futures) >= FUTURES_NAMED:
            return
        self._futures.add((source, channel))
        logger.warning(
            "%s gave a state of the channel %r as of %s, and the channel stands at %s: its clients are told a gap "
            "(future), and may miss events. Return the cursor that the channel had before the data was read",
            *(source, channel, cursor, head),
        )
        if len(self._futures) == FUTURES_NAMED:
            logger.warning("so it is of %d states; no more of them will be named", FUTURES_NAMED)

    async def place(self, window: Window, after: Cursor | None) -> Cursor:
        """Return where a client begins that asks for what comes after a cursor: of a negative offset, right before the
        newest so many events, or before all, where fewer are kept; of None, now.

        Raises:
            LogError: the store's fault; the log cannot be read.

        Cancellation: nothing is lost.
        """
        if after is None or after.offset >= 0:
            return window.cursor if after is None else after
        near = Cursor(window.epoch, max(0, window.head + after.offset))
        if window.gives(near):
            return near
        oldest = await self.read(window, Cursor("", 0), Room(1, 1))
        start, head = starts_after(oldest), window.cursor
        if head.epoch != start.epoch:  # the log began anew meanwhile: all that it has is new
            return start
        return Cursor(head.epoch, max(start.offset, head.offset + after.offset))

    async def page(self, window: Window, after: Cursor, room: Room | None = None) -> Page:
        """Return a page from the window, or else from the log. Raises LogError."""
        if window.gives(after):
            limit, size = room or self._whole
            return Page(tuple(window.events(after.offset, limit, size)), None, window.cursor)
        return await self.read(window, after, room)

    async def read(self, window: Window, after: Cursor, room: Room | None = None) -> Page:
        """Return a page from the log. Raises LogError."""
        limit, size = room or self._whole
        known = window.cursor
        page = await read_checked(self._log, window.channel, after, limit=limit, max_bytes=size)
        if (
            page.head.epoch == known.epoch and page.head.offset < known.offset
        ):  # than what was known before it was asked
            self._went_back(window.channel, page.head)
        return page

    async def end(self, window: Window) -> Event | None:
        """Read what has ended a channel. None where that is not the newest any more: retention drops what stands for
        deleted events, and the channel goes on then, as if nothing had ever been there."""
        page = await self.page(window, Cursor(window.epoch, window.head - 1))
        if page.events:
            return page.events[-1] if page.events[-1].ends else None
        if page.head == window.cursor:
            window.ended = False
        return None

    async def folded(self, window: Window, after: Cursor, filter: Filter | None) -> Gathered:
        """Read on after a cursor, and fold what the client may see: once for all that ask for the same at one time."""
        fold = partial(self.gather, window, after, filter, Folder())
        if filter is not None:  # which events there are to fold is another for each client
            return await fold()
        return await self._replay.page((Gathered, window.channel, window.cursor, after), fold)

    async def gather(self, window: Window, after: Cursor, filter: Filter | None, condenser: Condenser) -> Gathered:
        """Read on after a cursor, over many pages, and have made few events of those that the client may see."""
        gap: Gap | None = None
        start = position = after
        seen = 0
        for _ in range(CONFLATED_PAGES):
            page = await self.page(window, position)
            if page.gap is not None:
                if seen:
                    break  # retention has passed us meanwhile: the next reading says so
                gap = page.gap
            if page.events and not seen:
                first = page.events[0].cursor
                start = Cursor(first.epoch, first.offset - 1)
            for event in page.events:
                if filter is None or filter.allows(event):
                    condenser.add(event)
            seen += len(page.events)
            position = ends_at(page)
            is_full = len(condenser) > self._limits.page_events or condenser.size > self._limits.page_bytes
            if is_full or position == page.head:
                break
        if not seen:
            start = starts_after(page)
        return Gathered(start, gap, condenser.events(), position, page.head)


def are_lost(gaps: tuple[Gap, ...]) -> bool:
    """Whether events are gone, and not left out by a policy."""
    return bool(gaps) and gaps[0].reason in ("expired", "epoch", "future")


def starts_after(page: Page) -> Cursor:
    """Return the cursor that a page was read after: where a gap begins, if there is one."""
    if page.gap is not None:
        return page.gap.after
    if page.events:
        first = page.events[0].cursor
        return Cursor(first.epoch, first.offset - 1)
    return page.head


def ends_at(page: Page) -> Cursor:
    """Return the cursor to go on from behind a page."""
    if page.events:
        return page.events[-1].cursor
    return page.head if page.gap is None else page.gap.to
