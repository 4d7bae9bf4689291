"""The outlet that writes straight into a link: into the kernel's buffer, or a test's."""

from __future__ import annotations

from typing import Any

import trio

from ..budget import Budget
from .link import Link
from .outlet import Outlet

__all__ = ["DirectOutlet"]


class DirectOutlet(Outlet):
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
