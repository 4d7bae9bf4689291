"""The outlet that writes straight into a link: into the kernel's buffer, or that of a test."""

from __future__ import annotations

from typing import Any

import trio

from ..budget import Budget
from .link import Link
from .outlet import Outlet

__all__ = ["DirectOutlet"]


class DirectOutlet(Outlet):
    """Writes straight into the kernel. What the kernel does not take of a batch is kept, and sent before any later byte
    by the task that waits in :meth:`drained`.

    Bounds: the rest of one batch.
    """

    __slots__ = ("_gone", "_link", "_lock", "_rest")

    def __init__(self, link: Link, budget: Budget) -> None:
        super().__init__(budget)
        # The kernel's own function, without a method of ours around it: the pump calls it for every client and event.
        self.send = link.send
        self._link = link
        self._rest: memoryview | None = None
        self._lock: trio.Lock | None = None
        self._gone = False

    @property
    def empty(self) -> bool:
        return self._rest is None

    @property
    def closed(self) -> bool:
        return self._gone

    @property
    def pending(self) -> int:
        return 0 if self._rest is None else len(self._rest)

    def keep(self, batch: Any, taken: int) -> None:
        self._hold(memoryview(batch)[taken:])  # a view: all clients of a channel share the bytes of its batch
        self.progress_at = trio.current_time()
        self.on_full()

    async def drained(self) -> None:
        if self._rest is None:
            await trio.lowlevel.checkpoint()
            return
        if self._lock is None:  # made only for a client that was ever slow
            self._lock = trio.Lock()
        # Several tasks may wait here, and Trio lets only one at a time wait for a socket to become writable.
        async with self._lock:
            while self._rest is not None and not self._gone:
                try:
                    await self._link.wait_writable()
                    if trio.current_time() >= self.until:
                        self.cut()
                    elif self._rest is not None:  # else it was aborted, or found gone, while we were being woken
                        self._hold(self._flushed(self._rest))
                except (OSError, trio.ClosedResourceError):
                    self.fail()

    async def send_all(self, data: bytes) -> None:
        """Write, and wait until all of it is taken.

        Raises:
            BrokenResourceError: the peer is gone.

        Cancellation: nothing is lost. What was begun stays first in line; what was not begun is not sent.
        """
        while not self.write(data):
            await self.drained()
        await self.drained()
        if self._gone:
            raise trio.BrokenResourceError("the peer is gone")

    def fail(self) -> None:
        self._gone = True
        self._hold(None)  # at once: the budget must not wait for the connection's tasks to end
        super().fail()

    def abort(self) -> None:
        self._hold(None)
        self._gone = True
        self._link.abort()

    def _hold(self, rest: memoryview | None) -> None:
        before, self._rest = self._rest, rest
        self.budget.hold((0 if rest is None else len(rest)) - (0 if before is None else len(before)))

    def _flushed(self, rest: memoryview) -> memoryview | None:
        """Send the rest of a batch, and return what is then left of it; None if nothing is."""
        try:
            taken = self._link.send(rest)
        except BlockingIOError:
            return rest
        self.progress_at = trio.current_time()
        return rest[taken:] if taken < len(rest) else None
