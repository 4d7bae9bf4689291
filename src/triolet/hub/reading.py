"""What comes next for a follower that is behind, and for a poll: from the window or the log, conflated or skipped."""

from __future__ import annotations

from functools import partial

import trio

from ..event import Cursor, Event, Gap
from ..limits import CONFLATED_PAGES, Limits
from ..log.contract import EventLog, Page, read_checked
from ..wire.codec import Codec
from .follower import Follower
from .policies import Step
from .replay import Reading, Replay
from .window import Window
from .windows import Windows

__all__ = ["Reader"]


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
        window, after, codec = follower.window, follower.position, follower.codec
        step = follower.judge()
        if step is Step.DISCONNECT:  # its owner was told by `judge`, and is ending the connection
            return Reading(after, (), None, after)
        if step is Step.SKIP and after.epoch in ("", window.epoch) and after.offset < window.head:
            return _skipped(window, after)
        # Pages are shared where making them waits for the log or is much work. What is read from the window is not: its
        # batches are kept there already.
        if step is Step.LATEST:
            place = (window.channel, codec, after, step)
            return await self._replay.page(place, partial(self._latest, window, codec, after))
        if not window.gives(after):
            return await self._replay.page((window.channel, codec, after), partial(self._logged, window, codec, after))
        events = window.events(after.offset, self._limits.page_events, self._limits.page_bytes)
        start = Cursor(window.epoch, after.offset)
        if not events:
            return Reading(start, (), None, start)
        batch = window.batch(codec, after.offset, events[-1].offset)
        self._windows.keep_within_bound()
        return Reading(start, (), batch, events[-1].cursor)

    async def poll(self, channel: str, after: Cursor | None, wait_seconds: float) -> Page:
        """Read a page for a poll.

        Args:
            channel: its name.
            after: the cursor to go on from; None is "from now".
            wait_seconds: how long to wait for a first event; 0 for a short poll.

        Raises:
            LogError: the store's fault; the log cannot be read.

        Cancellation: nothing is left behind.
        """
        audience = await self._windows.open(channel)
        window = audience.window
        self._windows.keep(channel)
        try:
            position = window.cursor if after is None else after
            rounds = audience.rounds  # before the first read: a round that begins during it is seen by the number
            page = await self._page(window, position)
            with trio.move_on_after(wait_seconds):
                while wait_seconds and not page.events and page.gap is None:
                    if audience.rounds == rounds:  # else it was read while one went by
                        await audience.next_round()
                    rounds = audience.rounds
                    # From the page's head, which names the epoch also where the client gave a bare offset: a log that
                    # begins anew meanwhile is then told as a gap.
                    page = await self._page(window, page.head)
            return page
        finally:
            self._windows.release(channel)

    async def _page(self, window: Window, after: Cursor) -> Page:
        limits = self._limits
        if window.gives(after):
            events = window.events(after.offset, limits.page_events, limits.page_bytes)
            return Page(tuple(events), None, window.cursor)
        return await read_checked(
            self._log, window.channel, after, limit=limits.page_events, max_bytes=limits.page_bytes
        )

    async def _logged(self, window: Window, codec: Codec, after: Cursor) -> Reading:
        limits = self._limits
        page = await read_checked(
            self._log, window.channel, after, limit=limits.page_events, max_bytes=limits.page_bytes
        )
        start = _starts_after(page)
        gaps = () if page.gap is None else (page.gap,)
        if not page.events:
            return Reading(start, gaps, None, page.head if page.gap is None else page.gap.to)
        return Reading(start, gaps, codec.join([codec.event(e) for e in page.events]), page.events[-1].cursor)

    async def _latest(self, window: Window, codec: Codec, after: Cursor) -> Reading:
        """Read the newest event of each key after a cursor, and all events without a key."""
        newest: dict[str | int, Event] = {}
        gaps: list[Gap] = []
        start = position = after
        seen = size = 0
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
                key = event.offset if event.key is None else event.key
                old = newest.pop(key, None)  # popped and put in anew, so that the dict stays in the order of offsets
                size += len(event.json) - (0 if old is None else len(old.json))
                newest[key] = event
            seen += len(page.events)
            if not page.events or len(newest) > self._limits.page_events or size > self._limits.page_bytes:
                break
            position = page.events[-1].cursor
        if not seen:
            return Reading(_starts_after(page), tuple(gaps), None, page.head if page.gap is None else page.gap.to)
        # The stream goes on behind the last event that is sent, not behind the last that was seen: they are the same,
        # for the last one seen is the newest of its key.
        begins = gaps[0].after if gaps else start
        position = next(reversed(newest.values())).cursor
        if seen > len(newest):
            gaps.append(Gap(start, position, seen - len(newest), "conflated"))
        return Reading(begins, tuple(gaps), codec.join([codec.event(e) for e in newest.values()]), position)


def _skipped(window: Window, after: Cursor) -> Reading:
    """Jump to where live followers are; past the round that is being written, if the follower is there already."""
    to = Cursor(window.epoch, window.flushed if window.flushed > after.offset else window.head)
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
