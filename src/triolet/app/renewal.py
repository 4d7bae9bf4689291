"""New credentials: for a connection that is open (renewal), and for a client that can only write a URL (tickets).

A WebSocket renews on itself, by a message. An event stream cannot be spoken to: its client posts the key that it was
told to ``/triolet/renew``, with its new credential, and any process may get that request. Where the key is not its own
it tells all others, in the log: the key hashed, and the identity that it has found the credential to stand for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import trio
from quart import Response, abort, current_app, request
from werkzeug.exceptions import HTTPException

from ..bounds import COMMAND_RETRY_SECONDS, IDENTITY_BODY_BYTES, TICKET_SECONDS
from ..connection.expiry import Expiry, key_of, renew
from ..errors import DataError, LogError, only_exceptions, where
from ..identity import Identity, tickets
from ..identity.plain import from_plain, to_plain
from ..sockets.patience import Patience
from ..transports.negotiate import AskError, Scope
from ..value import name_twice
from .identify import EXTENSION, Identifier, credential, with_token
from .views import find, with_root_path

__all__ = ["POSTED", "RENEW", "Again", "renew_told"]

logger = logging.getLogger("triolet")

RENEW: Final = "renew"


class Again:
    """Asks the app who the client of an open WebSocket is, by a new credential, in the context of its own request."""

    __slots__ = ("_again", "_app", "_identifier", "_seconds")

    def __init__(self, app: Any, identifier: Identifier, again: Callable[[], Scope], seconds: float) -> None:
        self._app = app
        self._identifier = identifier
        self._again = again
        self._seconds = seconds

    async def __call__(self, token: str) -> Identity | None:
        """Return the identity; None where the app refuses, fails, or knows nobody.

        Bounds: ``limits.write_seconds``, as for a view.
        """
        scope = with_token(self._again(), token)
        asked = find(self._app, with_root_path(self._app, scope))
        if asked is None:
            return None
        try:
            with trio.fail_after(self._seconds), only_exceptions():
                async with self._app.request_context(asked):
                    return await self._identifier.identify(token)
        except HTTPException:
            return None
        except Exception as error:
            logger.error("live.identify failed: %s", where(error))
            return None


def renew_told(find_named: Callable[[bytes], Any], message: Mapping[str, Any]) -> None:
    """Renew a connection of this process as another process has told, if it is here.

    Whether that one had heard what was revoked lately is not known, so all of that holds for the new identity too.
    """
    found = find_named(bytes.fromhex(message["key"]))
    if isinstance(found, Expiry):
        identity = from_plain(message["identity"])
        late = identity.expires_at is not None and identity.expires_at <= found.conn.context.now()
        context = found.conn.context
        open_seconds = trio.current_time() - found.conn.history.opened_at  # the key was told after that
        since = context.revocations.before(min(open_seconds, context.limits.write_seconds))
        renew(found.conn, None if late else identity, since)


async def _renew(triolet_host: str = "") -> Response:
    """``POST /triolet/renew``: 204 renewed; 202 told to the other processes; 403 another subject's; 503 not now."""
    service = current_app.extensions[EXTENSION]
    since = service.context.revocations.position
    identity = await _who(service)
    try:
        body = await _body(service)
        key = key_of(msgspec.json.decode(body, type=_Named).key)
        if name_twice(body) is not None:
            raise ValueError("it says two keys")
    except (ValueError, RecursionError):  # msgspec's are of the former
        return _answer(400, b'{"error":"key","message":"the body is a JSON object with a key, as it was told"}')
    context = service.context
    found = context.deadlines.find_named(key)
    if isinstance(found, Expiry):
        if renew(found.conn, identity, since):
            return _answer(204, b"")
        return _answer(403, b'{"error":"refused","message":"this stream is not renewed with this credential"}')
    if context.control.crowded:
        return _later(b'{"error":"elsewhere","message":"a stream of another process cannot be renewed now; try again"}')
    try:
        await context.control.tell({"type": RENEW, "key": key.hex(), "identity": to_plain(identity)})
    except DataError as error:
        logger.error("a stream of another process cannot be renewed: %s", str(error))
        return _answer(503, b'{"error":"elsewhere","message":"a stream of another process cannot be renewed here"}')
    return _answer(202, b"")


async def _ticket(triolet_host: str = "") -> Response:
    """``POST /triolet/ticket``: a ticket for who the client is."""
    service = current_app.extensions[EXTENSION]
    identity = await _who(service)
    try:
        ticket = await tickets.issue(service.log, identity, TICKET_SECONDS, service.context.now())
    except LogError as error:
        logger.error("no ticket can be made: %s", where(error))
        return _answer(503, b'{"error":"log","message":"there is no ticket now; try again"}')
    return _answer(200, msgspec.json.encode({"ticket": ticket, "in": TICKET_SECONDS * 1000}))


POSTED: Final = {"renew": _renew, "ticket": _ticket}
"""What is posted to, below Triolet's own path, by name: a view for each."""


class _Named(msgspec.Struct):
    key: str


async def _who(service: Any) -> Identity:
    """Who asks, by its credential as ever. A page of a foreign origin may not, and nobody may not."""
    try:
        service.origins.check(request.scope, always=True)
    except AskError as error:
        abort(_answer(error.status, error.answer.body))
    identity: Identity | None = None
    with trio.move_on_after(service.limits.write_seconds) as patience:
        identity = await service.options.identifier.identify(credential(request.scope))  # type: ignore[arg-type]  # Hypercorn types it
    if patience.cancelled_caught:
        logger.error("live.identify did not answer in limits.write_seconds")
        abort(_later(b'{"error":"slow","message":"it cannot be said now who asks; try again"}'))
    if identity is None:
        abort(_answer(401, b'{"error":"token","message":"this needs a credential"}'))
    return identity


async def _body(service: Any) -> bytes:
    body = bytearray()

    async def read_on() -> bytes:
        async for piece in request.body:
            body.extend(piece)
            if len(body) > IDENTITY_BODY_BYTES:
                abort(_answer(413, b'{"error":"body","message":"this body is too large"}'))
        return bytes(body)

    whole = await Patience(trio.current_time() + service.limits.header_seconds).wait(read_on)
    if whole is None:
        abort(_answer(408, b'{"error":"body","message":"the body did not come in time"}'))
    return whole


def _later(body: bytes) -> Response:
    answer = _answer(503, body)
    answer.headers["retry-after"] = str(COMMAND_RETRY_SECONDS)
    return answer


def _answer(status: int, body: bytes) -> Response:
    headers = {"cache-control": "no-store"}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    response = Response(body, status=status, headers=headers, content_type="application/json")
    if not body:
        del response.headers["content-type"]
    return response
