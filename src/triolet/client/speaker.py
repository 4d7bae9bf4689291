"""One WebSocket in use: its reader, its writer, and what may be said on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import trio

from .bounds import CLIENT_OUTBOX
from .errors import Ended
from .heard import Heard, bye, read
from .heartbeat import Heartbeat
from .renewal import Renewal
from .socket import Socket
from .way import Way
from .websocket import open_socket

__all__ = ["Speaker", "converse"]


class Speaker:
    """The way up on one WebSocket that is open.

    Attributes:
        clogged: whether its reader waits for the program, so that no answer comes through.

    Bounds: ``CLIENT_OUTBOX`` messages wait to be sent.
    """

    __slots__ = ("_gone", "_moved", "_out", "_outbox", "_put", "_telling", "clogged", "is_open")

    def __init__(self) -> None:
        self._out, self._outbox = trio.open_memory_channel[bytes](CLIENT_OUTBOX)
        self.is_open = True
        self.clogged = False
        self._put = self._gone = 0
        self._moved = trio.lowlevel.ParkingLot()
        self._telling = trio.Lock()

    def say(self, **message: Any) -> bool:
        """Send a message. Return False where that cannot be: the connection has ended, or will."""
        if self.is_open:
            try:
                self._out.send_nowait(msgspec.json.encode(message))
                self._put += 1
            except trio.WouldBlock:
                self.end()
        return self.is_open

    async def tell(self, **message: Any) -> bool:
        """Send a message, and wait until the network has taken it. Return False where the connection ended before.

        One that waits for its turn is not said yet: many tasks that tell do not fill the outbox.

        Cancellation: it may be sent.
        """
        async with self._telling:
            if not self.say(**message):
                return False
            mine = self._put
            while self.is_open and self._gone < mine:
                await self._moved.park()
            return self._gone >= mine

    def end(self) -> None:
        """Nothing can be said any more."""
        self.is_open = False
        self._out.close()
        self._moved.unpark_all()

    async def write(self, socket: Socket) -> None:
        """The writer: send what is said. Raises Ended."""
        async for message in self._outbox:
            await socket.send(message.decode())
            self._gone += 1
            self._moved.unpark_all()
        raise Ended(f"{CLIENT_OUTBOX} messages wait to be sent, and the server takes none")


async def converse(
    way: Way,
    target: str,
    beat: Heartbeat,
    hear: Callable[[Heard], Awaitable[None] | None],
    ready: Callable[[Speaker], None],
    trouble: Callable[[Ended], None],
) -> None:
    """One WebSocket, from its handshake to its end.

    Args:
        target: the path and query.
        hear: gets each message but the bye. It may return what is to be awaited: then the reader waits.
        ready: gets the way up, once it is open.
        trouble: hears what goes wrong beside a connection that stands.

    Raises:
        Ended: it has ended, or never began.
        OSError, trio.BrokenResourceError: nobody is there.

    Cancellation: the server is told goodbye; nothing else is lost.
    """
    beat.listen()
    headers = await way.credentials.headers()
    beat.listen()
    stream = await way.stream()
    beat.probe()
    speaker = Speaker()
    renewal = Renewal(lambda message: _renew(way, speaker), trouble, way.random)
    try:
        opened = open_socket(way.library, stream, way.base.authority, target, headers, lambda: not beat.silent)
        async with opened as socket, trio.open_nursery() as nursery:
            nursery.start_soon(speaker.write, socket)
            nursery.start_soon(renewal.run)
            ready(speaker)
            await _read(socket, beat, renewal, hear)
    finally:
        speaker.end()


async def _read(
    socket: Socket, beat: Heartbeat, renewal: Renewal, hear: Callable[[Heard], Awaitable[None] | None]
) -> None:
    """The reader."""
    while True:
        message = read(await socket.receive())
        if message.type == "bye":
            raise bye(message)
        beat.heard(message)
        renewal.hear(message)
        waited = hear(message)
        if waited is not None:
            await waited


async def _renew(way: Way, speaker: Speaker) -> None:
    """In band. With no other token there is nothing that could be said."""
    token = await way.credentials.token() if way.credentials.renewable else None
    if token is not None:
        speaker.say(type="auth", token=token)
