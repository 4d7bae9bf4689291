"""Server-Sent Events (HTML standard, section 9.2): one HTTP response that does not end.

On an HTTP/1.1 connection it is answered straight on its stream. Behind middleware and over HTTP/2 the head goes out
through Hypercorn; on a server of ours events are then written straight to the connection, where no middleware stands
between: as DATA frames of HTTP/2; elsewhere through ASGI's ``send``.

A plain one, whose codec makes comments of what is no event of the app's, is no other here, but for its last word.
"""

from __future__ import annotations

from contextlib import suppress

import trio

from ..bounds import READ_BYTES, SSE_HEARD_BYTES
from ..closing import FLOOD, GONE, NORMAL, Closing
from ..connection import Connection
from ..connection.writer import write_head
from ..wire.codec import DONE
from .contract import Transport, bye, serve
from .negotiate import Headers, Scope
from .outlets import Send

__all__ = ["HEADERS", "serve_asgi", "serve_stream"]

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"vary", b"accept, last-event-id"),
]
"""No cache may keep the stream, no proxy may compress it (RFC 9111 section 5.2.2.6: it would wait for more until it has
a block to deflate), nginx must not buffer it."""

LAST_CHUNK = b"0\r\n\r\n"


async def serve_stream(conn: Connection, stream: trio.abc.Stream, head: bytes, first: bytes, done: bool) -> None:
    """Serve an event stream straight on its client's stream, until it ends.

    Args:
        conn: the connection, whose outlet writes to that stream.
        stream: the client's.
        head: of the response.
        first: what came behind the request already.
        done: whether it ends with ``[DONE]``, if it ends for good.

    Cancellation: the connection is reset.
    """
    await serve(conn, StreamedEvents(stream, head, len(first), done))


async def serve_asgi(conn: Connection, scope: Scope, headers: Headers, send: Send, done: bool) -> None:
    """Answer with an event stream through ASGI, until the client goes or is given up, or the server drains.

    Args:
        conn: the connection, on the outlet of :func:`~.outlets.event_stream_outlet`, with its follower.
        scope: of the request.
        headers: of the answer: :data:`HEADERS`, and what the app's response had.
        send: ASGI's.
        done: as of :func:`serve_stream`.

    Cancellation: the connection ends without goodbye. That is how ASGI says that the client is gone.
    """
    transport = AsgiEvents(headers, send, done)
    if scope["method"] == "HEAD":
        try:
            await transport.answer()
        finally:
            conn.detach()
    else:
        await serve(conn, transport)
    if conn.outlet.empty and not conn.outlet.closed:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class Events(Transport):
    """An event stream, and its last words."""

    __slots__ = ("_done",)

    def __init__(self, done: bool) -> None:
        self._done = done

    async def goodbye(self, conn: Connection, closing: Closing) -> None:
        await bye(conn, closing)
        if self._done and closing.code == NORMAL.code:  # else the client is to come back, or to see that it was cut off
            conn.outlet.write(conn.codec.join([DONE]))
            await conn.outlet.drained()


class StreamedEvents(Events):
    """Events straight on the client's stream, as chunks of a response that was its only one."""

    __slots__ = ("_head", "_heard", "_stream")

    owns_socket = True

    def __init__(self, stream: trio.abc.Stream, head: bytes, heard: int, done: bool) -> None:
        super().__init__(done)
        self._stream = stream
        self._head = head
        self._heard = heard

    async def open(self, conn: Connection) -> None:
        head, self._head = self._head, b""  # a stream may last for days
        await write_head(conn, head)

    async def read(self, conn: Connection) -> None:
        """Notice the client's end. A request behind an event stream is not answered: the connection ends with it."""
        try:
            while self._heard <= SSE_HEARD_BYTES:
                data = await self._stream.receive_some(READ_BYTES)
                if not data:
                    conn.end(GONE)
                    return
                self._heard += len(data)
            conn.end(FLOOD)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            conn.end(GONE)

    async def goodbye(self, conn: Connection, closing: Closing) -> None:
        await super().goodbye(conn, closing)
        conn.outlet.write(LAST_CHUNK)
        await conn.outlet.drained()
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while await self._stream.receive_some(READ_BYTES):
                pass  # a reset, for what was not read, would overtake the bye
        await self._stream.aclose()


class AsgiEvents(Events):
    """Events behind a head that went out through ASGI. The server cancels the response when its client is gone."""

    __slots__ = ("_headers", "_send")

    def __init__(self, headers: Headers, send: Send, done: bool) -> None:
        super().__init__(done)
        self._headers = headers
        self._send = send

    async def answer(self) -> None:
        """Say the head of the response."""
        await self._send({"type": "http.response.start", "status": 200, "headers": self._headers})

    async def open(self, conn: Connection) -> None:
        await self.answer()
        await self._send({"type": "http.response.body", "body": b"", "more_body": True})  # or a server keeps the head

    async def read(self, conn: Connection) -> None:
        await trio.sleep_forever()
