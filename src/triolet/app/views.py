"""Ask a Quart view whether a client may follow, and what: a Decision, or a Refusal.

Every transport asks the same way, as the GET request it is: also a WebSocket's upgrade, and each follow on it. So
``before_request``, sessions and ``abort`` hold for all four, and who may follow what is decided in one place. The view
is asked in a context of its own, which is gone when it has answered: a connection may last for days, and a context with
its request would last as long.

Nothing here knows of a service, a log or a hub.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import msgspec
import trio
from quart import Response as QuartResponse
from quart import current_app
from quart.utils import encode_headers
from quart_trio.asgi import TrioASGIHTTPConnection
from werkzeug.exceptions import HTTPException

from ..errors import where
from ..hub import Policy
from ..presence.members import Member
from ..server.forwarded import rooted
from ..transports.negotiate import Headers, Scope
from ..transports.websocket import Handler

__all__ = [
    "Decision",
    "ForeignError",
    "Refusal",
    "as_get_request",
    "ask_view",
    "decided",
    "decides",
    "find",
    "follow_scope",
    "is_marked",
    "mark",
    "only_exceptions",
]

logger = logging.getLogger("triolet")

DECIDES = "decides_for_triolet"
"""The attribute that marks a view as a channel's or a socket's."""

URL_BYTES = 2_048
"""How long a URL may be that a client follows. Browsers and proxies take as much in a request's line."""

_PASSING = (trio.Cancelled, KeyboardInterrupt, SystemExit, GeneratorExit)
_OWN_HEADERS = {b"content-type", b"content-length"}


class Decision(msgspec.Struct, frozen=True):
    """A view said yes.

    Attributes:
        channel: what may be followed; None is a socket, which follows what its client asks for.
        handler: the app's, of a socket.
        raw: whether a socket carries texts and bytes as they are.
        headers: the response's (a renewed session's cookie, say).
        policy: the route's.
        member: what the client is to the others in the channel; None is nobody.
    """

    channel: str | None
    handler: Handler | None = None
    raw: bool = False
    headers: Headers = []
    policy: Policy | None = None
    member: Member | None = None


class Refusal(msgspec.Struct, frozen=True):
    """The view, or Triolet before it or after it, said no: an HTTP answer."""

    status: int
    headers: Headers
    body: bytes


class ForeignError(Exception):
    """An app's code raised what is no Exception, and neither Trio's nor the interpreter's own. Its cause is that."""


def mark(view: Any) -> Any:
    """Mark a view as one that decides, and return it."""
    setattr(view, DECIDES, True)
    return view


def is_marked(view: Any) -> bool:
    """Whether a view is one that decides."""
    return bool(getattr(view, DECIDES, False))


def decided(decision: Decision) -> Any:
    """Return an ordinary response, so that whatever looks at responses after a view works; it carries the decision."""
    response: Any = current_app.response_class(b"", mimetype="application/json")
    response.decision = decision
    return response


def find(app: Any, scope: Scope) -> Any:
    """Return the request, as the app's own class makes it, if its URL is a channel's or a socket's; else None."""
    request = TrioASGIHTTPConnection(app, scope)._create_request_from_scope(_no_push)  # type: ignore[arg-type]  # Hypercorn types the scope
    if not decides(app, request):
        return None
    request.body.set_complete()  # it has none, and a view that reads it must not wait for one
    return request


def decides(app: Any, request: Any) -> bool:
    """Whether a request's view is a channel's or a socket's, and the request one that it decides about.

    The view is marked so, under whatever name (a blueprint's is its own, and its parents', and what it was registered
    as). What else may be asked of its URL (``OPTIONS``) Quart answers by itself.
    """
    if request.method not in ("GET", "HEAD"):
        return False
    try:
        rule, _ = app.create_url_adapter(request).match(return_rule=True)
    except HTTPException:
        return False
    return is_marked(app.view_functions.get(rule.endpoint))


async def ask_view(app: Any, request: Any) -> Decision | Refusal:
    """Ask the Quart view behind a request that was found, in a context of its own, which is gone when this returns.

    Cancellation: nothing is lost.
    """
    try:
        with only_exceptions():
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


@contextmanager
def only_exceptions() -> Iterator[None]:
    """Let only Exceptions out of an app's code, and what is Trio's or the interpreter's own (a cancellation, Ctrl-C).

    Libraries that were written for asyncio raise its ``CancelledError``, which is no Exception: past every ``except
    Exception`` between a view and the top it would end the server.

    Raises:
        ForeignError: instead of such a one, and from where that was raised.
    """
    try:
        yield
    except (*_PASSING, Exception):
        raise
    except BaseException as error:
        passing = error.split(_PASSING)[0] if isinstance(error, BaseExceptionGroup) else None
        if passing is not None:
            raise passing from None
        raise ForeignError(type(error).__name__).with_traceback(error.__traceback__) from error


def follow_scope(scope: Scope, url: str) -> Scope | None:
    """Return the request that a follow by URL stands for: the connection's own, at another path. None for no URL."""
    if not url.startswith("/") or len(url) > URL_BYTES or not url.isascii() or not url.isprintable():
        return None
    path, _, query = url.partition("?")
    asked = {**scope, "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode()}
    rooted(asked)
    return asked


def as_get_request(scope: Any) -> Scope:
    """Return a WebSocket's scope as the GET request that it is."""
    scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
    return {**scope, "type": "http", "method": "GET", "scheme": scheme}


async def _no_push(_: Any) -> None:
    """There is no response to push anything with."""
