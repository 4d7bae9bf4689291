"""Server-Sent Events (HTML standard, section 9.2): one HTTP response that does not end.

The first request of an HTTP/1.1 connection is answered straight on its stream. Behind other requests the head goes out
through Hypercorn; on a server of ours events are then written straight to the connection: past h11 (a chunk has no
state between two of them), or as DATA frames of HTTP/2; elsewhere through ASGI's ``send``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import trio

from ..closing import FLOOD, GONE, SLOW, Closing
from ..connection import Connection
from ..connection.heartbeat import beat
from ..connection.supervisor import supervise
from ..connection.writer import write, write_head
from ..wire.messages import say_bye
from .negotiate import Scope, with_outlet

__all__ = ["HEADERS", "serve_asgi", "serve_stream"]

Send = Callable[[dict[str, Any]], Awaitable[None]]

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"vary", b"accept, last-event-id"),
]
"""No cache may keep the stream, nginx must not buffer it."""

RETRY_MS = 1_000
LAST_CHUNK = b"0\r\n\r\n"
READ_BYTES = 1 << 16
HEARD_BYTES = 1 << 16
"""What a client may send behind its request, before it is given up. All of it is thrown away."""


async def serve_stream(conn: Connection, stream: trio.abc.Stream, head: bytes, first: bytes) -> None:
    """Serve an event stream straight on its client's stream, until it ends.

    Args:
        conn: the connection, whose outlet writes to that stream.
        head: of the response.
        first: what came behind the request already.

    Cancellation: the connection is reset.
    """
    try:
        await write_head(conn, head + conn.codec.join([b"retry: %d\n\n" % RETRY_MS]))
        await _serve_to_end(conn, stream, len(first))
    finally:
        conn.detach()
        conn.outlet.abort()


async def _serve_to_end(conn: Connection, stream: trio.abc.Stream, heard: int) -> None:
    closing = await supervise(conn, partial(_listen, conn, stream, heard), write, beat)
    if closing in (GONE, SLOW):
        return
    with trio.move_on_after(conn.limits.goodbye_seconds):
        await _say_bye(conn, closing)
        conn.outlet.write(LAST_CHUNK)
        await conn.outlet.drained()
        if isinstance(stream, trio.abc.HalfCloseableStream):
            await stream.send_eof()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while await stream.receive_some(READ_BYTES):  # a reset, for what was not read, would overtake the bye
                pass
        await stream.aclose()


async def _listen(conn: Connection, stream: trio.abc.Stream, heard: int) -> None:
    """Notice the client's end. A request behind an event stream is not answered: the connection ends with it."""
    try:
        while heard <= HEARD_BYTES:
            data = await stream.receive_some(READ_BYTES)
            if not data:
                conn.end(GONE)
                return
            heard += len(data)
        conn.end(FLOOD)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        conn.end(GONE)


async def serve_asgi(conn: Connection, scope: Scope, headers: list[tuple[bytes, bytes]], send: Send) -> None:
    """Answer through ASGI with an event stream, until the client goes or is given up, or the server drains.

    Args:
        conn: the connection, with its follower. It is detached at the end, whatever happens.
        scope: the request's. HEAD is answered with the head alone.
        headers: what the app's response had.

    Cancellation: the connection ends without goodbye. That is how ASGI says that the client is gone.
    """
    try:
        await send({"type": "http.response.start", "status": 200, "headers": [*headers, *HEADERS]})
        if scope["method"] != "HEAD":
            await send({"type": "http.response.body", "body": b"retry: %d\n\n" % RETRY_MS, "more_body": True})
            await with_outlet(conn.outlet, partial(_stream, conn))
    finally:
        conn.detach()
    if conn.closing is None or conn.outlet.empty:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _stream(conn: Connection) -> None:
    closing = await supervise(conn, trio.sleep_forever, write, beat)
    if closing in (GONE, SLOW):
        conn.outlet.abort()
        return
    with trio.move_on_after(conn.limits.goodbye_seconds) as goodbye:
        await _say_bye(conn, closing)
    if goodbye.cancelled_caught:
        conn.outlet.abort()


async def _say_bye(conn: Connection, closing: Closing) -> None:
    await conn.outlet.drained()
    conn.outlet.write(conn.codec.say(say_bye(closing, conn.retry(closing))))
    await conn.outlet.drained()
