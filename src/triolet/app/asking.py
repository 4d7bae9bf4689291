"""The ways in for a command: an HTTP request, and a message on a WebSocket. Both are a POST of the same view."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import trio

from ..errors import NotServingError
from ..identity import Grant
from ..sockets.patience import Patience
from ..transports.negotiate import Answer, AskError, Scope, check_path, header, names_text, own_answer
from ..transports.outlets import Receive
from ..wire.idempotency_key import write_key
from ..wire.messages import Reply
from .answers import reply_of
from .commands import Asked
from .identify import GRANT
from .service import Service
from .views import find_command, follow_scope, posted, with_root_path

__all__ = ["Asks", "ask_over_http"]

NOT_THERE: Final = own_answer(404, "command", "there is no command at this URL")
BAD_ID: Final = own_answer(400, "id", "a command's id is one or more characters of printable ASCII")
NOT_SERVING: Final = own_answer(503, "serving", "this app is not being served now; try again")

_OF_THE_UPGRADE: Final = frozenset(
    {b"connection", b"content-length", b"content-type", b"expect", b"idempotency-key", b"transfer-encoding", b"upgrade"}
)
"""Headers of a WebSocket's request that a command on it does not have, or has of its own; and ``Sec-WebSocket-…``."""


async def ask_over_http(service: Service, request: Any, receive: Receive, *, has_come: bool = False) -> Answer | None:
    """Have the command done that a POST request asks for, and return its answer; None where its client has gone.

    Args:
        service: the app's.
        request: the request, whose body was not read yet.
        receive: ASGI's.
        has_come: whether all of the body is there, and nobody need be waited for.

    Bounds: a body of ``limits.message_bytes``, and of the app's ``MAX_CONTENT_LENGTH``; its ``BODY_TIMEOUT``, within
    which the body must have come.

    Cancellation: what has begun goes on to its end.
    """
    scope: Scope = request.scope
    try:
        service.origins.check(scope, always=False)
        check_path(scope)
        body = await _read(service, request, receive, has_come)
        return None if body is None else await _wait(service, request, body, receive)
    except AskError as error:
        return error.answer
    except NotServingError:
        return NOT_SERVING


async def _wait(service: Service, request: Any, body: bytes, receive: Receive) -> Answer | None:
    """Have a command done, and listen meanwhile whether its client goes: this task has nothing else to do."""
    told: list[Answer] = []
    listening = trio.CancelScope()

    def tell(_: Asked, answer: Answer) -> None:
        told.append(answer)
        listening.cancel()

    request.body.set_result(body)
    asked = service.life.commands.ask(request, body, tell)
    if isinstance(asked, Answer):
        return asked
    try:
        with listening:
            while (await receive())["type"] != "http.disconnect":
                pass
    finally:
        asked.leave()
    return told[0] if told else None


async def _read(service: Service, request: Any, receive: Receive, has_come: bool) -> bytes | None:
    """Read a request's body; None where its client has gone. Raises AskError."""
    limits = service.limits
    # Quart's request itself knows the app's setting in some versions only within a context, of which there is none yet.
    own = request.max_content_length or service.app.config["MAX_CONTENT_LENGTH"]
    most = min(limits.message_bytes, own or limits.message_bytes)
    too_large = AskError(413, "size", f"a command's body is at most {most} bytes")
    length = header(request.scope, b"content-length") or ""
    if length.isdecimal() and int(length) > most:
        raise too_large
    body, more = b"", True
    patience = Patience(trio.current_time() + (request.body_timeout or limits.write_seconds))
    while more:
        message = await receive() if has_come else await patience.wait(receive)
        if message is None:
            raise AskError(408, "size", "the body did not come in time")
        if message["type"] == "http.disconnect":
            return None
        piece, more = message.get("body", b""), message.get("more_body", False)
        body = body + piece if body else bytes(piece)
        if len(body) > most:
            raise too_large
    return body


class Asks:
    """Has commands done that a client asks for on its WebSocket, with the headers of its own request.

    Args:
        service: the app's.
        again: makes the scope of the WebSocket's request anew.
        grant: what the client was let in with.

    Bounds: from the first command on it keeps that scope, some 2 kB. Who never commands keeps the head alone.
    """

    __slots__ = ("_again", "_grant", "_scope", "_service")

    def __init__(self, service: Service, again: Callable[[], Scope], grant: Grant | None) -> None:
        self._service = service
        self._again = again
        self._grant = grant
        self._scope: Scope | None = None

    def __call__(self, url: str, id: str, data: bytes, tell: Callable[[Asked, Reply], None]) -> Asked | Reply:
        """Have a command done. Return it; or what it is answered at once. See :meth:`Commands.ask`."""
        key = write_key(id)
        if key is None:
            return reply_of(id, BAD_ID)
        if self._scope is None:
            self._scope = _as_post(self._again())
        scope, app = follow_scope(self._scope, url), self._service.app
        if scope is None or not names_text(scope):
            return reply_of(id, NOT_THERE)
        scope["state"] = dict(scope.get("state") or ())
        scope["headers"] = [*scope["headers"], *_headers(key, data)]
        scope[GRANT] = self._grant
        request = find_command(app, posted(app, with_root_path(app, scope), data))
        if request is None:
            return reply_of(id, NOT_THERE)  # another view's answer is not read: it may have no end
        try:
            asked = self._service.life.commands.ask(request, data, partial(_tell, tell, id))
        except NotServingError:
            return reply_of(id, NOT_SERVING)
        return reply_of(id, asked) if isinstance(asked, Answer) else asked


def _tell(tell: Callable[[Asked, Reply], None], id: str, asked: Asked, answer: Answer) -> None:
    tell(asked, reply_of(id, answer))


def _as_post(scope: Scope) -> Scope:
    """Return a WebSocket's request as the POST that each command on it is, but for what is that command's own."""
    kept = [
        (name, value)
        for name, value in scope["headers"]
        if name not in _OF_THE_UPGRADE and not name.startswith(b"sec-websocket-")
    ]
    return {**scope, "method": "POST", "headers": kept}


def _headers(key: str, data: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"idempotency-key", key.encode("ascii")),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(data)),
    ]
