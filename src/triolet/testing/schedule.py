"""What is to happen when: one task brings what is due on a network's lines."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from math import inf

import trio

__all__ = ["Schedule"]


class Schedule:
    """Things that happen at their times, in one task of whichever block runs it."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = count()
        self._nurseries: list[trio.Nursery] = []
        self._has_run = False
        self._host: trio.Nursery | None = None
        self._at_work = trio.CancelScope()
        self._nap: trio.CancelScope | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run, for as long as the block lasts: without, there is neither latency nor bandwidth. May be nested."""
        async with trio.open_nursery() as nursery:
            self._nurseries.append(nursery)
            self._has_run = True
            try:
                yield
            finally:
                self._nurseries.remove(nursery)
                if self._host is nursery:
                    self._at_work.cancel()

    def at(self, due: float, happen: Callable[[], None]) -> None:
        """Let something happen at a time, after all that was to happen then before."""
        heapq.heappush(self._due, (due, next(self._sequence), happen))
        if self._nap is None:
            self._start()
        elif due < self._nap.deadline:
            self._nap.deadline = due

    def _start(self) -> None:
        if not self._nurseries:
            if self._has_run:
                return  # the last block has ended, and nothing is carried any more
            raise RuntimeError("a line with latency or a bandwidth needs `async with network.running()`")
        self._nap = trio.CancelScope()
        self._host = self._nurseries[-1]
        # What is cancelled still says goodbye through us. The end of the host's block cancels the shield itself.
        self._at_work = trio.CancelScope(shield=True)
        self._host.start_soon(self._run, self._at_work, name="network")

    async def _run(self, at_work: trio.CancelScope) -> None:
        with at_work:
            while True:
                while self._due and self._due[0][0] <= trio.current_time():
                    heapq.heappop(self._due)[2]()
                self._nap = trio.CancelScope(deadline=self._due[0][0] if self._due else inf)
                with self._nap:
                    await trio.sleep_forever()
        self._nap = self._host = None
        if self._due and self._nurseries:  # another's block has not ended
            self._start()
