"""The outlet for connections that others write to: another server, or ASGI middleware."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from ..budget import Budget
from ..wire.codec import size_of
from .outlet import Outlet

__all__ = ["BufferedOutlet"]


class BufferedOutlet(Outlet):
    """An outlet with a buffer, where the socket is not ours to write to: behind ASGI middleware, or on another server.

    Batches wait in a buffer, which :meth:`run` empties through ``take`` one by one.

    Args:
        budget: where what waits is counted.
        take: sends one batch, and waits until it is taken.
        abort: resets the connection, or does the nearest to it that is possible.
        bound: bytes that may wait; a batch is taken whole while fewer do.
        below: the outlet of ours, if any, that sends alone what is taken here.
        cut: has no byte more go out of what was taken, where that is more than ``abort`` does.

    Bounds: ``bound`` bytes and one batch more.

    What another server has begun to send is its own: no :meth:`abort` of ours may reach it, and after ``until`` it may
    still send the rest of that one batch.
    """

    __slots__ = ("_abort", "_batches", "_below", "_bound", "_changed", "_closed", "_cut", "_gone", "_pending", "_take")

    buffers = True

    def __init__(
        self,
        budget: Budget,
        take: Callable[[Any], Awaitable[None]],
        abort: Callable[[], None],
        bound: int = 64 << 10,
        below: Outlet | None = None,
        cut: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(budget)
        self._take = take
        self._abort = abort
        self._bound = bound
        self._below = below
        self._cut = abort if cut is None else cut
        self._closed = False
        self._batches: deque[Any] = deque()
        self._pending = 0
        self._gone = False
        self._changed = trio.Event()
        self.send = self._send

    @property
    def empty(self) -> bool:
        # "Empty" is what lets a follower be live. Here it means room: the other server takes what we send at its own
        # pace, and a client that reads well would fall behind at every event if one batch in the buffer were too many.
        return self._pending < self._bound

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def pending(self) -> int:
        return self._pending

    def keep(self, batch: Any, taken: int) -> None:
        self._put(batch)
        self.on_full()

    async def drained(self) -> None:
        await trio.lowlevel.checkpoint()
        while self._pending and not self._gone:
            await self._changed.wait()

    def fail(self) -> None:
        self._closed = True
        self._end()
        super().fail()

    def abort(self) -> None:
        self._closed = True
        self._end()
        self._abort()

    def cut(self) -> None:
        self._closed = True
        self._end()
        self._cut()

    def _end(self) -> None:
        self._gone = True
        self._wait(-self._pending)
        self._batches.clear()
        self._wake()

    async def run(self) -> None:
        """Empty the buffer, for as long as the connection lives.

        Cancellation: what was being taken may be cut short, so the connection is of no use any more.
        """
        try:
            while not self._gone:
                await self._take_next()
        finally:
            self._end()

    async def _take_next(self) -> None:
        while not self._batches:
            await self._changed.wait()
        if trio.current_time() >= self.until:
            self.cut()
            return
        batch = self._batches[0]  # it stays in the buffer, and counted, until it is taken
        try:
            with trio.move_on_at(self.until) as in_time:
                if self._below is not None:
                    self._below.until = self.until
                await self._take(batch)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            self.fail()
        else:
            if in_time.cancelled_caught:
                self.cut()
        finally:
            if self._below is not None:
                self._below.until = math.inf
        if not self._gone:  # else the buffer was emptied meanwhile
            self._batches.popleft()
            self._wait(-size_of(batch))
            self.progress_at = trio.current_time()
            self._wake()

    def _send(self, batch: Any) -> int:
        if self._gone:
            raise BrokenPipeError("the peer is gone")
        if self._pending >= self._bound:
            raise BlockingIOError
        self._put(batch)
        if self._pending >= self._bound:
            self.on_full()
        return len(batch)

    def _put(self, batch: Any) -> None:
        # An empty buffer is no stall: the time since the last batch was taken counts from now.
        if not self._batches:
            self.progress_at = trio.current_time()
        self._batches.append(batch)
        self._wait(size_of(batch))
        self._wake()

    def _wait(self, more: int) -> None:
        self._pending += more
        self.budget.hold(more)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
