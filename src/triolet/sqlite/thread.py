"""The connections to a SqliteLog's file, each with the worker thread that apsw gives it."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar, cast

import apsw
import apsw.aio
import trio

from ..errors import LogBusy, LogError, NotServingError
from .bounds import SQLITE_HANDOVER_AFTER_SECONDS, SQLITE_HANDOVER_SECONDS, SQLITE_LOCK_DELAYS
from .file import translate

__all__ = ["Connections", "Handover", "SqliteThread", "set_for_now"]

T = TypeVar("T")


class Handover(trio.abc.Instrument):
    """Lets worker threads have the GIL while Trio's thread is busy.

    A thread that waits for the GIL asks for it after 5 ms, but begins to count anew each time that it was free
    for a moment: and a busy Trio lets go of it at every look for I/O, for some microseconds, much less than it
    takes to wake a thread. So a waiting one can starve; appends were seen to take 2 s and more. While a job is
    under way and the loop has no idle moment, this leaves one in each pass.
    """

    def __init__(self) -> None:
        self._jobs = 0
        self._since = 0.0

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """Count a job as under way in a thread, for the time of a block."""
        if not self._jobs:
            self._since = time.perf_counter()
        self._jobs += 1
        try:
            yield
        finally:
            self._jobs -= 1
            self._since = time.perf_counter()

    def before_io_wait(self, timeout: float) -> None:
        """Make room for a thread, if a job has waited. Trio calls it in each pass; ``timeout`` is 0 when there is more
        to do at once."""
        # Real time and a real sleep, in the loop's own thread: what is shared out here is the GIL, of which Trio's
        # clock knows nothing.
        if self._jobs and not timeout and time.perf_counter() - self._since > SQLITE_HANDOVER_AFTER_SECONDS:
            time.sleep(SQLITE_HANDOVER_SECONDS)


class SqliteThread:
    """Runs functions on a connection, one after the other, in a thread, while Trio goes on.

    A function gets the connection and uses it as if there were no Trio. Waiting for a locked file happens
    here, on Trio's clock, and not in the thread: so no thread ever waits for anything but the disk.
    """

    def __init__(self, connection: apsw.AsyncConnection, path: str, lock_seconds: float, handover: Handover) -> None:
        self._connection = connection
        self._path = path
        self._lock_seconds = lock_seconds
        self._handover = handover

    @classmethod
    @asynccontextmanager
    async def started(cls, path: str, lock_seconds: float, handover: Handover) -> AsyncIterator[SqliteThread]:
        """Connect for the time of a block; the thread ends with it.

        Raises:
            LogError: the store's fault; there is no such folder, or it is not allowed.

        Cancellation: the connection is closed and the thread ends; nothing is left behind.
        """
        if not Path(path).parent.is_dir():
            raise LogError(f"{path} cannot be opened: make the folder {Path(path).parent} first")
        # Neither shield can hang: the thread is never made to wait, and what SQLite is at when it is told to
        # close is interrupted, or one commit. Without them a cancellation would leave a thread behind, and
        # that thread would keep the process from ending.
        with trio.CancelScope(shield=True), handover.wanted(), set_for_now(apsw.async_controller, apsw.aio.Trio):
            try:
                connection = await apsw.Connection.as_async(path)
            except apsw.Error as error:
                raise translate(error, path) from error
        try:
            yield cls(connection, path, lock_seconds, handover)
        finally:
            with trio.CancelScope(shield=True), handover.wanted():
                await connection.aclose()

    async def run(self, job: Callable[[apsw.Connection], T], *, to_its_end: bool = False) -> T:
        """Run a function in the thread, again for as long as it finds the file locked, and return its result.

        Args:
            job: the function. It is given the connection.
            to_its_end: do not interrupt it when cancelled (the waits between attempts still are), so that the
                caller learns what became of it.

        Raises:
            LogBusy: the store's fault; the file was locked for ``lock_seconds``.
            LogError: the store's fault; anything else that SQLite reports.
            NotServingError: the connection is closed.

        Cancellation: what the function did not commit is undone.
        """
        give_up_at = trio.current_time() + self._lock_seconds
        attempt = 0
        while True:
            try:
                return await self._try(job, to_its_end)
            except apsw.BusyError as error:
                delay = SQLITE_LOCK_DELAYS[min(attempt, len(SQLITE_LOCK_DELAYS) - 1)]
                if trio.current_time() + delay > give_up_at:
                    by = "by another process, or by a connection of the app's own,"
                    raise LogBusy(f"{self._path} was locked {by} for {self._lock_seconds} s") from error
            except apsw.ConnectionClosedError as error:
                raise NotServingError("the log has ended") from error
            except apsw.Error as error:
                raise translate(error, self._path) from error
            attempt += 1
            await trio.sleep(delay)

    async def _try(self, job: Callable[[apsw.Connection], T], to_its_end: bool) -> T:
        # Without a deadline of apsw's own: it would take Trio's, and raise TooSlowError out of the thread into
        # a `move_on_after` that expects to be cancelled.
        with self._handover.wanted(), set_for_now(apsw.aio.deadline, math.inf), trio.CancelScope(shield=to_its_end):
            result = await self._connection.async_run(job, self._connection)
        return cast("T", result)


class Connections:
    """The connections of one log: one to write with, and some to read with.

    Args:
        writer: the one.
        readers: the others.
    """

    def __init__(self, writer: SqliteThread, readers: Iterable[SqliteThread]) -> None:
        self.writer = writer
        self._readers = deque(readers)

    def __iter__(self) -> Iterator[SqliteThread]:
        yield self.writer
        yield from self._readers

    def next_reader(self) -> SqliteThread:
        """Return the one to read with that was asked least recently."""
        self._readers.rotate()
        return self._readers[0]


@contextmanager
def set_for_now(variable: ContextVar[Any], value: object) -> Iterator[None]:
    """Set a variable of the context for the time of a block."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
