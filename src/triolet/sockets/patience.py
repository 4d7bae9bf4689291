"""How long a peer is waited for, by a process that may be late itself."""

# A deadline of Trio's is of the process' own clock, and a process stands still now and then: others have the cores, the
# app computes, the machine is paused. It wakes behind the deadline, and may find that all it waited for came in time,
# and lies in the kernel. What it waited for is not to be held against a peer that has done its part.
#
# Trio looks at the sockets before it looks at deadlines, so one wait for one socket is fair already: a task that both
# wake gets what has come. But its next wait in the same scope is over before it has begun, though there may be more to
# read; and what came may be on its way through another task (over HTTP/2, behind middleware), which runs in the same
# pass or the next. So where the time is over there is a last look, until that task has had its turns. Its scope has no
# deadline: one that is over ends a wait that lets others run first before it has looked.

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from ..bounds import LATE_TURNS

__all__ = ["Patience"]

T = TypeVar("T")


class Patience:
    """Waits for what a peer sends, again and again, up to a time that may be moved meanwhile.

    What has come is never out of time: it is looked at first, however late.

    Args:
        until: the time, by Trio's clock.
    """

    __slots__ = ("_scope", "_until")

    def __init__(self, until: float = math.inf) -> None:
        self._scope = trio.CancelScope()
        self._until = until

    @property
    def until(self) -> float:
        """When the waiting is over; it may be moved at any time, by any task."""
        return self._until

    @until.setter
    def until(self, when: float) -> None:
        self._until = self._scope.deadline = when

    async def wait(self, for_next: Callable[[], Awaitable[T]]) -> T | None:
        """Return what comes next; None when the time is over, and nothing has come.

        Args:
            for_next: waits for it. Called again where the time was moved, or is over.

        Cancellation: as of ``for_next``.
        """
        while True:
            with trio.CancelScope() as self._scope:
                self._scope.deadline = self._until  # in here: where it is over already, there is one look all the same
                return await for_next()
            over = self._until
            with trio.CancelScope() as last:
                trio.lowlevel.spawn_system_task(_end_soon, last)  # a nursery would make groups of what is raised
                return await for_next()
            if trio.current_time() >= self._until == over:  # else another task has used what came, and moved the time
                return None


async def _end_soon(look: trio.CancelScope) -> None:
    for _ in range(LATE_TURNS):
        await trio.lowlevel.checkpoint()
    look.cancel()
