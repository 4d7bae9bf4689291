"""Quart's ASGI connection classes, which hand to Triolet what is Triolet's."""

from __future__ import annotations

from typing import Any

import quart.wrappers
import trio
from quart_trio.asgi import TrioASGIHTTPConnection, TrioASGIWebsocketConnection

from ..errors import ConfigError, only_exceptions
from ..transports.origins import preflighted
from .lifespan import ASYNCIO
from .serve import answer_preflight, readable, serve_command, serve_http, serve_websocket
from .service import EXTENSION, Service
from .views import (
    as_get_request,
    decides,
    find,
    find_command,
    is_command,
    is_ours,
    redirects_to_ours,
    takes_posts,
    with_root_path,
)

__all__ = ["HTTPConnection", "WebSocketConnection"]

_ClientDisconnected: type[Exception] = getattr(quart.wrappers, "ClientDisconnectedError", ConnectionError)


class HTTPConnection(TrioASGIHTTPConnection):
    """Quart's connection, but for URLs of Triolet's: event streams and polls behind other requests, or elsewhere."""

    def __init__(self, app: Any, scope: Any) -> None:
        super().__init__(app, with_root_path(app, scope))
        self._request: Any = None

    async def __call__(self, receive: Any, send: Any) -> None:
        if not trio.lowlevel.in_trio_run():
            raise ConfigError(ASYNCIO)
        receive = _body_once(receive)
        try:
            if self.scope["method"] == "POST":
                request = self._create_request_from_scope(send)
                if find_command(self.app, request) is not None:
                    # A command runs in a task of its own: none of Quart's two is needed here.
                    await serve_command(self.app.extensions[EXTENSION], request, receive, send)
                    return
                self._request = request
                del request
            await super().__call__(receive, send)
        except* _ClientDisconnected:
            pass  # the ordinary end of a request, which Quart 0.23 raises

    def _create_request_from_scope(self, send: Any) -> Any:
        """Make the request, or return it if it is there already: Quart's connection asks for it again."""
        # It is handed on and not kept: it knows this connection, and both would wait for the garbage collector.
        request, self._request = self._request, None
        return request or super()._create_request_from_scope(send)

    async def handle_request(self, nursery: trio.Nursery, request: Any, send: Any) -> None:  # type: ignore[override]  # as Quart-Trio's
        """Answer a request; what else of the connection runs in the nursery ends then."""
        service: Service = self.app.extensions[EXTENSION]
        if decides(self.app, request):
            await serve_http(service, request, send)
            nursery.cancel_scope.cancel()
            return
        method = preflighted(request.scope)
        if (
            takes_posts(self.app, request) or is_command(self.app, request)
            if method == "POST"
            else method is not None and (is_ours(self.app, request) or redirects_to_ours(self.app, request))
        ):
            allowed = service.origins.preflight(request.scope, "POST" if method == "POST" else "GET, HEAD")
            if allowed is not None:
                await answer_preflight(allowed, send)
                nursery.cancel_scope.cancel()
                return
        posted = request.method == "POST" and takes_posts(self.app, request)
        if service.origins.lets_read(request.scope) and (posted or redirects_to_ours(self.app, request)):
            send = readable(service, request, send)
        with only_exceptions():
            await super().handle_request(nursery, request, send)


class WebSocketConnection(TrioASGIWebsocketConnection):
    """Quart's WebSocket connection, but for URLs of Triolet's: behind another server or middleware, or over HTTP/2."""

    def __init__(self, app: Any, scope: Any) -> None:
        super().__init__(app, with_root_path(app, scope))

    async def __call__(self, receive: Any, send: Any) -> None:
        request = find(self.app, as_get_request(self.scope))
        if request is not None:
            await serve_websocket(self.app.extensions[EXTENSION], request, receive, send)
            return
        try:
            with only_exceptions():
                await super().__call__(receive, send)
        except* _ClientDisconnected:
            pass  # the ordinary end of a WebSocket, which Quart 0.23 raises


def _body_once(receive: Any) -> Any:
    """ASGI's ``receive`` of middleware that has read the body, and gives it again as often as it is asked, and at once.
    Quart asks until the client is gone, and would hold up all others: after the body's end there is no more of it."""
    whole = False

    async def receive_news() -> Any:
        nonlocal whole
        message = await receive()
        if message["type"] == "http.request":
            if whole:
                await trio.sleep_forever()  # whoever asks is cancelled when the request is answered
            whole = not message.get("more_body", False)
        return message

    return receive_news
