"""A channel as a task of the server's own follows it: an iterator over its events, in the process that serves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeAlias

import trio

from ..bounds import FEED_WAIT_SECONDS, LOG_RETRY_SECONDS
from ..errors import LogAway, NotServingError
from ..event import Cursor, Event, Gap, Live
from ..sync.home import Home
from .hub import Hub
from .polls import Polled

__all__ = ["Feed", "FeedItem"]

FeedItem: TypeAlias = Event | Gap | Live
"""What a feed gives: as the iterators of ``triolet.client`` do."""


class Feed:
    """A channel, followed by a task of the server's own, as an async context manager and an async iterator.

    It gives each :class:`Event` once and in order, a :class:`Gap` for what will not come, and :class:`Live` each time
    that it has caught up. It ends when the channel ends. It is no client: no view, no ``allow=`` and no policy has a
    say, and nobody counts it as a watcher.

    A page of events is read when the one before is used up, so a slow task costs the memory of a page, and holds up
    nobody. A log that is away is waited for.

    Attributes:
        channel: the channel's name.
        end: the event that has ended the channel, once it was reached: ``end.data`` is what the app has said with it.
    """

    def __init__(self, channel: str, after: Cursor | None, hub: Callable[[], Hub]) -> None:
        self.channel = channel
        self.end: Event | None = None
        self._find = hub
        self._hub: Hub | None = None
        self._home: Home | None = None
        self._given = after
        self._read = after
        self._items: deque[FeedItem] = deque()
        self._is_live = False
        self._reading = trio.Lock()

    @property
    def cursor(self) -> Cursor | None:
        """Behind the last item that was given: where to go on from another time. None before that is known."""
        return self._given

    async def __aenter__(self) -> Self:
        """Begin: without a cursor, at what is now the newest event.

        Raises:
            LogError: the log cannot be read.
            NotServingError: the app is not being served.
        """
        self._hub, self._home = self._find(), Home()
        if self._read is None or self._read.offset < 0:  # now, or the newest few: as it is at this moment
            page = await self._page(self._read, 0)
            self._given = page.end if self._read is None else None
            self._take(page)
        else:
            await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Follow no longer. What was read and not given is forgotten; :attr:`cursor` stands before it."""
        self._hub = None
        self._items.clear()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FeedItem:
        """The next item. Several tasks may wait: each gets another.

        Raises:
            LogError: the log cannot be read.
            NotServingError: the app is not being served any more.
            RuntimeError: its block was not entered, or was left.
            WrongThreadError: called from another thread or event loop than the one that has entered it.

        Cancellation: nothing is lost.
        """
        if self._hub is None or self._home is None:
            raise RuntimeError("it begins and ends with its block: async with live.follow(…) as events")
        self._home.check("Feed.__anext__")
        await trio.lowlevel.checkpoint()
        async with self._reading:
            while not self._items:
                if self.end is not None:
                    raise StopAsyncIteration
                self._take(await self._page(self._read, FEED_WAIT_SECONDS if self._is_live else 0))
            item = self._items.popleft()
        self._given = item.to if isinstance(item, Gap) else item.cursor
        return item

    async def _page(self, after: Cursor | None, wait_seconds: float) -> Polled:
        while self._hub is not None and self._hub.runs:
            try:
                return await self._hub.page(self.channel, after, wait_seconds)
            except LogAway:
                await trio.sleep(LOG_RETRY_SECONDS)
        raise NotServingError("the app whose channel is followed is not being served any more")

    def _take(self, page: Polled) -> None:
        self._read, self.end = page.end, page.ending
        if page.gap is not None:
            self._items.append(page.gap)
        self._items.extend(page.events)
        was_live, self._is_live = self._is_live, page.end == page.head
        if self._is_live and not was_live and self.end is None:
            self._items.append(Live(page.end))
