"""The log in Redis: shared by many processes on many hosts."""

from __future__ import annotations

import math
from binascii import crc32
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final

import trio

from ..errors import ConfigError, LogError, NotServingError
from ..event import Cursor, Draft, Event, Gap
from ..limits import Limits
from ..log.contract import EventLog, Kept, Page, Status, check_order, resume, with_hole
from ..log.epoch import draw_epoch
from ..log.jobs import Append, Claim, Commit, Delete, Release
from ..log.tail import Tail
from .appender import Lane
from .channels import LIST, list_channels
from .connect import Dialer
from .partition import Partition, events_of
from .scripts import READ, decode_row, decode_rows
from .url import RedisAddress

__all__ = ["RedisLog"]

GOOD: Final = -1
"""The answer of READ for a cursor of the present epoch."""
UNKNOWN: Final = -2
"""Its answer for an epoch that this log has not had, or has forgotten."""


class RedisLog(EventLog):
    """Keeps channels in Redis 6.2 or newer, or Valkey: one server, sentinels, or a cluster.

    **What an acknowledgement means**: when ``append`` returns, the server has the event in memory. What it survives
    depends on the server's settings:

    - with ``appendfsync everysec`` it survives a crash of Redis; a loss of power may take the last second or two;
      with ``always`` it survives that too;
    - without an append-only file, what came since the last snapshot is lost when Redis ends;
    - when a replica is promoted, what it had not yet received is lost: the time it lags, usually milliseconds.
      ``min-replicas-to-write`` bounds that, and makes appends fail while it cannot.

    Every such loss is found: each start of a server and each promotion of a replica begins a new epoch, which
    remembers how far each channel had come. Clients that saw only events that survived continue; the others get a gap
    (``future``). If Redis comes back empty, all clients get a gap (``epoch``).

    Offsets are drawn, retention is held and ``dedupe`` is remembered by scripts in Redis. Appends that wait go out
    together; a batch whose answer was lost is sent again, and takes effect once. ``tail`` hears of all processes'
    appends: Redis publishes each of them, with a number. A number that does not follow the last one, or is missing at a
    look every ``limits.look_seconds``, is told as an empty step, after which the log is asked.

    **Commands**: one script stores the events of a commit, of any channels, and its answer; a claim is a key with an
    expiry. What is lost when a server or a replica comes back older is lost together: never the answer without its
    events, nor events without their answer. A claim that is lost so can be taken by another process while its holder
    still runs; only one of the two can commit. In a cluster this needs ``?partitions=1``: with more of them the
    channels are on different servers, no script can store in all of them, and a commit with events raises ConfigError
    (one without events, as of tickets, is stored).

    **Ends**: the event that ends a channel stands beside the channel's head, so it is lost only together with that, and
    no retention drops it. The scripts refuse what would come behind it, from every process that knows ends.

    Args:
        address: a URL, see RedisAddress.parse, or such an address.
        limits: ``keep_events``, ``keep_bytes`` and ``keep_seconds`` apply to each channel, or what ``keep`` says of it,
            as the process that appends has set them; ``away_seconds``, ``answer_seconds``, ``look_seconds``.
        clock: what time it is, in seconds since 1970; None asks Redis, so that all processes agree. Tests give one.

    Bounds: what the limits keep, per channel, and an eighth more, as rows are deleted in groups. A channel of which
    nothing is kept costs its name and some numbers; one that has ended, its last event and its name in a list as well.
    Waiting appends hold their drafts.
    """

    patience = math.inf

    def __init__(
        self, address: str | RedisAddress, limits: Limits | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        self._address = RedisAddress.parse(address) if isinstance(address, str) else address
        self._limits = limits or Limits()
        self._clock = clock
        self._tail = Tail()
        self._is_ending = False
        self._partitions: list[Partition] = []
        self._lanes: list[Lane] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator[RedisLog]:
        """Connect for the time of a block. At its end the appends that still wait are sent, for up to
        ``limits.answer_seconds``; those that cannot be raise NotServingError.

        Raises:
            LogAway: the store's fault; Redis cannot be reached, or gives no answer in ``limits.away_seconds`` (with
                ``?start=wait`` this waits instead).
            LogBroken: the store's fault; Redis has a log of another form.
            LogError: the store's fault; Redis does not let us in, and the message says why.

        Cancellation: appends that wait raise NotServingError; one that was sent raises LogUncertain.
        """
        failure: BaseException | None = None
        try:
            with self._tail.opened():
                async with trio.open_nursery() as nursery:
                    try:
                        failure = await self._start(nursery)
                        if failure is None:
                            yield self
                            self._is_ending = True
                            with trio.move_on_after(self._limits.answer_seconds):
                                for lane in self._lanes:  # as long as the servers can be reached
                                    await lane.sent()
                    except BaseException as error:
                        failure = error  # kept out of the nursery, which would wrap it in a group
                    # First the callers are told, for they wait in tasks of their own, which nothing here cancels.
                    self._is_ending = True
                    for lane in self._lanes:
                        lane.end()
                    nursery.cancel_scope.cancel()
        except trio.Cancelled:
            if failure is None:
                raise
        if failure is not None:
            raise failure

    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        """Store drafts in order, all or none, and return them as events. See EventLog.

        Raises:
            LogAway: Redis could not be reached for ``limits.away_seconds``; it is surely not stored.
            LogUncertain: it went away meanwhile, for as long; it may be stored.
            LogFull: Redis has no memory left, or cannot write to its disk (MISCONF).
            LogBroken: something else has one of the channel's keys, or has written to it.
            ChannelEnded: the channel has ended; or an event comes after the end that this append is.
            NotServingError: the log is not open, or ended before this was stored.

        Cancellation: all were stored and announced, or none; which of the two is not known.
        """
        self._check_serving()
        if not drafts:
            await trio.lowlevel.checkpoint()
            return []
        job = Append(channel, tuple(drafts))
        if len(drafts) > 1:
            check_order([job])
        events: list[Event] = await self._lane_of(channel.encode()).do(job)
        return events

    @property
    def can_commit(self) -> bool:
        """Whether events and answers can be stored together: not in a cluster with more than one partition."""
        return self._address.partitions == 1

    async def claim(self, key: bytes, print: bytes, holder: bytes, seconds: float) -> Kept | None:
        """Begin what is to happen once. See EventLog.

        Raises:
            LogAway, LogUncertain, LogFull, NotServingError: see :meth:`append`.
            LogBroken: something else has the claim's key.

        Cancellation: it is held or not; which of the two is not known.
        """
        kept: Kept | None = await self._lane_of(key).do(Claim(key, print, holder, seconds))
        return kept

    async def commit(
        self, key: bytes, holder: bytes, answer: bytes, seconds: float, writes: Sequence[tuple[str, Sequence[Draft]]]
    ) -> list[list[Event]] | Kept:
        """Store events of any channels and the answer, in one script. See EventLog, and this class on clusters.

        Raises:
            ConfigError: the app's fault; there are events, and more than one partition.
            DataError: it is repeated with other writes.
            ChannelEnded: one of the channels has ended; or an event comes after the end that this commit is.
            LogAway, LogUncertain, LogFull, NotServingError: see :meth:`append`.
            LogBroken: something else has a key of the claim's or of one of the channels'; nothing was stored.

        Cancellation: all was stored and announced, or nothing; which of the two is not known.
        """
        lane = self._lane_of(key)
        if not self.can_commit and any(drafts for _, drafts in writes):
            raise ConfigError(
                f"{self._address} has {self._address.partitions} partitions, each on a server of its own, so events "
                "cannot be stored together with the answer of a command; for an app with commands give the address "
                "?partitions=1 (and another ?prefix=, or an empty cluster)"
            )
        job = Commit(key, holder, answer, seconds, [(channel, tuple(drafts)) for channel, drafts in writes])
        check_order(job.writes)
        done: list[list[Event]] | Kept = await lane.do(job)
        return done

    async def release(self, key: bytes, holder: bytes) -> None:
        """Give a claim back. See EventLog.

        Raises:
            LogAway, LogUncertain, NotServingError: see :meth:`append`; the claim lapses when its seconds are over.

        Cancellation: it was given back, or lapses when its seconds are over.
        """
        await self._lane_of(key).do(Release(key, holder))

    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        """Return the events after a cursor. See EventLog.

        Raises:
            LogAway: the store's fault; Redis could not be reached for ``limits.away_seconds``.

        Cancellation: nothing is lost.
        """
        answer = await self._read(channel, after, limit, max_bytes)
        epoch: str = answer[0].decode()
        head, oldest, upto, position = answer[2:6]
        at = Cursor(epoch, head)
        # `upto` is how far a cursor of an earlier epoch is still good: up to there an offset means the same event. The
        # script has chosen the page's position by the same rules, so that one call to Redis is enough; they must agree.
        gap: Gap | None
        if upto in (GOOD, UNKNOWN):
            position, gap = resume(after, epoch, oldest, head)
        elif after.offset <= upto:  # an earlier epoch, of which nothing is lost up to there
            position, gap = resume(Cursor(epoch, after.offset), epoch, oldest, head)
        else:
            gap = Gap(after, Cursor(epoch, position), None, "future")
        start = answer[7]
        if start > position:
            gap = with_hole(gap, after, Cursor(epoch, position), start)
        return Page(tuple(events_of(epoch, channel, start + 1, decode_rows(answer[6]))), gap, at)

    async def head(self, channel: str) -> Cursor:
        """Return the cursor of the newest event. See EventLog.

        Raises:
            LogAway: the store's fault; Redis could not be reached for ``limits.away_seconds``.

        Cancellation: nothing is lost.
        """
        return (await self.status(channel)).head

    async def status(self, channel: str) -> Status:
        """Return how far a channel has come, and whether it has ended. See EventLog.

        Raises:
            LogAway: the store's fault; Redis could not be reached for ``limits.away_seconds``.

        Cancellation: nothing is lost.
        """
        epoch, _, offset, word, deleted = await self._read(channel, Cursor("", 0), 0, 0)
        head = Cursor(epoch.decode(), offset)
        end = events_of(head.epoch, channel, offset, [decode_row(word)])[0] if word else None
        return Status(head, end, Cursor(head.epoch, deleted) if deleted else None)

    async def delete(self, channel: str) -> Event:
        """Forget all events of a channel. See EventLog. Where memory is full this makes room.

        Raises:
            LogAway, LogUncertain, LogBroken, NotServingError: see :meth:`append`.

        Cancellation: it was deleted and announced, or not; which of the two is not known.
        """
        event: Event = await self._lane_of(channel.encode()).do(Delete(channel))
        return event

    async def channels(self, prefix: str = "", after: str = "", limit: int = 1_000) -> list[str]:
        """Return the names of channels of which an event is kept. See EventLog. Of a cluster all partitions are
        asked.

        Raises:
            LogAway: the store's fault; Redis could not be reached for ``limits.away_seconds``.

        Bounds: ``limit`` names of each partition. A script looks at 256 names at most, and takes those out of the list
        that keep nothing any more. Who asks first after a start of Redis's goes through all names once, in such steps.

        Cancellation: nothing is lost.
        """
        self._check_serving()
        least, behind = prefix.encode("utf-8", "surrogatepass"), after.encode("utf-8", "surrogatepass")
        found: list[bytes] = []
        for partition in self._partitions:
            ask = partial(partition.ask, LIST, [partition.key], *self._asking, partition.streams)
            found += await list_channels(ask, least, behind, limit)
        return [name.decode() for name in sorted(found)[:limit]]

    def tail(self) -> AbstractContextManager[AsyncIterator[Sequence[Event]]]:
        """Listen to what any process appends from now on. See EventLog, and Tail for the bounds."""
        return self._tail.listen()

    @property
    def stale(self) -> bool:
        """Whether Redis, or a part of the cluster, is unavailable."""
        return any(partition.connection is None for partition in self._partitions)

    async def _read(self, channel: str, after: Cursor, limit: int, max_bytes: int) -> Any:
        self._check_serving()
        partition = self._partitions[_number(channel.encode(), self._address.partitions)]
        kept = partition.kept(channel)
        return await partition.ask(
            READ,
            [partition.key, partition.keys(channel)[0]],
            *self._asking,
            kept.events,
            kept.seconds,
            channel,
            after.epoch,
            after.offset,
            limit,
            max_bytes,
        )

    @property
    def _asking(self) -> tuple[str, str, int]:
        """With what every script that reads is asked: an epoch should there be none, the time, how many partitions."""
        return draw_epoch(), "" if self._clock is None else repr(self._clock()), self._address.partitions

    def _lane_of(self, name: bytes) -> Lane:
        self._check_serving()
        return self._lanes[_number(name, self._address.partitions)]

    def _check_serving(self) -> None:
        self._tail.check_open()
        if self._is_ending:
            raise NotServingError("the log is ending: nothing more is stored or read")

    async def _start(self, nursery: trio.Nursery) -> LogError | None:
        """Connect to every partition. Those that have no epoch yet are given the same one."""
        dialer = self._dialer(nursery)
        candidate = draw_epoch()
        self._is_ending = False
        self._partitions = [
            Partition(self._address, number, dialer, self._tail, self._limits)
            for number in range(self._address.partitions)
        ]
        self._lanes = [Lane(partition, self._address, self._limits, self._clock) for partition in self._partitions]
        for lane in self._lanes:
            problem: LogError | None = await nursery.start(lane.run, candidate)
            if problem is not None:
                return problem
        return None

    def _dialer(self, nursery: trio.Nursery) -> Dialer:
        """Return the dialer. Tests put another one in its place, which reaches simulated servers."""
        return Dialer(self._address, self._limits.answer_seconds, nursery)


def _number(name: bytes, partitions: int) -> int:
    """Return in which partition a channel or a claim is."""
    return crc32(name) % partitions  # not `hash`, which differs from process to process
