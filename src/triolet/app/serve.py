"""Hand a client that was admitted to its transport: straight on its stream, or through ASGI.

What was made of its request is let go of before it is served, since it may be served for days: hence the ``del`` s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import trio

from ..bounds import KNOWN_URL_CHARACTERS, KNOWN_URLS
from ..errors import LocalError, LogError
from ..hub import Park
from ..identity.revocations import WaitingPoll, WaitingPolls
from ..sockets.incoming import Incoming
from ..sockets.server_state import CONTENT_FOLLOWS, note_end, note_status, stream_of
from ..sockets.stages import Stage
from ..sockets.stream import ClientStream
from ..transports import sse, websocket
from ..transports.many import poll_many
from ..transports.negotiate import Answer, AskError, Headers, Scope, header
from ..transports.outlets import (
    Receive,
    Send,
    aborter,
    event_stream_outlet,
    raw_deflated,
    raw_frame,
    websocket_outlet,
)
from ..transports.polling import poll
from ..wire.codec import SSE_CHUNKED, WEBSOCKET, WEBSOCKET_DEFLATED
from ..wire.handshake import Upgrade
from ..wire.http_answer import accept_response, date, refusal, response, stream_response
from ..wire.session import Session
from .admit import Admitted, Arrival, Way, admit, refused
from .asking import Asks, ask_over_http
from .service import Service, through_asgi
from .views import Decision, Refusal, as_request, find, find_command, with_root_path

__all__ = ["Clients", "answer_poll", "answer_preflight", "readable", "serve_command", "serve_http", "serve_websocket"]

EXTENSIONS = b"Sec-WebSocket-Extensions"


class Clients:
    """Those clients of one app that the server's front hands over, to be served straight on their streams."""

    def __init__(self, service: Service) -> None:
        self._service = service
        # Pages are asked for again and again, and are not to be looked up here each time. If the routes have changed, a
        # request is answered as before, on a longer way.
        self._others: dict[tuple[str, str, str, str], None] = {}

    def find(self, scope: Scope) -> Any:
        """Return the request, if it is to be served here; else None.

        Where ASGI middleware stands before the app it is not: the middleware must see it.
        """
        app = self._service.app
        if not self._service.running or through_asgi(self._service):
            return None
        method, path, host = scope["method"], scope["path"], header(scope, b"host") or ""
        asked = method, host, scope["root_path"], path
        if asked in self._others:
            return None
        try:
            scope = with_root_path(app, scope)
            request = find_command(app, as_request(app, scope)) if method == "POST" else find(app, scope)
        except Exception:  # of the app's, in a converter say: where Quart meets it again, it is logged and answered
            return None
        if request is None and len(path) + len(host) <= KNOWN_URL_CHARACTERS:
            if len(self._others) >= KNOWN_URLS:
                del self._others[next(iter(self._others))]
            self._others[asked] = None
        return request

    async def serve_websocket(
        self, request: Any, upgrade: Upgrade, stream: ClientStream, first: bytes, again: Callable[[], Scope]
    ) -> None:
        """Admit a WebSocket and serve it, until it ends."""
        deflate = upgrade.deflate if self._service.options.deflate else None
        codec, raw = (WEBSOCKET, raw_frame) if deflate is None else (WEBSOCKET_DEFLATED, raw_deflated)
        way = partial(Way, stream.outlet, codec, raw)
        admitted = await admit(self._service, Arrival(request, way, again, upgrade=True))
        note_status(request.scope, admitted.status if isinstance(admitted, Refusal) else 101)
        del request, way
        if isinstance(admitted, Refusal):
            await self._turn_down(stream, refusal(admitted.status, admitted.headers, admitted.body))
            return
        conn, decision = admitted.conn, admitted.decision
        assert conn is not None, "a stream has one"
        headers = [*decision.headers] if deflate is None else [*decision.headers, (EXTENSIONS, deflate)]
        head = accept_response(upgrade.key, _subprotocol(upgrade.subprotocols, decision), headers)
        session = Session(self._service.limits, deflate=deflate is not None)
        handler, ask = decision.handler, None if decision.raw else Asks(self._service, again, decision.grant)
        del admitted, decision, headers, upgrade
        stream.stage = Stage.STREAM
        await websocket.serve_stream(conn, stream, head, session, first, handler, ask)

    async def serve_request(self, request: Any, client: Incoming, again: Callable[[], Scope]) -> bytes | None:
        """Answer a poll or a command, or serve the event stream that is asked for until it ends.

        Returns what came behind the request; None where the connection was ended with the answer.
        """
        with client:
            if request.method == "POST":
                has_come = client.left <= len(client.ahead)
                answer = await ask_over_http(self._service, request, client.receive, has_come=has_come)
                if answer is None:
                    return None
                said, close = self._said(client, request.scope, answer)
                del answer
                return await self._deliver(client, request.scope, said, close)
            stream = client.stream
            admitted = await admit(self._service, Arrival(request, partial(Way, stream.outlet, SSE_CHUNKED), again))
            scope = request.scope
            del request, again  # a poll may wait, and many do
            if isinstance(admitted, Refusal):
                return await self._deliver(client, scope, *self._said(client, scope, admitted))
            if admitted.conn is None:
                return await self._answer_poll(client, scope, admitted)
            first = client.ahead
        conn, head, done = admitted.conn, self._stream_head(scope, admitted), admitted.ask.form.done
        del client, scope, admitted
        stream.stage = Stage.STREAM
        await sse.serve_stream(conn, stream, head, first, done)
        return None

    async def _answer_poll(self, client: Incoming, scope: Scope, admitted: Admitted) -> bytes | None:
        client.stream.stage = Stage.HTTP
        with admitted.poll() as held:
            answer = await answer_poll(self._service, admitted, header(scope, b"if-none-match"), held, client.watch)
            until = math.inf
            if not isinstance(answer, Refusal):
                held.stop = client.stream.abort  # of what is under way already
                until = admitted.until
            said, close = self._said(client, scope, answer)
            del answer  # its body is in what is said, and may wait for a client that reads slowly
            return await self._deliver(client, scope, said, close, until)

    def _said(self, client: Incoming, scope: Scope, answer: Answer) -> tuple[bytes, bool]:
        """An answer's bytes, and whether the connection ends with it."""
        note_status(scope, answer.status)
        # Of a body that was not read to its end, what follows is no request.
        close = self._service.server.draining.is_set() or client.left > 0 or _closes(scope)
        headers = self._service.origins.answer(scope, [*answer.headers, self._date()])
        head_only = scope["method"] == "HEAD"
        return response(answer.status, headers, answer.body, close=close, head_only=head_only), close

    async def _deliver(
        self, client: Incoming, scope: Scope, said: bytes, close: bool, until: float = math.inf
    ) -> bytes | None:
        """Write an answer. Returns what came behind its request; None where the connection ends with it."""
        limits, stream = self._service.limits, client.stream
        await stream.deliver(said, limits.write_seconds, until)
        if not close:
            return client.ahead
        note_end(scope)  # a client may take its time to close
        unread = client.left > len(client.ahead)
        client.let_go()
        await stream.finish(limits.goodbye_seconds, unread=unread)
        await stream.aclose()
        return None

    def _stream_head(self, scope: Scope, admitted: Admitted) -> bytes:
        note_status(scope, 200)
        assert admitted.conn is not None, "a stream has one"
        headers = [*admitted.decision.headers, *sse.HEADERS, self._date()]
        return stream_response(self._service.origins.answer(scope, headers))

    def _date(self) -> tuple[bytes, bytes]:
        return b"date", date(int(self._service.context.now()))

    async def _turn_down(self, stream: ClientStream, answer: bytes) -> None:
        """Say no, and close. A client that does not take it in ``limits.write_seconds`` is reset by the caller."""
        with trio.move_on_after(self._service.limits.write_seconds):
            await stream.send_all(answer)
            await stream.aclose()


