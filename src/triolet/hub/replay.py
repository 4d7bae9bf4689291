"""How clients that come back catch up: in turns, so that a herd of them costs the live clients next to nothing, and
with pages that all followers at the same place share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec
import trio

from ..bounds import PAGES_MADE_AT_ONCE, SHARED_PAGE_SECONDS
from ..event import Cursor, Event, Gap
from ..limits import Limits
from ..wire.codec import Codec, size_of
from .filter import Filter
from .snapshots import Snapshot

__all__ = ["Material", "Reading", "Replay", "ReplayStatistics"]


class _Shared(Protocol):
    @property
    def size(self) -> int:
        """The bytes that it holds; 0 where it is not worth keeping."""


_Page = TypeVar("_Page", bound=_Shared)


class Reading(msgspec.Struct, frozen=True):
    """What a follower that is behind is to be sent next.

    Attributes:
        start: the cursor that was read after.
        gaps: what is to be announced first.
        batch: the events, encoded and joined; None where there is nothing to read.
        position: where the stream stands once ``batch`` is written.
        events: how many events ``batch`` holds.
        ends: whether the last of them ends the channel.
        snapshot: the channel's state, which is to be told first, and of which ``start`` is the place; None where there
            is none to be told.
        folded: how many events were made a part of those.
    """

    start: Cursor
    gaps: tuple[Gap, ...]
    batch: Any
    position: Cursor
    events: int = 0
    ends: bool = False
    snapshot: Snapshot | None = None
    folded: int = 0

    @property
    def says_nothing(self) -> bool:
        """Whether nothing was there to be read."""
        return self.position == self.start and not self.gaps and self.snapshot is None

    @property
    def size(self) -> int:
        """Bytes of its batch."""
        return 0 if self.batch is None else size_of(self.batch)


class Material(msgspec.Struct, frozen=True):
    """What followers whose clients may not see every event share of a page: its events, encoded, but not joined.

    Attributes:
        start: the cursor that was read after.
        gaps: what is to be announced first.
        pairs: the events, each with its encoded form.
        position: where the stream stands behind them, whichever of them its client may see.
    """

    start: Cursor
    gaps: tuple[Gap, ...]
    pairs: tuple[tuple[Event, Any], ...]
    position: Cursor

    @property
    def size(self) -> int:
        """Bytes of its events, in both forms."""
        return sum(len(event.json) + len(part) for event, part in self.pairs)

    def reading(self, codec: Codec, filter: Filter) -> Reading:
        """Return what one client may see of it, joined."""
        parts = filter.parts(self.pairs)
        ends = bool(self.pairs) and self.pairs[-1][0].ends
        return Reading(self.start, self.gaps, codec.join(parts) if parts else None, self.position, len(parts), ends)


class ReplayStatistics(NamedTuple):
    """How many catch up or wait for their turn, and the pages that they share."""

    taking_part: int
    pages: int
    bytes: int


class Replay:
    """Turns and pages of the followers that catch up.

    There are ``limits.replay_turns`` turns for those whose next events are in the window, and as many for those that
    need the log: a moment's slowness does not stand in line behind a night's absence. First come, first served. Those
    that may be given a channel's state have as many of their own: it may be the app's, that takes its time.

    Bounds: ``limits.replay_bytes`` of pages, kept while any follower catches up or waits for one.

    Args:
        hold: is told how many bytes more (or less) are held here.
    """

    def __init__(self, limits: Limits, hold: Callable[[int], None]) -> None:
        self._limits = limits
        self._hold = hold
        self._near = trio.Semaphore(limits.replay_turns)
        self._far = trio.Semaphore(limits.replay_turns)
        self._stated = trio.Semaphore(limits.replay_turns)
        self._makers = trio.Semaphore(PAGES_MADE_AT_ONCE)
        self._takers = trio.Semaphore(limits.replay_turns)
        self._pages: dict[object, tuple[Any, float]] = {}
        self._bytes = 0
        self._making: dict[object, trio.Event] = {}
        self._forgotten = 0  # how often pages were forgotten that are no longer true
        self._asking = 0
        self.taking_part = 0
        """Number of followers that catch up, or wait for their turn."""

    @asynccontextmanager
    async def turn(self, *, near: bool, wants_state: bool = False) -> AsyncIterator[None]:
        """Wait for a turn, and have it for the time of a block.

        Args:
            near: whether the follower's next events are in the window.
            wants_state: whether the follower may be given the channel's state.

        Cancellation: nothing is lost.
        """
        self.taking_part += 1
        try:
            async with self._stated if wants_state else self._near if near else self._far:
                yield
        finally:
            self.taking_part -= 1
            self._forget()

    async def page(self, place: object, make: Callable[[], Awaitable[_Page]], *, is_state: bool = False) -> _Page:
        """Return the page at a place: one that was made for another follower, or a new one.

        Args:
            place: what the page depends on: channel, codec, cursor and, if it is conflated, the step; and its type,
                where that is not :class:`Reading`.
            make: reads and encodes it.
            is_state: whether it is a channel's state.

        Raises:
            LogError: the store's fault; the log cannot be read.

        Bounds: two pages are made at once. Beside them so many states are taken as there are turns: no page waits for
        a slow function of the app's.

        Cancellation: nothing is lost; another follower that waits for the same page makes it.
        """
        # A loop: when the follower that makes the page is cancelled or fails, each that waited looks again, and the
        # first of them makes it. The error is not shared with them: the log may answer the next one.
        known: _Page | None
        self._asking += 1
        try:
            while (known := self._known(place)) is None and place in self._making:
                await self._making[place].wait()
            return await self._make(place, make, is_state) if known is None else known
        finally:
            self._asking -= 1
            self._forget()

    async def _make(self, place: object, make: Callable[[], Awaitable[_Page]], is_state: bool) -> _Page:
        self._making[place] = made = trio.Event()
        forgotten = self._forgotten
        try:
            async with self._takers if is_state else self._makers:
                page = await make()
        finally:
            del self._making[place]
            made.set()
        if page.size and forgotten == self._forgotten:  # else it may hold what has been deleted since it was read
            self._keep(place, page)
        return page

    def forget(self, channel: str | None = None) -> None:
        """Forget the pages of a channel that was deleted; of all channels where it is not known which."""
        self._forgotten += 1
        for place in list(self._pages):
            if channel is None or (isinstance(place, tuple) and channel in place):
                self._drop(place)

    def statistics(self) -> ReplayStatistics:
        """Count what is held now."""
        return ReplayStatistics(self.taking_part, len(self._pages), self._bytes)

    def _known(self, place: object) -> Any:
        page, made_at = self._pages.get(place, (None, 0.0))
        if page is not None and trio.current_time() > made_at + SHARED_PAGE_SECONDS:
            self._drop(place)
            return None
        return page

    def _keep(self, place: object, page: _Shared) -> None:
        size = page.size
        while self._pages and self._bytes + size > self._limits.replay_bytes:
            self._drop(next(iter(self._pages)))
        self._pages[place] = page, trio.current_time()
        self._bytes += size
        self._hold(size)

    def _drop(self, place: object) -> None:
        size = self._pages.pop(place)[0].size
        self._bytes -= size
        self._hold(-size)

    def _forget(self) -> None:
        """Let all pages go, unless somebody is there who may want one."""
        if self._pages and not self.taking_part and not self._asking:
            self._pages.clear()
            self._hold(-self._bytes)
            self._bytes = 0
