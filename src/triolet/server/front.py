"""The front: reads a connection's first request head, and decides how it is served.

A WebSocket or an event stream on a URL of Triolet's is served straight on its stream; everything else goes to
Hypercorn, the bytes read so far first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypeAlias
from urllib.parse import unquote

import trio

from ..bounds import ADMITTED_AT_ONCE, READ_BYTES
from ..http.busy import busy
from ..limits import Limits
from ..sockets.server_state import with_client
from ..sockets.stages import Stage
from ..sockets.stream import ClientStream
from ..sockets.tls import TlsStream
from ..wire.handshake import Upgrade, upgrade
from ..wire.http_answer import refusal
from ..wire.http_head import BadRequest, Framing, Head, accepts, read_head, split_head
from .access_log import AccessLog, Line
from .forwarded import Forwarded, rooted

__all__ = ["Front", "Upgrades"]

Serve: TypeAlias = Callable[[], Awaitable["bytes | None"]]
"""Serves a connection to its end, or returns what is for Hypercorn to read."""

_NO_BODY = Framing(0, False)


class Upgrades(Protocol):
    """What serves WebSockets and event streams straight on their stream: an app's Triolet."""

    def find(self, scope: dict[str, Any]) -> Any:
        """The request as the app knows it, if its URL is one of Triolet's own; else None."""

    async def serve_websocket(
        self, request: Any, upgrade: Upgrade, stream: Any, first: bytes, again: Callable[[], dict[str, Any]]
    ) -> None:
        """Serve a WebSocket, until it ends. ``again`` makes the request's scope anew."""

    async def serve_events(
        self, request: Any, stream: Any, first: bytes, again: Callable[[], dict[str, Any]]
    ) -> bytes | None:
        """Serve an event stream until it ends; or refuse it, and return ``first`` if the client may ask on."""


