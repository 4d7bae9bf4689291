"""The committer of a SqliteLog: what waits to be stored goes into the file group by group, each in one transaction."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio

from ..errors import ChannelEnded, LogBusy, NotServingError
from ..log.jobs import Job, weight_of
from .bounds import SQLITE_GROUP_BYTES, SQLITE_GROUP_DRAFTS
from .writer import Written

__all__ = ["Committer"]


class Committer:
    """Stores what waits.

    Args:
        write: stores a group in one transaction.
        announce: tells the tail of what was stored.

    Attributes:
        is_ending: whether nothing more is taken in.

    Bounds: what waits holds its drafts.
    """

    def __init__(
        self, write: Callable[[list[Job]], Awaitable[Written]], announce: Callable[[Written], Awaitable[None]]
    ) -> None:
        self._write = write
        self._announce = announce
        self._waiting: deque[_Waiting] = deque()
        self._work = trio.lowlevel.ParkingLot()
        self.is_ending = False

    async def do(self, job: Job) -> Any:
        """Have a job done, and return what came of it.

        Cancellation: it is done and announced as a whole, or not at all; which of the two is not known.
        """
        mine = _Waiting(job)
        self._waiting.append(mine)
        self._work.unpark_all()
        try:
            await mine.done.wait()
        except trio.Cancelled:
            with suppress(ValueError):  # one that is being committed is no longer here
                self._waiting.remove(mine)
            raise
        if mine.error is not None:
            raise mine.error
        return mine.result

    def end(self) -> None:
        """Let :meth:`run` return when nothing waits any more."""
        self.is_ending = True
        self._work.unpark_all()

    async def run(self) -> None:
        """Commit what waits, group by group, until :meth:`end`.

        Cancellation: what still waits raises NotServingError at its caller.
        """
        # One committer, because SQLite has one writer at a time anyway. While it commits one group the next one
        # gathers: so the busier the log, the larger the groups, and nobody has to wait for a group to fill.
        try:
            while True:
                if group := self._next_group():
                    await self._commit(group)
                elif self.is_ending:
                    return
                else:
                    await self._work.park()
        finally:
            for waiting in self._waiting:
                waiting.fail(NotServingError("the log ended before this was stored"))
            self._waiting.clear()

    async def _commit(self, group: list[_Waiting]) -> None:
        """Store a group, announce it and answer its callers. Where it fails as a whole, each is tried alone."""
        try:
            written = await self._write([each.job for each in group])
        except LogBusy as error:
            for each in group:
                each.fail(LogBusy(*error.args))
        except Exception as error:
            # One append may be at fault (one too large for what is left of the disk), and the others must not fail
            # with it. Not where the file was locked: each would wait for the lock again, one after the other.
            if len(group) == 1:
                group[0].fail(error)
                return
            for each in group:
                await self._commit([each])
        except BaseException:
            for each in group:
                each.fail(NotServingError("the log ended before this was stored"))
            raise
        else:
            # Announced before its callers are answered: a caller that reads or follows after its append finds that the
            # tail has told of it. In a `finally`, for it is stored whatever becomes of the announcement.
            try:
                await self._announce(written)
            finally:
                for each, outcome in zip(group, written.stored, strict=True):
                    if isinstance(outcome.result, ChannelEnded):
                        each.fail(outcome.result)
                    else:
                        each.succeed(outcome.result)

    def _next_group(self) -> list[_Waiting]:
        """Take as much as fits into one transaction, at least one job if there is one."""
        group: list[_Waiting] = []
        drafts = size = 0
        while self._waiting:
            first = self._waiting[0]
            drafts += first.drafts
            size += first.size
            if group and (drafts > SQLITE_GROUP_DRAFTS or size > SQLITE_GROUP_BYTES):
                break
            group.append(self._waiting.popleft())
        return group


class _Waiting:
    """A job on its way: what is to be done, and then what became of it."""

    __slots__ = ("done", "drafts", "error", "job", "result", "size")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.drafts, self.size = weight_of(job)
        self.done = trio.Event()
        self.result: Any = None
        self.error: Exception | None = None

    def succeed(self, result: Any) -> None:
        self.result = result
        self.done.set()

    def fail(self, error: Exception) -> None:
        self.error = error
        self.done.set()
