"""Ask the app who a client is: once a connection or poll, in the request's context, before any view of Triolet's.

The credential is the ``Authorization`` header's bearer token (RFC 6750 section 2.1), or a WebSocket's subprotocol
``triolet.token.<token>``, since a browser's WebSocket can send no header. It is never read from the query of a URL,
which proxies and browsers write into their logs. A ticket is (``?ticket=``), where neither of both came: it is good
once, for half a minute, and stands for an identity already, so the app's function is not asked. It is cut out of the
request before a view, a log line or a handler sees that (:func:`take_ticket`).

What a request was let in with stands in its scope, as a :class:`Grant`. A follow on an open WebSocket is a request of
its own, and brings the grant of its connection with it: the app is not asked again, and a renewal counts for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from inspect import isawaitable
from typing import Any, Final, NoReturn
from urllib.parse import unquote_plus

from quart import Response, abort, current_app, request
from quart import session as quart_session
from werkzeug.exceptions import HTTPException

from ..clock import wall_time
from ..errors import BadToken, ConfigError, LogError, where
from ..identity import Grant, Identity, Request, tickets
from ..transports.negotiate import Scope, header

__all__ = ["EXTENSION", "GRANT", "Identifier", "credential", "snapshot", "take_ticket", "with_token", "without_ticket"]

logger = logging.getLogger("triolet")

GRANT: Final = "triolet.grant"
"""Under which name a request's grant stands in its scope."""

EXTENSION: Final = "triolet"
"""Under which name the service stands in a Quart app's ``extensions``."""

TICKET: Final = "triolet.ticket"
"""Under which name a request's ticket stands in its scope, until it is used."""

TOKEN_SUBPROTOCOL: Final = "triolet.token."


class Identifier:
    """The app's ``@live.identify``, and asking it. An app without one knows nobody."""

    def __init__(self) -> None:
        self._function: Callable[[str | None], Any] | None = None

    @property
    def known(self) -> bool:
        """Whether the app has a function that says who a client is."""
        return self._function is not None

    def use(self, function: Callable[[str | None], Any]) -> None:
        """Ask this function from now on.

        Raises:
            ConfigError: there is one already, or this is none.
        """
        if not callable(function):
            raise ConfigError(f"live.identify takes a function of the token (or a JWT), not {type(function).__name__}")
        if self._function is not None:
            raise ConfigError("this Triolet has a live.identify already: one function says who a client is")
        self._function = function

    async def grant(self) -> Grant | None:
        """Return what the present request is let in with; None where the app has no ``@live.identify``.

        It is asked once a request: the grant stays in the request's scope.

        Raises:
            HTTPException: the credential is no good (401), or cannot be checked now (503), or the app refuses.
        """
        if self._function is None:
            return None
        scope: Scope = request.scope  # type: ignore[assignment]  # Hypercorn types it
        if GRANT in scope:
            return scope.get(GRANT)
        token, ticket = credential(scope), scope.pop(TICKET, None)
        identity = await (self.identify(token) if token is not None or ticket is None else self._redeem(ticket))
        grant = scope[GRANT] = Grant(identity, wall_time())
        return grant

    async def identify(self, token: str | None) -> Identity | None:
        """Ask the app about a credential, in the present request's context.

        Raises:
            HTTPException: as :meth:`grant`.
        """
        assert self._function is not None, "it was looked for before"
        try:
            answer = self._function(token)
            identity = await answer if isawaitable(answer) else answer
        except BadToken as error:
            _refuse(error.kind)
        except HTTPException:
            _count("refused")
            raise
        if identity is not None and not isinstance(identity, Identity):
            raise TypeError(f"live.identify returns an Identity or None, not {type(identity).__name__}")
        return _good(identity)

    async def _redeem(self, ticket: str) -> Identity | None:
        """Use a ticket. Raises HTTPException as :meth:`grant`."""
        try:
            service = current_app.extensions[EXTENSION]
            identity = await tickets.redeem(service.log, ticket, wall_time(), service.context.revocations)
        except LogError as error:
            logger.error("a ticket cannot be checked: %s", where(error))
            _refuse("keys_away")
        if identity is None:
            _refuse("ticket")
        return _good(identity)


