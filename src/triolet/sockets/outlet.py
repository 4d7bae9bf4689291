"""The bounded, non-blocking, abortable write side of a connection. Whatever is written to a client goes through
its one outlet, so frames never interleave and a slow client costs one batch, never a queue.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from ..budget import Budget
from ..wire.codec import size_of
from .link import Link

__all__ = ["BufferedOutlet", "LinkOutlet", "Outlet"]


class Outlet(ABC):
    """The contract.

    Args:
        budget: where what waits is counted.

    Attributes:
        send: takes a batch as ``socket.send`` does; the hub calls it for live clients, whose outlets are empty.
        on_full: called when a batch was not taken whole: from now until it is drained the outlet takes no more.
        on_gone: called once, when the peer turns out to be gone.
        progress_at: Trio's time when something was last taken.
        buffers: whether what was taken may wait here for long, and :meth:`run` has to run.
    """

    buffers = False

    __slots__ = ("budget", "on_full", "on_gone", "progress_at", "send")

    send: Callable[[Any], int]

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.on_full: Callable[[], None] = _nobody_cares
        self.on_gone: Callable[[], None] = _nobody_cares
        self.progress_at = 0.0

    @property
    @abstractmethod
    def empty(self) -> bool:
        """Whether nothing waits to be taken."""

    @property
    @abstractmethod
    def pending(self) -> int:
        """Bytes (characters, where texts are taken) that wait. At most one batch beyond the outlet's bound."""

    @abstractmethod
    def keep(self, batch: Any, taken: int) -> None:
        """Remember what ``send`` left of a batch. The outlet is full then."""

    @abstractmethod
    async def drained(self) -> None:
        """Wait until the outlet is empty, or the peer gone. Any number of tasks may wait; cancelling loses nothing."""

    @abstractmethod
    def abort(self) -> None:
        """Reset the connection at once. What waits is thrown away."""

    def write(self, batch: Any) -> bool:
        """Take a whole batch, or say that the outlet is full (False, and nothing of it is taken). Never waits."""
        if not self.empty:
            return False
        try:
            taken = self.send(batch)
        except BlockingIOError:
            taken = 0
        except OSError:
            self.fail()
            return True
        if taken != len(batch):
            self.keep(batch, taken)
        return True

    def fail(self) -> None:
        """The peer is gone: tell the owner, once."""
        on_gone, self.on_gone = self.on_gone, _nobody_cares
        on_gone()


class LinkOutlet(Outlet):
    """Straight into the kernel. What it does not take of one batch is remembered and sent by whoever waits
    in :meth:`drained`, before any later byte."""

    __slots__ = ("_gone", "_link", "_lock", "_rest")

    def __init__(self, link: Link, budget: Budget) -> None:
        super().__init__(budget)
        self.send = link.send
        self._link = link
        self._rest: memoryview | None = None
        self._lock: trio.Lock | None = None
        self._gone = False

    @property
    def empty(self) -> bool:
        return self._rest is None

    @property
    def pending(self) -> int:
        return 0 if self._rest is None else len(self._rest)

    def keep(self, batch: Any, taken: int) -> None:
        self._hold(memoryview(batch)[taken:])
        self.progress_at = trio.current_time()
        self.on_full()

    async def drained(self) -> None:
        if self._rest is None:
            await trio.lowlevel.checkpoint()
            return
        if self._lock is None:
            self._lock = trio.Lock()
        async with self._lock:
            while self._rest is not None and not self._gone:
                try:
                    await self._link.wait_writable()
                    if self._rest is not None:  # else it was aborted, or found gone, while we were being woken
                        self._hold(self._flushed(self._rest))
                except (OSError, trio.ClosedResourceError):
                    self.fail()

    async def send_all(self, data: bytes) -> None:
        """Write and wait until it is taken. Cancelling loses nothing: what was begun stays first in line.

        Raises:
            BrokenResourceError: the peer is gone.
        """
        while not self.write(data):
            await self.drained()
        await self.drained()
        if self._gone:
            raise trio.BrokenResourceError("the peer is gone")

    def fail(self) -> None:
        self._gone = True
        self._hold(None)
        super().fail()

    def abort(self) -> None:
        self._hold(None)
        self._gone = True
        self._link.abort()

    def _hold(self, rest: memoryview | None) -> None:
        before, self._rest = self._rest, rest
        self.budget.hold((0 if rest is None else len(rest)) - (0 if before is None else len(before)))

    def _flushed(self, rest: memoryview) -> memoryview | None:
        """Send, and return what is left."""
        try:
            taken = self._link.send(rest)
        except BlockingIOError:
            return rest
        self.progress_at = trio.current_time()
        return rest[taken:] if taken < len(rest) else None


class BufferedOutlet(Outlet):
    """The same contract where we do not write ourselves: behind ASGI middleware, or on another server.

    Batches wait in a buffer, which :meth:`run` empties through ``take`` one by one.

    Args:
        budget: where what waits is counted.
        take: sends one batch and waits until it is taken.
        abort: resets the connection, or does the nearest to it that is possible.
        bound: bytes that may wait; a batch is taken whole while fewer do.
    """

    __slots__ = ("_abort", "_batches", "_bound", "_changed", "_gone", "_pending", "_take")

    buffers = True

    def __init__(
        self,
        budget: Budget,
        take: Callable[[Any], Awaitable[None]],
        abort: Callable[[], None],
        bound: int = 64 << 10,
    ) -> None:
        super().__init__(budget)
        self._take = take
        self._abort = abort
        self._bound = bound
        self._batches: deque[Any] = deque()
        self._pending = 0
        self._gone = False
        self._changed = trio.Event()
        self.send = self._send

    @property
    def empty(self) -> bool:
        return self._pending < self._bound

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
        self._end()
        super().fail()

    def abort(self) -> None:
        self._end()
        self._abort()

    def _end(self) -> None:
        self._gone = True
        self._wait(-self._pending)
        self._batches.clear()
        self._wake()

    async def run(self) -> None:
        """Empty the buffer for as long as the connection lives.

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
        batch = self._batches[0]
        try:
            await self._take(batch)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            self.fail()
        if not self._gone:
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


def _nobody_cares() -> None:
    """Until somebody owns the outlet."""
