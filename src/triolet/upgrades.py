"""A WebSocket comes in: the app's view decides, the handshake is answered, and the transport serves it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

from .asgi import UNAVAILABLE, Decision, Refusal, decide, follow_scope, is_ours, refusal_of
from .connection import Connection
from .errors import LogError, where
from .event import Cursor
from .server.outlet import BufferedOutlet, Outlet
from .server.stream import ClientStream
from .service import Service
from .transports.base import AskError, Scope, aborter, check_origin, middleware_between, parse_after, parse_ask
from .transports.websocket import SUBPROTOCOL, raw_deflated, raw_frame, raw_text, serve_asgi, serve_stream
from .wire.codec import WEBSOCKET, WEBSOCKET_DEFLATED, WEBSOCKET_TEXT, Codec
from .wire.frames import FrameReader
from .wire.handshake import Upgrade, accept_response, refusal

__all__ = ["AppUpgrades"]

logger = logging.getLogger("triolet")

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class AppUpgrades:
    """The WebSockets of one app: those that the door hands over, and those that come through ASGI."""

    def __init__(self, app: Any, service: Service) -> None:
        self._app = app
        self._service = service

    def wants(self, scope: Scope) -> bool:
        """Whether an upgrade is to be served here, straight on its stream.

        Where ASGI middleware stands before the app it is not: the middleware must see it.
        """
        return self._service.running and not middleware_between(self._app) and is_ours(self._app, scope)

    async def serve_websocket(
        self, scope: Scope, upgrade: Upgrade, stream: ClientStream | trio.SSLStream[Any], first: bytes
    ) -> None:
        """Decide about an upgrade and serve it, straight on its stream, until it ends."""
        outlet: Outlet
        if isinstance(stream, ClientStream):
            outlet = stream.outlet
        else:
            outlet = BufferedOutlet(stream.send_all, stream.transport_stream.abort)
        deflate = upgrade.deflate if self._service.deflate else None
        codec, raw = (WEBSOCKET, raw_frame) if deflate is None else (WEBSOCKET_DEFLATED, raw_deflated)
        admitted = await self._admit(scope, outlet, codec, raw, pings=True)
        if isinstance(admitted, Refusal):
            await self._turn_down(stream, admitted)
            return
        conn, decision = admitted
        headers = [*decision.headers] if deflate is None else [*decision.headers, (EXTENSIONS, deflate)]
        try:
            outlet.write(accept_response(upgrade.key, _subprotocol(upgrade.subprotocols, decision), headers))
            frames = FrameReader(self._service.limits, deflate=deflate is not None)
            await serve_stream(conn, stream, frames, first, decision.handler)
        finally:
            conn.detach()

    async def serve_asgi(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same through ASGI: behind middleware, over HTTP/2, or on another server."""

        async def take(batch: tuple[str | bytes, ...]) -> None:
            for message in batch:
                kind = "text" if isinstance(message, str) else "bytes"
                await send({"type": "websocket.send", kind: message})

        await receive()
        outlet = BufferedOutlet(take, aborter(scope))
        admitted = await self._admit(scope, outlet, WEBSOCKET_TEXT, raw_text, pings=False)
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
        self, scope: Scope, outlet: Outlet, codec: Codec, raw: Callable[[Any], Any], *, pings: bool
    ) -> tuple[Connection, Decision] | Refusal:
        """Ask the view, and make the connection. Nobody watches the client meanwhile, so it has a deadline."""
        service = self._service
        with trio.move_on_after(service.limits.write_seconds):
            try:
                check_origin(scope, service.origins, always=True)
                ask = parse_ask(scope, service.limits, upgrade=True)
                decision = await decide(self._app, scope)
                if isinstance(decision, Refusal):
                    return decision
                conn = Connection(
                    service.surroundings,
                    outlet,
                    codec,
                    pings=pings,
                    raw=raw if decision.raw else None,
                    decide=partial(self._decide_follow, scope),
                    takes_messages=decision.handler is not None,
                )
                if decision.channel is not None:
                    await conn.add_follower(decision.channel, ask.after)
                elif not decision.raw:
                    conn.greet()
                return conn, decision
            except AskError as error:
                return refusal_of(error)
            except LogError as error:
                logger.error("a WebSocket could not be served: %s", where(error))
        return refusal_of(UNAVAILABLE)

    async def _turn_down(self, stream: trio.abc.Stream, answer: Refusal) -> None:
        """Say no, and close. Who does not take it in ``limits.write_seconds`` is reset by the caller."""
        with trio.move_on_after(self._service.limits.write_seconds):
            await stream.send_all(refusal(answer.status, answer.headers, answer.body))
            await stream.aclose()

    async def _decide_follow(self, scope: Scope, url: str) -> tuple[str, Cursor | None] | None:
        asked = follow_scope(scope, url)
        if asked is None or not is_ours(self._app, asked):
            return None  # another view's answer is not read: it may have no end
        after = parse_after(asked)
        decision = await decide(self._app, asked)
        if not isinstance(decision, Decision) or decision.channel is None:
            return None
        return decision.channel, after


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
