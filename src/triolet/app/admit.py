"""The one way in: a client asks, and is admitted or refused, whatever its transport and however it came.

Four transports come here on three roads: straight on their socket, through ASGI behind other requests, and as a follow
on a WebSocket that is open already. What they ask is the same question, so it is asked in one place and one order:

1. **origin**: may this page ask at all? A page of another site comes with its visitor's cookies. It is refused before
   the view is asked (and so is a URL that is no text), because a view may do something (write a session, count a
   visit, look into a database), and what it does for a page that may not ask is done in the visitor's name.
2. **the view's decision**: the app's own code, in its own context, says which channel it is, or refuses. Next, so that
   a client that may not follow, or asks for what is not there, hears that and nothing else; and because its headers
   (a session that was renewed, a CORS header) stand on every later answer, a refusal too.
3. **ask**: which transport, from which cursor, how long to wait? Here a request can be wrong by itself.
4. **subscription**: what the request asks for and what the view allows become one frozen value.
5. **connection**: a stream's client is known to the hub from here on. A poll needs none.

Whatever goes wrong on the way becomes an HTTP answer here and nowhere else (:func:`refused`).

The caller gives the way out as a function, which is called for a stream alone: to open the outlet of an HTTP/2 stream
commits that stream. What is returned says what to do, and nothing here writes to a client: a new road in (polls
straight on their socket, say) is a new caller and no new order of checks.

Straight on a socket nobody watches a client while it is let in, so this has a deadline, ``limits.write_seconds``, on
every road: a view that waits longer than that is answered for.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import trio

from ..closing import EXPIRED
from ..connection import Connection, Context
from ..connection.expiry import watch
from ..errors import ConnectionEnded, LocalError, LogError, NotServingError, where
from ..hub import Subscription
from ..identity import Grant
from ..sockets.outlet import Outlet
from ..transports.negotiate import (
    Ask,
    AskError,
    Headers,
    Scope,
    TransportKind,
    check_path,
    expired,
    names_text,
    parse_after,
    parse_ask,
)
from ..wire.codec import Codec
from .identify import GRANT, take_ticket
from .renewal import Again
from .service import Service
from .views import Decision, Refusal, ask_view, find, follow_scope, with_root_path

__all__ = ["Admitted", "Arrival", "Way", "admit", "refused"]

logger = logging.getLogger("triolet")


_SAID_WITH: Final[dict[int, Headers]] = {
    401: [(b"www-authenticate", b'Bearer error="invalid_token"')],
    426: [(b"upgrade", b"websocket")],
}
"""What HTTP wants to have said with a status."""


class Way(NamedTuple):
    """How events reach a client: where they are written, how they are encoded, and how a raw message is."""

    outlet: Outlet
    codec: Codec
    raw: Callable[[Any], Any] | None = None


class Arrival(NamedTuple):
    """A client that asks for something at a URL of Triolet's.

    Attributes:
        request: its request, of :func:`triolet.app.views.find`.
        way: opens the way on which events reach it. It is called once for a stream, and never for a poll.
        again: makes the scope of a WebSocket's request anew, for what is followed on it; None is an ordinary request.
    """

    request: Any
    way: Callable[[], Way]
    again: Callable[[], Scope] | None = None


class Admitted(NamedTuple):
    """A client that may have what it asks for.

    Attributes:
        ask: what it asks for.
        decision: what the view said.
        subscription: what it follows; None is a socket that follows nothing by itself.
        conn: its connection, which follows already, and is the caller's to detach; None is a poll.
    """

    ask: Ask
    decision: Decision
    subscription: Subscription | None
    conn: Connection | None


async def admit(service: Service, arrival: Arrival) -> Admitted | Refusal:
    """Let a client in, or say why not.

    Bounds: ``limits.write_seconds``.

    Cancellation: nothing is left: no connection, no follower.
    """
    scope, upgrade = arrival.request.scope, arrival.again is not None
    kept: Headers = []
    try:
        with trio.fail_after(service.limits.write_seconds):
            context = service.context
            service.origins.check(scope, always=upgrade)
            check_path(scope)
            if service.options.identifier.known:
                take_ticket(arrival.request)
            decision = await ask_view(service.app, arrival.request)
            arrival.request.scope.pop(GRANT, None)  # or the grant would hold its scope, and that the grant
            if isinstance(decision, Refusal):
                return decision
            kept = decision.headers
            if decision.grant is not None and decision.grant.until <= trio.current_time():
                raise expired()
            ask = parse_ask(scope, service.limits, upgrade=upgrade)
            subscription = _subscribe(ask, decision)
            conn = await _connect(context, service, arrival, ask, decision, subscription)
            return Admitted(ask, decision, subscription, conn)
    except (AskError, LocalError, LogError, ConnectionEnded, trio.TooSlowError) as error:
        return refused("WebSocket" if upgrade else "request", error, kept)


def refused(kind: str, error: Exception, kept: Headers) -> Refusal:
    """Return the answer to a request that cannot be served, behind the headers that are kept of the view's."""
    if not isinstance(error, (AskError, ConnectionEnded)):
        logger.error(
            "a %s could not be served: %s", kind, error if isinstance(error, NotServingError) else where(error)
        )
    if isinstance(error, LocalError) and not isinstance(error, NotServingError):
        return Refusal(500, kept, b"")
    told = error if isinstance(error, AskError) else _unavailable(error)
    said = _SAID_WITH.get(told.status, [])
    return Refusal(told.status, [*kept, (b"content-type", b"application/json"), *said], told.body)


