"""The shortest way to one client: straight on its socket, straight on its HTTP/2 stream, or through ASGI's ``send``.

Which it is depends on what is below, and on what stands between: middleware before the app must see what is sent,
and on another server's socket we may not write.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import trio

from ..budget import Budget
from ..http.http2_outlet import Http2Stream
from ..sockets.buffered_outlet import BufferedOutlet
from ..sockets.outlet import Outlet
from ..sockets.server_state import stream_of
from ..wire.codec import SSE, SSE_CHUNKED, WEBSOCKET, WEBSOCKET_TEXT, Codec
from ..wire.frames import encode_binary, encode_deflated, encode_text
from .negotiate import Scope

__all__ = [
    "EncodeRaw",
    "Receive",
    "Send",
    "aborter",
    "event_stream_outlet",
    "raw_deflated",
    "raw_frame",
    "raw_text",
    "websocket_outlet",
    "with_outlet",
]

Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]
EncodeRaw: TypeAlias = Callable[["str | bytes"], Any]
"""Makes a batch for the outlet of a message of a raw socket."""


def event_stream_outlet(scope: Scope, send: Send, budget: Budget, *, through_asgi: bool) -> tuple[Outlet, Codec]:
    """Find the shortest way for an event stream whose head goes out through ASGI.

    Args:
        scope: of the request.
        send: ASGI's.
        budget: where what waits is counted.
        through_asgi: whether middleware between must see what is sent.

    Returns:
        The outlet, and the codec that makes what it takes.
    """
    stream = stream_of(scope)
    if stream is not None and not through_asgi:
        return stream.outlet, SSE_CHUNKED if scope["http_version"] == "1.1" else SSE

    async def take(batch: bytes) -> None:
        await send({"type": "http.response.body", "body": batch, "more_body": True})

    return BufferedOutlet(budget, take, aborter(scope), below=_below(scope), cut=_cutter(scope)), SSE


def websocket_outlet(
    scope: Scope, send: Send, budget: Budget, *, through_asgi: bool
) -> tuple[Outlet, Codec, EncodeRaw]:
    """Find the shortest way for a WebSocket that comes through ASGI; arguments as of :func:`event_stream_outlet`.

    On HTTP/1.1 the server's WebSocket library stands between, so its frames are the only ones; on an HTTP/2 stream of
    ours the frames are our own.

    Returns:
        The outlet, the codec, and what encodes messages of a raw socket.
    """
    stream = stream_of(scope)
    if isinstance(stream, Http2Stream) and not through_asgi:
        return stream.outlet, WEBSOCKET, raw_frame

    async def take(batch: tuple[str | bytes, ...]) -> None:
        for message in batch:
            await send({"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message})
            outlet.progress_at = trio.current_time()  # a batch may be hundreds: who takes them slowly has not stalled

    outlet = BufferedOutlet(budget, take, aborter(scope), below=_below(scope), cut=_cutter(scope))
    return outlet, WEBSOCKET_TEXT, raw_text


async def with_outlet(outlet: Outlet, serve: Callable[[], Awaitable[None]]) -> None:
    """Serve while the outlet runs, where it is one that needs a task of its own."""
    if not isinstance(outlet, BufferedOutlet):
        await serve()
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outlet.run)
        await serve()
        nursery.cancel_scope.cancel()


def aborter(scope: Scope) -> Callable[[], None]:
    """Find how to reset a connection that is written to through ASGI: our stream beneath, where there is one.

    On another server's connection nothing can; it ends when that server finds its peer gone.
    """
    stream = stream_of(scope)
    abort: Callable[[], None] = _cannot_abort if stream is None else stream.abort
    return abort


def _below(scope: Scope) -> Outlet | None:
    """Find the outlet of ours through which the server sends for this request alone; none, where streams share it."""
    stream = stream_of(scope)
    return None if stream is None or isinstance(stream, Http2Stream) else stream.outlet


def _cutter(scope: Scope) -> Callable[[], None]:
    """Find how not one byte more goes out of what waits below for this request."""
    stream = stream_of(scope)
    return stream.cut if isinstance(stream, Http2Stream) else aborter(scope)


def raw_frame(message: str | bytes) -> bytes:
    """Encode a message of a raw socket as a frame."""
    return encode_text(message.encode()) if isinstance(message, str) else encode_binary(bytes(message))


def raw_deflated(message: str | bytes) -> bytes:
    """Encode a message of a raw socket for a client that agreed on permessage-deflate."""
    if isinstance(message, str):
        return encode_deflated(message.encode())
    return encode_deflated(bytes(message), binary=True)


def raw_text(message: str | bytes) -> tuple[str | bytes]:
    """Leave a message of a raw socket as it is, where another server makes the frame. Raises UnicodeEncodeError."""
    if isinstance(message, str):
        message.encode()  # what cannot be is said here and not in that server
    return (message,)


def _cannot_abort() -> None:
    """Another server's socket: what is below ends it."""
