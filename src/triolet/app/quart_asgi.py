"""Between Quart and the transports: the app's view decides, in a request's context; then its context is let go and
the transport takes over.

Every transport asks the same way, as the GET request it is: also a WebSocket's upgrade, and each follow on it.
So ``before_request``, sessions and ``abort`` hold for all four, and who may follow what is decided in one place.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec
import quart.wrappers
import trio
from quart import Response as QuartResponse
from quart.utils import encode_headers
from quart_trio.asgi import TrioASGIHTTPConnection, TrioASGILifespan, TrioASGIWebsocketConnection
from werkzeug.exceptions import HTTPException

from ..errors import ConfigError, LogError, TrioletError, innermost, str_of, where
from ..hub import Policy, Subscription
from ..presence.statements import Member
from ..server.forwarded import rooted
from ..sockets.server_state import server_state
from ..transports.negotiate import (
    AskError,
    Headers,
    Scope,
    Transport,
    check_origin,
    header,
    middleware_between,
    parse_ask,
)
from ..transports.polling import poll
from ..transports.sse import serve_sse, way_out
from ..transports.websocket import Handler

if TYPE_CHECKING:
    from .service import Service

__all__ = [
    "Decision",
    "HTTPConnection",
    "LifespanConnection",
    "Refusal",
    "WebSocketConnection",
    "decide",
    "find",
    "follow_scope",
    "refusal_of",
]

logger = logging.getLogger("triolet")

EXTENSION = "triolet"
ASYNCIO = "this app runs on Trio, and the server on asyncio: use `triolet serve module:app`, or `hypercorn -k trio`"
DECIDES = "decides_for_triolet"
"""The attribute that marks a view as a channel's or a socket's."""

_ClientDisconnected: type[Exception] = getattr(quart.wrappers, "ClientDisconnectedError", ConnectionError)
_OWN_HEADERS = {b"content-type", b"content-length"}


class Decision(msgspec.Struct, frozen=True):
    """A view said yes: to a channel, or to a socket with the app's handler. ``headers`` are the response's
    (a renewed session's cookie, say); ``policy`` is the route's; ``member`` is who asks, if they are to be present."""

    channel: str | None
    handler: Handler | None = None
    raw: bool = False
    headers: list[tuple[bytes, bytes]] = []
    policy: Policy | None = None
    member: Member | None = None


class Refusal(msgspec.Struct, frozen=True):
    """The view, or we, said no: an HTTP answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def find(app: Any, scope: Scope) -> Any:
    """The request, as the app's own class makes it, if its URL is a channel's or a socket's; else None.

    It is if its view is marked so, under whatever name (a blueprint's is its own, and its parents', and what it was
    registered as).
    """
    request = HTTPConnection(app, scope)._create_request_from_scope(_no_push)  # type: ignore[arg-type]  # Hypercorn types the scope
    try:
        rule, _ = app.create_url_adapter(request).match(return_rule=True)
    except HTTPException:
        return None
    if not getattr(app.view_functions.get(rule.endpoint), DECIDES, False):
        return None
    request.body.set_complete()  # it has none, and who reads it must not wait for one
    return request


async def decide(app: Any, request: Any) -> Decision | Refusal:
    """Ask the Quart view behind a request that was found, in a context of its own, which is gone when this returns.

    Cancellation: nothing is lost.
    """
    try:
        response = await app.handle_request(request)
    except Exception as error:  # an app in testing or debug mode raises; its client is refused all the same
        logger.exception("a view failed: %s", where(error))
        return Refusal(500, [], b"")
    decision: Decision | None = getattr(response, "decision", None)
    headers = encode_headers(response.headers)
    if decision is None:
        body = await response.get_data(as_text=False) if isinstance(response, QuartResponse) else response.get_data()
        return Refusal(response.status_code, headers, body)
    kept = [(name, value) for name, value in headers if name not in _OWN_HEADERS]
    return msgspec.structs.replace(decision, headers=kept)


def refusal_of(error: AskError, kept: Headers | None = None) -> Refusal:
    """Put a bad request into an answer, behind the headers that are kept of the view's."""
    headers = [*(kept or ()), (b"content-type", b"application/json")]
    return Refusal(error.status, [*headers, (b"upgrade", b"websocket")] if error.status == 426 else headers, error.body)


UNAVAILABLE = AskError(503, "log", "the event log cannot be read now; try again")
UPGRADE = AskError(426, "upgrade", "this URL speaks WebSocket only")


def follow_scope(scope: Scope, url: str) -> Scope | None:
    """The request that a follow by URL stands for: the connection's own headers, another path. None for no URL."""
    if not url.startswith("/") or len(url) > 2_048 or not url.isascii() or not url.isprintable():
        return None
    path, _, query = url.partition("?")
    asked = {**scope, "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode()}
    rooted(asked)
    return asked


class HTTPConnection(TrioASGIHTTPConnection):
    """Quart's connection, with an answer of its own for a view that decided for a channel."""

    async def __call__(self, receive: Any, send: Any) -> None:
        if not trio.lowlevel.in_trio_run():
            raise ConfigError(ASYNCIO)
        try:
            await super().__call__(receive, send)
        except* _ClientDisconnected:
            pass  # the ordinary end of a request, which Quart 0.23 raises

    async def _send_response(self, send: Any, response: Any) -> None:
        decision = getattr(response, "decision", None)
        if decision is None:
            await super()._send_response(send, response)
            return
        scope: Scope = self.scope  # type: ignore[assignment]  # the same dict, typed by Hypercorn
        kept = [(name, value) for name, value in encode_headers(response.headers) if name not in _OWN_HEADERS]
        try:
            await _serve_http(self.app, scope, decision, kept, send)
        except AskError as error:
            await _answer(send, scope, error.status, refusal_of(error, kept).headers, error.body)


async def _serve_http(app: Any, scope: Scope, decision: Decision, headers: Headers, send: Any) -> None:
    service: Service = app.extensions[EXTENSION]
    channel = decision.channel
    if channel is None:
        raise UPGRADE
    check_origin(scope, service.origins, always=False)
    ask = parse_ask(scope, service.surroundings.limits)
    try:
        if ask.transport is Transport.SSE:
            outlet, codec = way_out(scope, send, service.budget, through_asgi=middleware_between(app))
            subscription = Subscription(channel, ask.after, policy=decision.policy, member=decision.member)
            await serve_sse(service.surroundings, scope, outlet, codec, subscription, headers, send)
            return
        answer = await poll(service.surroundings, channel, ask, header(scope, b"if-none-match"), decision.member)
    except LogError as error:
        logger.error("a poll or stream could not be served: %s", where(error))
        raise UNAVAILABLE from None
    await _answer(send, scope, answer.status, [*headers, *answer.headers], answer.body)


async def _answer(send: Any, scope: Scope, status: int, headers: Headers, body: bytes) -> None:
    if status != 304:
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


class WebSocketConnection(TrioASGIWebsocketConnection):
    """Quart's WebSocket connection, but for URLs of ours: the way in behind another server, or over HTTP/2."""

    async def __call__(self, receive: Any, send: Any) -> None:
        service: Service = self.app.extensions[EXTENSION]
        request = find(self.app, as_get_request(self.scope)) if service.running else None
        if request is not None:
            await service.upgrades.serve_asgi(request, receive, send)
        else:
            try:
                await super().__call__(receive, send)
            except* _ClientDisconnected:
                pass  # the ordinary end of a WebSocket, which Quart 0.23 raises


class LifespanConnection(TrioASGILifespan):
    """Quart's lifespan, which tells the app's Triolet on what server it lives."""

    def __init__(self, app: Any, scope: Any) -> None:
        super().__init__(app, scope)
        self._server = server_state(scope)

    async def __call__(self, receive: Any, send: Any) -> None:
        if not trio.lowlevel.in_trio_run():
            await receive()
            await send({"type": "lifespan.startup.failed", "message": ASYNCIO})
            return
        service: Service = self.app.extensions[EXTENSION]
        service.begin(self._server)
        start = _Start(send)
        self.app.logger.addFilter(start)
        try:
            await super().__call__(receive, start.send)
        except Exception:
            if not (start.failed or (start.over and service.attended)):  # else the server says why
                # Hypercorn would go on without the app's background tasks, and not say why.
                logger.exception("the app's own tasks crashed")
            raise
        finally:
            self.app.logger.removeFilter(start)


class _Start(logging.Filter):
    """Hears how an app's start ends, so that it is told once: an error of the app's own with its traceback, which Quart
    logs, and one that Triolet has raised as the sentence that it is.
    """

    def __init__(self, send: Any) -> None:
        super().__init__()
        self._send = send
        self.over = False
        self._error: BaseException | None = None
        self.failed = False

    def filter(self, record: logging.LogRecord) -> bool:
        if self.over or not record.exc_info or record.exc_info[1] is None:
            return True
        self._error = innermost(record.exc_info[1])
        return not isinstance(self._error, TrioletError)

    async def send(self, message: Any) -> None:
        self.failed = message["type"] == "lifespan.startup.failed"
        if self.failed and self._error is not None:
            message = {**message, "message": str_of(self._error) or type(self._error).__name__}
        self.over = True
        await self._send(message)


def as_get_request(scope: Any) -> Scope:
    """A WebSocket's scope as the GET request that it is."""
    scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
    return {**scope, "type": "http", "method": "GET", "scheme": scheme}


async def _no_push(_: Any) -> None:
    """There is no response to push anything with."""
