"""What a poll is answered with: a page of each of its channels, and when it has waited long enough."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec
import trio

from ..bounds import STATE_AGAIN_SECONDS
from ..counters import Metrics
from ..errors import SnapshotError
from ..event import Cursor, Event, Gap
from ..limits import Limits
from .audience import Audience, Park, next_round
from .filter import Filter
from .pages import Pages, Room, are_lost, ends_at
from .snapshots import Snapshot
from .subscription import Subscription
from .window import Window
from .windows import Windows

__all__ = ["Polled", "Polls"]


class Polled(msgspec.Struct, frozen=True):
    """What a poll is answered with.

    Attributes:
        events: those that its client may see, but not one that ends the channel.
        gap: what was lost before them; None if nothing was.
        head: the newest event's cursor at the moment of reading.
        end: up to where was read: the cursor to go on from. It lies behind what the client may not see, too.
        ending: the event that has ended the channel, where it was reached; None: it goes on.
        snapshot: the channel's state, from which the events go on; None where none is given.
        told: what was only for now, in the form of events, and came while a long poll waited.
        unread: whether the page was full before the channel's state, with which its client is to begin: it stands
            nowhere yet, and ``end`` is no place of its.
        failed: whether the app failed to give the channel's state, while other channels go on: nothing of it was read.
    """

    events: tuple[Event, ...]
    gap: Gap | None
    head: Cursor
    end: Cursor
    ending: Event | None = None
    snapshot: Snapshot | None = None
    told: tuple[Event, ...] = ()
    unread: bool = False
    failed: bool = False

    @property
    def says_something(self) -> bool:
        """Whether its client is told anything but where to go on from."""
        return bool(self.events or self.gap or self.ending or self.snapshot or self.told)


class Polls:
    """Answers polls.

    Args:
        limits: ``page_events`` and ``page_bytes`` bound one answer.
        windows: the newest events.
        pages: reads what is asked for.
        metrics: where functions that fail are counted, which say what a client may see.
    """

    def __init__(self, limits: Limits, windows: Windows, pages: Pages, metrics: Metrics) -> None:
        self._limits = limits
        self._windows = windows
        self._pages = pages
        self._metrics = metrics

    async def poll(
        self, asked: Sequence[Subscription], wait_seconds: float, park: Park = trio.sleep_forever, watches: bool = True
    ) -> list[Polled]:
        """Read a page of each of some channels for a poll.

        Args:
            asked: the channels. They share the bounds of one page, states included: where it is full, the last of them
                have none. Of the last that has one, folded, it may be a page more, or a state.
            wait_seconds: how long to wait for a first event that the client may see; 0 for a short poll. Where a state
                failed it is ``STATE_AGAIN_SECONDS`` at most: then the client asks for that again.
            park: where it waits: see :func:`.next_round`.
            watches: whether somebody waits who is counted as a watcher, and told what is only for now.

        Returns:
            One for each channel.

        Raises:
            LogError: the store's fault; the log cannot be read.
            SnapshotError: the app's fault; there is no state, of any of them.
            Exception: what ``park`` raises.

        Cancellation: nothing is left behind.
        """
        audiences: list[Audience] = []
        watches = watches and wait_seconds > 0
        filters = [None if one.allow is None else Filter(one.allow, self._metrics) for one in asked]
        told: list[list[Event]] = [[] for _ in asked]
        hears = [partial(_hear, heard, filter) for heard, filter in zip(told, filters, strict=True)]
        try:
            for one in asked:
                audience = await self._windows.open(one.channel)
                self._windows.keep(one.channel, watches)
                audiences.append(audience)
            places: list[Cursor | None] = [
                await self._pages.place(a.window, one.after) for a, one in zip(audiences, asked, strict=True)
            ]
            rounds = [a.rounds for a in audiences]  # before the first read: a round during it is seen by the number
            pages = await self._read(audiences, asked, filters, places, self._first_page)
            if not wait_seconds:
                return pages
            lacks = any(page.failed for page in pages)
            with trio.move_on_after(min(wait_seconds, STATE_AGAIN_SECONDS) if lacks else wait_seconds):
                while not (_has_news(asked, places, pages) or any(told)):
                    if any(page.end != page.head for page in pages):  # nothing in there was for the client: read on
                        await trio.lowlevel.checkpoint()
                    elif [a.rounds for a in audiences] == rounds:  # else it was read while one went by
                        await next_round(audiences, park, hears if watches else None)
                    rounds = [a.rounds for a in audiences]
                    # From the page's end, which names the epoch also where the client gave a bare offset: a log that
                    # begins anew meanwhile is then told as a gap.
                    places = [None if page.failed else page.end for page in pages]
                    pages = await self._read(audiences, asked, filters, places, self._polled)
            return [_with_told(page, heard) for page, heard in zip(pages, told, strict=True)]
        finally:
            for audience in audiences:
                self._windows.release(audience.window.channel, watches)

    async def _read(
        self,
        audiences: Sequence[Audience],
        asked: Sequence[Subscription],
        filters: Sequence[Filter | None],
        places: Sequence[Cursor | None],
        read: Callable[[Window, Cursor, Subscription, Filter | None, Room], Awaitable[Polled]],
    ) -> list[Polled]:
        """Read on in each channel, as long as there is room in the page that all of them share. In one whose state has
        failed (its place is None) nothing is read any more."""
        pages: list[Polled] = []
        failure: SnapshotError | None = None
        room = Room(self._limits.page_events, self._limits.page_bytes)
        for audience, one, filter, after in zip(audiences, asked, filters, places, strict=True):
            if after is None:
                pages.append(_failed(audience.window))
                continue
            if room.events < 1 or room.bytes < 1:
                unread = one.snapshot is not None and one.after is None
                pages.append(Polled((), None, audience.window.cursor, after, unread=unread))
                continue
            try:
                page = await read(audience.window, after, one, filter, room)
            except SnapshotError as error:
                failure, page = error, _failed(audience.window)
            size = sum([len(event.json) for event in page.events]) + (page.snapshot.size if page.snapshot else 0)
            room = Room(room.events - len(page.events), room.bytes - size)
            pages.append(page)
        if failure is not None and all(page.failed for page in pages):
            raise failure
        return pages

    async def _first_page(
        self, window: Window, after: Cursor, one: Subscription, filter: Filter | None, room: Room
    ) -> Polled:
        """Read what a client is answered first: where it has asked for the channel's state, it may be that."""
        if one.snapshot is None:
            return await self._polled(window, after, one, filter, room)
        snapshot = None if one.after is not None else await self._pages.take(one.snapshot, window)
        page = await self._polled(window, after if snapshot is None else snapshot.cursor, one, filter, room)
        if snapshot is None and page.gap is not None and are_lost((page.gap,)):
            snapshot = await self._pages.take(one.snapshot, window)
            page = await self._polled(window, snapshot.cursor, one, filter, room)
        return page if snapshot is None else msgspec.structs.replace(page, snapshot=snapshot)

    async def _polled(
        self, window: Window, after: Cursor, one: Subscription, filter: Filter | None, room: Room
    ) -> Polled:
        if one.folds:
            read = await self._pages.folded(window, after, filter)
            events, page = tuple(read.events), Polled((), read.gap, read.head, read.position)
        else:
            found = await self._pages.page(window, after, room)
            events, page = found.events, Polled((), found.gap, found.head, ends_at(found))
        ending = events[-1] if events and events[-1].ends else None
        events = events if ending is None else events[:-1]
        # One that stands further has read from the log what the window has not heard of yet: there it goes on.
        if window.ended and not events and ending is None and page.end == window.cursor:
            ending = await self._pages.end(window)
            if ending is not None and ending.cursor != page.end:  # the log has begun anew, and its tail will tell so
                ending = None
        if filter is not None and not one.folds:
            events = tuple(filter.parts(zip(events, events, strict=True)))
        return msgspec.structs.replace(page, events=events, ending=ending)


def _has_news(asked: Sequence[Subscription], places: Sequence[Cursor | None], pages: Sequence[Polled]) -> bool:
    """Whether a poll is answered with some pages. That a channel has ended is no news to who stands at its end, unless
    all have."""
    if all(page.ending is not None for page in pages):
        return True
    return any(
        page.events
        or page.gap is not None
        or page.snapshot is not None
        or (page.ending is not None and (one.after is None or place is None or place.offset != page.ending.offset))
        for one, place, page in zip(asked, places, pages, strict=True)
    )


def _hear(told: list[Event], filter: Filter | None, event: Event) -> bool:
    """Take what a poll is told, if its client may see it."""
    if filter is not None and not filter.allows(event):
        return False
    told.append(event)
    return True


def _failed(window: Window) -> Polled:
    return Polled((), None, window.cursor, window.cursor, failed=True)


def _with_told(page: Polled, told: list[Event]) -> Polled:
    return msgspec.structs.replace(page, told=tuple(told)) if told and not page.failed else page
