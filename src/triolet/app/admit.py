"""The one way in: a client asks, and is admitted or refused, whatever its transport and however it came.

Four transports come here on three roads: straight on their socket, through ASGI behind other requests, and as a follow
on a WebSocket that is open already. What they ask is the same question, so it is asked in one place and one order:

1. **origin**: may this page ask at all? A page of another site comes with its visitor's cookies. It is refused before
   the view is asked (and so is a URL that is no text), because a view may do something (write a session, count a
   visit, look into a database), and what it does for a page that may not ask is done in the visitor's name.
2. **the view's decision**: the app's own code, in its own context, says which channel it is, or refuses. Next, so that
   a client that may not follow, or asks for what is not there, hears that and nothing else; and because its headers
   (a session that was renewed, a CORS header) stand on every later answer, a refusal too.
   Whatever was revoked since it was asked, and speaks of this client, is as good as a no.
3. **ask**: which transport, from which cursor, how long to wait? Here a request can be wrong by itself.
4. **subscription**: what the request asks for and what the view allows become one frozen value.
5. **connection**: a stream's client is known to the hub from here on. A poll needs none.

Whatever goes wrong on the way becomes an HTTP answer here and nowhere else (:func:`refused`).

The caller gives the way out as a function, which is called for a stream alone: to open the outlet of an HTTP/2 stream
commits that stream. What is returned says what to do, and nothing here writes to a client: a new road in is a new
caller and no new order of checks.

Straight on a socket nobody watches a client while it is let in, so this has a deadline, ``limits.write_seconds``, on
every road: a view that waits longer than that is answered for.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final, NamedTuple

import trio

from ..closing import EXPIRED, RESTARTING, REVOKED
from ..connection import Connection, Context
from ..connection.access import Access
from ..connection.expiry import watch
from ..connection.recheck import UndecidedError
from ..errors import ConnectionEnded, LocalError, LogError, NotServingError, SnapshotError, where
from ..hub import Subscription
from ..identity import Grant
from ..identity.revocations import WaitingPoll
from ..sockets.outlet import Outlet
from ..transports.many import parse_many
from ..transports.negotiate import (
    Ask,
    AskError,
    Headers,
    Scope,
    TransportKind,
    Wish,
    check_path,
    expired,
    header,
    is_not_now,
    names_text,
    parse_ask,
    parse_wish,
)
from ..transports.polling import ENDED_POLLS
from ..wire.codec import Codec
from ..wire.many_codec import MANY
from .identify import GRANT, take_ticket, without_ticket
from .many import Many, Said, ask_views
from .renewal import Again
from .service import Service
from .views import Decision, Refusal, ask_view, find, follow_scope, with_root_path

__all__ = ["Admitted", "Arrival", "Way", "admit", "refused"]

logger = logging.getLogger("triolet")

POLLS: Final = (TransportKind.LONG_POLL, TransportKind.SHORT_POLL)

SOCKET_ONLY: Final = (
    "this URL speaks WebSocket only: it has a handler, or is raw, and both need a connection that goes two ways. To "
    "follow many channels without one, ask a live.socket without a handler"
)


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
        again: makes the request's scope anew, for what is followed on it, and to ask its view again. It is kept no
            longer than for that.
        upgrade: whether it is a WebSocket's.
    """

    request: Any
    way: Callable[[], Way]
    again: Callable[[], Scope]
    upgrade: bool = False


class Admitted(NamedTuple):
    """A client that may have what it asks for.

    Attributes:
        ask: what it asks for.
        decision: what the view said.
        subscription: what it follows; None is a socket that follows nothing by itself.
        conn: its connection, which follows already, and is the caller's to detach; None is a poll.
        poll: for a poll: has it ended by what is revoked while it is answered.
        many: what it follows where that is many channels by one request.
    """

    ask: Ask
    decision: Decision
    subscription: Subscription | None
    conn: Connection | None
    poll: Callable[[], AbstractContextManager[WaitingPoll]]
    many: Many | None = None

    @property
    def until(self) -> float:
        """Trio's time at which what it was let in with ends."""
        return math.inf if self.decision.grant is None else self.decision.grant.until