def _good(identity: Identity | None) -> Identity | None:
    if identity is not None and identity.expires_at is not None and identity.expires_at <= wall_time():
        _refuse("expired")
    _count("none" if identity is None else "ok")
    return identity


def _refuse(kind: str) -> NoReturn:
    _count(kind)
    abort(refusal_of(kind))


def _count(outcome: str) -> None:
    current_app.extensions[EXTENSION].server.counters.authentications[outcome] += 1


def credential(scope: Scope) -> str | None:
    """Return the token that a request brings; None where it brings none."""
    scheme, _, token = (header(scope, b"authorization") or "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    for key, value in scope["headers"]:
        if key == b"sec-websocket-protocol":
            for name in value.decode("latin-1").split(","):
                if name.strip().startswith(TOKEN_SUBPROTOCOL):
                    return name.strip()[len(TOKEN_SUBPROTOCOL) :] or None
    return None


def with_token(scope: Scope, token: str) -> Scope:
    """Return a request as if it had come with another credential."""
    kept = [
        (name, value)
        for name, value in scope["headers"]
        if name != b"authorization" and not (name == b"sec-websocket-protocol" and TOKEN_SUBPROTOCOL.encode() in value)
    ]
    query, _ = _without_ticket(scope["query_string"])
    authorization = (b"authorization", f"Bearer {token}".encode("utf-8", "replace"))
    return {**scope, "headers": [*kept, authorization], "query_string": query}


def take_ticket(asked: Any) -> None:
    """Take the ticket out of a request's URL, so that no view and no line of a log sees it."""
    if b"ticket=" not in asked.query_string:
        return
    query, ticket = _without_ticket(asked.query_string)
    asked.query_string = query
    asked.scope = {**asked.scope, "query_string": query, TICKET: ticket}


def without_ticket(again: Callable[[], Scope]) -> Scope:
    """Return a request that is made anew, for a view that is asked again, without the ticket that was used up."""
    scope = again()
    return {**scope, "query_string": _without_ticket(scope["query_string"])[0]}


def _without_ticket(query: bytes) -> tuple[bytes, str | None]:
    fields = query.split(b"&")
    found = [field for field in fields if field.startswith(b"ticket=")]
    ticket = unquote_plus(found[0].partition(b"=")[2].decode("latin-1")) if found else None
    return b"&".join(field for field in fields if field not in found), ticket


def refusal_of(kind: str) -> Response:
    """Return the answer to a credential that is no good, or that cannot be checked now. It says nothing of it."""
    if kind == "keys_away":
        return Response(
            b'{"error":"keys","message":"tokens cannot be checked now; try again"}',
            status=503,
            headers={"Retry-After": "5"},
            content_type="application/json",
        )
    word, sentence = (
        ("expired", "this token has expired") if kind == "expired" else ("token", "this token is not accepted")
    )
    return Response(
        f'{{"error":"{word}","message":"{sentence}"}}',
        status=401,
        headers={"WWW-Authenticate": f'Bearer error="invalid_token", error_description="{sentence}"'},
        content_type="application/json",
    )


def snapshot() -> Request:
    """Return the present request as it is, for a handler that outlives it."""
    scope: Any = request.scope
    query = scope["query_string"].decode("latin-1")
    path = (scope.get("raw_path") or request.path.encode()).decode("latin-1")
    return Request(
        url=f"{path}?{query}" if query else path,
        path=request.path,
        args=dict(request.args),
        headers={name.lower(): value for name, value in reversed(list(request.headers.items()))},
        cookies=dict(request.cookies),
        session=_session(),
        remote=request.remote_addr,
    )


def _session() -> dict[str, Any]:
    try:
        return dict(quart_session)
    except Exception as error:  # an interface of the app's own, which may be no mapping
        logger.warning("a session cannot be read for conn.request: %s", where(error))
        return {}
