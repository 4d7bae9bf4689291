"""The shortest way to a client: its own connection, if that is ours and nobody stands between, else ASGI's ``send``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ..budget import Budget
from ..http.http2_outlet import Http2Stream
from ..sockets.buffered_outlet import BufferedOutlet
from ..sockets.outlet import Outlet
from ..sockets.server_state import stream_of
from ..wire.codec import SSE, SSE_CHUNKED, WEBSOCKET, WEBSOCKET_TEXT, Codec
from .negotiate import Scope, aborter
from .websocket import raw_frame, raw_text

__all__ = ["event_stream_outlet", "middleware_between", "websocket_outlet"]

Send = Callable[[dict[str, Any]], Awaitable[None]]


def event_stream_outlet(scope: Scope, send: Send, budget: Budget, *, through_asgi: bool) -> tuple[Outlet, Codec]:
    """Return the outlet of an event stream whose head goes out through ASGI, and the codec that suits it."""
    stream = stream_of(scope)
    if stream is not None and not through_asgi:
        return stream.outlet, SSE_CHUNKED if scope["http_version"] == "1.1" else SSE

    async def take(batch: bytes) -> None:
        await send({"type": "http.response.body", "body": batch, "more_body": True})

    return BufferedOutlet(budget, take, aborter(scope)), SSE


def websocket_outlet(
    scope: Scope, send: Send, budget: Budget, *, through_asgi: bool
) -> tuple[Outlet, Codec, Callable[[Any], Any]]:
    """Return the outlet of a WebSocket that was opened through ASGI, its codec, and what frames a raw message."""
    stream = stream_of(scope)
    if isinstance(stream, Http2Stream) and not through_asgi:
        return stream.outlet, WEBSOCKET, raw_frame

    async def take(batch: tuple[str | bytes, ...]) -> None:
        for message in batch:
            kind = "text" if isinstance(message, str) else "bytes"
            await send({"type": "websocket.send", kind: message})

    return BufferedOutlet(budget, take, aborter(scope)), WEBSOCKET_TEXT, raw_text


def middleware_between(app: Any) -> bool:
    """Whether ASGI middleware was put before a Quart app, as ``app.asgi_app = middleware(app.asgi_app)``."""
    return "asgi_app" in vars(app)
