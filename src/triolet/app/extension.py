"""Triolet, the Quart extension: what an app calls."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Literal, TypeVar

from quart import Blueprint, has_request_context
from quart_trio import QuartTrio

from ..bounds import TICKET_SECONDS
from ..clock import wall_time
from ..connection import Connection
from ..errors import ConfigError
from ..event import Event
from ..http.app_task import bounded_websockets
from ..hub import Policy, Reducer, check_policy
from ..identity import Identity, Revocation, tickets
from ..limits import Limits
from ..log import EventLog
from ..monitoring.explain import Explanation
from ..monitoring.snapshot import ConnectionSnapshot
from ..monitoring.statistics import Statistics
from ..transports.origins import check_origins
from .apps import Apps, is_in_memory
from .desk import ServiceDesk
from .identify import EXTENSION, Identifier
from .lifespan import LifespanConnection, live_with
from .presence import Presence
from .quart_asgi import HTTPConnection, WebSocketConnection
from .routes import ChannelOptions, Routes, check_rule, check_subprotocols, socket_endpoint, socket_view, stream_form
from .runner import Runner
from .serve import Clients
from .service import Options, Service

__all__ = ["Triolet"]

View = TypeVar("View", bound=Callable[..., Any])


class Triolet(Runner):
    """Live updates for a Quart-Trio app: channels that clients follow, and events published to them.

    ::

        app = QuartTrio(__name__)
        live = Triolet(app, log="sqlite:///orders.db")

        @live.channel("/orders/<order_id>/events")
        async def order_events(order_id: str) -> str:
            return f"orders/{order_id}"

    Args:
        app: the app, or None where :meth:`init_app` is called later (the factory pattern).
        log: where events are kept: ``memory:``, ``sqlite:///file.db`` (relative to the working directory),
            ``sqlite:////absolute/file.db``, ``redis://host:6379/0`` (and what else :func:`triolet.log.open_log`
            knows), or an :class:`EventLog` of your own.
        limits: what a client, a channel and the process may take.
        origins: origins besides the own one whose pages may follow, with their visitors' cookies
            (``https://shop.example``); ``https://*.shop.example`` stands for all names below one, ``*`` for any page
            that brings no cookie. Browsers are told so (CORS), of Triolet's own URLs. Behind a proxy that ends TLS,
            list the public origin.
        deflate: agree on permessage-deflate (RFC 7692) with WebSocket clients that offer it. Each message is
            deflated by itself, an event once for all. It saves bytes and costs CPU; off is faster.
        policy: what happens when a client stays behind, where a channel's route names no other: one of
            :mod:`triolet.policies`. None catches up, however long it takes.

    Raises:
        ConfigError: ``app`` can have no Triolet (see :meth:`init_app`), or ``origins`` lists what is no origin, or
            ``log``, ``limits`` or ``policy`` is none.

    Without a server (in a script that publishes) it is an async context manager::

        async with Triolet(log="sqlite:///orders.db") as live:
            await live.publish("orders/A123", {"state": "paid"})
    """

    def __init__(
        self,
        app: QuartTrio | None = None,
        *,
        log: str | EventLog = "memory:",
        limits: Limits | None = None,
        origins: Collection[str] = (),
        deflate: bool = False,
        policy: Policy | None = None,
    ) -> None:
        if not isinstance(log, str) and not hasattr(log, "open"):  # a wrapper around a log is one, whatever its class
            raise ConfigError(f'log= is a URL, as "sqlite:///orders.db", or an EventLog, not {log!r:.60}')
        if not isinstance(limits, Limits | None):
            raise ConfigError(f"limits= is a Limits, as Limits(stall_seconds=5), not {limits!r:.60}")
        if policy is not None:
            check_policy(policy)
        self.limits = limits or Limits()
        self.origins = check_origins(origins)
        self._routes = Routes(self.limits)
        self._identifier = Identifier()
        self._hooks = []
        options = Options(
            self.limits,
            self.origins,
            deflate,
            policy,
            is_in_memory(log),
            self._identifier,
            self._routes.reducers,
            self._hooks,
        )
        self._apps = Apps(log, options)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: QuartTrio) -> None:
        """Serve an app: its routes of ours, its script, and a log and a hub for as long as it is served.

        Raises:
            ConfigError: the app is no QuartTrio, or has a Triolet already.
        """
        if not isinstance(app, QuartTrio):
            raise ConfigError(f"Triolet runs on Trio: use quart_trio.QuartTrio, not {type(app).__name__}")
        if EXTENSION in app.extensions:
            raise ConfigError("this app has a Triolet already")
        app.asgi_http_class = HTTPConnection
        app.asgi_lifespan_class = LifespanConnection
        app.asgi_websocket_class = WebSocketConnection
        app.websocket_class = bounded_websockets(app.websocket_class)
        service = app.extensions[EXTENSION] = self._apps.add(app)
        service.upgrades = Clients(service)
        service.desk = ServiceDesk(service)
        self._routes.give_to(app)
        live_with(app, service)

    # --- routes

    def channel(
        self,
        rule: str,
        *,
        policy: Policy | None = None,
        member: Callable[..., Any] | None = None,
        allow: Callable[[Event, Identity | None], bool] | None = None,
        recheck: float | None = None,
        snapshot: Callable[..., Any] | Reducer | None = None,
        format: Literal["triolet", "plain"] = "triolet",
        done: bool = False,
        render: Callable[[Event], str | None] | None = None,
        blueprint: Blueprint | None = None,
        endpoint: str | None = None,
        **options: Any,
    ) -> Callable[[View], View]:
        """Serve a channel's events at a URL, over all four transports.

        The view is an ordinary Quart view of a GET request: it may look at the request and session, and refuse
        with ``abort``. It returns the name of the channel. It is asked once per connection, and once per poll.

        Args:
            rule: the URL rule, as for ``app.route``.
            policy: what happens when a client of this route stays behind; None is the app's. Polls have none: they
                ask for what they want.
            member: who a client is to the others (see :meth:`presence`): a function of the URL's values as the view is,
                called after it in the same context, that returns an id, a :class:`Member`, or None for nobody. One that
                is not ``async`` is called in the event loop.
            allow: which events a client may see: an ordinary function ``check(event, identity)`` that says True or
                False, of each event and at once; the identity is the client's then, None where it is nobody. An event
                about which it raises is not sent.
            recheck: within how many seconds the view is asked again whether a client that is connected may still
                follow, as the GET request that it came with; ``live.identify`` is not asked again, as the identity is
                the connection's. A refusal (4xx), or another channel, ends what is followed, announced. A view that
                fails says neither yes nor no. At least 1.
            snapshot: the channel's state, for clients that ask for it (``?snapshot=1``): they are given it where they
                come without a cursor, or have lost events, and go on from its cursor. A :class:`Reducer`; or a function
                ``state_of(channel)`` or ``state_of(channel, identity)``, async or not, that returns ``(data, cursor)``.
            format: ``"plain"``: in event streams only the app's events are events, and all else is comments. A URL
                asks for either with ``?format=``.
            done: whether a plain stream that ends for good ends with ``data: [DONE]``; a URL asks with ``?done=1``.
            render: what an event's data are in plain streams, in place of JSON: an ordinary function of the event that
                returns a text (of HTML, say), or None to leave it out. It is called in the event loop, once for an
                event and not for each client. An event about which it raises, or of which it makes more than
                ``limits.event_bytes``, is left out of these streams, and that is logged.
            blueprint: register it there and not on the app.
            endpoint: the endpoint's name, if not the function's.
            options: what else ``app.route`` takes, as there: ``host``, ``subdomain``, ``defaults``,
                ``strict_slashes``, ``merge_slashes``, ``provide_automatic_options``.

        Raises:
            ConfigError: ``methods`` or ``websocket`` was given: a channel is asked with GET, over every transport;
                or an ``allow``, ``recheck``, ``snapshot``, ``format`` or ``render`` that cannot be.
        """
        check_rule(rule)
        form = stream_form(format, done, self._routes.rendered(render))
        decides = ChannelOptions(policy, member, allow, recheck, snapshot, form)
        decides.check()

        def register(view: View) -> View:
            self._routes.add(rule, endpoint or view.__name__, self._routes.channel(view, decides), blueprint, options)
            return view

        return register

    def socket(
        self,
        rule: str,
        *,
        raw: bool = False,
        subprotocols: Collection[str] = (),
        blueprint: Blueprint | None = None,
        endpoint: str | None = None,
        **options: Any,
    ) -> Callable[[View], View]:
        """Serve a WebSocket on which a client follows many channels by their URLs, and talks with a handler.

        The handler, ``async def handler(conn, **url_values)``, runs in the connection's nursery; when it returns, the
        connection is closed, and when the client goes, it is cancelled: what it says in a ``finally:`` then needs a
        scope of its own, ``with trio.move_on_after(2, shield=True): await live.publish(…)``; who has left,
        :meth:`presence` tells in any case. Without one (do not use the result as a decorator), the URL is an endpoint
        to follow channels on, also by an event stream or by polls, with ``?follow=URL`` for each channel. Who may
        connect is for ``before_request``.

        Args:
            rule: the URL rule, as for ``app.route``.
            raw: text and bytes in and out as they are, instead of JSON messages; nothing can be followed then.
            subprotocols: those of the app's own that can be agreed on (``ocpp1.6``), beside ``triolet.1`` where the
                socket is not raw. Of those that a client offers, in its order, the first that is known is agreed on,
                and is ``conn.subprotocol``; with none in common the WebSocket opens without one (RFC 6455 section
                4.2.2), at which a browser gives up, and a handler may close.
            blueprint: register it there and not on the app.
            endpoint: the endpoint's name.
            options: as for :meth:`channel`.

        Raises:
            ConfigError: as :meth:`channel`, or a subprotocol's name is no token, or Triolet's.
        """
        check_rule(rule)
        handlers: list[Any] = []
        self._routes.add(
            rule,
            endpoint or socket_endpoint(rule, options),
            socket_view(handlers, raw, check_subprotocols(subprotocols)),
            blueprint,
            options,
        )

        def register(handler: View) -> View:
            handlers[:] = [handler]
            return handler

        return register

    def command(
        self,
        rule: str,
        *,
        blueprint: Blueprint | None = None,
        endpoint: str | None = None,
        **options: Any,
    ) -> Callable[[View], View]:
        """Take commands at a URL: a POST view that takes effect once, however often it is asked.

        ::

            @live.command("/orders/<order_id>/pick")
            async def pick(order_id: str, command: Command) -> Any:
                await command.publish(f"orders/{order_id}", {"state": "packed"}, name="order-status")
                return {"picked": order_id}

        The view is an ordinary Quart view, given a :class:`Command` besides the URL's values: ``before_request``,
        sessions, ``abort`` and error handlers hold for it. It is asked with ``POST`` and an ``Idempotency-Key`` header,
        or on a WebSocket of Triolet's with a ``command`` message.

        Its answer is kept in the log for ``limits.command_seconds``, together with what it has published, in one
        transaction: a repeat of the same id, by the same client at the same URL, gets the kept answer (with
        ``Idempotency-Replayed: true``) from whichever process, and nothing happens. Kept are the status, the body and
        the headers of the view's answer, but no cookie. Answers of 5xx, 408, 425 and 429 are not kept, nor is a 504,
        which answers for a view that has not returned in ``limits.command_run_seconds``: a repeat runs the view again,
        and so it does where a process has died. So what the view does elsewhere (a database, a payment) is made
        idempotent with ``command.id``.

        What it answers as JSON is held to what :meth:`publish` takes (no NaN, no key twice, nothing nested deeper than
        32), since it is kept, and read by clients of all kinds: else it has failed, and nothing is published.

        It runs to its end although its client goes, and with it its request's context: session, ``after_request`` and
        teardown functions have their turn when the view has returned.

        Where ``@live.identify`` says nobody, the ids of all such clients are of one kind: they must be hard to guess,
        as UUIDs are.

        Args:
            rule: the URL rule, as for ``app.route``.
            blueprint: register it there and not on the app.
            endpoint: the endpoint's name, if not the function's.
            options: as for :meth:`channel`.

        Raises:
            ConfigError: ``methods`` or ``websocket`` was given, a value of the URL is called ``command``, or the view
                takes none by that name.
        """
        check_rule(rule)

        def register(view: View) -> View:
            self._routes.add_command(rule, endpoint or view.__name__, view, blueprint, options)
            return view

        return register

    def identify(self, function: View) -> View:
        """Say who a client is: ``async def who(token: str | None) -> Identity | None``, or a ready :class:`JWT`.

        It is asked once a connection, and once a poll, in the request's context and before any view of Triolet's, with
        the credential that came: the ``Authorization`` header's bearer token, or a WebSocket's subprotocol
        ``triolet.token.<token>``; None where none came (sessions and cookies are in the context as ever). A ticket in
        the URL (``?ticket=``, see :meth:`ticket`), where neither came, stands for its identity, and nobody is asked. It
        returns an :class:`Identity`, or None for nobody; ``abort`` refuses, and so does :class:`BadToken`, with 401.

        Raises:
            ConfigError: there is one already, or this is no function.
        """
        self._identifier.use(function)
        self._routes.take_posts()
        return function

    async def identity(self) -> Identity | None:
        """Who asks in the present request, as ``live.identify`` says; None is nobody, or an app without one.

        In any view: it is asked once a request, however often this is called.

        Raises:
            ConfigError: there is no request here. In a socket's handler it is ``conn.identity``.
            HTTPException: the credential is no good (401), or the app refuses: as in a view of Triolet's.
        """
        if not has_request_context():
            raise ConfigError("live.identity() is for a view: a live.socket's handler has conn.identity")
        grant = await self._identifier.grant()
        return None if grant is None else grant.identity

    async def revoke(
        self,
        *,
        subject: str | None = None,
        session: str | None = None,
        channel: str | None = None,
        channels: str | Iterable[str] | None = None,
        url: str | None = None,
    ) -> bool:
        """Take back what clients were let in with: all that is named must be so, and one at least is.

        ::

            @app.post("/logout")
            async def logout():
                identity = await live.identity()
                await live.revoke(session=identity.session)
                return "", 204

            await live.revoke(subject="ann", channels=["rooms/7", "rooms/7/*"])  # out of all that the room has

        Connections end with 4403, ``revoked``; of one that follows several channels only those that are named are
        taken away, announced. Polls that wait are answered 403. When this returns, no byte of an event goes out to
        them any more in this process; the others are told through the log, and do the same within a second. What was
        decided before, and is only being opened, ends too. It does not keep anybody from coming back: that is for
        ``live.identify`` and the views.

        Args:
            subject: an identity's.
            session: an identity's.
            channel: what is followed, by its whole name. Without a subject or session it ends all that follow it.
            channels: a pattern of what is followed, or up to 64 of which one matches: ``*`` stands for any characters.
                Where a name comes from a user, and may hold a ``*``, it is for ``channel``.
            url: the path of the URL that is followed, or that a connection was opened at, as in the app's rules and
                without a query.

        Returns:
            Whether all processes have been told. If not, the log is away: it is in force here, and they are told when
            it is back.

        Raises:
            ConfigError: nothing is named.
            ChannelNameError, DataError: a name that nobody has.
            NotServingError: the app is not being served.
            WrongThreadError: called from another thread or event loop than the app's; nothing was revoked.

        Cancellation: it is in force all the same, and told.
        """
        service = self.service
        service.check_home("Triolet.revoke")
        return await service.life.revoker.revoke(Revocation.of(subject, session, channel, url, channels))

    async def ticket(self, identity: Identity, seconds: float = TICKET_SECONDS) -> str:
        """Make a ticket for a client that can only write a URL, as a browser's EventSource: ``/orders?ticket=…``.

        It is good once, whatever asks: a stream, a WebSocket or a poll. So an EventSource that comes back by itself
        with its ticket is answered 401, and stops; its page gets another ticket, and opens another one. Clients get
        one for themselves by ``POST /triolet/ticket``, with their credential.

        Args:
            identity: what the client is let in as. Its ``expires_at`` ends the connection as ever.
            seconds: for how long it is good, at most 30: a URL may stand in somebody's log.

        Raises:
            ConfigError: no such time can be, or the log can keep no tickets (see :meth:`EventLog.claim`).
            DataError: it is no identity, or its claims are no JSON.
            LogError: the log cannot be written; there is no ticket.
            NotServingError, WrongThreadError: as :meth:`publish`.

        Cancellation: nobody knows the ticket.
        """
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= TICKET_SECONDS:
            raise ConfigError(f"a ticket is good for at most {TICKET_SECONDS} seconds, not {seconds!r:.60}")
        service = self.service
        service.check_home("Triolet.ticket")
        return await tickets.issue(service.log, identity, seconds, wall_time())

    # --- presence

    def presence(self, channel: str) -> Presence:
        """Who follows a channel, in all processes of the same log: those whose route has a ``member``.

        ::

            @live.channel("/orders/<order_id>/events", member=lambda order_id: session["user"])
            async def order_events(order_id: str) -> str:
                return f"orders/{order_id}"

            @live.channel("/orders/<order_id>/presence")
            async def order_presence(order_id: str) -> str:
                return live.presence(f"orders/{order_id}").channel     # a channel of its own: join and leave

            @app.get("/orders/<order_id>/members")
            async def members(order_id: str):
                roster = await live.presence(f"orders/{order_id}").roster()
                return {"members": roster.members, "cursor": str(roster.cursor)}

        Raises:
            ChannelNameError: no channel can be called so.
        """
        return Presence(channel, lambda: self.service.presence)

    # --- for whoever operates it

    def statistics(self) -> Statistics:
        """Every number that an operator watches, at this moment and of this process, frozen.

        Cost: a look at each connection, some 10 ms for 50,000 of them.

        Raises:
            NotServingError, ConfigError: as :attr:`service`.
        """
        return self.service.statistics()

    def connections(self) -> tuple[ConnectionSnapshot, ...]:
        """Where every open connection stands, frozen: for a support page, not for a loop.

        Raises:
            NotServingError, WrongThreadError: as :meth:`publish`.
        """
        return self._at_home("Triolet.connections").connections()

    def explain(self, connection: Connection | int) -> Explanation:
        """Say why one client is slow, gapped or closed: ``print(live.explain(conn.id))``.

        Args:
            connection: the handler's connection, or its ``id``. It may have ended: the last
                ``limits.ended_connections`` are remembered.

        Raises:
            UnknownConnectionError: no such connection is open or remembered in this process.
            WrongThreadError: called from another thread or event loop than the app's.
        """
        id: Any = getattr(connection, "id", connection)
        return self._at_home("Triolet.explain").explain(id)

    # --- life

    @property
    def service(self) -> Service:
        """The log and hub of the present app; outside of any app's context, of the one that is served.

        Raises:
            NotServingError: there is no app yet.
            ConfigError: several are served, and none of them is the present one.
        """
        return self._apps.present

    async def __aenter__(self) -> Triolet:
        await self._apps.open()
        return self

    async def __aexit__(self, *error: Any) -> Any:
        return await self._apps.close(*error)
