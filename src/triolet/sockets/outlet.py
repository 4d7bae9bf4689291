"""The contract of a connection's write side: bounded, non-blocking, abortable."""

# Why one outlet
#
# Everything that a client is sent (events, heartbeats, pongs, answers of the app, the close frame, and what Hypercorn
# writes) goes through the one outlet of its connection. So frames never interleave, and there is one place that knows
# whether this client takes what it is given.
#
# Bounded. The usual server gives every client a queue, and a slow client then costs what the queue holds, times the
# number of slow clients. Events need no queue: the log has them already, and a follower knows its cursor. So an
# outlet holds the rest of one batch at most. Until that is taken it takes no more; the client falls behind in the
# log, and is given what it missed (or is told of a gap) when it reads on.
#
# Non-blocking. The hub hands one encoded batch to thousands of live clients in one loop. It must not wait in there,
# for any of them, so `send` behaves as `socket.send` on a non-blocking socket does: it takes what fits now. To wait
# (`drained`) is the business of a task of that connection's own, and only while the client is behind.
#
# Abortable. A client that has stopped reading cannot be said goodbye to: whatever is written waits behind what it does
# not read. `abort` resets the connection and throws away what waits, here and in the kernel, without waiting.
#
# Whether a client is slow is judged elsewhere, from `progress_at` and `pending`. An outlet must be honest about both:
# `progress_at` moves only when the client's side has really taken something, and every byte that waits is counted in
# the budget of the process until it is sent or thrown away, whichever way the connection ends.

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import trio

from ..budget import Budget
from ..closing import GONE, Closing

__all__ = ["Outlet"]


class Outlet(ABC):
    """The contract of an outlet.

    Args:
        budget: where the bytes that wait are counted.

    Attributes:
        send: takes a batch as ``socket.send`` does. The pump calls it for live clients, whose outlets are empty.
        on_full: called when a batch was not taken whole: from now until it is drained the outlet takes no more.
        on_gone: called once, when the peer turns out to be gone: with ``GONE``, or ``SILENT`` where that is how.
        progress_at: Trio's time when something was last taken.
        until: Trio's time from which on nothing goes out of what waits: then it is cut, by the task that would send it.
        buffers: whether what was taken may wait here for long, and ``run`` has to run.
    """

    buffers = False

    __slots__ = ("budget", "on_full", "on_gone", "progress_at", "send", "until")

    # An attribute and not a method, so that the pump's list of them holds the kernel's own functions.
    send: Callable[[Any], int]

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.on_full: Callable[[], None] = _do_nothing
        self.on_gone: Callable[[Closing], None] = _do_nothing
        self.progress_at = 0.0
        self.until = math.inf

    @property
    @abstractmethod
    def empty(self) -> bool:
        """Whether nothing waits to be taken."""

    @property
    def closed(self) -> bool:
        """Whether it was aborted, or the peer is gone: nothing is taken any more."""
        return False

    @property
    @abstractmethod
    def pending(self) -> int:
        """Bytes that wait (characters, where texts are taken). At most one batch beyond the outlet's bound."""

    @abstractmethod
    def keep(self, batch: Any, taken: int) -> None:
        """Keep what ``send`` left of a batch: all but the first ``taken`` bytes. The outlet is full then."""

    @abstractmethod
    async def drained(self) -> None:
        """Wait until the outlet is empty, or the peer is gone. Any number of tasks may wait.

        Cancellation: nothing is lost; what waits stays in the outlet.
        """

    async def look_again(self) -> None:
        """Have what the client has done by now count: this process may be late, and no time of its client's is over."""
        await trio.lowlevel.checkpoint()  # another task may wait for the kernel, and have been woken as late

    @abstractmethod
    def abort(self) -> None:
        """Reset the connection at once, without waiting. What waits is thrown away, here and in the kernel."""

    def cut(self) -> None:
        """Have not one byte more go out of what waits, whatever else ends with it."""
        self.abort()

    def write(self, batch: Any) -> bool:
        """Take a whole batch, and return whether it was taken. If the outlet is full nothing of it is. Never waits."""
        if not self.empty:
            return False
        try:
            taken = self.send(batch)
        except BlockingIOError:
            taken = 0
        except OSError:
            # True, for nothing may be written again: the owner hears of the end by `on_gone`, not by this answer.
            self.fail()
            return True
        if taken != len(batch):
            self.keep(batch, taken)
        return True

    def fail(self) -> None:
        """The peer is gone: tell the owner, once."""
        self.tell(GONE)

    def tell(self, closing: Closing) -> None:
        """Tell the owner how the peer went, unless it was told before."""
        on_gone, self.on_gone = self.on_gone, _do_nothing
        on_gone(closing)


def _do_nothing(*_: Closing) -> None:
    """What an outlet without an owner calls."""
