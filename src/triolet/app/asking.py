"""The ways in for a command: an HTTP request, and a message on a WebSocket. Both are a POST of the same view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio
from werkzeug.exceptions import RequestEntityTooLarge

from ..errors import NotServingError
from ..identity import Grant
from ..limits import Limits
from ..transports.negotiate import AskError, Scope, check_path, header, names_text
from ..wire.idempotency_key import write_key
from ..wire.messages import Reply
from .answers import Answer, own_answer, reply_of
from .identify import GRANT
from .service import Service
from .views import follow_scope, is_command, posted, with_root_path

__all__ = ["Asks", "ask_over_http"]

NOT_THERE: Final = own_answer(404, "command", "there is no command at this URL")
BAD_ID: Final = own_answer(400, "id", "a command's id is one or more characters of printable ASCII")
NOT_SERVING: Final = own_answer(503, "serving", "this app is not being served now; try again")

_OF_THE_UPGRADE: Final = frozenset(
    {b"connection", b"content-length", b"content-type", b"expect", b"idempotency-key", b"transfer-encoding", b"upgrade"}
)
"""Headers of a WebSocket's request that a command on it does not have, or has of its own; and ``Sec-WebSocket-…``."""


async def ask_over_http(service: Service, request: Any) -> Answer:
    """Have the command done that a POST request asks for, and return its answer.

    Bounds: a body of ``limits.message_bytes``; the app's ``BODY_TIMEOUT``, within which it must have come.

    Cancellation: what has begun goes on to its end.
    """
    scope: Scope = request.scope
    try:
        service.origins.check(scope, always=False)
        check_path(scope)
        body = await _read(request, service.limits)
        return await service.life.commands.ask(posted(service.app, scope, body), body)
    except AskError as error:
        return own_answer(error.status, error.error, str(error))
    except NotServingError:
        return NOT_SERVING


async def _read(request: Any, limits: Limits) -> bytes:
    """Read a request's body. Raises AskError."""
    too_large = AskError(413, "size", f"a command's body is at most {limits.message_bytes} bytes")
    length = header(request.scope, b"content-length") or ""
    if length.isdecimal() and int(length) > limits.message_bytes:
        raise too_large
    body = bytearray()
    with trio.move_on_after(request.body_timeout or limits.write_seconds) as patience:
        try:
            async for piece in request.body:
                body += piece
                if len(body) > limits.message_bytes:
                    raise too_large
        except RequestEntityTooLarge:
            raise too_large from None
    if patience.cancelled_caught:
        raise AskError(408, "size", "the body did not come in time")
    return bytes(body)


class Asks:
    """Has commands done that a client asks for on its WebSocket, with the headers of its own request.

    Args:
        service: the app's.
        again: makes the scope of the WebSocket's request anew.
        grant: what the client was let in with.
    """

    __slots__ = ("_again", "_grant", "_service")

    def __init__(self, service: Service, again: Callable[[], Scope], grant: Grant | None) -> None:
        self._service = service
        self._again = again
        self._grant = grant

    async def __call__(self, url: str, id: str, data: bytes) -> Reply:
        """Return the answer to a command.

        Cancellation: what has begun goes on to its end.
        """
        key = write_key(id)
        if key is None:
            return reply_of(id, BAD_ID)
        scope = follow_scope({**self._again(), GRANT: self._grant}, url)
        if scope is None or not names_text(scope):
            return reply_of(id, NOT_THERE)
        app = self._service.app
        scope = with_root_path(app, {**scope, "method": "POST", "headers": _headers(scope, key, data)})
        request = posted(app, scope, data)
        if not is_command(app, request):
            return reply_of(id, NOT_THERE)  # another view's answer is not read: it may have no end
        try:
            return reply_of(id, await self._service.life.commands.ask(request, data))
        except NotServingError:
            return reply_of(id, NOT_SERVING)


def _headers(scope: Scope, key: str, data: bytes) -> list[tuple[bytes, bytes]]:
    kept = [
        (name, value)
        for name, value in scope["headers"]
        if name not in _OF_THE_UPGRADE and not name.startswith(b"sec-websocket-")
    ]
    own = [
        (b"idempotency-key", key.encode("ascii")),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(data)),
    ]
    return [*kept, *own]
