"""A modelled Redis: one server, to which the real RedisLog connects, and what befalls it, on the virtual clock."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager
from typing import Any, cast

import trio
from coredis.connection import BaseConnection
from coredis.exceptions import ConnectionError as RedisConnectionError
from coredis.exceptions import NoScriptError

from triolet.clock import wall_time
from triolet.redis.connect import Dialer
from triolet.redis.scripts import Script
from triolet.redis.url import RedisAddress

from .redis_scripts import Scripts, Watcher

__all__ = ["ModelledConnection", "ModelledDialer", "ModelledRedis"]

HINT_SECONDS = (0.02, 0.08, 0.15, 0.4)
"""By which hints may be late."""
SLOW_SECONDS = (0.0, 0.02, 0.1, 0.3)
"""Which a slow server takes for a command."""
BREAKS = 0.3
"""How often the connection breaks over an append, while that happens."""


class ModelledRedis:
    """A server that does one command after the other, in the order in which they come.

    Args:
        chance: decides what befalls a single command or hint.
        yields: passes of the scheduler before each command.
        watcher: is told of what is stored.

    Attributes:
        trouble: what is wrong now, each kind as often as it is under way: ``down``, ``hangs``, and those of
            RedisTrouble that are of this server alone.
        loaded: the scripts that it knows by their sha.
    """

    def __init__(self, chance: random.Random, yields: int, watcher: Watcher) -> None:
        self.trouble: list[str] = []
        self.scripts = Scripts(wall_time, self._publish, watcher)
        self._chance = chance
        self._yields = yields
        self._lives = 0
        self.loaded: set[str] = set()
        self._connections: list[ModelledConnection] = []
        self._queue: deque[_Request] = deque()
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def is_down(self) -> bool:
        """Whether nobody can connect."""
        return "down" in self.trouble

    @property
    def hangs(self) -> bool:
        """Whether nothing is answered, although connections stay."""
        return "hangs" in self.trouble

    def begin(self, kind: str) -> None:
        """Something is wrong from now on. ``down`` breaks every connection."""
        self.trouble.append(kind)
        if kind == "down":
            self._queue.clear()
            self.break_all()

    def end(self, kind: str) -> None:
        """It is over."""
        self.trouble.remove(kind)
        self._changed.unpark_all()

    def live_anew(self) -> None:
        """It has another replication id, as after each start and each promotion."""
        self._lives += 1
        self.loaded.clear()
        self.scripts.replid = str(self._lives)

    def break_all(self) -> None:
        """Every connection breaks. What was sent over it may have come through."""
        self._queue = deque(request for request in self._queue if self._chance.random() < 0.5)
        for connection in list(self._connections):
            connection.invalidate()

    async def connect(self, seconds: float) -> ModelledConnection:
        """Connect, within so many seconds. Raises what coredis does."""
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(seconds) as scope:
            while self.hangs and not self.is_down:
                await self._changed.park()
        if self.is_down:
            raise RedisConnectionError("Connection refused")
        if scope.cancelled_caught:
            raise TimeoutError(f"no answer in {seconds} s")
        connection = ModelledConnection(self)
        self._connections.append(connection)
        return connection

    def leave(self, connection: ModelledConnection) -> None:
        """A connection is over. What was sent over it is done all the same."""
        if connection in self._connections:
            self._connections.remove(connection)

    def take(self, request: _Request) -> None:
        """A command has come."""
        self._queue.append(request)
        self._changed.unpark_all()

    async def run(self) -> None:
        """Do commands, for ever."""
        while True:
            while self.hangs or not self._queue:
                await self._changed.park()
            for _ in range(self._yields):
                await trio.lowlevel.checkpoint()
            if "slow" in self.trouble:
                await trio.sleep(self._chance.choice(SLOW_SECONDS))
            if self._queue and not self.hangs:
                self._do(self._queue.popleft())

    def _do(self, request: _Request) -> None:
        breaks = {"lost before", "lost after"} & set(self.trouble)
        if not breaks or not request.appends or self._chance.random() > BREAKS:
            request.answer(self)
            return
        done_first = self._chance.choice(sorted(breaks)) == "lost after"
        if not done_first:
            request.connection.invalidate()
            return
        request.is_lost = True
        request.answer(self)
        request.connection.invalidate()

    def _publish(self, channel: str, payload: bytes) -> None:
        for connection in self._connections:
            if channel not in connection.subscribed:
                continue
            if "hints lost" in self.trouble and self._chance.random() < 0.6:
                continue
            late = self._chance.choice(HINT_SECONDS) if "hints late" in self.trouble else 0.0
            for _ in range(2 if "hints twice" in self.trouble and self._chance.random() < 0.6 else 1):
                connection.push(channel, payload, late)


class _Request:
    """One command on its way."""

    def __init__(self, connection: ModelledConnection, command: bytes, args: tuple[Any, ...]) -> None:
        self.connection = connection
        self.done = trio.Event()
        self.is_lost = False
        self.result: Any = None
        self.error: Exception | None = None
        self._command = command
        self._args = args

    def __await__(self) -> Generator[Any, None, Any]:
        return self.get_result().__await__()

    async def get_result(self) -> Any:
        """Wait for the answer. Cancelled, it can be waited for again."""
        await self.done.wait()
        self.connection.over(self)
        if self.error is not None:
            raise self.error
        return self.result

    @property
    def appends(self) -> bool:
        """Whether it is the script that appends, which alone has more than two keys."""
        return self._command != b"SUBSCRIBE" and int(self._args[1]) > 2

    def answer(self, server: ModelledRedis) -> None:
        """Do it, and tell, if anybody still listens."""
        try:
            self.result = self._run(server)
        except Exception as error:
            self.error = error
        if self.connection.is_usable and not self.is_lost:
            self.done.set()

    def _run(self, server: ModelledRedis) -> Any:
        if self._command == b"SUBSCRIBE":
            self.connection.subscribed.add(str(self._args[0]))
            return None
        script, count, *rest = self._args
        if self._command == b"EVAL":
            server.loaded.add(Script.of(script).sha)
        elif script not in server.loaded:
            raise NoScriptError("No matching script. Please use EVAL.")
        return server.scripts.run(script, rest[:count], rest[count:])


class ModelledConnection:
    """What RedisLog uses of a connection of coredis'."""

    server_version = "7.0.0"

    def __init__(self, server: ModelledRedis) -> None:
        self.is_usable = True
        self.subscribed: set[str] = set()
        self._server = server
        self._requests: list[_Request] = []
        self._pushes: deque[tuple[float, list[bytes]]] = deque()
        self._pushed = trio.lowlevel.ParkingLot()

    def over(self, request: _Request) -> None:
        """A request's answer is not waited for any more."""
        if request in self._requests:
            self._requests.remove(request)

    def create_request(self, command: bytes, *args: Any) -> _Request:
        """Send a command, whose answer can be awaited. One that is not waited for any more is done all the same."""
        if not self.is_usable:
            raise RedisConnectionError("Connection not usable")
        request = _Request(self, command, args)
        self._requests.append(request)
        self._server.take(request)
        return request

    send_command = create_request

    @property
    async def push_messages(self) -> AsyncGenerator[list[bytes], None]:
        """What comes by itself, until the connection is over."""
        while True:
            while self.is_usable and not self._pushes:
                await self._pushed.park()
            if not self.is_usable:
                raise RedisConnectionError("Connection lost while waiting for push messages")
            due, message = self._pushes[0]
            await trio.sleep_until(due)
            if self._pushes:
                self._pushes.popleft()
                yield message

    def push(self, channel: str, payload: bytes, late: float) -> None:
        """Bring a hint, so many seconds late; none comes before an earlier one."""
        before = self._pushes[-1][0] if self._pushes else 0.0
        self._pushes.append((max(before, trio.current_time() + late), [b"message", channel.encode(), payload]))
        self._pushed.unpark_all()

    def invalidate(self) -> None:
        """End it, from whichever side."""
        if not self.is_usable:
            return
        self.is_usable = False
        self._server.leave(self)
        for request in self._requests:
            if not request.done.is_set():
                request.error = RedisConnectionError("Connection lost!")
                request.done.set()
        self._pushes.clear()
        self._pushed.unpark_all()


class ModelledDialer(Dialer):
    """Knows the way to the modelled server alone."""

    def __init__(self, server: ModelledRedis, address: RedisAddress, seconds: float, nursery: trio.Nursery) -> None:
        super().__init__(address, seconds, nursery)
        self._server = server

    @asynccontextmanager
    async def connected(self, slot: int) -> AsyncIterator[BaseConnection]:
        connection = await self._server.connect(self._seconds)
        try:
            yield cast(BaseConnection, connection)
        finally:
            connection.invalidate()
