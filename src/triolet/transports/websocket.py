"""WebSocket (RFC 6455): straight on a stream of ours, or behind another server's ASGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

from ..closing import GONE, NORMAL, SLOW, TOO_BIG, Closing
from ..connection import Connection
from ..connection.heartbeat import beat
from ..connection.reader import READ_BYTES, FrameHandler, read
from ..connection.supervisor import supervise
from ..connection.writer import write, write_head
from ..errors import RemoteError
from ..wire.frames import Close, FrameReader, encode_binary, encode_close, encode_deflated, encode_text
from ..wire.messages import say_bye
from .negotiate import with_outlet

__all__ = ["SUBPROTOCOL", "Handler", "raw_deflated", "raw_frame", "raw_text", "serve_asgi", "serve_stream"]

SUBPROTOCOL = "triolet.1"

Handler = Callable[[Connection], Awaitable[None]]
Message = dict[str, Any]


async def serve_stream(
    conn: Connection,
    stream: trio.abc.Stream,
    head: bytes,
    frames: FrameReader,
    first: bytes,
    handler: Handler | None,
) -> None:
    """Serve an accepted WebSocket on a stream, until it ends.

    Args:
        conn: the connection, whose outlet writes to that stream.
        head: the answer to the upgrade.
        frames: reads what comes from it; ``first`` is what came behind the request already.
        handler: the app's, of a ``live.socket``.

    Cancellation: the connection is reset.
    """

    try:
        await write_head(conn, head)
        del head
        await _serve_to_end(conn, stream, frames, first, handler)
    finally:
        conn.detach()
        conn.outlet.abort()


async def _serve_to_end(
    conn: Connection, stream: trio.abc.Stream, frames: FrameReader, first: bytes, handler: Handler | None
) -> None:
    closing = await supervise(conn, partial(read, conn, stream, frames, first), *_children(handler))
    if closing not in (GONE, SLOW):
        await _say_goodbye(conn, closing, stream, frames)


async def serve_asgi(
    conn: Connection,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
    accept: Message,
    handler: Handler | None,
) -> None:
    """Serve a WebSocket through another server, which makes the frames and answers pings.

    Args:
        conn: the connection. It is detached at the end, whatever happens.
        accept: the message of ASGI that opens the WebSocket.
        handler: the app's, of a ``live.socket``.

    Cancellation: the other server closes the connection in its own way.
    """

    async def read_messages() -> None:
        incoming = FrameHandler(conn)
        try:
            while True:
                message = await receive()
                if message["type"] == "websocket.disconnect":
                    conn.peer_closed = True
                    raise RemoteError(GONE)
                conn.heard_at = trio.current_time()
                data = message.get("text")
                data = message.get("bytes") or b"" if data is None else data
                if len(data) > conn.limits.message_bytes:
                    raise RemoteError(TOO_BIG)
                await incoming.message(data, len(data))
        except RemoteError as error:
            conn.end(error.closing)

    async def serve() -> None:
        closing = await supervise(conn, read_messages, *_children(handler))
        if conn.peer_closed:
            return
        if closing in (GONE, SLOW):
            conn.outlet.abort()
            return
        with trio.move_on_after(conn.limits.goodbye_seconds):
            await _last_words(conn, closing)
            await send({"type": "websocket.close", "code": closing.code, "reason": closing.reason})
            # Hypercorn keeps socket and tasks where what came in is left unread.
            while (await receive())["type"] != "websocket.disconnect":
                pass

    try:
        await send(accept)
        await with_outlet(conn.outlet, serve)
    finally:
        conn.detach()


def _children(handler: Handler | None) -> tuple[Callable[[Connection], Awaitable[None]], ...]:
    return (write, beat) if handler is None else (write, beat, partial(_handle, handler))


async def _handle(handler: Handler, conn: Connection) -> None:
    await handler(conn)
    conn.end(NORMAL)


async def _last_words(conn: Connection, closing: Closing) -> None:
    """What the app has sent already, and the bye."""
    await conn.outlet.drained()
    while (batch := conn.next_outgoing()) is not None:
        conn.outlet.write(batch)
        await conn.outlet.drained()
    if conn.raw is None and not conn.peer_closed:
        conn.outlet.write(conn.codec.say(say_bye(closing, conn.retry(closing))))
        await conn.outlet.drained()


async def _say_goodbye(conn: Connection, closing: Closing, stream: trio.abc.Stream, frames: FrameReader) -> None:
    """Bye and close frame; then the peer's, unless it came first, so that no reset overtakes ours (RFC 6455
    section 7.1.1)."""
    with trio.move_on_after(conn.limits.goodbye_seconds):
        await _last_words(conn, closing)
        conn.outlet.write(encode_close(closing.code, closing.reason))
        await conn.outlet.drained()
        if isinstance(stream, trio.abc.HalfCloseableStream):
            await stream.send_eof()
        if not conn.peer_closed:
            await _peer_closes(stream, frames)
        await stream.aclose()


async def _peer_closes(stream: trio.abc.Stream, frames: FrameReader) -> None:
    """Read until the peer's close frame, or its end. Once it has broken a rule, what it sends is thrown away unread."""
    readable = True
    try:
        while data := await stream.receive_some(READ_BYTES):
            try:
                if readable and any(isinstance(frame, Close) for frame in frames.feed(bytes(data))):
                    return
            except RemoteError:
                readable = False
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # gone: so it has read what it wanted


def raw_frame(message: str | bytes) -> bytes:
    """A message of a raw socket as a frame."""
    return encode_text(message.encode()) if isinstance(message, str) else encode_binary(bytes(message))


def raw_deflated(message: str | bytes) -> bytes:
    """The same for a client that agreed on permessage-deflate."""
    if isinstance(message, str):
        return encode_deflated(message.encode())
    return encode_deflated(bytes(message), binary=True)


def raw_text(message: str | bytes) -> tuple[str | bytes]:
    """A message of a raw socket where another server makes the frame."""
    return (message,)
