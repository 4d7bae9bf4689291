"""Trio in a thread of its own, with something open in it, for callers that have no Trio."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Generic, TypeVar

import trio

__all__ = ["Portal", "PortalOver"]

T = TypeVar("T")


class PortalOver(Exception):
    """The thread has ended, or ended meanwhile: what was called for was not done, or it is not known how far it got."""


class Portal(Generic[T]):
    """A thread that runs Trio, and keeps something open there until it is told to end. Any other thread may call.

    Args:
        name: the thread's.
        make: makes what is open there; called in that thread.
        patience: how long a call that was interrupted, by Ctrl-C say, may take to end, in seconds.

    Attributes:
        process: whose thread it is. A process that was forked from it has none.
        failure: what the thread has ended with; None where it has not failed.
        told: whether it was told to end.
    """

    def __init__(self, name: str, make: Callable[[], AbstractAsyncContextManager[T]], patience: float) -> None:
        self._make = make
        self._patience = patience
        self._token: trio.lowlevel.TrioToken | None = None
        self._over = trio.CancelScope()
        self.told = False
        self._ready = threading.Event()
        self._opened: list[T] = []
        self.process = os.getpid()
        self.failure: BaseException | None = None
        # A daemon, and so are the threads that it starts (SQLite's, say): none of them keeps the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Whether it has been opened."""
        return bool(self._opened)

    @property
    def ended(self) -> bool:
        """Whether the thread has ended."""
        return not self._thread.is_alive()

    def opened(self, seconds: float | None = None) -> T:
        """Wait until it is open, and return what is.

        Raises:
            TimeoutError: it is not open after so many seconds; it may be later.
            PortalOver: it was told to end before.
            BaseException: what opening it has failed with.
        """
        if not self._ready.wait(seconds):
            raise TimeoutError
        if self._opened:
            return self._opened[0]
        self._thread.join()
        raise self.failure or PortalOver

    def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call an async function in the thread, and wait for what it returns. It must be open.

        What ends the wait from outside, as Ctrl-C does, cancels the function.

        Raises:
            PortalOver: the thread has ended.
            BaseException: what the function raises.
        """
        scope, ended = trio.CancelScope(), threading.Event()

        async def call() -> Any:
            try:
                with scope:
                    return await function(*args, **options)
            finally:
                ended.set()

        assert self._token is not None, "it is open"
        try:
            return trio.from_thread.run(call, trio_token=self._token)
        except (trio.RunFinishedError, trio.Cancelled):  # the second: another thread has ended it meanwhile
            raise PortalOver from None
        except BaseException:
            if not ended.is_set():  # Ctrl-C, say: what was waited for is not to go on, and take an item
                with suppress(trio.RunFinishedError):
                    self._token.run_sync_soon(scope.cancel)
                    ended.wait(self._patience)
            raise

    def cancel(self) -> None:
        """Have the thread end, and wait for nothing. In another process than its own this does nothing."""
        if self.process == os.getpid():
            self.told = True  # first: the thread looks at it once it has the token
            if self._token is not None:
                with suppress(trio.RunFinishedError):
                    self._token.run_sync_soon(self._over.cancel)

    def close(self, seconds: float | None = None) -> bool:
        """End the thread, and return whether it has ended within so many seconds."""
        self.cancel()
        self._thread.join(seconds)
        return self.ended

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:
            self.failure = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        if self.told:
            return
        with self._over:
            async with self._make() as opened:
                self._opened.append(opened)
                self._ready.set()
                await trio.sleep_forever()
