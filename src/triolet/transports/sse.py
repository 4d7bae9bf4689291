"""Server-Sent Events (HTML standard, section 9.2): one HTTP response that does not end.

The head goes out through Hypercorn. Where it is HTTP/1 on a socket of ours, events are then written straight to
that socket, past h11 (a chunk has no state between two of them); elsewhere through ASGI's ``send``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

from ..closing import GONE, SLOW
from ..connection import Connection, Surroundings
from ..connection.heartbeat import beat
from ..connection.lifetime import watch
from ..connection.supervisor import supervise
from ..connection.writer import write
from ..server.outlet import BufferedOutlet, Outlet
from ..server.stream import ClientStream
from ..wire.codec import SSE, SSE_CHUNKED, Codec
from ..wire.messages import say_bye
from .base import STREAM_KEY, Ask, Scope, aborter, with_outlet

__all__ = ["HEADERS", "serve_sse", "way_out"]

Send = Callable[[dict[str, Any]], Awaitable[None]]

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"vary", b"accept, last-event-id"),
]
"""No cache may keep the stream, nginx must not buffer it."""

RETRY_MS = 1_000


async def serve_sse(
    surroundings: Surroundings,
    scope: Scope,
    outlet: Outlet,
    codec: Codec,
    channel: str,
    ask: Ask,
    headers: list[tuple[bytes, bytes]],
    send: Send,
) -> None:
    """Answer with an event stream, until the client goes or is given up, or the server drains.

    Args:
        outlet, codec: of :func:`way_out`.
        headers: what the app's response had.

    Raises:
        LogError: the log cannot be read; nothing was answered yet.

    Cancellation: the connection ends without goodbye. That is how ASGI says that the client is gone.
    """
    conn = Connection(surroundings, outlet, codec)
    await conn.add_follower(channel, ask.after)
    try:
        await send({"type": "http.response.start", "status": 200, "headers": [*headers, *HEADERS]})
        if scope["method"] != "HEAD":
            await send({"type": "http.response.body", "body": b"retry: %d\n\n" % RETRY_MS, "more_body": True})
            await with_outlet(outlet, partial(_stream, conn))
    finally:
        conn.detach()
    if conn.closing is None or outlet.empty:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _stream(conn: Connection) -> None:
    closing = await supervise(conn, partial(write, conn), partial(beat, conn), partial(watch, conn))
    if closing in (GONE, SLOW):
        conn.outlet.abort()
        return
    with trio.move_on_after(conn.limits.goodbye_seconds) as goodbye:
        await conn.outlet.drained()
        conn.outlet.write(conn.codec.say(say_bye(closing, conn.retry(closing))))
        await conn.outlet.drained()
    if goodbye.cancelled_caught:
        conn.outlet.abort()


def way_out(scope: Scope, send: Send, *, through_asgi: bool) -> tuple[Outlet, Codec]:
    """The shortest way to the client: its socket, if HTTP/1 is spoken straight on it and nobody stands between."""
    stream = scope.get("state", {}).get(STREAM_KEY)
    if not through_asgi and isinstance(stream, ClientStream) and scope["http_version"] in ("1.0", "1.1"):
        return stream.outlet, SSE_CHUNKED if scope["http_version"] == "1.1" else SSE

    async def take(batch: bytes) -> None:
        await send({"type": "http.response.body", "body": batch, "more_body": True})

    return BufferedOutlet(take, aborter(scope)), SSE
