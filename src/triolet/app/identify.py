"""Ask the app who a client is: once a connection or poll, in the request's context, before any view of Triolet's.

The credential is the ``Authorization`` header's bearer token (RFC 6750 section 2.1), or a WebSocket's subprotocol
``triolet.token.<token>``, since a browser's WebSocket can send no header. It is never read from the query of a URL,
which proxies and browsers write into their logs.

What a request was let in with stands in its scope, as a :class:`Grant`. A follow on an open WebSocket is a request of
its own, and brings the grant of its connection with it: the app is not asked again, and a renewal counts for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from inspect import isawaitable
from typing import Any, Final

from quart import Response, abort, request
from quart import session as quart_session

from ..clock import wall_time
from ..errors import BadToken, ConfigError, where
from ..identity import Grant, Identity, Request
from ..transports.negotiate import Scope, header

__all__ = ["GRANT", "Identifier", "credential", "snapshot"]

logger = logging.getLogger("triolet")

GRANT: Final = "triolet.grant"
"""Under which name a request's grant stands in its scope."""

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
        scope: Scope = request.scope  # type: ignore[assignment]  # Hypercorn types it
        if self._function is None or GRANT in scope:
            return scope.get(GRANT)
        identity = await self.identify(credential(scope))
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
            abort(refusal_of(error.kind))
        if identity is not None and not isinstance(identity, Identity):
            raise TypeError(f"live.identify returns an Identity or None, not {type(identity).__name__}")
        if identity is not None and identity.expires_at is not None and identity.expires_at <= wall_time():
            abort(refusal_of("expired"))
        return identity


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
