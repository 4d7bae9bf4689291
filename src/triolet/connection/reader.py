"""Reader: from the client to the app. It answers control frames at once and puts messages where they belong."""

from __future__ import annotations

import math
from typing import Any

import trio

from ..closing import BAD_MESSAGE, CRASHED, FLOOD, GONE, PROTOCOL_ERROR, UNSUPPORTED, Closing
from ..errors import ChannelNameError, ConnectionEnded, LogAway, LogError, RemoteError
from ..wire.frames import Binary, Close, FrameReader, Ping, Text, encode_pong
from ..wire.messages import Ack, Follow, Incoming, Unfollow, parse_client
from ..wire.rate_limit import Rate
from .connection import Connection

__all__ = ["FrameHandler", "read"]

READ_BYTES = 1 << 16
MAX_URL = 2_048
"""Longest URL that a client may follow, in characters."""
AWAY_SECONDS = 1
"""Before a log that is away is asked again."""


async def read(conn: Connection, source: trio.abc.ReceiveStream, frames: FrameReader, first: bytes = b"") -> None:
    """Read until the connection ends.

    A message must be finished ``limits.message_seconds`` after it began. While the app has not taken what came
    before, for ``limits.stall_seconds`` at most, nothing more is read: the client's kernel holds it back.
    """
    handler = FrameHandler(conn)
    held = 0
    try:
        await handler.handle(frames, first)
        deadline = math.inf
        while conn.closing is None:
            deadline = _deadline(conn, frames, deadline)
            with trio.move_on_at(deadline) as scope:
                data = await source.receive_some(READ_BYTES)
            if scope.cancelled_caught:
                raise RemoteError(BAD_MESSAGE, "a message was begun and not finished in time")
            if not data:
                raise RemoteError(GONE)
            conn.heard_at = trio.current_time()
            conn.hold(len(data))
            if await handler.handle(frames, bytes(data)):
                deadline = math.inf
            conn.hold(frames.held - held - len(data))
            held = frames.held
    except RemoteError as error:
        conn.end(error.closing)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        conn.end(GONE)


def _deadline(conn: Connection, frames: FrameReader, deadline: float) -> float:
    if not frames.mid_message:
        return math.inf
    return min(deadline, trio.current_time() + conn.limits.message_seconds)


class FrameHandler:
    """What a client's frames and messages do."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._messages = Rate(conn.limits.messages_per_second, 2 * conn.limits.messages_per_second)
        self._control = Rate(conn.limits.control_per_second, 5 * conn.limits.control_per_second)
        self._deciding = 0

    async def handle(self, frames: FrameReader, data: bytes) -> bool:
        """Take in bytes. Returns whether they finished a message; raises RemoteError where they end the connection."""
        finished = False
        for frame in frames.feed(data):
            if isinstance(frame, Text | Binary):
                finished = True
                await self.message(frame.data, len(frame.data))
                # It may have waited for the app, and nothing could be heard meanwhile.
                self._conn.heard_at = trio.current_time()
            elif isinstance(frame, Close):
                self._conn.peer_closed = True
                raise RemoteError(_reply(frame.code))
            else:
                self._control_frame(frame)
        return finished

    async def message(self, message: str | bytes, size: int) -> None:
        """Take in one message."""
        conn = self._conn
        wait = self._messages.take(trio.current_time())
        if wait:
            await trio.sleep(wait)
        if conn.raw is not None:
            await self._deliver(message, size)
        elif isinstance(message, bytes):
            raise RemoteError(UNSUPPORTED)
        else:
            said = parse_client(message, conn.limits.message_depth)
            if isinstance(said, Incoming):
                await self._deliver(said.data, size)
            elif isinstance(said, Unfollow):
                conn.unfollow(said.channel)
            elif isinstance(said, Ack):
                conn.subscriptions.acknowledge(said.channel, said.cursor)
            else:
                self._follow(said)

    def _control_frame(self, frame: Any) -> None:
        conn = self._conn
        if self._control.take(trio.current_time()):
            raise RemoteError(FLOOD)
        if isinstance(frame, Ping) and not conn.outlet.write(encode_pong(frame.data)):
            conn.outgoing.pong(encode_pong(frame.data))

    def _follow(self, said: Follow) -> None:
        """The Quart view may take its time, so it is asked in a task of its own: so many at once as may follow."""
        conn = self._conn
        after = said.cursor()
        if len(said.url) > MAX_URL:
            raise RemoteError(BAD_MESSAGE, "a URL too long")
        if self._deciding >= conn.limits.follows or conn.nursery is None:
            raise RemoteError(FLOOD)
        self._deciding += 1
        conn.nursery.start_soon(self._decide, said.url, after)

    async def _decide(self, url: str, after: Any) -> None:
        try:
            await self._follow_patiently(url, after)
        except (ConnectionEnded, ChannelNameError):
            pass  # gone meanwhile; or the view's own fault, which was logged where it happened
        finally:
            self._deciding -= 1

    async def _follow_patiently(self, url: str, after: Any) -> None:
        """Follow, once the log can be asked: while it is away, what the client follows already stays as it is."""
        while True:
            try:
                await self._conn.subscriptions.follow_url(url, after)
                return
            except LogAway:
                await trio.sleep(AWAY_SECONDS)
            except LogError:
                self._conn.end(CRASHED)
                return

    async def _deliver(self, message: Any, size: int) -> None:
        inbox = self._conn.inbox
        if inbox is None:
            raise RemoteError(BAD_MESSAGE, "nobody here takes messages")
        if inbox.full:
            with trio.move_on_after(self._conn.limits.stall_seconds):
                await inbox.room()
            if inbox.full:
                self._conn.context.metrics.slow_handlers += 1
                raise RemoteError(FLOOD)
        inbox.put_nowait(message, size)


def _reply(code: int | None) -> Closing:
    """Answer the client's close with the same code; one that may not be sent is an error (RFC 6455 section 7.4).

    There is no reason, and so no bye: it was the client who left.
    """
    if code is None:
        return Closing(1000, "", None)
    if 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999:
        return Closing(code, "", None)
    return PROTOCOL_ERROR