async def serve_websocket(service: Service, request: Any, receive: Receive, send: Send) -> None:
    """Admit a WebSocket and serve it through ASGI: behind middleware, over HTTP/2, or on another server."""
    scope: Scope = request.scope
    way = Way(*websocket_outlet(scope, send, service.server.budget, through_asgi=through_asgi(service)))
    admitted = await admit(service, Arrival(request, lambda: way, lambda: scope, upgrade=True))
    if isinstance(admitted, Refusal):
        await _refuse_websocket(admitted, scope, send)
        return
    conn, decision = admitted.conn, admitted.decision
    assert conn is not None, "a stream has one"
    subprotocol = _subprotocol(scope.get("subprotocols") or (), decision)
    accept = {"type": "websocket.accept", "subprotocol": subprotocol, "headers": decision.headers}
    ask = None if decision.raw else Asks(service, lambda: scope, decision.grant)
    await websocket.serve_asgi(conn, _beyond_connect(receive), send, accept, decision.handler, ask)


async def serve_http(service: Service, request: Any, send: Send) -> None:
    """Admit an event stream or a poll and answer it through ASGI."""
    scope: Scope = request.scope

    def way() -> Way:
        return Way(*event_stream_outlet(scope, send, service.server.budget, through_asgi=through_asgi(service)))

    admitted = await admit(service, Arrival(request, way, lambda: scope))
    if isinstance(admitted, Refusal):
        await _answer(service, scope, send, admitted)
    elif admitted.conn is not None:
        headers = service.origins.answer(scope, [*admitted.decision.headers, *sse.HEADERS])
        await sse.serve_asgi(admitted.conn, scope, headers, send, admitted.ask.form.done)
    else:
        with admitted.poll() as held:
            answer = await answer_poll(service, admitted, header(scope, b"if-none-match"), held)
            until = math.inf
            if not isinstance(answer, Refusal):
                held.stop = aborter(scope)  # of what is under way already
                until = admitted.until
            with trio.CancelScope(deadline=until) as in_time:
                await _answer(service, scope, send, answer)
            if in_time.cancelled_caught:
                held.stop()