async def admit(service: Service, arrival: Arrival) -> Admitted | Refusal:
    """Let a client in, or say why not.

    Bounds: ``limits.write_seconds``.

    Cancellation: nothing is left: no connection, no follower.
    """
    scope, upgrade = arrival.request.scope, arrival.upgrade
    kept: Headers = []
    try:
        # No `fail_after`: to catch and raise for the sake of one more `with` costs some microseconds of every client.
        with trio.CancelScope(deadline=trio.current_time() + service.limits.write_seconds):
            context = service.context
            service.origins.check(scope, always=upgrade)
            check_path(scope)
            since = context.revocations.position
            if service.options.identifier.known:
                take_ticket(arrival.request)
            decision = await ask_view(service.app, arrival.request)
            arrival.request.scope.pop(GRANT, None)  # or the grant would hold its scope, and that the grant
            if isinstance(decision, Refusal):
                return decision
            kept = decision.headers
            if decision.grant is not None and decision.grant.until <= trio.current_time():
                raise expired()
            if decision.channel is None and not upgrade:
                return await _admit_many(service, arrival, since, decision)
            ask = parse_ask(scope, service.limits, upgrade=upgrade, form=decision.form)
            subscription = decision.subscription(ask.wish)
            if await _has_the_end(context, scope, ask, subscription):
                return Refusal(204, kept, b"")
            path = arrival.request.path
            # No await between these and being found by a revocation: as a connection, or as a poll.
            _check_revoked(context, since, ask, decision, path)
            conn = await _connect(context, service, arrival, ask, decision, subscription)
            poll = partial(context.revocations.poll, decision.grant, decision.channel or "", path)
            return Admitted(ask, decision, subscription, conn, poll)
        raise trio.TooSlowError
    except (AskError, LocalError, LogError, ConnectionEnded, trio.TooSlowError) as error:
        return refused("WebSocket" if upgrade else "request", error, kept)


def refused(kind: str, error: Exception, kept: Headers) -> Refusal:
    """Return the answer to a request that cannot be served, behind the headers that are kept of the view's."""
    if not isinstance(error, (AskError, ConnectionEnded, SnapshotError)):  # that is logged where it is raised
        logger.error(
            "a %s could not be served: %s", kind, error if isinstance(error, NotServingError) else where(error)
        )
    if isinstance(error, LocalError) and not isinstance(error, NotServingError):
        return Refusal(500, kept, b"")
    answer = (error if isinstance(error, AskError) else _unavailable(error)).answer
    return Refusal(answer.status, [*kept, *answer.headers], answer.body)


def _unavailable(error: Exception) -> AskError:
    closing = error.closing if isinstance(error, ConnectionEnded) else None
    if closing in ENDED_POLLS:
        return AskError(*ENDED_POLLS[closing])
    if closing is EXPIRED:
        return expired()
    if closing is RESTARTING or isinstance(error, NotServingError):
        return AskError(503, "serving", "this app is not being served now; try again")
    return AskError(503, "log", "the event log cannot be read now; try again")


async def _admit_many(service: Service, arrival: Arrival, since: int, decision: Decision) -> Admitted | Refusal:
    """Let a client in that follows many channels by one request, at a socket's URL. Raises as :func:`_connect`."""
    if decision.raw or decision.handler is not None:
        raise AskError(426, "upgrade", SOCKET_ONLY)
    context, request, grant = service.context, arrival.request, decision.grant
    ask = parse_many(request.scope, service.limits)
    many = await ask_views(Follows(service.app, arrival.again, grant).decide, ask, since)
    if isinstance(many, Refusal):
        return many
    context.metrics.follows_refused += len(many.refused)
    # No await between these and being found by a revocation: as a connection, or as a poll.
    _check_revoked(context, since, ask, decision, request.path)
    if ask.transport in POLLS:
        held = many.waiting(context, Access(grant, request.path, request.root_path))
        return Admitted(ask, decision, None, None, partial(context.revocations.holding, held), many)
    conn = await _connect(context, service, arrival, ask, decision, None, many)
    return Admitted(ask, decision, None, conn, partial(context.revocations.poll, grant, "", request.path), many)


async def _has_the_end(context: Context, scope: Scope, ask: Ask, subscription: Subscription | None) -> bool:
    """Whether an EventSource comes back to a channel whose end it was told. No stream can tell it to stay away: it
    comes back after each, but not after a 204 (HTML standard, section 9.2.3). Others, which say in the URL how far they
    have come, are told of the end once more."""
    if ask.transport is not TransportKind.SSE or subscription is None or header(scope, b"last-event-id") is None:
        return False
    window = (await context.hub.windows.open(subscription.channel)).window
    return window.ended and subscription.after == window.cursor


