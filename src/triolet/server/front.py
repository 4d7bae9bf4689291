"""The front: reads the head of each request on a connection, and decides how it is served.

A request for a URL of Triolet's (a WebSocket, an event stream, a poll, a command) is served straight on its stream;
everything else goes to Hypercorn, the bytes read so far first, until a request comes that is Triolet's again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol, TypeAlias
from urllib.parse import unquote

import trio

from ..bounds import ADMITTED_AT_ONCE, READ_BYTES
from ..budget import Account
from ..http.busy import busy
from ..limits import Limits
from ..sockets.incoming import Incoming
from ..sockets.patience import Patience
from ..sockets.server_state import with_client
from ..sockets.stages import Stage
from ..sockets.stream import ClientStream
from ..sockets.tls import TlsStream
from ..wire.handshake import Upgrade, upgrade
from ..wire.http_answer import refusal
from ..wire.http_head import BadRequest, Framing, Head, accepts, read_head, split_head
from .access_log import AccessLog, Line
from .forwarded import Forwarded, rooted
from .proxied import Proxied

__all__ = ["Front", "Upgrades"]

Serve: TypeAlias = Callable[[], Awaitable["bytes | None"]]
"""Serves a connection to its end; or until a request is answered, and returns what came behind that."""

IsOurs: TypeAlias = Callable[[Head], bool]
"""Tells whether a request is one that is served straight on its stream."""

_NO_BODY = Framing(0, False)


class Upgrades(Protocol):
    """What serves requests straight on their stream: an app's Triolet."""

    def find(self, scope: dict[str, Any]) -> Any:
        """The request as the app knows it, if its URL is one of Triolet's own; else None."""

    async def serve_websocket(
        self, request: Any, upgrade: Upgrade, stream: Any, first: bytes, again: Callable[[], dict[str, Any]]
    ) -> None:
        """Serve a WebSocket, until it ends. ``again`` makes the request's scope anew."""

    async def serve_request(self, request: Any, client: Incoming, again: Callable[[], dict[str, Any]]) -> bytes | None:
        """Answer a request, or serve the event stream that it asks for until that ends.

        Returns what came behind the request; None where the connection was ended with the answer.
        """


