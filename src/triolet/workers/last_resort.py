"""The last resort: ends the process when its time is up, whatever the app does with the event loop or its threads."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from .bounds import LAST_RESORT_NOW_SECONDS, LAST_RESORT_SECONDS, LAST_WORDS_SECONDS

__all__ = ["LastResort"]

logger = logging.getLogger("triolet.server")


class LastResort:
    """A thread that waits for a deadline, and ends the process if that is still there then.

    An app that swallows its cancellation, a view that never returns, a thread that nobody can stop: each would outlive
    the grace, and no task of the loop could help it.

    Args:
        grace: seconds from the first order to end.

    Attributes:
        clean_up: what must be done all the same, such as taking away the names of Unix sockets. It must not wait.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self.clean_up: Callable[[], None] = _nothing
        self._deadlines: SimpleQueue[float] = SimpleQueue()
        threading.Thread(target=self._wait, name="triolet-last-resort", daemon=True).start()

    def ordered(self, count: int) -> None:
        """An order to end came. The first one has the grace, and a second one means now. It may be called in a signal's
        handler."""
        self._within(self._grace + LAST_RESORT_SECONDS if count == 1 else LAST_RESORT_NOW_SECONDS)

    def _within(self, seconds: float) -> None:
        """End the process in so many seconds; the earliest deadline counts."""
        self._deadlines.put(time.monotonic() + seconds)

    def _wait(self) -> None:
        deadline = self._deadlines.get()
        while (left := deadline - time.monotonic()) > 0:
            with suppress(Empty):
                deadline = min(deadline, self._deadlines.get(timeout=left))
        self._end()

    def _end(self) -> None:
        try:
            self.clean_up()
            # The log may be what does not move: another thread writes, and is not waited for long.
            last_words = threading.Thread(target=_say, daemon=True)
            last_words.start()
            last_words.join(LAST_WORDS_SECONDS)
        finally:
            os._exit(1)


def _nothing() -> None:
    """There is nothing to clean up."""


def _say() -> None:
    logger.critical("time is up, and the app goes on: the process is ended as it is")
    sys.stderr.flush()
