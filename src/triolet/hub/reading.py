"""What comes next for a follower that is behind, and for a poll: from the window or the log, conflated or skipped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

import msgspec
import trio

from ..bounds import CONFLATED_PAGES
from ..counters import Metrics
from ..errors import SnapshotError
from ..event import Cursor, Event, Gap
from ..limits import Limits
from ..log.contract import EventLog, Page, read_checked
from ..wire.codec import Codec
from ..wire.fold import Folder
from .audience import Audience, Park, next_round
from .condense import Condenser, Newest
from .filter import Filter
from .follower import Follower
from .policies import Step
from .replay import Material, Reading, Replay
from .snapshots import Snapshot, Source
from .window import Window
from .windows import Windows

__all__ = ["Asked", "Polled", "Reader"]


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
    """

    events: tuple[Event, ...]
    gap: Gap | None
    head: Cursor
    end: Cursor
    ending: Event | None = None
    snapshot: Snapshot | None = None
    told: tuple[Event, ...] = ()
    unread: bool = False

    @property
    def says_something(self) -> bool:
        """Whether its client is told anything but where to go on from."""
        return bool(self.events or self.gap or self.ending or self.snapshot or self.told)


class Asked(NamedTuple):
    """What a poll asks for in one channel.

    Attributes:
        channel: its name.
        after: the cursor to go on from; None is "from now", and a negative offset the newest so many.
        filter: which events the client may see; None: all of them.
        folds: whether events that go together come as one: then a page may reach much further.
        source: where the channel's state comes from, which a client is given that asks without a cursor, or has lost
            events; None where it has asked for none.
    """

    channel: str
    after: Cursor | None
    filter: Filter | None = None
    folds: bool = False
    source: Source | None = None


class _Room(NamedTuple):
    """What is left of a page."""

    events: int
    bytes: int


class _Gathered(NamedTuple):
    """What many pages were condensed to: after where, what was lost before it, up to where, and the newest event's
    cursor."""

    start: Cursor
    gap: Gap | None
    events: list[Event]
    position: Cursor
    head: Cursor


_CONDENSERS: Final[dict[Step, Callable[[], Condenser]]] = {Step.LATEST: Newest, Step.FOLD: Folder}


