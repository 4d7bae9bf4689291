"""The hub: from the log's tail to every live client, in rounds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

from ..budget import Budget
from ..counters import Metrics
from ..errors import LogAway, LogError, where
from ..event import Cursor, Event, Gap
from ..limits import Limits
from ..log.contract import EventLog, Page
from ..wire.codec import Codec
from .follower import Audience, Follower, LiveGroup, Owner, State, Writable
from .policies import Step
from .replay import Reading, Replay
from .subscription import Subscription
from .window import Window

__all__ = ["Hub", "HubStatistics"]

logger = logging.getLogger("triolet.hub")

WRITES_BETWEEN_CHECKPOINTS = 256

RETRY_SECONDS = 1

ASKED_AT_ONCE = 64
"""Channels of which the log is asked for the head at the same moment, after the tail was overrun."""

CONFLATED_PAGES = 64
"""Most pages that are read to find the newest event of each key; what lies behind them is for the next reading."""


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """What a hub holds: ``followers`` counts the long polls that wait, too; of them and of those behind, ``live``
    are none. ``delivered`` is how often a batch was written to a live follower, ``window_bytes`` what windows hold."""

    windows: int
    followers: int
    live: int
    delivered: int
    window_bytes: int


class Hub:
    """Windows of the channels that are followed, and the pump that writes what is new to the live.

    Args:
        log: where events come from. It must be open while :meth:`run` runs.
        limits: bounds of windows and pages.
        budget: where the bytes held here are counted.
        metrics: where rounds are counted.
    """

    def __init__(self, log: EventLog, limits: Limits, budget: Budget, metrics: Metrics | None = None) -> None:
        self._log = log
        self._limits = limits
        self._budget = budget
        self._metrics = Metrics() if metrics is None else metrics
        self._held = 0
        self._bound = min(limits.windows_bytes, budget.ceiling // 4)  # windows alone are not to keep anybody out
        self.replay = Replay(limits, budget.hold)
        self._windows: dict[str, Window] = {}
        self._idle: dict[str, None] = {}
        self._writes = 0
        self.delivered = 0

    @property
    def stale(self) -> bool:
        """Whether the log is away, so that there may be events that nobody here knows of."""
        return self._log.stale

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the pump: one task, which never waits for any client. Cancelling it loses nothing that is
        in the log; followers are not written to while it does not run."""
        try:
            with self._log.tail() as batches:
                task_status.started()
                async for events in batches:
                    if not events:
                        await self._ask_again()
                    for window, published_at in self._take(events).items():
                        await self._round(window, published_at)
        finally:
            for window in self._windows.values():
                window.shrink()

    async def follow(self, subscription: Subscription, codec: Codec, outlet: Writable, owner: Owner) -> Follower:
        """Make a follower, which is behind at first. No policy means: catch up.

        Raises:
            LogError: the log cannot say where the channel's head is.

        Cancellation: nothing is left behind.
        """
        window = await self.window(subscription.channel)
        self._keep(window)
        return Follower(window, subscription, codec, outlet, owner)

    def leave(self, follower: Follower) -> None:
        """End a follower and, with its channel's last, let go of the window in time."""
        if follower.state is not State.ENDED:
            follower.end()
            self._release(follower.window)

    async def read(self, follower: Follower) -> Reading:
        """Read on for a follower that is behind, as its policy says: from the window if it reaches back so far, else
        from the log.

        Raises:
            LogError: the log cannot be read.
        """
        window, after, codec = follower.window, follower.position, follower.codec
        step = follower.judge()
        if step is Step.DISCONNECT:
            return Reading(after, (), None, after)
        if step is Step.SKIP and after.epoch in ("", window.epoch) and after.offset < window.head:
            return _skipped(window, after)
        if step is Step.LATEST:
            place = (window.channel, codec, after, step)
            return await self.replay.page(place, partial(self._latest, window, codec, after))
        if not window.holds(after):
            return await self.replay.page((window.channel, codec, after), partial(self._logged, window, codec, after))
        events = window.events(after.offset, self._limits.page_events, self._limits.page_bytes)
        start = Cursor(window.epoch, after.offset)
        if not events:
            return Reading(start, (), None, start)
        batch = window.batch(codec, after.offset, events[-1].offset)
        self._keep_within_bound()
        return Reading(start, (), batch, events[-1].cursor)

    async def room(self, channel: str) -> None:
        """Wait while a follower's policy holds publishers up. At most so long as that policy says: who is then still
        behind is given up. Cancelling loses nothing."""
        window = self._windows.get(channel)
        while window is not None and [f for f in list(window.watched) if _holds_up(f)]:
            with trio.move_on_after(self._limits.policy_seconds):
                await window.make_room()

    def shrink(self) -> None:
        """Empty the windows: those that nobody follows, and then the longest unused, down to half the bound."""
        for channel in list(self._idle):
            self._windows.pop(channel).shrink()
            del self._idle[channel]
            if self._held * 2 <= self._bound:
                return
        for channel, window in list(self._windows.items()):
            if window.flushed < window.head:
                continue  # its round is about to be written
            window.shrink()
            self._windows[channel] = self._windows.pop(channel)
            if self._held * 2 <= self._bound:
                return

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

    @property
    def channels(self) -> tuple[str, ...]:
        """Those that somebody follows or polls, or did lately."""
        return tuple(self._windows)

    def statistics(self) -> HubStatistics:
        """Count the windows, and who is in them."""
        windows = self._windows.values()
        return HubStatistics(
            windows=len(windows),
            followers=sum(window.followers for window in windows),
            live=sum(len(group.followers) for window in windows for group in window.live.values()),
            delivered=self.delivered,
            window_bytes=self._held,
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
        window = self._windows[channel] = Window(channel, self._limits, self._hold)
        window.ready = ready = trio.Event()
        try:
            head = await self._log.head(channel)
            if window.head < 0:
                window.begin(head)
            window.ready = None
            self._idle[channel] = None
        except BaseException:
            self._windows.pop(channel).shrink()  # it may hold what came from the tail meanwhile
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
                del self._idle[oldest]
                self._windows.pop(oldest).shrink()

    def _keep_within_bound(self) -> None:
        """Events may have come, or been encoded for one more codec or place."""
        if self._held > self._bound:
            self.shrink()

    def _hold(self, more: int) -> None:
        self._held += more
        self._budget.hold(more)

    async def _logged(self, window: Window, codec: Codec, after: Cursor) -> Reading:
        limits = self._limits
        page = await self._log.read(window.channel, after, limit=limits.page_events, max_bytes=limits.page_bytes)
        start = starts_after(page)
        gaps = () if page.gap is None else (page.gap,)
        if not page.events:
            return Reading(start, gaps, None, page.head if page.gap is None else page.gap.to)
        return Reading(start, gaps, codec.join([codec.event(e) for e in page.events]), page.events[-1].cursor)

    async def _latest(self, window: Window, codec: Codec, after: Cursor) -> Reading:
        """Of the events after a cursor, the newest of each key, and all without one."""
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
                old = newest.pop(key, None)
                size += len(event.json) - (0 if old is None else len(old.json))
                newest[key] = event
            seen += len(page.events)
            if not page.events or len(newest) > self._limits.page_events or size > self._limits.page_bytes:
                break
            position = page.events[-1].cursor
        if not seen:
            return Reading(starts_after(page), tuple(gaps), None, page.head if page.gap is None else page.gap.to)
        begins = gaps[0].after if gaps else start
        position = next(reversed(newest.values())).cursor
        if seen > len(newest):
            gaps.append(Gap(start, position, seen - len(newest), "conflated"))
        return Reading(begins, tuple(gaps), codec.join([codec.event(e) for e in newest.values()]), position)

    async def _ask_again(self) -> None:
        """The tail was overrun, and what was lost may be any channel's newest event: ask the log where each one is.
        Those who were live read on from where they are."""
        # Of a window that is being opened the log is asked already.
        windows = [window for window in self._windows.values() if window.ready is None]

        async def ask() -> None:
            while windows:
                await self._ask_for(windows.pop())

        async with trio.open_nursery() as nursery:
            for _ in range(min(len(windows), ASKED_AT_ONCE)):
                nursery.start_soon(ask)

    async def _ask_for(self, window: Window) -> None:
        head = await self._surely_head(window.channel)
        if head.epoch != window.epoch or head.offset > window.head:
            window.begin(head)
            for group in window.live.values():
                for follower in list(group.followers):
                    follower.fall_behind()
            _wake(window)

    async def _surely_head(self, channel: str) -> Cursor:
        """The log's head. Where the log cannot be read nothing is delivered: what was lost must not be passed over."""
        while True:
            try:
                return await self._log.head(channel)
            except LogAway:
                await trio.sleep(RETRY_SECONDS)  # it has said so itself
            except LogError as error:
                logger.error("the log was asked for what the tail has lost, and failed: %s", where(error))
                await trio.sleep(RETRY_SECONDS)

    def _take(self, events: tuple[Event, ...] | list[Event] | Any) -> dict[Window, float]:
        """Put events into their windows. Returns those that changed, and when the oldest of these was published."""
        dirty: dict[Window, float] = {}
        windows = self._windows
        for event in events:
            window = windows.get(event.channel)
            if window is not None:
                window.append(event)
                dirty.setdefault(window, event.published_at)
        self._keep_within_bound()
        return dirty

    async def _round(self, window: Window, published_at: float) -> None:
        """Write what is new in a window to everybody who is live in it.

        What is appended meanwhile goes out together in the next round.
        """
        start, end = window.flushed, window.head
        if start == end:
            return  # all of it was known: the window was opened while its events waited in the tail
        window.flushed = end
        _wake(window)
        # Taken before the first checkpoint: who goes live during the round stands at its end already.
        audiences = [(group, group.audience()) for group in window.live.values() if group.followers]
        if window.first > start + 1:
            for _, (followers, _, _) in audiences:
                for follower in followers:
                    follower.fall_behind()
            return
        batches = [window.batch(codec, start, end) for codec, group in window.live.items() if group.followers]
        before = self.delivered
        for (group, audience), batch in zip(audiences, batches, strict=True):
            await self._write(group, audience, batch, start, Cursor(window.epoch, end))
        self._metrics.round_written(published_at, end - start, self.delivered - before)
        self._keep_within_bound()

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


def _holds_up(follower: Follower) -> bool:
    """Whether publishers are to wait for a follower. Its policy's errors are not theirs: its writer meets them too."""
    try:
        return follower.judge() is Step.BLOCK
    except Exception:
        return False


def _wake(window: Window) -> None:
    """There is more to read: wake the polls that wait, and the followers that had read past the last round."""
    early, window.early = window.early, []
    for follower in early:
        if follower.state is State.BEHIND:
            follower.owner.fell_behind(follower)
    window.announce()


def _skipped(window: Window, after: Cursor) -> Reading:
    """Jump to where the live are; past the round that is being written, if the follower is there already."""
    to = Cursor(window.epoch, window.flushed if window.flushed > after.offset else window.head)
    start = Cursor(window.epoch, after.offset)
    return Reading(start, (Gap(start, to, to.offset - after.offset, "skipped"),), None, to)


def starts_after(page: Page) -> Cursor:
    """The cursor that a page was read after: where a gap begins, if there is one."""
    if page.gap is not None:
        return page.gap.after
    if page.events:
        first = page.events[0].cursor
        return Cursor(first.epoch, first.offset - 1)
    return page.head
