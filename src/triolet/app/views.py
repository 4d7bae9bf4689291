"""Ask a Quart view whether a client may follow, and what: a Decision, or a Refusal.

Every transport asks the same way, as the GET request it is: also a WebSocket's upgrade, and each follow on it. So
``before_request``, sessions and ``abort`` hold for all four, and who may follow what is decided in one place. The view
is asked in a context of its own, which is gone when it has answered: a connection may last for days, and a context with
its request would last as long.

Nothing here knows of a service, a log or a hub.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from quart import Response as QuartResponse
from quart import current_app, request
from quart.utils import encode_headers
from quart_trio.asgi import TrioASGIHTTPConnection
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import RequestRedirect

from ..errors import DataError, only_exceptions, printable, where
from ..hub import Allow, Policy, Source, Subscription
from ..identity import Grant
from ..presence.members import Member
from ..server.forwarded import rooted
from ..transports.negotiate import FULL, Answer, Form, Headers, Scope, Wish, can_be_followed
from ..transports.websocket import SUBPROTOCOL, Handler
from ..wire.http_answer import check_head

__all__ = [
    "Decision",
    "Refusal",
    "as_get_request",
    "as_request",
    "ask_view",
    "body_of",
    "decided",
    "decides",
    "find",
    "find_command",
    "follow_scope",
    "has_commands",
    "headers_of",
    "is_command",
    "is_marked",
    "is_ours",
    "mark",
    "mark_command",
    "matched_once",
    "posted",
    "redirects_to_ours",
    "takes_posts",
    "with_root_path",
]

logger = logging.getLogger("triolet")

DECIDES = "decides_for_triolet"
"""The attribute that marks a view as a channel's or a socket's."""

COMMANDS = "takes_commands_for_triolet"
"""The attribute that marks a view as a command's."""

DECIDED = "triolet_said_yes"
"""The attribute that marks a request of which a view has decided that it may follow."""

MATCH = "match_for_triolet"
"""The attribute of a request that was found, with the rule and the values that its URL matches."""

QUARTS_CONTEXTS = "quart.ctx"
"""Where Quart's own contexts stand, whatever their classes are called in its version."""

SCRIPT = "triolet.static"
"""The endpoint of the browser's script."""


OWN_POSTS = "triolet.post."
"""What the endpoints begin with that are posted to, below Triolet's own path."""

_OWN_HEADERS = {b"content-type", b"content-length"}


class Decision(msgspec.Struct, frozen=True):
    """A view said yes.

    Attributes:
        channel: what may be followed; None is a socket, which follows what its client asks for.
        handler: the app's, of a socket.
        raw: whether a socket carries texts and bytes as they are.
        subprotocols: those that a WebSocket can agree on.
        headers: the response's (a renewed session's cookie, say).
        policy: the route's.
        member: what the client is to the others in the channel; None is nobody.
        grant: what the client is let in with; None where nobody asks: no ``@live.identify``, no handler.
        allow: which events the client may see; None is all of them.
        recheck: within how many seconds the view is asked again; None is never.
        snapshot: where the channel's state comes from; None where the route has none.
        form: how its event streams look, where the URL says nothing of it.
    """

    channel: str | None
    handler: Handler | None = None
    raw: bool = False
    subprotocols: tuple[str, ...] = (SUBPROTOCOL,)
    headers: Headers = []
    policy: Policy | None = None
    member: Member | None = None
    grant: Grant | None = None
    allow: Allow | None = None
    recheck: float | None = None
    snapshot: Source | None = None
    form: Form = FULL

    def subscription(self, wish: Wish) -> Subscription | None:
        """What is followed, as a client wants it; None where there is no channel."""
        if self.channel is None:
            return None
        return Subscription(
            self.channel,
            wish.after,
            policy=self.policy,
            member=self.member,
            allow=self.allow,
            recheck=self.recheck,
            snapshot=self.snapshot if wish.state else None,
            folds=wish.folds,
        )


class Refusal(Answer, frozen=True):
    """The view, or Triolet before it or after it, said no."""


def mark(view: Any) -> Any:
    """Mark a view as one that decides, and return it."""
    setattr(view, DECIDES, True)
    return view


