"""The hub: from the log's tail to every live client, in rounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import trio

from ..event import Cursor, Event, Gap
from ..limits import Limits
from ..log.base import EventLog, Page
from ..wire.codec import Codec
from .follower import Audience, Follower, LiveGroup, State, Writable
from .window import Window

__all__ = ["Hub", "HubStatistics", "Reading"]

WRITES_BETWEEN_CHECKPOINTS = 256


class Reading(msgspec.Struct, frozen=True):
    """What a follower that is behind is to be sent next.

    ``start`` is where the stream goes on (after ``gap``, if any), ``position`` where it stands once
    ``batch`` is written; ``batch`` is None where there is nothing to read.
    """

    start: Cursor
    gap: Gap | None
    batch: Any
    position: Cursor


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """What a hub holds: ``followers`` counts the long polls that wait, too; of them and of those behind, ``live``
    are none. ``delivered`` is how often a batch was written to a live follower."""

    windows: int
    followers: int
    live: int
    delivered: int


class Hub:
    """Windows of the channels that are followed, and the pump that writes what is new to the live.

    Args:
        log: where events come from. It must be open while :meth:`run` runs.
        limits: bounds of windows and pages.
    """

    def __init__(self, log: EventLog, limits: Limits) -> None:
        self._log = log
        self._limits = limits
        self._windows: dict[str, Window] = {}
        self._idle: dict[str, None] = {}
        self._writes = 0
        self.delivered = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the pump: one task, which never waits for any client. Cancelling it loses nothing that is
        in the log; followers are not written to while it does not run."""
        with self._log.tail() as batches:
            task_status.started()
            async for events in batches:
                for window in self._take(events):
                    await self._round(window)

    async def follow(
        self,
        channel: str,
        codec: Codec,
        outlet: Writable,
        after: Cursor | None,
        fell_behind: Callable[[Follower], None],
        url: str | None = None,
    ) -> Follower:
        """Make a follower, which is behind at first. ``after`` None means: from now.

        Raises:
            LogError: the log cannot say where the channel's head is.

        Cancellation: nothing is left behind.
        """
        window = await self.window(channel)
        self._keep(window)
        return Follower(window, codec, outlet, after, fell_behind, url)

    def leave(self, follower: Follower) -> None:
        """End a follower and, with its channel's last, let go of the window in time."""
        if follower.state is not State.ENDED:
            follower.end()
            self._release(follower.window)

    async def read(self, follower: Follower) -> Reading:
        """Read on for a follower that is behind: from the window if it reaches back so far, else the log."""
        window, after, codec = follower.window, follower.position, follower.codec
        limits = self._limits
        if window.holds(after):
            events = window.events(after.offset, limits.page_events, limits.page_bytes)
            start = Cursor(window.epoch, after.offset)
            if not events:
                return Reading(start, None, None, start)
            return Reading(start, None, window.batch(codec, after.offset, events[-1].offset), events[-1].cursor)
        page = await self._log.read(window.channel, after, limit=limits.page_events, max_bytes=limits.page_bytes)
        start = starts_after(page)
        if not page.events:
            return Reading(start, page.gap, None, start)
        batch = codec.join([codec.event(event) for event in page.events])
        return Reading(start, page.gap, batch, page.events[-1].cursor)

    async def page(self, channel: str, after: Cursor | None, wait_seconds: float = 0) -> Page:
        """Read a page for a poll, waiting up to so long for a first event. ``after`` None means: from now."""
        window = await self.window(channel)
        self._keep(window)
        try:
            position = window.cursor if after is None else after
            rounds = window.rounds
            page = await self._page(window, position)
            with trio.move_on_after(wait_seconds):
                while wait_seconds and not page.events and page.gap is None:
                    if window.rounds == rounds:  # else it was read while one went by
                        await window.changed()
                    rounds = window.rounds
                    page = await self._page(window, page.head)
            return page
        finally:
            self._release(window)

    def statistics(self) -> HubStatistics:
        """Count the windows, and who is in them."""
        windows = self._windows.values()
        return HubStatistics(
            windows=len(windows),
            followers=sum(window.followers for window in windows),
            live=sum(len(group.followers) for window in windows for group in window.live.values()),
            delivered=self.delivered,
        )

    async def window(self, channel: str) -> Window:
        """The window of a channel, opened at the log's head if it is not known yet."""
        window = self._windows.get(channel)
        while window is None or window.ready is not None:
            if window is None:
                await self._open_window(channel)
            else:
                assert window.ready is not None
                await window.ready.wait()
            window = self._windows.get(channel)
        return window

    async def _open_window(self, channel: str) -> None:
        """The window takes events from the tail while the log is asked for the head, so none falls between."""
        window = self._windows[channel] = Window(channel, self._limits)
        window.ready = ready = trio.Event()
        try:
            head = await self._log.head(channel)
            if window.head < 0:
                window.begin(head)
            window.ready = None
            self._idle[channel] = None
        except BaseException:
            del self._windows[channel]
            raise
        finally:
            ready.set()

    async def _page(self, window: Window, after: Cursor) -> Page:
        limits = self._limits
        if window.holds(after):
            events = window.events(after.offset, limits.page_events, limits.page_bytes)
            return Page(tuple(events), None, window.cursor)
        return await self._log.read(window.channel, after, limit=limits.page_events, max_bytes=limits.page_bytes)

    def _keep(self, window: Window) -> None:
        window.followers += 1
        self._idle.pop(window.channel, None)

    def _release(self, window: Window) -> None:
        """Windows without followers stay for a while, for those who poll; the longest unused go first."""
        window.followers -= 1
        if window.followers == 0 and self._windows.get(window.channel) is window:
            window.rest()
            self._idle[window.channel] = None
            if len(self._idle) > self._limits.idle_windows:
                oldest = next(iter(self._idle))
                del self._idle[oldest], self._windows[oldest]

    def _take(self, events: tuple[Event, ...] | list[Event] | Any) -> dict[Window, None]:
        dirty: dict[Window, None] = {}
        windows = self._windows
        for event in events:
            window = windows.get(event.channel)
            if window is not None:
                window.append(event)
                dirty[window] = None
        return dirty

    async def _round(self, window: Window) -> None:
        """Write what is new in a window to everybody who is live in it.

        What is appended meanwhile goes out together in the next round.
        """
        start, end = window.flushed, window.head
        if start == end:
            return  # all of it was known: the window was opened while its events waited in the tail
        window.flushed = end
        early, window.early = window.early, []
        for follower in early:
            if follower.state is State.BEHIND:
                follower.fell_behind(follower)
        window.announce()
        # Taken before the first checkpoint: who goes live during the round stands at its end already.
        audiences = [(group, group.audience()) for group in window.live.values() if group.followers]
        if window.first > start + 1:
            for _, (followers, _, _) in audiences:
                for follower in followers:
                    follower.fall_behind()
            return
        batches = [window.batch(codec, start, end) for codec, group in window.live.items() if group.followers]
        for (group, audience), batch in zip(audiences, batches, strict=True):
            await self._write(group, audience, batch, start, Cursor(window.epoch, end))

    async def _write(self, group: LiveGroup, audience: Audience, batch: Any, start: int, end: Cursor) -> None:
        followers, sends, version = audience
        for at in range(0, len(followers), WRITES_BETWEEN_CHECKPOINTS):
            some = followers[at : at + WRITES_BETWEEN_CHECKPOINTS]
            their_sends = sends[at : at + WRITES_BETWEEN_CHECKPOINTS]
            if group.version != version:
                # Somebody left, or left and came back, at the checkpoint: write to those who still wait here.
                some = [f for f in some if f.state is State.LIVE and f.position.offset == start]
                their_sends = [f.outlet.send for f in some]
            self._write_some(some, their_sends, batch, end)
            self._writes += len(some)
            if self._writes >= WRITES_BETWEEN_CHECKPOINTS:
                self._writes = 0
                await trio.lowlevel.checkpoint()

    def _write_some(
        self, followers: list[Follower], sends: list[Callable[[Any], int]], batch: Any, end: Cursor
    ) -> None:
        size = len(batch)
        short: list[tuple[Follower, int]] = []
        for follower, send in zip(followers, sends, strict=True):
            try:
                taken = send(batch)
            except BlockingIOError:
                taken = 0
            except OSError:
                taken = -1
            follower.position = end
            if taken != size:
                short.append((follower, taken))
        self.delivered += len(followers)
        for follower, taken in short:
            if taken < 0:
                follower.outlet.fail()
            else:
                follower.outlet.keep(batch, taken)
            follower.fall_behind()


def starts_after(page: Page) -> Cursor:
    """The cursor that a page's events come after."""
    if page.gap is not None:
        return page.gap.to
    if page.events:
        first = page.events[0].cursor
        return Cursor(first.epoch, first.offset - 1)
    return page.head