class Front:
    """What every connection of a worker comes to first.

    Args:
        limits: ``header_bytes`` and ``header_seconds`` bound what is read here, and a TLS handshake.
        upgrades: looked up for each request; None where the app has no Triolet.
        hypercorn: serves everything else, given the stream, the bytes read so far, and what tells whether a later
            request is to be given back: then it returns the bytes from there on.
        root_path: what ASGI calls so.
        state: what the app's lifespan left for its requests.
        forwarded: the peers whose word about the client is taken.
        proxied: counts the clients that these tell of; None counts nobody.
        access_log: where requests are logged that are served straight on their stream; the others are behind Hypercorn.
    """

    def __init__(
        self,
        limits: Limits,
        upgrades: Callable[[], Upgrades | None],
        hypercorn: Callable[[ClientStream, bytes, IsOurs], Awaitable[bytes | None]],
        root_path: str = "",
        state: Mapping[str, Any] | None = None,
        *,
        forwarded: Forwarded | None = None,
        proxied: Proxied | None = None,
        access_log: AccessLog | None = None,
    ) -> None:
        self._forwarded = forwarded or Forwarded()
        self._proxied = proxied
        self._access_log = access_log or AccessLog(False)
        self._limits = limits
        self._upgrades = upgrades
        self._hypercorn = hypercorn
        self._root_path = root_path
        self._state = {} if state is None else state
        self._waiting: set[Patience] = set()
        self._idle: set[Patience] = set()
        self._newcomers = trio.Semaphore(ADMITTED_AT_ONCE)
        self._closed = False
        self._context = copy_context()

    async def serve(self, stream: ClientStream) -> None:
        """Serve a connection, whose TLS handshake is done, until it ends. The caller closes it.

        Raises:
            BrokenResourceError: the client went.
        """
        if stream.protocol == "h2":
            stream.stage = Stage.HTTP
            await self._hypercorn(stream, b"", _nothing_is_ours)
            return
        stream.stage = Stage.HEAD
        rest: bytes | None = b""
        first = True
        while rest is not None:
            let_in, rest, first = self._let_in(stream, rest, first), None, False
            # A connection lives long, and what was made of its head is of no more use: nothing here holds it.
            rest = await (await let_in)()
            # One task serves many requests, and they may be of many users (a proxy's connection): what the app has set
            # for one is not for the next. It takes effect when the task runs again, so before that is read.
            trio.lowlevel.current_task().context = self._context.copy()

    async def _serve_http(self, stream: ClientStream, first: bytes) -> bytes | None:
        stream.stage = Stage.HTTP
        return await self._hypercorn(stream, first, partial(self._is_ours, stream))

    async def agree(self, stream: TlsStream) -> bool:
        """Agree on how to speak: the TLS handshake. Returns False where that took too long.

        Raises:
            BrokenResourceError: the client went, or there is no agreement.
        """
        return await stream.handshake(self._limits.header_seconds)

    async def _let_in(self, stream: ClientStream, data: bytes, first: bool) -> Serve:
        """Read the next request's head, and return what serves the connection."""
        try:
            return await self._choose(stream, data, first)
        except BadRequest as error:
            return partial(self._refuse, stream, error)

    async def _choose(self, stream: ClientStream, data: bytes, first: bool) -> Serve:
        data, rest = await (self._read_first(stream) if first else self._read_next(stream, data))
        if not data:
            return _nothing if first else partial(self._end, stream)
        if first and (len(self._waiting) >= ADMITTED_AT_ONCE or self._newcomers.value < ADMITTED_AT_ONCE):
            async with self._newcomers:
                pass  # it lets others run
        head = read_head(data)
        scope = self.scope(stream, head)
        wanted, upgrades, request = self._find(head, scope)
        if request is None or upgrades is None:
            return partial(self._serve_http, stream, data + rest)
        if not stream.outlet.budget.admits():
            raise busy()
        stream.stage = Stage.VIEW
        line = self._access_log.begin(scope)
        again = _Again(self, stream, data).scope
        serve: Serve
        if wanted is None:
            serve = partial(upgrades.serve_request, request, Incoming(stream, rest, head.framing.content_length), again)
        else:
            serve = partial(upgrades.serve_websocket, request, wanted, stream, rest, again)
        return self._counted(stream, scope, serve if line is None else partial(_logged, serve, line))

    def _counted(self, stream: ClientStream, scope: dict[str, Any], serve: Serve) -> Serve:
        """Where it is a proxy that brings a request, serve it if its client has not as many as it may."""
        if self._proxied is None:
            return serve
        address = self._forwarded.client_behind(_address(stream.socket.getpeername()), scope["client"])
        if address is None:
            return serve
        return partial(self._proxied.serve, address, serve, partial(self.turn_away, stream, scope["client"]))

    async def turn_away(self, stream: ClientStream, client: Any = None) -> None:
        """Answer 503, and when to come back, to the peer, or to a client that it has told of. The caller closes the
        connection."""
        await self._refuse(stream, busy(), client)

    def _find(self, head: Head, scope: dict[str, Any]) -> tuple[Upgrade | None, Upgrades | None, Any]:
        """Find what a request asks for: a WebSocket or none, who serves it, and the request as that knows it. The last
        two are None where it is for Hypercorn to serve.

        Raises:
            BadRequest: the client's fault; no WebSocket may be asked for so.
        """
        wanted = upgrade(head.headers, method=head.method, http_version=head.http_version)
        upgrades = self._upgrades() if wanted is not None or self._is_plain(head) else None
        return wanted, upgrades, None if upgrades is None else upgrades.find(scope)

    def _is_plain(self, head: Head) -> bool:
        """Whether a request is of a kind that can be answered straight on its stream."""
        if head.http_version != b"1.1" or any(name in (b"expect", b"upgrade") for name, _ in head.headers):
            return False
        if head.method == b"POST":
            return not head.framing.chunked and head.framing.content_length <= self._limits.message_bytes
        if head.framing != _NO_BODY:
            return False
        # The head alone of an event stream is left to Hypercorn.
        return head.method == b"GET" or (head.method == b"HEAD" and not accepts(head.headers, b"text/event-stream"))

    def _is_ours(self, stream: ClientStream, head: Head) -> bool:
        try:
            return self._find(head, self.scope(stream, head))[2] is not None
        except BadRequest:
            return False

    async def _read_first(self, stream: ClientStream) -> tuple[bytes, bytes]:
        """The first request's head and what came behind it; two empty ones where the client was too slow, or went."""
        # Mostly the request has come by now; an empty line before it is to be ignored (RFC 9112 section 2.2).
        data = stream.receive_now(READ_BYTES).lstrip(b"\r\n")
        size = split_head(data, self._limits.header_bytes) if data else None
        if size is not None:
            return data[:size], data[size:]
        seconds = self._limits.goodbye_seconds if self._closed else self._limits.header_seconds
        return await self._read_head(stream, data, self._waiting, seconds)

    async def _read_next(self, stream: ClientStream, data: bytes) -> tuple[bytes, bytes]:
        """The same for a later request, of which some bytes may be there already."""
        data = data.lstrip(b"\r\n")
        size = split_head(data, self._limits.header_bytes) if data else None
        if size is not None:
            await trio.lowlevel.checkpoint()  # a client that asks much ahead does not keep others from being served
            return data[:size], data[size:]
        if self._closed:
            return b"", b""
        stream.stage = Stage.HTTP if data else Stage.IDLE
        seconds = self._limits.header_seconds if data else self._limits.idle_seconds
        return await self._read_head(stream, data, self._idle, seconds)

    async def _read_head(
        self, stream: ClientStream, data: bytes, among: set[Patience], seconds: float
    ) -> tuple[bytes, bytes]:
        account: Account | None = None  # mostly nothing is held
        patience = Patience(trio.current_time() + seconds)
        among.add(patience)
        try:
            while True:
                if data:
                    account = account or stream.outlet.budget.open_account(stream.abort)
                    account.hold(len(data) - account.bytes)
                if not (chunk := await patience.wait(partial(stream.receive_some, READ_BYTES))):
                    return b"", b""
                begins = not data
                data = data + chunk if data else bytes(chunk).lstrip(b"\r\n")
                size = split_head(data, self._limits.header_bytes) if data else None
                if size is not None:
                    return data[:size], data[size:]
                if begins and data and among is self._idle and not self._closed:
                    # It has waited long, and has no longer than others now.
                    stream.stage = Stage.HTTP
                    patience.until = trio.current_time() + self._limits.header_seconds
        finally:
            among.discard(patience)
            if account is not None:
                account.close()

    async def _end(self, stream: ClientStream) -> None:
        """End a connection that has asked for nothing more."""
        await stream.finish(self._limits.goodbye_seconds)
        await stream.aclose()

    def close(self) -> None:
        """End the connections that have asked before and do not now. Those that have asked for nothing yet have less
        time for it from here on, as later ones have: what a client sends as soon as it is connected may be on its way,
        and would be answered by a reset."""
        self._closed = True
        soon = trio.current_time() + self._limits.goodbye_seconds
        for patience in self._waiting:
            patience.until = min(patience.until, soon)
        for patience in self._idle:
            patience.until = trio.current_time()

    def scope(self, stream: ClientStream, head: Head) -> dict[str, Any]:
        """A request in ASGI's words; an upgrade is the GET request that it is."""
        path, _, query = head.target.partition(b"?")
        scope = {
            "type": "http",
            "asgi": {"spec_version": "2.3", "version": "3.0"},
            "http_version": "1.1",
            "method": head.method.decode("ascii"),
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

    async def _refuse(self, stream: ClientStream, error: BadRequest, client: Any = None) -> None:
        """Say no, and wait a moment for the client to have read it: a reset would overtake it."""
        stream.stage = Stage.REFUSED
        self._access_log.refused(client or _address(stream.socket.getpeername()), error.status)
        with trio.move_on_after(self._limits.goodbye_seconds):
            await stream.send_all(refusal(error.status, error.headers))
            await stream.finish(self._limits.goodbye_seconds)


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


def _nothing_is_ours(_: Head) -> bool:
    """Over HTTP/2 requests share a connection, which is Hypercorn's for good."""
    return False


def _address(name: Any) -> tuple[str, int] | None:
    return name[:2] if isinstance(name, tuple) else None