def is_marked(view: Any) -> bool:
    """Whether a view is one that decides."""
    return bool(getattr(view, DECIDES, False))


def mark_command(view: Any) -> Any:
    """Mark a view as a command's, and return it."""
    setattr(view, COMMANDS, True)
    return view


def has_commands(app: Any) -> bool:
    """Whether any view of an app's is a command's."""
    return any(getattr(view, COMMANDS, False) for view in app.view_functions.values())


def is_command(app: Any, request: Any) -> bool:
    """Whether a POST to a request's URL is a command."""
    return _command_match(app, request) is not None


def _command_match(app: Any, request: Any) -> Any:
    match = _match(app, request, "POST")
    return match if match is not None and getattr(app.view_functions.get(match[0].endpoint), COMMANDS, False) else None


def decided(decision: Decision) -> Any:
    """Return an ordinary response, so that whatever looks at responses after a view works; it carries the decision."""
    current: Any = request  # a proxy of werkzeug's
    setattr(current._get_current_object(), DECIDED, True)
    response: Any = current_app.response_class(b"", mimetype="application/json")
    response.decision = decision
    return response


def find(app: Any, scope: Scope) -> Any:
    """Return the request, as the app's own class makes it, if its URL is a channel's or a socket's; else None."""
    request = as_request(app, scope)
    if request.method not in ("GET", "HEAD"):
        return None
    match = _match(app, request)
    if match is None or not is_marked(app.view_functions.get(match[0].endpoint)):
        return None
    # Quart matches the URL again when the view is asked: it is given this (see `matched_once`), not a whole context:
    # that has the request, and where its view is never asked both would be left to the garbage collector.
    setattr(request, MATCH, match)
    request.body.set_complete()  # it has none, and a view that reads it must not wait for one
    return request


def matched_once(app: Any) -> None:
    """Have an app's contexts take the match of a request that was found, in place of matching its URL again."""
    make = app.request_context

    def request_context(request: Any) -> Any:
        context = make(request)
        match = vars(request).pop(MATCH, None)
        # A context of the app's own may have a hook there.
        if match is not None and type(context).match_request.__module__ == QUARTS_CONTEXTS:
            context.match_request = partial(_give, request, *match)
        return context

    app.request_context = request_context


def _give(request: Any, rule: Any, values: Any) -> None:
    request.url_rule, request.view_args = rule, values


def posted(app: Any, scope: Scope, body: bytes) -> Any:
    """Return the request, as the app's own class makes it, with a body that is there already."""
    request = as_request(app, {**scope})
    request.body.set_result(body)
    return request


def find_command(app: Any, request: Any) -> Any:
    """Return a POST request, to be matched no second time, if its URL is a command's; else None."""
    match = _command_match(app, request)
    if match is None:
        return None
    setattr(request, MATCH, match)
    return request


def decides(app: Any, request: Any) -> bool:
    """Whether a request's view is a channel's or a socket's, and the request one that it decides about.

    The view is marked so, under whatever name (a blueprint's is its own, and its parents', and what it was registered
    as). What else may be asked of its URL (``OPTIONS``) Quart answers by itself.
    """
    if request.method not in ("GET", "HEAD"):
        return False
    endpoint = _endpoint(app, request)
    return endpoint is not None and is_marked(app.view_functions.get(endpoint))


def is_ours(app: Any, request: Any) -> bool:
    """Whether a GET of a request's URL would be Triolet's to answer: a channel's, a socket's, the script's."""
    endpoint = _endpoint(app, request, "GET")
    return endpoint is not None and (endpoint == SCRIPT or is_marked(app.view_functions.get(endpoint)))


def takes_posts(app: Any, request: Any) -> bool:
    """Whether a POST to a request's URL would be Triolet's to answer."""
    endpoint = _endpoint(app, request, "POST")
    return endpoint is not None and endpoint.startswith(OWN_POSTS)


def as_request(app: Any, scope: Scope) -> Any:
    """Return the request, as the app's own class makes it."""
    return TrioASGIHTTPConnection(app, scope)._create_request_from_scope(_no_push)  # type: ignore[arg-type]  # Hypercorn types the scope