async def serve_command(service: Service, request: Any, receive: Receive, send: Send) -> None:
    """Have a command done that came as a POST request, and answer it through ASGI."""
    scope: Scope = request.scope
    answer = await ask_over_http(service, request, receive)
    if answer is not None:
        await _send_answer(service, scope, send, answer)


async def answer_poll(
    service: Service,
    admitted: Admitted,
    if_none_match: str | None,
    held: WaitingPoll,
    park: Park = trio.sleep_forever,
) -> Answer:
    """Answer a poll that was admitted, however it came: nothing is written here. It waits in ``park``.

    Cancellation: nothing is lost: the client asks again with the cursor it has.
    """
    subscription, headers, ask = admitted.subscription, admitted.decision.headers, admitted.ask
    context, grant = service.context, admitted.decision.grant
    try:
        if (many := admitted.many) is not None:
            assert isinstance(held, WaitingPolls), "of many channels some may be taken"
            followed = many.subscriptions, many.refused, many.ask
            answer = await poll_many(context, *followed, if_none_match, grant, held, park)
        else:
            assert subscription is not None, "a poll asks for a channel"
            answer = await poll(context, subscription, ask, if_none_match, grant, held, park)
    except (AskError, LocalError, LogError) as error:
        return refused(ask.transport.value, error, headers)
    return Answer(answer.status, [*headers, *answer.headers], answer.body)


async def answer_preflight(headers: Headers, send: Send) -> None:
    """Tell a browser that a page of a listed origin may ask. No view is asked: a preflight brings no cookie."""
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def readable(service: Service, request: Any, send: Send) -> Send:
    """Return an ASGI ``send`` with which Quart answers so that a page of a listed origin can read it."""

    async def send_readable(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": service.origins.answer(request.scope, [*message["headers"]])}
        await send(message)

    return send_readable


def _closes(scope: Scope) -> bool:
    """Whether a client wants its connection closed behind the answer (RFC 9112 section 9.6)."""
    said = [value.lower() for name, value in scope["headers"] if name == b"connection"]
    return any(option.strip() == b"close" for value in said for option in value.split(b","))


def _subprotocol(offered: Iterable[str], decision: Decision) -> str | None:
    """Agree on the first that is known of those that the client offers, which come as it prefers them."""
    agreed = next((name for name in offered if name in decision.subprotocols), None)
    if decision.grant is not None:
        decision.grant.subprotocol = agreed
    return agreed


def _beyond_connect(receive: Receive) -> Receive:
    """ASGI's ``receive`` without ``websocket.connect``, for which nothing waits: Quart's test client sends none."""

    async def receive_message() -> Any:
        message = await receive()
        return message if message["type"] != "websocket.connect" else await receive()

    return receive_message


async def _answer(service: Service, scope: Scope, send: Send, answer: Answer) -> None:
    # On a server of ours it counts while it waits for its client; elsewhere that is not seen.
    uncounted = len(answer.body) if stream_of(scope) is None else 0
    with service.server.budget.holding(uncounted):
        await _send_answer(service, scope, send, answer)


# Nothing counts an answer between here and the server: our own sends a head without waiting, and counts a body from the
# moment when it is given one.
async def _send_answer(service: Service, scope: Scope, send: Send, answer: Answer) -> None:
    headers = service.origins.answer(scope, answer.headers)
    if answer.status not in (204, 304):
        headers = _with_length(headers, answer.body)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers, CONTENT_FOLLOWS: True})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})


async def _refuse_websocket(answer: Refusal, scope: Scope, send: Send) -> None:
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1000})
        return
    headers = _with_length(answer.headers, answer.body)
    await send({"type": "websocket.http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": answer.body})


def _with_length(headers: Headers, body: bytes) -> Headers:
    others = [(name, value) for name, value in headers if name != b"content-length"]
    return [*others, (b"content-length", b"%d" % len(body))]