class Reader:
    """Reads for followers that are behind, and for polls: for all that the pump does not write to.

    Args:
        log: what is no longer in a window is read from it.
        limits: ``page_events`` and ``page_bytes`` bound what is read at once.
        windows: the newest events.
        replay: shares the pages that had to be read from the log, or conflated.
        metrics: where states that an app failed to give are counted.
    """

    def __init__(self, log: EventLog, limits: Limits, windows: Windows, replay: Replay, metrics: Metrics) -> None:
        self._log = log
        self._limits = limits
        self._windows = windows
        self._replay = replay
        self._metrics = metrics

    async def read(self, follower: Follower) -> Reading:
        """Read on for a follower that is behind, as its policy says: from the window if it reaches back so far, else
        from the log. Where events are lost to it and its client has asked for the channel's state, it is that.

        Raises:
            LogError: the store's fault; the log cannot be read.
            SnapshotError: the app's fault; there is no state.

        Cancellation: nothing is lost; the follower has not moved.
        """
        source = follower.subscription.snapshot
        if source is None:
            return await self._read(follower)
        if not follower.opened and follower.subscription.after is None:
            return await self._state(follower, source)
        reading = await self._read(follower)
        # Not twice: of a state that is older than what is kept, the gap is told.
        if _are_lost(reading.gaps) and follower.position != follower.snapshot_at:
            return await self._state(follower, source)
        return reading

    async def _state(self, follower: Follower, source: Source) -> Reading:
        snapshot = await self._take(source, follower.window)
        return Reading(snapshot.cursor, (), None, snapshot.cursor, snapshot=snapshot)

    async def _take(self, source: Source, window: Window) -> Snapshot:
        take = partial(source.take, self._log, self._limits, window.channel)
        try:
            if not source.is_shared:
                return await take()
            place = (Snapshot, window.channel, window.cursor, source)
            return await self._replay.page(place, take, is_state=True)
        except SnapshotError:
            self._metrics.snapshots["failed"] += 1
            raise

    async def _read(self, follower: Follower) -> Reading:
        window, codec, filter = follower.window, follower.codec, follower.filter
        if (follower.policy is not None or window.ended) and follower.position.epoch not in ("", window.epoch):
            await self._rename(follower)
        after = follower.position
        step = follower.judge()
        if step is Step.DISCONNECT:  # its owner was told by `judge`, and is ending the connection
            return Reading(after, (), None, after)
        known = after.epoch in ("", window.epoch)
        if window.ended and known and after.offset == window.head:
            return await self._read_end(window, codec)
        if step is Step.SKIP and known and after.offset < window.head - window.ended:
            return _skipped(window, after)
        # Pages are shared where making them waits for the log or is much work. What is read from the window is not: its
        # batches are kept there already.
        folds = follower.folds and step in (Step.CATCH_UP, Step.BLOCK)
        if folds or step in _CONDENSERS:
            is_told = not follower.folds or step is Step.LATEST
            condenser = _CONDENSERS[Step.FOLD if folds else step]()
            condensed = partial(self._condensed, window, codec, after, condenser, is_told)
            if filter is not None:  # which event is the newest of a key is another for each client
                return await condensed(filter)
            return await self._replay.page((window.channel, codec, after, type(condenser), is_told), condensed)
        if not window.gives(after):
            if filter is None:
                logged = partial(self._logged, window, codec, after)
                return await self._replay.page((window.channel, codec, after), logged)
            read = partial(self._material, window, codec, after)
            return (await self._replay.page((Material, window.channel, codec, after), read)).reading(codec, filter)
        events = window.events(after.offset, self._limits.page_events, self._limits.page_bytes)
        start = Cursor(window.epoch, after.offset)
        if not events:
            return Reading(start, (), None, start)
        if filter is not None:
            pairs = tuple(window.pairs(codec, after.offset, events[-1].offset))
            self._windows.keep_within_bound()
            return Material(start, (), pairs, events[-1].cursor).reading(codec, filter)
        batch = window.batch(codec, after.offset, events[-1].offset)
        self._windows.keep_within_bound()
        return Reading(start, (), batch, events[-1].cursor, len(events), events[-1].ends)

    async def poll(
        self, asked: Sequence[Asked], wait_seconds: float, park: Park = trio.sleep_forever, watches: bool = True
    ) -> list[Polled]:
        """Read a page of each of some channels for a poll.

        Args:
            asked: the channels. They share the bounds of one page, states included: where it is full, the last of them
                have none. Of the last that has one, folded, it may be a page more, or a state.
            wait_seconds: how long to wait for a first event that the client may see; 0 for a short poll.
            park: where it waits: see :func:`.next_round`.
            watches: whether somebody waits who is counted as a watcher, and told what is only for now.

        Returns:
            One for each channel.

        Raises:
            LogError: the store's fault; the log cannot be read.
            SnapshotError: the app's fault; there is no state.
            Exception: what ``park`` raises.

        Cancellation: nothing is left behind.
        """
        audiences: list[Audience] = []
        watches = watches and wait_seconds > 0
        told: list[list[Event]] = [[] for _ in asked]
        hears = [partial(_hear, heard, one.filter) for heard, one in zip(told, asked, strict=True)]
        try:
            for one in asked:
                audience = await self._windows.open(one.channel)
                self._windows.keep(one.channel, watches)
                audiences.append(audience)
            places = [await self.place(a.window, one.after) for a, one in zip(audiences, asked, strict=True)]
            rounds = [a.rounds for a in audiences]  # before the first read: a round during it is seen by the number
            pages = await self._pages(audiences, asked, places, self._first_page)
            if not wait_seconds:
                return pages
            with trio.move_on_after(wait_seconds):
                while not (_has_news(asked, places, pages) or any(told)):
                    if any(page.end != page.head for page in pages):  # nothing in there was for the client: read on
                        await trio.lowlevel.checkpoint()
                    elif [a.rounds for a in audiences] == rounds:  # else it was read while one went by
                        await next_round(audiences, park, hears if watches else None)
                    rounds = [a.rounds for a in audiences]
                    # From the page's end, which names the epoch also where the client gave a bare offset: a log that
                    # begins anew meanwhile is then told as a gap.
                    places = [page.end for page in pages]
                    pages = await self._pages(audiences, asked, places, self._polled)
            return [_with_told(page, heard) for page, heard in zip(pages, told, strict=True)]
        finally:
            for audience in audiences:
                self._windows.release(audience.window.channel, watches)

    async def _pages(
        self,
        audiences: Sequence[Audience],
        asked: Sequence[Asked],
        places: Sequence[Cursor],
        read: Callable[[Window, Cursor, Asked, _Room], Awaitable[Polled]],
    ) -> list[Polled]:
        """Read on in each channel, as long as there is room in the page that all of them share."""
        pages: list[Polled] = []
        room = _Room(self._limits.page_events, self._limits.page_bytes)
        for audience, one, after in zip(audiences, asked, places, strict=True):
            if room.events < 1 or room.bytes < 1:
                unread = one.source is not None and one.after is None
                pages.append(Polled((), None, audience.window.cursor, after, unread=unread))
                continue
            page = await read(audience.window, after, one, room)
            size = sum([len(event.json) for event in page.events]) + (page.snapshot.size if page.snapshot else 0)
            room = _Room(room.events - len(page.events), room.bytes - size)
            pages.append(page)
        return pages

    async def _first_page(self, window: Window, after: Cursor, one: Asked, room: _Room) -> Polled:
        """Read what a client is answered first: where it has asked for the channel's state, it may be that."""
        if one.source is None:
            return await self._polled(window, after, one, room)
        snapshot = None if one.after is not None else await self._take(one.source, window)
        page = await self._polled(window, after if snapshot is None else snapshot.cursor, one, room)
        if snapshot is None and page.gap is not None and _are_lost((page.gap,)):
            snapshot = await self._take(one.source, window)
            page = await self._polled(window, snapshot.cursor, one, room)
        return page if snapshot is None else msgspec.structs.replace(page, snapshot=snapshot)

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
        oldest = await read_checked(self._log, window.channel, Cursor("", 0), limit=1, max_bytes=1)
        start, head = _starts_after(oldest), window.cursor
        if head.epoch != start.epoch:  # the log began anew meanwhile: all that it has is new
            return start
        return Cursor(head.epoch, max(start.offset, head.offset + after.offset))

    async def _page(self, window: Window, after: Cursor, room: _Room | None = None) -> Page:
        limit, size = room or (self._limits.page_events, self._limits.page_bytes)
        if window.gives(after):
            return Page(tuple(window.events(after.offset, limit, size)), None, window.cursor)
        return await read_checked(self._log, window.channel, after, limit=limit, max_bytes=size)

    async def _polled(self, window: Window, after: Cursor, one: Asked, room: _Room) -> Polled:
        filter = one.filter
        if one.folds:
            read = await self._gather(window, after, filter, Folder())
            events, page = tuple(read.events), Polled((), read.gap, read.head, read.position)
        else:
            found = await self._page(window, after, room)
            events, page = found.events, Polled((), found.gap, found.head, _ends_at(found))
        ending = events[-1] if events and events[-1].ends else None
        events = events if ending is None else events[:-1]
        # One that stands further has read from the log what the window has not heard of yet: there it goes on.
        if window.ended and not events and ending is None and page.end == window.cursor:
            ending = await self._end(window)
            if ending is not None and ending.cursor != page.end:  # the log has begun anew, and its tail will tell so
                ending = None
        if filter is not None and not one.folds:
            events = tuple(filter.parts(zip(events, events, strict=True)))
        return msgspec.structs.replace(page, events=events, ending=ending)

    async def _end(self, window: Window) -> Event | None:
        """Read what has ended a channel. None where that is not the newest any more: retention drops what stands for
        deleted events, and the channel goes on then, as if nothing had ever been there."""
        page = await self._page(window, Cursor(window.epoch, window.head - 1))
        if page.events:
            return page.events[-1] if page.events[-1].ends else None
        if page.head == window.cursor:
            window.ended = False
        return None

    async def _read_end(self, window: Window, codec: Codec) -> Reading:
        """Read for a follower that stands at the end of its channel already: it is told once more, with its data."""
        start, end = window.cursor, await self._end(window)
        if end is None or end.cursor != start:
            return Reading(start, (), None, start)
        return Reading(start, (), codec.join([codec.event(end)]), start, 1, True)

    async def _rename(self, follower: Follower) -> None:
        """Have a follower's position name the log's present life, where that has all that the position's own had up to
        it: else its policy would count every event of the channel, and one that has its end would not be told it."""
        window, after = follower.window, follower.position
        place = (window.channel, follower.codec, after)
        page = await self._replay.page(place, partial(self._logged, window, follower.codec, after))
        if not page.gaps:
            follower.position = page.start

    async def _logged(self, window: Window, codec: Codec, after: Cursor) -> Reading:
        read = await self._material(window, codec, after)
        batch = codec.join([part for _, part in read.pairs]) if read.pairs else None
        ends = bool(read.pairs) and read.pairs[-1][0].ends
        return Reading(read.start, read.gaps, batch, read.position, len(read.pairs), ends)

    async def _material(self, window: Window, codec: Codec, after: Cursor) -> Material:
        limits = self._limits
        page = await read_checked(
            self._log, window.channel, after, limit=limits.page_events, max_bytes=limits.page_bytes
        )
        gaps = () if page.gap is None else (page.gap,)
        pairs = tuple([(event, codec.event(event)) for event in page.events])
        return Material(_starts_after(page), gaps, pairs, _ends_at(page))

    async def _gather(self, window: Window, after: Cursor, filter: Filter | None, condenser: Condenser) -> _Gathered:
        """Read on after a cursor, over many pages, and have made few events of those that the client may see."""
        gap: Gap | None = None
        start = position = after
        seen = 0
        for _ in range(CONFLATED_PAGES):
            page = await self._page(window, position)
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
            position = _ends_at(page)
            is_full = len(condenser) > self._limits.page_events or condenser.size > self._limits.page_bytes
            if is_full or position == page.head:
                break
        if not seen:
            start = _starts_after(page)
        return _Gathered(start, gap, condenser.events(), position, page.head)

    async def _condensed(
        self,
        window: Window,
        codec: Codec,
        after: Cursor,
        condenser: Condenser,
        is_told: bool,
        filter: Filter | None = None,
    ) -> Reading:
        """Read on, and encode what was made of the events.

        Args:
            is_told: whether a gap tells how many events were left out. A client that has asked for folded events is
                told with each how many it stands for.
        """
        read = await self._gather(window, after, filter, condenser)
        gaps = [] if read.gap is None else [read.gap]
        # The stream goes on behind the last event that was seen. Where the client may see all that is the last one that
        # is sent, for nothing that comes later is left out.
        begins = gaps[0].after if gaps else read.start
        if is_told and condenser.count > len(read.events):
            gaps.append(Gap(read.start, read.position, condenser.count - len(read.events), "conflated"))
        pairs = [(event, codec.event(event)) for event in read.events]
        parts = [part for _, part in pairs] if filter is None else filter.marked(pairs)
        batch = codec.join(parts) if parts else None
        ends = bool(read.events) and read.events[-1].ends
        folded = sum([event.folded - 1 for event in read.events])
        return Reading(begins, tuple(gaps), batch, read.position, len(read.events), ends, folded=folded)


