"""Sleeping for ten thousand: all behind one deadline of Trio's."""

from __future__ import annotations

import math
from heapq import heappop, heappush
from itertools import count

import trio

__all__ = ["Alarm"]


class Alarm:
    """Wakes tasks at their times, as ``trio.sleep_until`` does at a third of the CPU: that one opens a cancel scope and
    throws and catches an exception for each sleep, which is what a heartbeat mostly did.

    It is for sleeps that mostly reach their end. A sleep that was cancelled leaves its place until its time.
    """

    __slots__ = ("_earlier", "_numbers", "_sleepers", "_wakes_at")

    def __init__(self) -> None:
        self._sleepers: list[tuple[float, int, list[trio.lowlevel.Task]]] = []
        self._numbers = count()
        self._earlier = trio.Event()
        self._wakes_at = math.inf

    async def until(self, when: float) -> None:
        """Sleep until a time of Trio's clock; :meth:`run` has to run. Cancelling loses nothing."""
        sleeper = [trio.lowlevel.current_task()]
        heappush(self._sleepers, (when, next(self._numbers), sleeper))
        if when < self._wakes_at:
            self._wakes_at = when
            self._earlier.set()

        def cancelled(_: object) -> trio.lowlevel.Abort:
            sleeper.clear()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(cancelled)

    async def run(self) -> None:
        """Wake who is due, for ever. Who sleeps when this is cancelled sleeps on until cancelled too."""
        while True:
            self._earlier = trio.Event()
            self._wakes_at = self._sleepers[0][0] if self._sleepers else math.inf
            with trio.move_on_at(self._wakes_at):
                await self._earlier.wait()
            now = trio.current_time()
            while self._sleepers and self._sleepers[0][0] <= now:
                for task in heappop(self._sleepers)[2]:
                    trio.lowlevel.reschedule(task)
