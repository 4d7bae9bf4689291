"""The door: reads a connection's first request head, and decides who serves it.

An upgrade to WebSocket on a URL of Triolet's goes to its own shell, straight on the stream; everything else to
Hypercorn, the bytes read so far first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias
from urllib.parse import unquote

import h11
import trio

from ..limits import Limits
from ..wire.framing import BadRequest, check_head, split_head
from ..wire.handshake import Upgrade, refusal, upgrade
from .stream import STREAM_KEY, ClientStream

__all__ = ["Door", "Stream", "Upgrades"]

Stream: TypeAlias = "ClientStream | trio.SSLStream[Any]"

READ_BYTES = 1 << 16


class Upgrades(Protocol):
    """Who serves WebSockets straight on their stream: an app's Triolet."""

    def wants(self, scope: dict[str, Any]) -> bool:
        """Whether the URL is one of its own."""

    async def serve_websocket(self, scope: dict[str, Any], upgrade: Upgrade, stream: Any, first: bytes) -> None:
        """Serve one, until it ends."""


class Door:
    """One for a server.

    Args:
        limits: ``header_bytes`` and ``header_seconds`` bound what is read here.
        upgrades: looked up for each upgrade; None where the app has no Triolet.
        hypercorn: serves everything else, given the stream and the bytes read so far.
        root_path: what ASGI calls so.
    """

    def __init__(
        self,
        limits: Limits,
        upgrades: Callable[[], Upgrades | None],
        hypercorn: Callable[[Stream, bytes], Awaitable[None]],
        root_path: str = "",
    ) -> None:
        self._limits = limits
        self._upgrades = upgrades
        self._hypercorn = hypercorn
        self._root_path = root_path
        self._waiting: set[trio.CancelScope] = set()

    async def serve(self, stream: Stream) -> None:
        """Serve a connection until it ends. The caller closes it."""
        try:
            head, rest = await self._read_head(stream)
            if not head:
                return
            check_head(head)
            asked = self._upgrade(stream, head)
        except BadRequest as error:
            await self._refuse(stream, error)
            return
        upgrades = self._upgrades()
        if asked is None or upgrades is None or not upgrades.wants(asked[0]):
            await self._hypercorn(stream, head + rest)
        else:
            scope, wanted = asked
            del head, asked  # a connection lives long, and its head is of no more use
            await upgrades.serve_websocket(scope, wanted, stream, rest)

    async def _read_head(self, stream: Stream) -> tuple[bytes, bytes]:
        """The request's head and what came behind it; two empty ones where the client was too slow, or went."""
        data = b""
        with trio.move_on_after(self._limits.header_seconds) as scope, self._waits(scope):
            while chunk := await stream.receive_some(READ_BYTES):
                # An empty line before the request line is to be ignored (RFC 9112 section 2.2).
                data = data + chunk if data else bytes(chunk).lstrip(b"\r\n")
                size = split_head(data, self._limits.header_bytes)
                if size is not None:
                    return data[:size], data[size:]
        return b"", b""

    @contextmanager
    def _waits(self, scope: trio.CancelScope) -> Iterator[None]:
        self._waiting.add(scope)
        try:
            yield
        finally:
            self._waiting.discard(scope)

    def close(self) -> None:
        """End the connections that have not asked for anything yet."""
        for scope in list(self._waiting):
            scope.cancel()

    def _upgrade(self, stream: Stream, head: bytes) -> tuple[dict[str, Any], Upgrade] | None:
        if b"websocket" not in head.lower():
            return None
        request = parse(head)
        wanted = upgrade(request.headers, method=request.method, http_version=request.http_version)
        return None if wanted is None else (self._scope(stream, request), wanted)

    def _scope(self, stream: Stream, request: h11.Request) -> dict[str, Any]:
        """The upgrade as the GET request it is, in ASGI's words."""
        path, _, query = request.target.partition(b"?")
        below = stream if isinstance(stream, ClientStream) else stream.transport_stream
        peer = below.socket.getpeername()
        return {
            "type": "http",
            "asgi": {"spec_version": "2.3", "version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http" if below is stream else "https",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": self._root_path,
            "headers": list(request.headers),
            "client": peer[:2] if isinstance(peer, tuple) else None,
            "server": None,
            "state": {STREAM_KEY: stream},
            "extensions": {},
        }

    async def _refuse(self, stream: Stream, error: BadRequest) -> None:
        """Say no, and wait a moment for the client to have read it: a reset would overtake it."""
        with trio.move_on_after(self._limits.goodbye_seconds):
            await stream.send_all(refusal(error.status, error.headers))
            if isinstance(stream, ClientStream):
                await stream.send_eof()
            while await stream.receive_some(READ_BYTES):
                pass


def parse(head: bytes) -> h11.Request:
    """Read a request's head. Raises BadRequest."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head) + 1)
    try:
        connection.receive_data(head)
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise BadRequest(error.error_status_hint, "request") from None
    if not isinstance(event, h11.Request):
        raise BadRequest(400, "request")
    return event