def _check_revoked(context: Context, since: int, ask: Ask, decision: Decision, path: str) -> None:
    """Refuse what was decided before it was revoked. Raises ConnectionEnded."""
    identity = None if decision.grant is None else decision.grant.identity
    closing = context.revocations.since(since, identity, decision.channel, (path,))
    if closing is not None:
        if closing is REVOKED:
            context.metrics.revoked["polls" if ask.transport in POLLS else "connections"] += 1
        raise ConnectionEnded(closing)


async def _connect(
    context: Context,
    service: Service,
    arrival: Arrival,
    ask: Ask,
    decision: Decision,
    subscription: Subscription | None,
    many: Many | None = None,
) -> Connection | None:
    """Make a stream's connection, which follows what it is to follow. If it cannot, nothing is left of it."""
    if ask.transport in POLLS:
        return None
    way, app, grant = arrival.way(), service.app, decision.grant
    identifier = service.options.identifier
    again = partial(without_ticket, arrival.again) if identifier.known else arrival.again
    asks_again = arrival.upgrade or decision.recheck or (many is not None and many.rechecks)
    follows = Follows(app, again, grant) if asks_again else None
    access = Access(
        grant,
        arrival.request.path,
        arrival.request.root_path,
        follows.subscription if follows is not None and arrival.upgrade and not decision.raw else None,
        follows.ask_again if follows is not None else None,
    )
    conn = Connection(
        context,
        way.outlet,
        MANY[way.codec] if many is not None else ask.form.codec(way.codec),
        raw=way.raw if decision.raw else None,
        access=access,
        takes_messages=decision.handler is not None,
    )
    try:
        if grant is not None and arrival.upgrade and not decision.raw and identifier.known:
            grant.ask = Again(app, identifier, arrival.again, service.limits.write_seconds)
        if grant is not None and grant.until < math.inf:
            watch(conn)
        if subscription is not None:
            access.own = subscription.channel
            await conn.subscriptions.add(subscription)
            if conn.closing is not None:
                raise ConnectionEnded(conn.closing)
        elif many is not None:
            await many.follow(conn)
        elif not decision.raw:
            conn.greet()
    except BaseException:
        conn.detach()
        raise
    return conn


class Follows:
    """Asks the view behind a URL that a client follows, with the headers of its own request, and asks it again."""

    __slots__ = ("_again", "_app", "_grant")

    def __init__(self, app: Any, again: Callable[[], Scope], grant: Grant | None) -> None:
        self._app = app
        self._again = again
        self._grant = grant

    async def subscription(self, url: str) -> Subscription | None:
        """Return what may be followed there; None is a no. Raises CursorError."""
        decision, wish = await self.decide(url)
        return decision.subscription(wish) if isinstance(decision, Decision) else None

    async def decide(self, url: str) -> Said:
        """Return what the view there says, None where there is none; and how it is wanted. Raises CursorError."""
        asked = follow_scope(self._scope(), url)
        request = self._find(asked)
        if asked is None or request is None:
            return None, Wish(None)
        wish = parse_wish(asked)
        return await ask_view(self._app, request), wish

    async def ask_again(self, url: str | None) -> str | None:
        """Return the channel that may be followed there now; None is a no.

        Args:
            url: what was followed; None is the connection's own URL.

        Raises:
            UndecidedError: the view failed, or has no answer at the moment.
        """
        request = self._find(self._scope() if url is None else follow_scope(self._scope(), url))
        if request is None:
            return None
        decision = await ask_view(self._app, request)
        if isinstance(decision, Decision):
            return decision.channel
        if is_not_now(decision.status):  # to a view's own rate limit, a recheck may be one too many
            raise UndecidedError(f"the view of {request.path!r:.200} answered {decision.status}")
        return None

    def _scope(self) -> Scope:
        return {**self._again(), GRANT: self._grant}

    def _find(self, asked: Scope | None) -> Any:
        """The request, if it is one for a view of Triolet's: another view's answer is not read, it may have no end."""
        if asked is None or not names_text(asked):
            return None
        return find(self._app, with_root_path(self._app, asked))