class Front:
    """What every connection of a worker comes to first.

    Args:
        limits: ``header_bytes`` and ``header_seconds`` bound what is read here, and a TLS handshake.
        upgrades: looked up for each WebSocket and event stream; None where the app has no Triolet.
        hypercorn: serves everything else, given the stream and the bytes read so far.
        root_path: what ASGI calls so.
        state: what the app's lifespan left for its requests.
        forwarded: the peers whose word about the client is taken.
        access_log: where requests are logged that are served straight on their stream; the others are behind Hypercorn.
    """

    def __init__(
        self,
        limits: Limits,
        upgrades: Callable[[], Upgrades | None],
        hypercorn: Callable[[ClientStream, bytes], Awaitable[None]],
        root_path: str = "",
        state: Mapping[str, Any] | None = None,
        *,
        forwarded: Forwarded | None = None,
        access_log: AccessLog | None = None,
    ) -> None:
        self._forwarded = forwarded or Forwarded()
        self._access_log = access_log or AccessLog(False)
        self._limits = limits
        self._upgrades = upgrades
        self._hypercorn = hypercorn
        self._root_path = root_path
        self._state = {} if state is None else state
        self._waiting: set[trio.CancelScope] = set()
        self._newcomers = trio.Semaphore(ADMITTED_AT_ONCE)
        self._closed = False

    async def serve(self, stream: ClientStream) -> None:
        """Serve a connection, whose TLS handshake is done, until it ends. The caller closes it.

        Raises:
            BrokenResourceError: the client went.
        """
        if stream.protocol == "h2":
            await self._serve_http(stream, b"")
            return
        stream.stage = Stage.HEAD
        # A connection lives long, and what was made of its head is of no more use: nothing here holds it.
        rest = await (await self._let_in(stream))()
        if rest is not None:
            await self._serve_http(stream, rest)

    async def _serve_http(self, stream: ClientStream, first: bytes) -> None:
        stream.stage = Stage.HTTP
        await self._hypercorn(stream, first)

    async def agree(self, stream: TlsStream) -> bool:
        """Agree on how to speak: the TLS handshake. Returns False where that took too long.

        Raises:
            BrokenResourceError: the client went, or there is no agreement.
        """
        with trio.move_on_after(self._limits.header_seconds) as handshake:
            await stream.handshake()
        return not handshake.cancelled_caught

    async def _let_in(self, stream: ClientStream) -> Serve:
        """Read the first request's head, and return what serves the connection."""
        try:
            return await self._choose(stream)
        except BadRequest as error:
            return partial(self._refuse, stream, error)

    async def _choose(self, stream: ClientStream) -> Serve:
        data, rest = await self._read_head(stream)
        if not data:
            return _nothing
        if len(self._waiting) >= ADMITTED_AT_ONCE or self._newcomers.value < ADMITTED_AT_ONCE:
            async with self._newcomers:
                pass  # it lets others run
        head = read_head(data)
        wanted = upgrade(head.headers, method=head.method, http_version=head.http_version)
        upgrades = self._upgrades() if wanted is not None or _asks_for_events(head) else None
        request = upgrades.find(scope := self.scope(stream, head)) if upgrades is not None else None
        if request is None or upgrades is None:
            return partial(self._serve_http, stream, data + rest)
        if not stream.outlet.budget.admits():
            raise busy()
        stream.stage = Stage.VIEW
        line = self._access_log.begin(scope)
        again = _Again(self, stream, data).scope
        serve: Serve
        if wanted is None:
            serve = partial(upgrades.serve_events, request, stream, rest, again)
        else:
            serve = partial(upgrades.serve_websocket, request, wanted, stream, rest, again)
        return serve if line is None else partial(_logged, serve, line)

    async def _read_head(self, stream: ClientStream) -> tuple[bytes, bytes]:
        """The request's head and what came behind it; two empty ones where the client was too slow, or went."""
        # Mostly the request has come by now; an empty line before it is to be ignored (RFC 9112 section 2.2).
        data = stream.receive_now(READ_BYTES).lstrip(b"\r\n")
        size = split_head(data, self._limits.header_bytes) if data else None
        if size is not None:
            return data[:size], data[size:]
        patience = self._limits.goodbye_seconds if self._closed else self._limits.header_seconds
        budget, held = stream.outlet.budget, 0
        with trio.move_on_after(patience) as scope:
            self._waiting.add(scope)
            try:
                while True:
                    budget.hold(len(data) - held)
                    held = len(data)
                    if not (chunk := await stream.receive_some(READ_BYTES)):
                        break
                    data = data + chunk if data else bytes(chunk).lstrip(b"\r\n")
                    size = split_head(data, self._limits.header_bytes)
                    if size is not None:
                        return data[:size], data[size:]
            finally:
                self._waiting.discard(scope)
                budget.hold(-held)
        return b"", b""

    def close(self) -> None:
        """End the connections that have not asked for anything yet. Later ones have less time for it."""
        self._closed = True
        for scope in list(self._waiting):
            scope.cancel()

    def scope(self, stream: ClientStream, head: Head) -> dict[str, Any]:
        """A request in ASGI's words; an upgrade is the GET request that it is."""
        path, _, query = head.target.partition(b"?")
        scope = {
            "type": "http",
            "asgi": {"spec_version": "2.3", "version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https" if stream.secure else "http",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": self._root_path,
            "headers": head.headers,
            "client": _address(stream.socket.getpeername()),
            "server": _address(stream.socket.getsockname()),
            "state": with_client(self._state, stream),
            "extensions": {},
        }
        self._forwarded.apply(scope)
        return rooted(scope)

    async def _refuse(self, stream: ClientStream, error: BadRequest) -> None:
        """Say no, and wait a moment for the client to have read it: a reset would overtake it."""
        stream.stage = Stage.REFUSED
        self._access_log.refused(_address(stream.socket.getpeername()), error.status)
        with trio.move_on_after(self._limits.goodbye_seconds):
            await stream.send_all(refusal(error.status, error.headers))
            await stream.send_eof()
            while await stream.receive_some(READ_BYTES):
                pass


class _Again:
    """What a connection keeps of its request: the head as it came, a tenth of a scope's size."""

    __slots__ = ("_front", "_head", "_stream")

    def __init__(self, front: Front, stream: ClientStream, head: bytes) -> None:
        self._front = front
        self._stream = stream
        self._head = head

    def scope(self) -> dict[str, Any]:
        """The request's scope, made anew."""
        return self._front.scope(self._stream, read_head(self._head))


async def _logged(serve: Serve, line: Line) -> bytes | None:
    try:
        return await serve()
    finally:
        line.write()


async def _nothing() -> None:
    """The client asked for nothing."""


def _asks_for_events(head: Head) -> bool:
    """Whether a request asks for an event stream, and for nothing else that would be Hypercorn's to answer."""
    if head.method != b"GET" or head.http_version != b"1.1" or head.framing != _NO_BODY:
        return False
    names = [name for name, _ in head.headers]
    return b"expect" not in names and b"upgrade" not in names and accepts(head.headers, b"text/event-stream")


def _address(name: Any) -> tuple[str, int] | None:
    return name[:2] if isinstance(name, tuple) else None
