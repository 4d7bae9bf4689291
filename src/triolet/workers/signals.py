"""SIGTERM, SIGINT, SIGQUIT and SIGHUP, from a process's first moment to its last.

One owner, so that there is no moment between two of them: while the app is imported the first signal ends the process
at once, as there is nothing to drain; from then on signals are orders, in the order in which they came. SIGHUP is then
no order to end: it says to read again what was read, as of every service. But who closes a terminal sends it too.
SIGUSR1 and SIGUSR2 mean something to other servers. Here they are taken over to say that they mean nothing: else they
would kill the process.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, Self

import trio

__all__ = ["EndedEarly", "Signals"]

logger = logging.getLogger("triolet.server")

ORDERS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
UNKNOWN: Final = (signal.SIGUSR1, signal.SIGUSR2)


class EndedEarly(BaseException):
    """The process was told to end before it served. It is no ``Exception``: the app is not to catch it."""


class Signals:
    """The signals of a process, as an asynchronous iterator.

    As a context manager it takes them over, and gives them back. A signal that was ignored stays so (``nohup``).

    Attributes:
        on_signal: called in the handler itself with how many orders to end have come, also when the event loop does not
            turn.
    """

    def __init__(self) -> None:
        self.on_signal: Callable[[int], None] = _nothing
        self._came: deque[int] = deque()
        self._count = 0
        self._at_once = False
        self._token: trio.lowlevel.TrioToken | None = None
        self._arrived = trio.Event()
        self._before: dict[int, Any] = {}
        self._had_terminal = _has_terminal()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (*ORDERS, *UNKNOWN):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._come if number in ORDERS else self._wonder)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def terminal_is_gone(self) -> bool:
        """Whether the process had a terminal at its start, and has none any more: its window was closed."""
        return self._had_terminal and not _has_terminal()

    def ignore(self, number: int) -> None:
        """Hear one of them no longer."""
        signal.signal(number, signal.SIG_IGN)

    @contextmanager
    def ending_at_once(self) -> Iterator[None]:
        """A time in which the first signal raises EndedEarly, wherever the process is. A second one, if that was
        swallowed, ends the process."""
        if self._came:
            raise EndedEarly
        self._at_once = True
        try:
            yield
        except Exception:
            if self._came:  # and what it interrupted has made another error of it, as Python 3.11 does in __set_name__
                raise EndedEarly from None
            raise
        finally:
            self._at_once = False
        if self._came:  # and what it interrupted went on
            raise EndedEarly

    def _come(self, number: int, frame: FrameType | None) -> None:
        self._came.append(number)
        if self._at_once or number != signal.SIGHUP:
            self._count += 1
            self.on_signal(self._count)
        if self._at_once:
            if self._count > 1:
                os._exit(1)
            raise EndedEarly
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._wake)

    def _wonder(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self._token is not None:  # and not here, where another line may be half written
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(logger.warning, "%s means nothing here: SIGHUP or SIGTERM?", name)

    def _wake(self) -> None:
        self._arrived.set()
        self._arrived = trio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        """The next that came, or comes. One task at a time. Cancellation: nothing is lost."""
        self._token = trio.lowlevel.current_trio_token()
        await trio.lowlevel.checkpoint()
        while not self._came:
            await self._arrived.wait()
        return self._came.popleft()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))  # the controlling one, wherever the output goes
    except OSError:
        return False
    return True


def _nothing(count: int) -> None:
    """Nobody wants to know at once."""
