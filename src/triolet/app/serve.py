"""WebSockets and event streams come in: the view decides, the head is answered, and the transport serves."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

import trio

from ..connection import Connection
from ..errors import LogError, where
from ..http.http2_outlet import Http2Stream
from ..hub import Subscription
from ..sockets.buffered_outlet import BufferedOutlet
from ..sockets.outlet import Outlet
from ..sockets.server_state import note_status, stream_of
from ..sockets.stream import ClientStream
from ..transports import sse
from ..transports.negotiate import (
    AskError,
    Headers,
    Scope,
    aborter,
    check_origin,
    middleware_between,
    parse_after,
    parse_ask,
)
from ..transports.websocket import SUBPROTOCOL, raw_deflated, raw_frame, raw_text, serve_asgi, serve_stream
from ..wire.codec import SSE_CHUNKED, WEBSOCKET, WEBSOCKET_DEFLATED, WEBSOCKET_TEXT, Codec
from ..wire.frames import FrameReader
from ..wire.handshake import Upgrade, accept_response, refusal, stream_response
from .quart_asgi import UNAVAILABLE, UPGRADE, Decision, Refusal, decide, find, follow_scope, refusal_of
from .service import Service

__all__ = ["AppUpgrades"]

logger = logging.getLogger("triolet")

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class AppUpgrades:
    """The WebSockets of one app, those that the door hands over and those that come through ASGI, and the event streams
    that the door hands over."""

    def __init__(self, app: Any, service: Service) -> None:
        self._app = app
        self._service = service

    def find(self, scope: Scope) -> Any:
        """The request, if it is to be served here, straight on its stream; else None.

        Where ASGI middleware stands before the app it is not: the middleware must see it.
        """
        return find(self._app, scope) if self._service.running and not middleware_between(self._app) else None

    async def serve_websocket(
        self, request: Any, upgrade: Upgrade, stream: ClientStream, first: bytes, again: Callable[[], Scope]
    ) -> None:
        """Decide about an upgrade and serve it, straight on its stream, until it ends."""
        outlet = stream.outlet
        deflate = upgrade.deflate if self._service.deflate else None
        codec, raw = (WEBSOCKET, raw_frame) if deflate is None else (WEBSOCKET_DEFLATED, raw_deflated)
        admitted = await self._admit(request, outlet, codec, raw, again, pings=True)
        note_status(request.scope, admitted.status if isinstance(admitted, Refusal) else 101)
        del request
        if isinstance(admitted, Refusal):
            await self._turn_down(stream, refusal(admitted.status, admitted.headers, admitted.body))
            return
        conn, decision = admitted
        headers = [*decision.headers] if deflate is None else [*decision.headers, (EXTENSIONS, deflate)]
        try:
            head = accept_response(upgrade.key, _subprotocol(upgrade.subprotocols, decision), headers)
        except ValueError:  # a header of the app's that cannot be sent
            conn.detach()
            raise
        frames = FrameReader(self._service.limits, deflate=deflate is not None)
        handler = decision.handler
        del admitted, decision, headers, upgrade
        await serve_stream(conn, stream, head, frames, first, handler)

    async def serve_events(self, request: Any, stream: ClientStream, first: bytes) -> bytes | None:
        """Decide about an event stream and serve it, straight on its stream, until it ends.

        Returns ``first`` where it was refused on a connection that the client may go on using.
        """
        admitted = await self._admit_events(request, stream.outlet)
        note_status(request.scope, admitted.status if isinstance(admitted, Refusal) else 200)
        date = (b"date", formatdate(self._service.surroundings.now(), usegmt=True).encode())
        if isinstance(admitted, Refusal):
            close = "close" in request.headers.get("Connection", "").lower()
            answer = refusal(admitted.status, [*admitted.headers, date], admitted.body, close=close)
            if close:
                await self._turn_down(stream, answer)
                return None
            with trio.move_on_after(self._service.limits.write_seconds) as patience:
                await stream.send_all(answer)
            return None if patience.cancelled_caught else first
        conn, headers = admitted
        try:
            head = stream_response([*headers, *sse.HEADERS, date])
        except ValueError:  # a header of the app's that cannot be sent
            conn.detach()
            raise
        del request, admitted, headers
        await sse.serve_stream(conn, stream, head, first)
        return None

    async def serve_asgi(self, request: Any, receive: Receive, send: Send) -> None:
        """Serve a WebSocket through ASGI: behind middleware, over HTTP/2, or on another server."""
        scope: Scope = request.scope

        async def take(batch: tuple[str | bytes, ...]) -> None:
            for message in batch:
                kind = "text" if isinstance(message, str) else "bytes"
                await send({"type": "websocket.send", kind: message})

        await receive()
        stream = stream_of(scope)
        if isinstance(stream, Http2Stream) and not middleware_between(self._app):
            admitted = await self._admit(request, stream.outlet, WEBSOCKET, raw_frame, lambda: scope, pings=False)
        else:
            outlet = BufferedOutlet(self._service.budget, take, aborter(scope))
            admitted = await self._admit(request, outlet, WEBSOCKET_TEXT, raw_text, lambda: scope, pings=False)
        if isinstance(admitted, Refusal):
            await _refuse(admitted, scope, send)
            return
        conn, decision = admitted
        subprotocol = _subprotocol(scope.get("subprotocols", ()), decision)
        try:
            await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": decision.headers})
            await serve_asgi(conn, receive, send, decision.handler)
        finally:
            conn.detach()

    async def _admit(
        self,
        request: Any,
        outlet: Outlet,
        codec: Codec,
        raw: Callable[[Any], Any],
        again: Callable[[], Scope],
        *,
        pings: bool,
    ) -> tuple[Connection, Decision] | Refusal:
        """Ask the view, and make the connection. Nobody watches the client meanwhile, so it has a deadline."""
        service, scope = self._service, request.scope
        with trio.move_on_after(service.limits.write_seconds):
            try:
                check_origin(scope, service.origins, always=True)
                ask = parse_ask(scope, service.limits, upgrade=True)
                decision = await decide(self._app, request)
                if isinstance(decision, Refusal):
                    return decision
                conn = Connection(
                    service.surroundings,
                    outlet,
                    codec,
                    pings=pings,
                    raw=raw if decision.raw else None,
                    decide=None if decision.raw else _Follows(self._app, again),
                    takes_messages=decision.handler is not None,
                )
                if decision.channel is not None:
                    await conn.add_follower(
                        Subscription(decision.channel, ask.after, policy=decision.policy, member=decision.member)
                    )
                elif not decision.raw:
                    conn.greet()
                return conn, decision
            except AskError as error:
                return refusal_of(error)
            except LogError as error:
                logger.error("a WebSocket could not be served: %s", where(error))
        return refusal_of(UNAVAILABLE)

    async def _admit_events(self, request: Any, outlet: Outlet) -> tuple[Connection, Headers] | Refusal:
        """The same for an event stream. What is wrong with the request is said behind the view's own headers."""
        service, kept = self._service, []
        with trio.move_on_after(service.limits.write_seconds):
            try:
                decision = await decide(self._app, request)
                if isinstance(decision, Refusal):
                    return decision
                kept = decision.headers
                if decision.channel is None:
                    raise UPGRADE
                check_origin(request.scope, service.origins, always=False)
                ask = parse_ask(request.scope, service.limits)
                conn = Connection(service.surroundings, outlet, SSE_CHUNKED)
                await conn.add_follower(
                    Subscription(decision.channel, ask.after, policy=decision.policy, member=decision.member)
                )
                return conn, kept
            except AskError as error:
                return refusal_of(error, kept)
            except LogError as error:
                logger.error("an event stream could not be served: %s", where(error))
        return refusal_of(UNAVAILABLE, kept)

    async def _turn_down(self, stream: ClientStream, answer: bytes) -> None:
        """Say no, and close. Who does not take it in ``limits.write_seconds`` is reset by the caller."""
        with trio.move_on_after(self._service.limits.write_seconds):
            await stream.send_all(answer)
            await stream.aclose()


class _Follows:
    """Asks the view behind a URL that a client follows, with the headers of its own request."""

    __slots__ = ("_again", "_app")

    def __init__(self, app: Any, again: Callable[[], Scope]) -> None:
        self._app = app
        self._again = again

    async def __call__(self, url: str) -> Subscription | None:
        asked = follow_scope(self._again(), url)
        request = None if asked is None else find(self._app, asked)
        if asked is None or request is None:
            return None  # another view's answer is not read: it may have no end
        after = parse_after(asked)
        decision = await decide(self._app, request)
        if not isinstance(decision, Decision) or decision.channel is None:
            return None
        return Subscription(decision.channel, after, policy=decision.policy, member=decision.member)


EXTENSIONS = b"Sec-WebSocket-Extensions"


def _subprotocol(offered: Any, decision: Decision) -> str | None:
    return SUBPROTOCOL if SUBPROTOCOL in offered and not decision.raw else None


async def _refuse(answer: Refusal, scope: Scope, send: Send) -> None:
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1000})
        return
    headers = [(name, value) for name, value in answer.headers if name != b"content-length"]
    headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "websocket.http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": answer.body})