def _endpoint(app: Any, request: Any, method: str | None = None) -> str | None:
    match = _match(app, request, method)
    return None if match is None else match[0].endpoint


def _match(app: Any, request: Any, method: str | None = None) -> Any:
    """Return the rule and the values that a request's URL matches, for its own method or another one; None: nothing,
    or where it is redirected to."""
    try:
        return app.create_url_adapter(request).match(method=method, return_rule=True)
    except HTTPException:
        return None


def redirects_to_ours(app: Any, request: Any) -> bool:
    """Whether Quart redirects a GET of a request's URL (to add a slash, say) to one that Triolet answers."""
    adapter = app.create_url_adapter(request)
    try:
        adapter.match(method="GET")
    except RequestRedirect as redirect:
        path = unquote(urlsplit(redirect.new_url).path).removeprefix(request.root_path)
        with suppress(HTTPException):
            return is_marked(app.view_functions.get(adapter.match(path, method="GET")[0]))
    except HTTPException:
        pass
    return False


async def ask_view(app: Any, request: Any) -> Decision | Refusal:
    """Ask the Quart view behind a request that was found, in a context of its own, which is gone when this returns.

    Cancellation: nothing is lost.
    """
    try:
        with only_exceptions():
            response = await app.handle_request(request)
        headers = headers_of(response)
    except Exception as error:  # an app in testing or debug mode raises; its client is refused all the same
        logger.exception("the view of %s failed: %s", printable(request.path), where(error))
        return Refusal(500, [], b"")
    decision: Decision | None = getattr(response, "decision", None)
    if decision is None and getattr(request, DECIDED, False) and response.status_code < 300:
        logger.error("a view said yes, and something after it (after_request?) put another response in its place")
        return Refusal(500, [], b"")
    if decision is None:
        return Refusal(response.status_code, headers, await body_of(response))
    kept = [(name, value) for name, value in headers if name not in _OWN_HEADERS]
    return msgspec.structs.replace(decision, headers=kept)


def headers_of(response: Any) -> Headers:
    """Return the headers of an app's response, as they are sent. Raises DataError: no answer can begin like this."""
    try:
        headers: Headers = encode_headers(response.headers)
    except UnicodeEncodeError as error:
        raise DataError(f"no header of an answer is {error.object!r:.80}: it is no text that can be encoded") from None
    check_head(response.status_code, headers)
    return headers


async def body_of(response: Any) -> bytes:
    """Return a response's body; none where it cannot be read, as then its status still says the most.

    Quart's own ``Response``, where it was given nothing or a generator, reads from it by asyncio, which is not there.
    """
    if response.status_code in (204, 304):
        return b""
    try:
        with only_exceptions():
            data = response.get_data()
            return bytes(await data if isinstance(response, QuartResponse) else data)
    except Exception as error:
        logger.error("the body of a view's response is left out, it cannot be read: %s", where(error))
        return b""


def follow_scope(scope: Scope, url: str) -> Scope | None:
    """Return the request that a follow by URL stands for: the connection's own, at another path. None for no URL."""
    if not can_be_followed(url):
        return None
    path, _, query = url.partition("?")
    return {**scope, "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode()}


def with_root_path(app: Any, scope: Any) -> Any:
    """Return a scope whose path includes its ``root_path``, as :func:`~triolet.server.forwarded.rooted` does, with an
    app's pages known."""
    return rooted(scope, partial(_has, app, scope))


def _has(app: Any, scope: Any, path: str) -> bool:
    """Whether an app has a page at a path, for any method."""
    asked = {**as_get_request(scope), "method": "GET", "path": path, "root_path": ""}
    request = as_request(app, asked)
    try:
        app.create_url_adapter(request).match()
    except NotFound:
        return False
    except HTTPException:
        pass  # it is there, for others, or elsewhere
    return True


def as_get_request(scope: Any) -> Scope:
    """Return a WebSocket's scope as the GET request that it is."""
    scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
    return {**scope, "type": "http", "method": "GET", "scheme": scheme}


async def _no_push(_: Any) -> None:
    """There is no response to push anything with."""
