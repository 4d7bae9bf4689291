"""Threads on a virtual clock: the loop is held while one works, so that time does not jump over it and its result comes
at the same step in every run. Part of :mod:`triolet.testing.seed`, which says when.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from unittest.mock import patch

import apsw.aio
import trio
from trio.testing import MockClock

__all__ = ["threads_held"]

LOOK_SECONDS: Final = 0.05
LOOKS: Final = 20
"""So many looks in a row at which no thread works: then it waits for what only the loop could give it."""
WORK_SECONDS: Final = 1.0
"""Of a core that a thread has at most: one that goes on for ever waits for the loop to cancel it."""

_here = threading.local()


@contextmanager
def threads_held(starts: Any) -> Iterator[None]:
    """Hold the loop, in runs on a virtual clock, from when it gives a thread something to do until that thread tells
    it something: a result, or a call of its own. After a call of its own the thread is free.

    Args:
        starts: the module whose ``start_thread_soon`` is behind ``trio.to_thread.run_sync``.
    """
    start, post = starts.start_thread_soon, trio.lowlevel.TrioToken.run_sync_soon

    def start_and_hold(job: Callable[[], Any], deliver: Callable[[Any], object], name: str | None = None) -> None:
        held = _Hold()
        start(held.around(job), deliver, name)
        held.wait()

    def post_and_let_go(self: trio.lowlevel.TrioToken, *args: Any, **options: Any) -> None:
        post(self, *args, **options)
        held: _Hold | None = getattr(_here, "held", None)
        if held is not None:
            held.told.set()

    with (
        patch.object(starts, "start_thread_soon", start_and_hold),
        patch.object(trio.lowlevel.TrioToken, "run_sync_soon", post_and_let_go),
        patch.object(apsw.aio, "Trio", _HoldingController),
    ):
        yield


class _Hold:
    """One job of a thread's, and the loop that waits for it."""

    def __init__(self) -> None:
        self.told = threading.Event()

    def around(self, job: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            _here.held = self
            return job()

        return run

    def wait(self) -> None:
        if not isinstance(trio.lowlevel.current_clock(), MockClock):
            return
        # Not for a time alone: a thread that waits for a core, or for the disk, may take any.
        looks, until = 0, time.process_time() + WORK_SECONDS
        while looks < LOOKS and time.process_time() < until and not self.told.wait(LOOK_SECONDS):
            looks = 0 if _another_works() else looks + 1


def _another_works() -> bool:
    """Whether another thread of this process runs, or could, or waits for the disk (proc(5)). False where the system
    does not tell."""
    with suppress(OSError):
        for thread in os.listdir("/proc/self/task"):
            if int(thread) != threading.get_native_id():
                with suppress(OSError), open(f"/proc/self/task/{thread}/stat", encoding="utf-8") as stat:
                    if stat.read().rpartition(")")[2].split()[0] in "RD":
                        return True
    return False


class _HoldingQueue:
    """The way to an apsw connection's thread; ``None`` tells that thread to end."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self.get = queue.get

    def put(self, tracker: Any) -> None:
        if tracker is None:
            self._queue.put(None)
            return
        held = _Hold()
        tracker.call = held.around(tracker.call)
        self._queue.put(tracker)
        held.wait()


class _HoldingController(apsw.aio.Trio):
    """What an apsw connection of a run under Trio is made with."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: Any = _HoldingQueue(self.queue)
