"""What comes next for a follower that is behind: from the window or the log, conflated or skipped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from ..event import Cursor, Gap
from ..limits import Limits
from ..wire.codec import Codec
from ..wire.fold import Folder
from .condense import Condenser, Newest
from .filter import Filter
from .follower import Follower, waits_for_state
from .pages import Pages, are_lost, ends_at, starts_after
from .policies import Step
from .replay import Material, Reading, Replay
from .snapshots import Source
from .window import Window
from .windows import Windows

__all__ = ["Reader"]

_CONDENSERS: Final[dict[Step, Callable[[], Condenser]]] = {Step.LATEST: Newest, Step.FOLD: Folder}


class Reader:
    """Reads for followers that are behind: for those that the pump does not write to.

    Args:
        limits: ``page_events`` and ``page_bytes`` bound what is read at once.
        windows: the newest events.
        replay: shares the pages that had to be read from the log, or conflated.
        pages: reads from the log, and states.
    """

    def __init__(self, limits: Limits, windows: Windows, replay: Replay, pages: Pages) -> None:
        self._limits = limits
        self._windows = windows
        self._replay = replay
        self._pages = pages

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
        if waits_for_state(follower):
            return await self._state(follower, source)
        reading = await self._read(follower)
        # Not twice: of a state that is older than what is kept, the gap is told.
        if are_lost(reading.gaps) and follower.position != follower.snapshot_at:
            return await self._state(follower, source)
        return reading

    async def _state(self, follower: Follower, source: Source) -> Reading:
        snapshot = await self._pages.take(source, follower.window)
        return Reading(snapshot.cursor, (), None, snapshot.cursor, snapshot=snapshot)

    async def _read(self, follower: Follower) -> Reading:
        window, codec, filter = follower.window, follower.codec, follower.filter
        if (follower.policy is not None or window.ended) and not window.knows(follower.position):
            await self._rename(follower)
        after = follower.position
        step = follower.judge()
        if step is Step.DISCONNECT:  # its owner was told by `judge`, and is ending the connection
            return Reading(after, (), None, after)
        known = window.knows(after)
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

    async def _read_end(self, window: Window, codec: Codec) -> Reading:
        """Read for a follower that stands at the end of its channel already: it is told once more, with its data."""
        start, end = window.cursor, await self._pages.end(window)
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
        page = await self._pages.read(window, after)
        gaps = () if page.gap is None else (page.gap,)
        pairs = tuple([(event, codec.event(event)) for event in page.events])
        return Material(starts_after(page), gaps, pairs, ends_at(page))

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
        read = await self._pages.gather(window, after, filter, condenser)
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


def _skipped(window: Window, after: Cursor) -> Reading:
    """Jump to where live followers are; past the round that is being written, if the follower is there already. An end
    is not jumped over."""
    to = Cursor(
        window.epoch,
        min(window.flushed if window.flushed > after.offset else window.head, window.head - window.ended),
    )
    start = Cursor(window.epoch, after.offset)
    return Reading(start, (Gap(start, to, to.offset - after.offset, "skipped"),), None, to)
