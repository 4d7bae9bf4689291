"""A time limit for what is measured of one contestant: who exceeds it is named, and the others go on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["OverdueError", "deadline"]


class OverdueError(RuntimeError):
    """A contestant took longer than it may; the message says which one."""


@contextmanager
def deadline(name: str, seconds: float) -> Iterator[None]:
    """Let a ``with`` block take so many seconds, whatever it waits for. Inside of another, that one rests.

    Raises:
        OverdueError: it took longer.
    """

    def overdue(_signal: int, _frame: FrameType | None) -> None:
        raise OverdueError(f"{name} was not done after {seconds:g} s")

    handler = signal.signal(signal.SIGALRM, overdue)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, handler)
