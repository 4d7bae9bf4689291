"""One partition of a RedisLog: its connection, the hints that are heard over it, and the scripts that are run."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import lru_cache, partial
from typing import Any, Final, TypeAlias

import anyio
import trio
from coredis.connection import BaseConnection
from coredis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
    WrongTypeError,
)
from coredis.exceptions import ConnectionError as RedisConnectionError

from ..bounds import REDIS_CONNECT_DELAYS, REDIS_HINT_SECONDS, REDIS_KEPT_CHANNELS
from ..errors import LogAway, LogBroken, LogError, LogFull
from ..event import Cursor, Event
from ..limits import Limits
from ..log.epoch import draw_epoch
from ..log.tail import Tail
from .answer import answer_in_time
from .connect import Dialer, slot_of
from .scripts import FORM_DIFFERS, LOOK, PROBE, Row, Script, parse_hint
from .url import RedisAddress

__all__ = ["AWAY", "MOVED", "Argument", "Partition", "events_of", "translate"]

logger = logging.getLogger("triolet.log")

MOVED: Final = (ReadOnlyError, AskError, ClusterDownError, TryAgainError)
"""The errors of a server that is not, or not yet, the one to ask. It has done nothing then."""

AWAY: Final = (
    RedisConnectionError,
    *MOVED,
    OSError,
    TimeoutError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
)
"""The errors that show that the server is unavailable."""


NOT_ALLOWED: Final = ("The user executing the script", "ACL failure in script")
"""How a server says that a command in a script is not allowed, up to Redis 7.0 and from 7.2 on."""


Argument: TypeAlias = "str | bytes | int | float"


class Partition:
    """Keeps one connection to the server that has the partition. All goes over it: appends, reads, and the hints of
    what any process has appended. When it breaks, all of that begins anew on the next one.

    Hints are numbered. One that is missing, or another epoch, is told to the tail as a loss; so is, at each look, that
    more hints were sent than were heard.

    Args:
        address: where the servers are.
        number: which of the partitions this is.
        dialer: finds and connects to the server.
        tail: where events are announced.
        limits: how long to wait.

    Attributes:
        epoch: the present one, as far as is known here; empty before the first connection.
        connection: the connection in use; None while the server is unavailable.
        key: the hash that says what the partition is.
        kept: returns how much of a channel is kept.
    """

    def __init__(self, address: RedisAddress, number: int, dialer: Dialer, tail: Tail, limits: Limits) -> None:
        tag = f"{address.prefix}:{number}"
        self._address = address
        self._dialer = dialer
        self._tail = tail
        self._limits = limits
        # The braces are a hash tag: all keys with the same tag are in one slot of a cluster, and one script may use
        # them together. Pub/Sub knows no databases, so the hints' channel carries the number.
        self._slot = slot_of(tag)
        self._hints = f"{{{tag}}}:hints:{address.db}"
        self._prefix = f"{{{tag}}}:"
        self._seq = -1
        self._heard = trio.lowlevel.ParkingLot()
        self._changed = trio.lowlevel.ParkingLot()
        self._trouble: Exception | None = None
        self._away_since = -math.inf
        self._connected_at = math.inf
        self.epoch = ""
        self.connection: BaseConnection | None = None
        self.key = f"{self._prefix}log"
        self.streams = f"{self._prefix}events:"
        self.kept = lru_cache(REDIS_KEPT_CHANNELS)(limits.kept)

    def keys(self, channel: str) -> tuple[str, str]:
        """Return the keys of a channel: its stream, and its dedupes."""
        return self.streams + channel, f"{self._prefix}dedupe:{channel}"

    def kept_apart(self, channel: str) -> str:
        """Return how much of a channel is kept, as the script reads it; nothing where that is as of all others."""
        if not self._limits.keep:
            return ""
        kept, limits = self.kept(channel), self._limits
        if kept == (limits.keep_events, limits.keep_seconds, limits.keep_bytes):
            return ""
        return f"{kept.events} {kept.seconds!r} {kept.bytes}"

    def writer_key(self, writer: str) -> str:
        """Return the key under which a writer's last batch is remembered."""
        return f"{self._prefix}writer:{writer}"

    def once_key(self, key: bytes) -> str:
        """Return the key under which a claim, or its answer, is kept."""
        return f"{self._prefix}once:{key.hex()}"

    @property
    def publishing(self) -> tuple[str, str]:
        """The command that publishes a hint, and the channel of Redis's to publish it on."""
        # Sharded from Redis 7 on: in a cluster a plain PUBLISH goes to every node.
        return "SPUBLISH" if self._is_sharded(self.connection) else "PUBLISH", self._hints

    @property
    def known(self) -> tuple[str, int]:
        """The epoch, and how many hints were sent in it at least: where Redis knows of fewer, keys were put back."""
        return self.epoch, max(self._seq, 0)

    async def run(
        self,
        candidate: str,
        serve: Callable[[BaseConnection], Awaitable[None]],
        *,
        task_status: trio.TaskStatus[LogError | None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Stay connected, for ever. It has started when it is connected for the first time; or, with an error, when
        that cannot be, or (unless the address says to wait) is not possible now. A server that gives no answer is asked
        again, for ``limits.away_seconds`` and once at least: it, or this process, may wait for a core.

        Args:
            candidate: the epoch, should there be none yet.
            serve: runs beside it, anew for each connection.

        Cancellation: the connection is closed.
        """
        attempt = 0
        started = trio.Event()
        give_up_at = trio.current_time() + self._limits.away_seconds
        while True:
            self._connected_at = math.inf
            try:
                async with self._dialer.connected(self._slot) as connection:
                    await self._serve(connection, candidate, serve, partial(_say_once, started, task_status))
            except (RedisError, *AWAY) as error:
                self._trouble = error.with_traceback(None)  # of its frames nothing is held
            self._went_away()
            late = isinstance(self._trouble, TimeoutError) and (attempt == 0 or trio.current_time() < give_up_at)
            if not (started.is_set() or late or (self._address.wait and isinstance(self._trouble, AWAY))):
                task_status.started(translate(self._trouble, self._address))
                return
            # Counted from anew once a connection has served: a server that accepts and then fails is asked ever more
            # seldom, as one that is not there is.
            attempt = 0 if self._connected_at < math.inf else attempt + 1
            await trio.sleep(REDIS_CONNECT_DELAYS[min(attempt, len(REDIS_CONNECT_DELAYS) - 1)])
            candidate = ""  # the partitions begin with one epoch together; one that begins later has its own

    async def linked(self, give_up_at: float, other: BaseConnection | None = None) -> BaseConnection:
        """Return the connection; wait for one if there is none.

        Args:
            give_up_at: Trio's time.
            other: a connection that is of no use any more, although it may still be the present one.

        Raises:
            LogAway: the store's fault; it is still unavailable at that time.

        Cancellation: nothing is lost.
        """
        while self.connection is None or self.connection is other:
            with trio.move_on_at(give_up_at) as scope:
                await self._changed.park()
            if scope.cancelled_caught:
                # Also where it is there and does not let us in any more: followers wait for that as well.
                raise LogAway(str(translate(self._trouble, self._address))) from self._trouble
        return self.connection

    async def call(
        self,
        connection: BaseConnection,
        script: Script,
        keys: Sequence[str],
        *args: Argument,
        seconds: float | None = None,
    ) -> Any:
        """Run a script.

        Args:
            connection: where to run it.
            script: the script.
            keys: its keys.
            args: its arguments.
            seconds: how long the answer may take; None is ``limits.answer_seconds``.

        Raises:
            RedisError, OSError: as coredis raises them. One of AWAY makes the connection unusable.

        Cancellation: the script may run or not.
        """
        # By its hash, and as a whole only where Redis does not know it yet, or not any more.
        parts = (len(keys), *keys, *args)
        seconds = self._limits.answer_seconds if seconds is None else seconds
        try:
            try:
                asked = connection.create_request(b"EVALSHA", script.sha, *parts)
                return await answer_in_time(asked, seconds)
            except NoScriptError:
                asked = connection.create_request(b"EVAL", script.text, *parts)
                return await answer_in_time(asked, seconds)
        except AWAY:
            connection.invalidate()
            raise

    async def ask(self, script: Script, keys: Sequence[str], *args: Argument) -> Any:
        """Run a script that may be run twice and answers epoch, number of hints, and more. It waits up to
        ``limits.away_seconds`` for a server that is unavailable.

        Raises:
            LogError: the store's fault; the message says why.

        Cancellation: nothing is lost; such scripts store no events.
        """
        give_up_at = trio.current_time() + self._limits.away_seconds
        failed = None
        while True:
            connection = failed = await self.linked(give_up_at, failed)
            try:
                answer = await self.call(connection, script, keys, *args)
            except AWAY:
                continue
            except RedisError as error:
                raise translate(error, self._address) from error
            if answer[0].decode() != self.epoch and connection is self.connection:
                self._lose(answer[0].decode(), answer[1])  # no reader may see an epoch before the tail has told of it
            return answer

    async def hear(self, epoch: str, seq: int) -> None:
        """Wait until the hint of a number was heard. If it was not heard in time, the tail is told of a loss.

        Cancellation: nothing is lost.
        """
        with trio.move_on_after(REDIS_HINT_SECONDS):
            while epoch != self.epoch or self._seq < seq:
                await self._heard.park()
        if epoch != self.epoch:
            self._tail.lose()
        elif self._seq < seq:
            self._lose(epoch, seq)

    # --- one connection

    async def _serve(
        self,
        connection: BaseConnection,
        candidate: str,
        serve: Callable[[BaseConnection], Awaitable[None]],
        ready: Callable[[], None],
    ) -> None:
        async def until_it_breaks(task: Callable[[BaseConnection], Awaitable[None]]) -> None:
            try:
                await task(connection)
            except (RedisError, *AWAY) as error:
                self._trouble = error.with_traceback(None)
            nursery.cancel_scope.cancel()

        # Subscribed before the first look: each hint that the look has not counted is then heard.
        connection.send_command(b"SSUBSCRIBE" if self._is_sharded(connection) else b"SUBSCRIBE", self._hints)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_it_breaks, self._listen)
            try:
                if not self.epoch:  # once: opening the log is the time to find out
                    await self._probe(connection)
                await self._look(connection, candidate)
            except (RedisError, *AWAY) as error:
                self._trouble = error.with_traceback(None)
                nursery.cancel_scope.cancel()
            else:
                self._connected_at = trio.current_time()
                self._came_back(connection)
                ready()
                nursery.start_soon(until_it_breaks, serve)
                nursery.start_soon(until_it_breaks, self._look_again)

    async def _listen(self, connection: BaseConnection) -> None:
        async with aclosing(connection.push_messages) as pushes:
            async for push in pushes:
                message: Any = push
                if message[0] in (b"message", b"smessage"):
                    self._take(message[2])
                elif message[0] in (b"unsubscribe", b"sunsubscribe"):
                    # As a cluster does when the slot moves to another node: hints would come no more, without an error.
                    raise RedisConnectionError("the server has ended the subscription")

    def _take(self, payload: bytes) -> None:
        """Announce what a hint brings, if it is the next one."""
        hint = parse_hint(payload)
        if hint is None:
            return
        epoch, seq, channels = hint
        if epoch == self.epoch and seq <= self._seq:  # a look has told it as lost already
            return
        if epoch != self.epoch or seq != self._seq + 1:
            self._lose(epoch, seq)
        self._seq = seq
        for channel, first, rows in channels:
            self._tail.announce(events_of(epoch, channel, first, rows))
        self._heard.unpark_all()

    async def _probe(self, connection: BaseConnection) -> None:
        """Run every command that the scripts need, to find out at once whether one is not allowed."""
        publish = "SPUBLISH" if self._is_sharded(connection) else "PUBLISH"
        asked = connection.create_request(b"EVAL", PROBE.text, 1, f"{self._prefix}probe", publish, self._hints)
        await answer_in_time(asked, self._limits.answer_seconds)

    async def _look(self, connection: BaseConnection, candidate: str) -> None:
        args = (candidate or draw_epoch(), self._address.partitions, *self.known)
        epoch, seq = await self.call(connection, LOOK, [self.key], *args)
        if epoch.decode() == self.epoch:
            await self.hear(self.epoch, seq)
        else:
            self._lose(epoch.decode(), seq)

    async def _look_again(self, connection: BaseConnection) -> None:
        while True:
            await trio.sleep(self._limits.look_seconds)
            await self._look(connection, "")

    def _lose(self, epoch: str, seq: int) -> None:
        """Tell the tail of a loss: what was appended up to a hint is in the log, and was not heard."""
        self.epoch, self._seq = epoch, seq
        self._tail.lose()
        self._heard.unpark_all()

    def _is_sharded(self, connection: BaseConnection | None) -> bool:
        version = (connection and connection.server_version) or "0"
        return self._address.is_cluster and int(version.partition(".")[0]) >= 7

    def _came_back(self, connection: BaseConnection) -> None:
        if self._away_since != -math.inf:
            logger.warning("%s is back after %.1f s", self._address, trio.current_time() - self._away_since)
            self._away_since = -math.inf
        self.connection = connection
        self._changed.unpark_all()

    def _went_away(self) -> None:
        self.connection = None
        if self._away_since == -math.inf:  # one line in the log, and not one for each attempt
            self._away_since = trio.current_time()
            logger.warning("%s is away: %s", self._address, self._trouble)


def _say_once(started: trio.Event, task_status: trio.TaskStatus[None]) -> None:
    if not started.is_set():
        started.set()
        task_status.started(None)


def events_of(epoch: str, channel: str, first: int, rows: Sequence[Row]) -> list[Event]:
    """Return the events of rows, of which the first has the offset ``first``."""
    return [
        Event(Cursor(epoch, offset), channel, name, json, key, at)
        if key is None or "\0" not in key
        else _folded(Cursor(epoch, offset), channel, name, json, key, at)
        for offset, (at, name, json, key) in enumerate(rows, first)
    ]


def _folded(cursor: Cursor, channel: str, name: str, json: bytes, fold_and_key: str, at: float) -> Event:
    fold, _, key = fold_and_key.partition("\0")
    return Event(cursor, channel, name, json, key, at, fold)


def translate(error: Exception | None, address: RedisAddress) -> LogError:
    """Return the LogError for what coredis reports, with a message that says what to do about it."""
    said = "it has not answered yet" if error is None else str(error) or type(error).__name__
    if error is None or isinstance(error, AWAY):
        return LogAway(f"{address} cannot be reached: {said}")
    if isinstance(error, AuthenticationError | AuthorizationError) or any(words in said for words in NOT_ALLOWED):
        return LogError(f"{address} does not allow it: {said}; the documentation lists the rights that a user needs")
    if "MISCONF" in said:
        return LogFull(f"{address} cannot write to its disk, and stores nothing until it can: {said}")
    if "OOM" in said or "maxmemory" in said:
        return LogFull(f"{address}: no memory left (maxmemory); nothing was stored")
    if FORM_DIFFERS in said:
        return LogBroken(f"{address} has a log of another form: {said}; all processes need the same ?partitions=")
    if isinstance(error, WrongTypeError):
        return LogBroken(f"{address}: something else has a key of the log's: {said}; use another ?prefix=")
    return LogError(f"{address}: {said}")
