"""The lane of a partition: how a RedisLog stores. What waits goes out together, and takes effect once."""

from __future__ import annotations

import secrets
import struct
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import trio
from coredis.connection import BaseConnection
from coredis.exceptions import BusyLoadingError, RedisError

from ..errors import LogAway, LogBroken, LogError, LogUncertain, NotServingError
from ..event import Cursor, Draft, Event
from ..limits import REDIS_BATCH_BYTES, REDIS_BATCH_DRAFTS, REDIS_BYTES_PER_SECOND, REDIS_PATIENCE_SECONDS, Limits
from ..log.contract import Kept, check_repeated
from ..log.jobs import Append, Claim, Commit, Job, Writes, weight_of
from .append import APPEND
from .partition import AWAY, MOVED, Argument, Partition, draw_epoch, events_of, translate
from .scripts import decode_row, encode_row
from .url import RedisAddress

__all__ = ["Lane"]


NOTHING_DONE: Final = (*MOVED, BusyLoadingError)
"""The errors with which a server refuses a batch before it does anything."""


class Lane:
    """Sends what is to be done in a partition, batch after batch: appends, claims, commits and releases.

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
        self._waiting: deque[_Waiting] = deque()
        self._unsettled: _Batch | None = None
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
        mine = _Waiting(job, trio.current_time() + self._limits.away_seconds)
        self._waiting.append(mine)
        self._work.unpark_all()
        try:
            await mine.done.wait()
        except trio.Cancelled:
            with suppress(ValueError):  # it is in a batch already, which must stay as it is: see _Batch
                self._waiting.remove(mine)
            raise
        if mine.error is not None:
            raise mine.error
        return _result_of(job, mine.result)

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
                batch.succeed(epoch.decode(), _time_in(stamp), results)
            self._unsettled = None

    async def _send(self, batch: _Batch, connection: BaseConnection) -> Any:
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

    def _next_batch(self) -> _Batch | None:
        """Take as many appends as fit into one batch; one at least, if there is one."""
        if not self._waiting:
            return None
        self._number += 1
        batch = _Batch(self._number)
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


class _Waiting:
    """A job on its way: what is to be done, and then what became of it."""

    __slots__ = ("done", "drafts", "error", "give_up_at", "job", "result", "size")

    def __init__(self, job: Job, give_up_at: float) -> None:
        self.job = job
        self.drafts, self.size = weight_of(job)
        self.give_up_at = give_up_at
        self.done = trio.Event()
        self.result: Any = None
        self.error: Exception | None = None

    def succeed(self, result: Any) -> None:
        self.result = result
        self.done.set()

    def fail(self, error: Exception) -> None:
        if not self.done.is_set():
            self.error = error
            self.done.set()


class _Batch:
    """What goes out together: groups, which are done in their order.

    Sent again it is the same, with all its jobs, also those whose callers do not wait any more: under its number Redis
    may have done it, and answers with what it did then.
    """

    __slots__ = ("_appends", "groups", "number", "size", "was_sent")

    def __init__(self, number: int) -> None:
        self.number = number
        self.size = 0
        self.groups: list[_Appends | _Single] = []
        self.was_sent = False
        self._appends: _Appends | None = None

    def add(self, waiting: _Waiting) -> None:
        """Add a job behind the others."""
        self.size += waiting.size
        if isinstance(waiting.job, Append):
            if self._appends is None:
                self._appends = _Appends()
                self.groups.append(self._appends)
            self._appends.add(waiting, waiting.job)
            return
        if isinstance(waiting.job, Commit):  # what is appended after it, to the same channels, must come after it
            self._appends = None
        self.groups.append(_Single(waiting))

    def succeed(self, epoch: str, at: float, results: Sequence[Any]) -> None:
        """Answer the callers.

        Args:
            epoch: the epoch in which it was stored.
            at: when it was stored, in seconds since 1970.
            results: one for each group.
        """
        for group, result in zip(self.groups, results, strict=True):
            group.succeed(epoch, at, result)

    def fail(self, error: Exception) -> None:
        """Fail all its jobs: nothing of it is stored, or it is not known."""
        for group in self.groups:
            for member in group.members:
                member.fail(error)

    def expire(self, now: float, error: Exception) -> bool:
        """Fail the jobs whose time is over, and return whether others still wait."""
        members = [member for group in self.groups for member in group.members]
        for member in members:
            if member.give_up_at <= now:
                member.fail(error)
        return not all(member.done.is_set() for member in members)


class _Appends:
    """Appends, by channel, so that the script looks each of them up once. The order within a channel stays."""

    def __init__(self) -> None:
        self._channels: dict[str, list[tuple[_Waiting, Append]]] = {}

    @property
    def members(self) -> list[_Waiting]:
        """Those that wait."""
        return [waiting for members in self._channels.values() for waiting, _ in members]

    def add(self, waiting: _Waiting, job: Append) -> None:
        """Add one behind the others."""
        self._channels.setdefault(job.channel, []).append((waiting, job))

    def write(self, partition: Partition, keys: list[str], args: list[Argument]) -> None:
        """Write keys and arguments."""
        args.append("append")
        drafts = [
            (channel, [draft for _, job in members for draft in job.drafts])
            for channel, members in self._channels.items()
        ]
        _write_sections(partition, keys, args, drafts)

    def succeed(self, epoch: str, at: float, results: Sequence[Any]) -> None:
        """Answer the callers. See _placed for what there is of each channel; bytes are an error."""
        for (channel, members), result in zip(self._channels.items(), results, strict=True):
            if isinstance(result, bytes):
                for waiting, _ in members:
                    waiting.fail(_broken(result))
                continue
            events = _placed(epoch, channel, [draft for _, job in members for draft in job.drafts], at, result)
            start = 0
            for waiting, job in members:
                waiting.succeed(events[start : start + len(job.drafts)])
                start += len(job.drafts)


class _Single:
    """A claim, a commit or a release."""

    def __init__(self, waiting: _Waiting) -> None:
        self._waiting = waiting

    @property
    def members(self) -> list[_Waiting]:
        """The one that waits."""
        return [self._waiting]

    def write(self, partition: Partition, keys: list[str], args: list[Argument]) -> None:
        """Write keys and arguments."""
        job = self._waiting.job
        assert not isinstance(job, Append)
        keys.append(partition.once_key(job.key))
        if isinstance(job, Claim):
            args += ["claim", job.print, job.holder, job.seconds]
        elif isinstance(job, Commit):
            args += ["commit", job.holder, job.answer, job.seconds]
            _write_sections(partition, keys, args, _not_empty(job.writes))
        else:
            args += ["release", job.holder]

    def succeed(self, epoch: str, at: float, result: Any) -> None:
        """Answer the caller; bytes are an error."""
        if isinstance(result, bytes):
            self._waiting.fail(_broken(result))
        else:
            self._waiting.succeed(result)


def _broken(said: bytes) -> LogBroken:
    return LogBroken(f"something else has a key of the channel's: {said.decode()}")


def _not_empty(writes: Writes) -> Writes:
    return [(channel, drafts) for channel, drafts in writes if drafts]


def _write_sections(partition: Partition, keys: list[str], args: list[Argument], writes: Writes) -> None:
    args.append(len(writes))
    for channel, drafts in writes:
        keys += partition.keys(channel)
        args += [channel, len(drafts)]
        for draft in drafts:
            args += [encode_row(draft.name, draft.json, draft.key), len(draft.json), draft.dedupe or ""]


def _result_of(job: Job, result: Any) -> Any:
    """Return what a caller is told, from what the script answered to its group."""
    # In the caller's task, and not in the lane's: one that repeats a commit with other writes harms nobody else.
    if isinstance(job, Append):
        return result
    if not result[0]:
        _, print, is_answered, answer = result
        return Kept(print, answer if is_answered else None)
    return _stored_of(job, result[1]) if isinstance(job, Commit) else None


def _stored_of(job: Commit, stored: Any) -> list[list[Event]]:
    """Return the events of a commit, from epoch, time, places (see _placed) and counts."""
    epoch, stamp, places, counts = stored
    writes = _not_empty(job.writes)
    check_repeated(writes, counts)
    placed = iter(
        [
            _placed(epoch.decode(), channel, drafts, _time_in(stamp), result)
            for (channel, drafts), result in zip(writes, places, strict=True)
        ]
    )
    return [next(placed) if drafts else [] for _, drafts in job.writes]


def _time_in(stamp: bytes) -> float:
    """Return the time that Redis puts in front of a row: two bytes of MessagePack, and a double."""
    (at,) = struct.unpack(">xxd", stamp)
    return float(at)


def _placed(epoch: str, channel: str, drafts: Sequence[Draft], at: float, result: Any) -> list[Event]:
    """Return the events of one channel.

    Args:
        epoch, channel, drafts: what they are of.
        at: when the new ones were stored.
        result: a number is the first offset. A list says that a ``dedupe`` was known: it has for each draft its offset
            and, if that is an earlier event's, what is stored of it.
    """
    if isinstance(result, int):
        return [
            Event(Cursor(epoch, offset), channel, draft.name, draft.json, draft.key, at)
            for offset, draft in enumerate(drafts, result)
        ]
    return [
        events_of(epoch, channel, offset, [decode_row(earlier)])[0]
        if earlier
        else Event(Cursor(epoch, offset), channel, draft.name, draft.json, draft.key, at)
        for draft, offset, earlier in zip(drafts, result[::2], result[1::2], strict=True)
    ]
