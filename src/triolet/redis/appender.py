"""The lane of a partition: how a RedisLog stores. What waits goes out together, and takes effect once."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import trio
from coredis.connection import BaseConnection
from coredis.exceptions import BusyLoadingError, RedisError

from ..bounds import REDIS_BATCH_BYTES, REDIS_BATCH_DRAFTS, REDIS_BYTES_PER_SECOND, REDIS_PATIENCE_SECONDS
from ..errors import LogAway, LogError, LogUncertain, NotServingError
from ..limits import Limits
from ..log.epoch import draw_epoch
from ..log.jobs import Job
from .append import APPEND
from .batch import Batch, Waiting, result_of, time_in
from .partition import AWAY, MOVED, Argument, Partition, translate
from .url import RedisAddress

__all__ = ["Lane"]


NOTHING_DONE: Final = (*MOVED, BusyLoadingError)
"""The errors with which a server refuses a batch before it does anything."""


class Lane:
    """Sends what is to be done in a partition, batch after batch: appends, deletions, claims, commits and releases.

    Each batch has a number, under which Redis remembers what became of it: one whose answer was lost, because the
    connection broke or the server failed, is sent again with the same number before any other, and is stored once.

    What waits while the server is unavailable fails after ``limits.away_seconds``: with LogAway if it was
    never sent, with LogUncertain if it was.

    Args:
        partition: the connection to the server.
        address: the server's, for messages.
        limits: retention, and how long to wait.
        clock: the time of the events, in seconds since 1970; None asks Redis.

    Bounds: the drafts of what waits, and one batch that was sent and not answered.
    """

    def __init__(
        self, partition: Partition, address: RedisAddress, limits: Limits, clock: Callable[[], float] | None
    ) -> None:
        self._partition = partition
        self._address = address
        self._limits = limits
        self._clock = clock
        self._writer = partition.writer_key(secrets.token_urlsafe(9))
        self._number = 0
        self._waiting: deque[Waiting] = deque()
        self._unsettled: Batch | None = None
        self._work = trio.lowlevel.ParkingLot()
        self._settled = trio.lowlevel.ParkingLot()

    async def run(self, candidate: str, *, task_status: trio.TaskStatus[LogError | None]) -> None:
        """Keep the partition connected, and send, for ever. See Partition.run.

        Cancellation: what waits is left to :meth:`end`.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._give_up)
            problem = await nursery.start(self._partition.run, candidate, self._send_all)
            task_status.started(problem)
            if problem is not None:
                nursery.cancel_scope.cancel()

    async def do(self, job: Job) -> Any:
        """Have a job done, and return what its caller is told. See RedisLog's methods for the errors.

        Cancellation: it is done and announced as a whole, or not at all; which of the two is not known.
        """
        mine = Waiting(job, trio.current_time() + self._limits.away_seconds)
        self._waiting.append(mine)
        self._work.unpark_all()
        try:
            await mine.done.wait()
        except trio.Cancelled:
            with suppress(ValueError):  # it is in a batch already, which must stay as it is: see Batch
                self._waiting.remove(mine)
            raise
        if mine.error is not None:
            raise mine.error
        return result_of(job, mine.result)

    async def sent(self) -> None:
        """Wait until nothing waits to be sent, or the server is unavailable.

        Cancellation: nothing is lost.
        """
        while (self._waiting or self._unsettled) and self._partition.connection is not None:
            await self._settled.park()

    def end(self) -> None:
        """Fail all appends that still wait: the log has ended."""
        for waiting in self._waiting:
            waiting.fail(NotServingError("the log ended before this was stored"))
        if self._unsettled is not None:
            self._unsettled.fail(LogUncertain("the log ended before it was known whether this was stored"))
        self._waiting.clear()
        self._unsettled = None

    async def _send_all(self, connection: BaseConnection) -> None:
        """Send over one connection until it breaks: first the batch of which it is not known whether it is stored.

        Cancellation: the batch that was sent stays, to be sent again over the next connection.
        """
        # One batch at a time. With two on their way, one that is sent again could come behind a later one, and the
        # order within a channel would not be the order of the calls. While one is on its way the next one gathers.
        while True:
            batch = self._unsettled = self._unsettled or self._next_batch()
            if batch is None:
                self._settled.unpark_all()
                await self._work.park()
                continue
            was_sent = batch.was_sent
            try:
                epoch, seq, stamp, results = await self._send(batch, connection)
            except AWAY:  # the connection ends, and `_unsettled` stays: its answer may be lost, but not its number
                raise
            except RedisError as error:
                refusal = translate(error, self._address)
                # What was sent before may still wait somewhere, and be taken in when the reason to refuse it is gone.
                batch.fail(
                    LogUncertain(f"{refusal}; it had been sent before, and may be stored") if was_sent else refusal
                )
            else:
                # Answered only when its own hint was heard (or was told as lost): so an event is announced here before
                # its publisher goes on.
                await self._partition.hear(epoch.decode(), seq)
                batch.succeed(epoch.decode(), time_in(stamp), results)
            self._unsettled = None

    async def _send(self, batch: Batch, connection: BaseConnection) -> Any:
        limits = self._limits
        args: list[Argument] = [
            draw_epoch(),
            "" if self._clock is None else repr(self._clock()),
            self._address.partitions,
            batch.number,
            limits.keep_events,
            limits.keep_seconds,
            limits.keep_bytes,
            *self._partition.publishing,
            *self._partition.known,
        ]
        keys = [self._partition.key, self._writer]
        for group in batch.groups:
            group.write(self._partition, keys, args)
        was_sent, batch.was_sent = batch.was_sent, True  # from here on, whatever becomes of this task
        # A large batch takes a busy server longer, and is no sign that it is away: so the time grows with the size.
        try:
            seconds = limits.answer_seconds + batch.size / REDIS_BYTES_PER_SECOND
            return await self._partition.call(connection, APPEND, keys, *args, seconds=seconds)
        except NOTHING_DONE:
            batch.was_sent = was_sent
            raise

    def _next_batch(self) -> Batch | None:
        """Take as many appends as fit into one batch; one at least, if there is one."""
        if not self._waiting:
            return None
        self._number += 1
        batch = Batch(self._number)
        drafts = size = 0
        while self._waiting:
            first = self._waiting[0]
            drafts += first.drafts
            size += first.size
            if batch.groups and (drafts > REDIS_BATCH_DRAFTS or size > REDIS_BATCH_BYTES):
                break
            batch.add(self._waiting.popleft())
        return batch

    async def _give_up(self) -> None:
        """Fail the appends whose time is over while the server is unavailable."""
        while True:
            if not self._waiting and self._unsettled is None:
                await self._work.park()
            await trio.sleep(REDIS_PATIENCE_SECONDS)
            # Not while there is a connection: what is sent over one has a deadline of its own, that of the answer.
            if self._partition.connection is None:
                self._expire(trio.current_time())

    def _expire(self, now: float) -> None:
        away = f"{self._address} has been away for {self._limits.away_seconds} s"
        if self._unsettled is not None:
            sent = self._unsettled.was_sent
            error = LogUncertain(f"{away}: this may be stored") if sent else LogAway(f"{away}: this is not stored")
            if not self._unsettled.expire(now, error):
                self._unsettled = None
        # They wait in the order in which they came, and each for as long: so the first are over first.
        while self._waiting and self._waiting[0].give_up_at <= now:
            self._waiting.popleft().fail(LogAway(f"{away}: this is not stored"))
