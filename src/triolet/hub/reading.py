"""What comes next for a follower that is behind, and for a poll: from the window or the log, conflated or skipped."""

from __future__ import annotations

from functools import partial

import msgspec
import trio

from ..bounds import CONFLATED_PAGES
from ..event import Cursor, Event, Gap
from ..limits import Limits
from ..log.contract import EventLog, Page, read_checked
from ..wire.codec import Codec
from .audience import Park
from .filter import Filter
from .follower import Follower
from .policies import Step
from .replay import Material, Reading, Replay
from .window import Window
from .windows import Windows

__all__ = ["Polled", "Reader"]


class Polled(msgspec.Struct, frozen=True):
    """What a poll is answered with.

    Attributes:
        events: those that its client may see, but not one that ends the channel.
        gap: what was lost before them; None if nothing was.
        head: the newest event's cursor at the moment of reading.
        end: up to where was read: the cursor to go on from. It lies behind what the client may not see, too.
        ending: the event that has ended the channel, where it was reached; None: it goes on.
    """

    events: tuple[Event, ...]
    gap: Gap | None
    head: Cursor
    end: Cursor
    ending: Event | None = None

    @property
    def says_something(self) -> bool:
        """Whether its client is told anything but where to go on from."""
        return bool(self.events) or self.gap is not None or self.ending is not None


class Reader:
    """Reads for followers that are behind, and for polls: for all that the pump does not write to.

    Args:
        log: what is no longer in a window is read from it.
        limits: ``page_events`` and ``page_bytes`` bound what is read at once.
        windows: the newest events.
        replay: shares the pages that had to be read from the log, or conflated.
    """

    def __init__(self, log: EventLog, limits: Limits, windows: Windows, replay: Replay) -> None:
        self._log = log
        self._limits = limits
        self._windows = windows
        self._replay = replay

    async def read(self, follower: Follower) -> Reading:
        """Read on for a follower that is behind, as its policy says: from the window if it reaches back so far, else
        from the log.

        Raises:
            LogError: the store's fault; the log cannot be read.

        Cancellation: nothing is lost; the follower has not moved.
        """
        window, codec, filter = follower.window, follower.codec, follower.filter
        if follower.policy is not None and follower.position.epoch not in ("", window.epoch):
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
        if step is Step.LATEST and filter is not None:  # which event is the newest of a key is another for each client
            return await self._latest(window, codec, after, filter)
        if step is Step.LATEST:
            place = (window.channel, codec, after, step)
            return await self._replay.page(place, partial(self._latest, window, codec, after))
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
        self,
        channel: str,
        after: Cursor | None,
        wait_seconds: float,
        filter: Filter | None = None,
        park: Park = trio.sleep_forever,
    ) -> Polled:
        """Read a page for a poll.

        Args:
            channel: its name.
            after: the cursor to go on from; None is "from now", and a negative offset the newest so many.
            wait_seconds: how long to wait for a first event that the client may see; 0 for a short poll.
            filter: which events that are; None: all of them.
            park: where it waits: see :meth:`Audience.next_round`.

        Raises:
            LogError: the store's fault; the log cannot be read.
            Exception: what ``park`` raises.

        Cancellation: nothing is left behind.
        """
        audience = await self._windows.open(channel)
        window = audience.window
        self._windows.keep(channel)
        try:
            position = await self.place(window, after)
            rounds = audience.rounds  # before the first read: a round that begins during it is seen by the number
            page = await self._polled(window, position, filter)
            if not wait_seconds:
                return page
            with trio.move_on_after(wait_seconds):
                while not page.says_something:
                    if page.end != page.head:  # nothing on this page was for the client, and more can be read
                        await trio.lowlevel.checkpoint()
                    elif audience.rounds == rounds:  # else it was read while one went by
                        await audience.next_round(park)
                    rounds = audience.rounds
                    # From the page's end, which names the epoch also where the client gave a bare offset: a log that
                    # begins anew meanwhile is then told as a gap.
                    page = await self._polled(window, page.end, filter)
            return page
        finally:
            self._windows.release(channel)

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

    async def _page(self, window: Window, after: Cursor) -> Page:
        limits = self._limits
        if window.gives(after):
            events = window.events(after.offset, limits.page_events, limits.page_bytes)
            return Page(tuple(events), None, window.cursor)
        return await read_checked(
            self._log, window.channel, after, limit=limits.page_events, max_bytes=limits.page_bytes
        )

    async def _polled(self, window: Window, after: Cursor, filter: Filter | None) -> Polled:
        page = await self._page(window, after)
        ending = page.events[-1] if page.events and page.events[-1].ends else None
        if window.ended and not page.events:
            ending = await self._end(window)
        events = page.events if ending is None else page.events[:-1]
        if filter is not None:
            events = tuple(filter.parts(zip(events, events, strict=True)))
        return Polled(events, page.gap, page.head, page.events[-1].cursor if page.events else page.head, ending)

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
        it: else its policy would count every event of the channel."""
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

    async def _latest(self, window: Window, codec: Codec, after: Cursor, filter: Filter | None = None) -> Reading:
        """Read the newest event of each key after a cursor, and all events without a key: of those that the client
        may see."""
        newest: dict[str | int, Event] = {}
        gaps: list[Gap] = []
        start = position = after
        seen = allowed = size = 0
        for _ in range(CONFLATED_PAGES):
            page = await self._page(window, position)
            if page.gap is not None:
                if seen:
                    break  # retention has passed us meanwhile: the next reading says so
                gaps.append(page.gap)
            if page.events and not seen:
                first = page.events[0].cursor
                start = Cursor(first.epoch, first.offset - 1)
            for event in page.events:
                if filter is not None and not filter.allows(event):
                    continue
                allowed += 1
                key = event.offset if event.key is None else event.key
                old = newest.pop(key, None)  # popped and put in anew, so that the dict stays in the order of offsets
                size += len(event.json) - (0 if old is None else len(old.json))
                newest[key] = event
            seen += len(page.events)
            position = _ends_at(page)
            if not page.events or len(newest) > self._limits.page_events or size > self._limits.page_bytes:
                break
        if not seen:
            return Reading(_starts_after(page), tuple(gaps), None, position)
        # The stream goes on behind the last event that was seen. Where the client may see all that is the last one that
        # is sent, for it is the newest of its key.
        begins = gaps[0].after if gaps else start
        if allowed > len(newest):
            gaps.append(Gap(start, position, allowed - len(newest), "conflated"))
        batch = codec.join([codec.event(e) for e in newest.values()]) if newest else None
        ends = bool(newest) and next(reversed(newest.values())).ends
        return Reading(begins, tuple(gaps), batch, position, len(newest), ends)


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