def _unavailable(error: Exception) -> AskError:
    closing = error.closing if isinstance(error, ConnectionEnded) else None
    if closing is EXPIRED:
        return expired()
    if isinstance(error, NotServingError):
        return AskError(503, "serving", "this app is not being served now; try again")
    return AskError(503, "log", "the event log cannot be read now; try again")


def _subscribe(ask: Ask, decision: Decision) -> Subscription | None:
    if decision.channel is not None:
        return Subscription(decision.channel, ask.after, policy=decision.policy, member=decision.member)
    if ask.transport is not TransportKind.WEBSOCKET:
        raise AskError(426, "upgrade", "this URL speaks WebSocket only")
    return None


async def _connect(
    context: Context,
    service: Service,
    arrival: Arrival,
    ask: Ask,
    decision: Decision,
    subscription: Subscription | None,
) -> Connection | None:
    """Make a stream's connection, which follows what it is to follow. If it cannot, nothing is left of it."""
    if ask.transport in (TransportKind.LONG_POLL, TransportKind.SHORT_POLL):
        return None
    way, app, grant = arrival.way(), service.app, decision.grant
    conn = Connection(
        context,
        way.outlet,
        way.codec,
        raw=way.raw if decision.raw else None,
        decide=None if decision.raw or arrival.again is None else Follows(app, arrival.again, grant),
        takes_messages=decision.handler is not None,
        grant=grant,
    )
    try:
        identifier = service.options.identifier
        if grant is not None and arrival.again is not None and not decision.raw and identifier.known:
            grant.ask = Again(app, identifier, arrival.again, service.limits.write_seconds)
        if grant is not None and grant.until < math.inf:
            watch(conn)
        if subscription is not None:
            await conn.add_follower(subscription)
        elif not decision.raw:
            conn.greet()
    except BaseException:
        conn.detach()
        raise
    return conn


class Follows:
    """Asks the view behind a URL that a client follows, with the headers of its own request."""

    __slots__ = ("_again", "_app", "_grant")

    def __init__(self, app: Any, again: Callable[[], Scope], grant: Grant | None) -> None:
        self._app = app
        self._again = again
        self._grant = grant

    async def __call__(self, url: str) -> Subscription | None:
        """Return what may be followed there; None is a no. Raises CursorError."""
        asked = follow_scope({**self._again(), GRANT: self._grant}, url)
        request = None if asked is None else find(self._app, with_root_path(self._app, asked))
        if asked is None or request is None or not names_text(asked):
            return None  # another view's answer is not read: it may have no end
        after = parse_after(asked)
        decision = await ask_view(self._app, request)
        if not isinstance(decision, Decision) or decision.channel is None:
            return None
        return Subscription(decision.channel, after, policy=decision.policy, member=decision.member)
