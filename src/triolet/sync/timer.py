"""Sleep for ten thousand tasks at once, all behind one deadline of Trio's; and call what needs no task of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from functools import partial
from heapq import heappop, heappush
from typing import Any

import trio

from ..bounds import TIMER_CALLS_A_TURN

__all__ = ["Timer"]


class Timer:
    """Wakes tasks at their times, as ``trio.sleep_until`` does at less than half of the CPU: that one opens a cancel
    scope and throws and catches an exception for each sleep. And it calls functions, for what has no task yet.

    All that have the same time share a slot, and only slots are kept in order: it is for many sleeps to few times, that
    mostly reach their end. Nothing wakes or is called before its time, and what is due comes at once, but for
    others that have their turn after some of it.

    Bounds: a slot for each time. A slot that all have left stays, empty, until its time.
    """

    __slots__ = ("_earlier", "_slots", "_times", "_wakes_at")

    def __init__(self) -> None:
        self._slots: dict[float, dict[Hashable, Callable[[], object]]] = {}
        self._times: list[float] = []
        self._earlier = trio.Event()
        self._wakes_at = math.inf

    async def until(self, when: float) -> None:
        """Sleep until a time of Trio's clock. It wakes only while :meth:`run` runs.

        Cancellation: nothing is lost.
        """
        task = trio.lowlevel.current_task()
        slot = self._slot(when)
        slot[task] = partial(trio.lowlevel.reschedule, task)

        def leave(_: Any) -> trio.lowlevel.Abort:
            slot.pop(task, None)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)

    def call_at(self, when: float, key: Hashable, call: Callable[[], object]) -> None:
        """Call a function at a time of Trio's clock, in the task of :meth:`run`: it neither waits nor raises."""
        self._slot(when)[key] = call

    def forget(self, when: float, key: Hashable) -> None:
        """Do not call what was to be called at a time. It is called all the same where its turn has begun."""
        self._slots.get(when, {}).pop(key, None)

    async def run(self) -> None:
        """Wake the tasks that are due and call what is, for ever.

        Cancellation: a task that sleeps then sleeps on until it is cancelled too.
        """
        while True:
            # No await between here and the wait: an earlier sleeper that comes later finds this event, and sets it.
            self._earlier = trio.Event()
            self._wakes_at = self._times[0] if self._times else math.inf
            with trio.move_on_at(self._wakes_at):
                await self._earlier.wait()
            now = trio.current_time()
            while self._times and self._times[0] <= now:
                await _call_all(self._slots.pop(heappop(self._times)))

    def _slot(self, when: float) -> dict[Hashable, Callable[[], object]]:
        slot = self._slots.get(when)
        if slot is None:
            slot = self._slots[when] = {}
            heappush(self._times, when)
            # Only an earlier time than all others needs the task that sleeps: mostly there is nothing to tell it.
            if when < self._wakes_at:
                self._wakes_at = when
                self._earlier.set()
        return slot


async def _call_all(slot: dict[Hashable, Callable[[], object]]) -> None:
    """Call all of one slot, with a turn for others in between. A task that is cancelled meanwhile leaves the slot."""
    left = TIMER_CALLS_A_TURN
    while slot:
        _, call = slot.popitem()
        call()
        left -= 1
        if not left:
            left = TIMER_CALLS_A_TURN
            await trio.lowlevel.checkpoint()
