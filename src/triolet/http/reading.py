"""What the task that reads a connection has taken and not used yet: others that find the time over wait for that.

Over HTTP/2 many streams share one reader. A frame that came in time, and lies in the kernel or behind others, is not
to be held against its client because this process is late (see sockets/patience.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from ..bounds import LATE_TURNS, READ_BYTES

__all__ = ["Reading"]


class Reading:
    """Knows whether something that was read is being used.

    Args:
        seconds: for which it is waited at most, where the reader itself waits for its client.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._used: trio.Event | None = None
        self._reader: trio.lowlevel.Task | None = None
        self._more = False

    @contextmanager
    def of(self, data: bytes) -> Iterator[None]:
        """Use bytes, for the time of a block."""
        self._used, self._reader = trio.Event(), trio.lowlevel.current_task()
        self._more = len(data) >= READ_BYTES
        try:
            yield
        finally:
            self._used.set()
            self._used = None

    async def caught_up(self) -> None:
        """Wait until all is used that has come by now. A client that goes on sending is not waited for longer.

        Cancellation: nothing is lost.
        """
        if trio.lowlevel.current_task() is self._reader:
            return
        with trio.move_on_after(self._seconds):
            more = True
            while more:
                more = False
                for _ in range(LATE_TURNS):
                    if self._used is not None:
                        more = self._more
                        await self._used.wait()
                    await trio.lowlevel.checkpoint()