def _has_news(asked: Sequence[Asked], places: Sequence[Cursor], pages: Sequence[Polled]) -> bool:
    """Whether a poll is answered with some pages. That a channel has ended is no news to who stands at its end, unless
    all have."""
    if all(page.ending is not None for page in pages):
        return True
    return any(
        page.events
        or page.gap is not None
        or page.snapshot is not None
        or (page.ending is not None and (one.after is None or place.offset != page.ending.offset))
        for one, place, page in zip(asked, places, pages, strict=True)
    )


def _are_lost(gaps: tuple[Gap, ...]) -> bool:
    """Whether events are gone, and not left out by a policy."""
    return bool(gaps) and gaps[0].reason in ("expired", "epoch", "future")


def _hear(told: list[Event], filter: Filter | None, event: Event) -> bool:
    """Take what a poll is told, if its client may see it."""
    if filter is not None and not filter.allows(event):
        return False
    told.append(event)
    return True


def _with_told(page: Polled, told: list[Event]) -> Polled:
    return msgspec.structs.replace(page, told=tuple(told)) if told else page


def _skipped(window: Window, after: Cursor) -> Reading:
    """Jump to where live followers are; past the round that is being written, if the follower is there already. An end
    is not jumped over."""
    to = Cursor(
        window.epoch,
        min(window.flushed if window.flushed > after.offset else window.head, window.head - window.ended),
    )
    start = Cursor(window.epoch, after.offset)
    return Reading(start, (Gap(start, to, to.offset - after.offset, "skipped"),), None, to)


def _starts_after(page: Page) -> Cursor:
    """Return the cursor that a page was read after: where a gap begins, if there is one."""
    if page.gap is not None:
        return page.gap.after
    if page.events:
        first = page.events[0].cursor
        return Cursor(first.epoch, first.offset - 1)
    return page.head


def _ends_at(page: Page) -> Cursor:
    """Return the cursor to go on from behind a page."""
    if page.events:
        return page.events[-1].cursor
    return page.head if page.gap is None else page.gap.to
