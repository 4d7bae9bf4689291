"""What runs for one app while it is served: one log, one hub, and what its connections share."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from types import FunctionType
from typing import Any, NamedTuple

import msgspec
import quart.app
import trio

from ..admin.contract import Desk
from ..bounds import DRAIN_SECONDS, TICKET_SECONDS
from ..budget import Budget
from ..clock import wall_time
from ..connection import Connection, Context, Registry
from ..connection.drain import drain, end_all
from ..connection.memory_pressure import relieve
from ..connection.revoke import Revoker
from ..connection.telling import Telling
from ..connection.watching import Hook, Watching
from ..counters import Metrics
from ..errors import ConfigError, NotServingError, UnknownConnectionError
from ..hub import Hub, Keeper, Policy, Reducer
from ..identity import Control, Revocations
from ..identity.control import NowControl
from ..limits import Limits
from ..log import EventLog
from ..monitoring.explain import Explanation, explain_ended, explain_open
from ..monitoring.prometheus import Exporter
from ..monitoring.snapshot import ConnectionSnapshot, snapshot
from ..monitoring.statistics import Statistics, gather
from ..presence.presence import Presence
from ..runs import Runs
from ..server.front import Upgrades
from ..sockets.server_state import ServerState
from ..sockets.stages import no_sockets
from ..transports.origins import Origins
from ..transports.polling import answer_when_draining
from .commands import Commands
from .identify import EXTENSION, Identifier
from .renewal import RENEW, renew_told
from .views import has_commands

__all__ = ["EXTENSION", "Options", "Service", "alone", "through_asgi"]

logger = logging.getLogger("triolet")


class Options(msgspec.Struct, frozen=True):
    """How an app is served, as its Triolet was told.

    Attributes:
        limits: what a client, a channel and the process may take.
        origins: whose pages may follow, besides the app's own, in normal form.
        deflate: whether permessage-deflate is agreed on.
        policy: what happens when a client stays behind, where its route says nothing else.
        in_memory: whether the log is known to this process only.
        identifier: says who a client is.
        reducers: those whose states are kept.
        hooks: what is called when a channel is watched, or no longer.
    """

    limits: Limits
    origins: frozenset[str] = frozenset()
    deflate: bool = False
    policy: Policy | None = None
    in_memory: bool = False
    identifier: Identifier = msgspec.field(default_factory=Identifier)
    reducers: list[Reducer] = msgspec.field(default_factory=list)
    hooks: list[Hook] = msgspec.field(default_factory=list)


class Life(NamedTuple):
    """What there is of an app while it is served.

    Attributes:
        context: what its connections share.
        commands: those that run.
        revoker: ends what is revoked.
        telling: writes what is only for now.
        watching: knows how many watch what.
        runs: those that go on.
    """

    context: Context
    commands: Commands
    revoker: Revoker
    telling: Telling
    watching: Watching
    runs: Runs


class Service:
    """One app's log and hub. It stands in ``app.extensions["triolet"]``.

    Attributes:
        app: the app; None outside of one.
        upgrades: serves the app's WebSockets and event streams straight on their streams; None outside of an app.
        desk: answers what the operator's listener asks; None outside of an app.
        options: how it is served.
        origins: whose pages may follow.
        server: what it shares with its server: one of ours, or one in place of that.
        random: draws when clients come back, and when they hear their first beat. Seeded in tests.
        make_log: makes the log, each time the app's life begins. Tests put another there.
    """

    def __init__(self, app: Any, make_log: Callable[[], EventLog], options: Options) -> None:
        self.app = app
        self.upgrades: Upgrades | None = None
        self.desk: Desk | None = None
        self.options = options
        self.origins = Origins(options.origins)
        self.server = self._other_server()
        self.random = random.Random()
        self._exporter = Exporter(self.statistics)
        self._registry: Registry[Connection, ConnectionSnapshot] = Registry(snapshot, options.limits.ended_connections)
        self.make_log = make_log
        self._log: EventLog | None = None
        self._life: Life | None = None
        self._stopping = trio.Event()

    @property
    def limits(self) -> Limits:
        """What a client, a channel and the process may take."""
        return self.options.limits

    @property
    def in_memory(self) -> bool:
        """Whether the log is known to this process only."""
        return self.options.in_memory

    @property
    def running(self) -> bool:
        """Whether the log is open."""
        return self._log is not None

    @property
    def log(self) -> EventLog:
        """The log, open. Raises NotServingError before the app is served and after."""
        if self._log is None:
            raise NotServingError("the event log is open while the app is served, or within `async with live:`")
        return self._log

    @property
    def life(self) -> Life:
        """What there is while the app is served. Raises NotServingError."""
        if self._life is None:
            raise NotServingError("nobody can follow before the app is served; in a test: `async with app.test_app()`")
        return self._life

    @property
    def context(self) -> Context:
        """What the app's connections share. Raises NotServingError."""
        return self.life.context

    def begin(self, server: ServerState | None) -> None:
        """The app's life begins, on a server of ours that has left this for it, or on another."""
        self.server = server or self._other_server()
        if server is None:
            logger.warning("not on `triolet serve`: everything works, but a client that stalls cannot be cut off")

    def _other_server(self) -> ServerState:
        return ServerState(Budget(self.limits.memory_bytes), Metrics(), trio.Event(), DRAIN_SECONDS)

    @property
    def presence(self) -> Presence:
        """Who is present. Raises NotServingError."""
        presence = self.context.presence
        assert presence is not None, "every service has one"
        return presence

    def check_home(self, what: str) -> None:
        """Go on only in the run that serves. Raises WrongThreadError."""
        if self._life is not None:
            self._life.context.home.check(what)

    @property
    def hub(self) -> Hub:
        """The hub. Raises NotServingError."""
        return self.context.hub

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep log and hub open until :meth:`stop`. It may be run again when it has ended.

        Raises:
            ConfigError: it runs already; an app is served by one worker of a process.
            LogError: the log cannot be opened.
        """
        if self.running:
            raise ConfigError("this app is served already in this process: make another of it for another server")
        self._stopping = trio.Event()
        log = _checked(self.app, self.make_log())
        async with log.open(), trio.open_nursery() as nursery:
            hub = Hub(log, self.limits, self.server.budget, self.server.counters)
            await nursery.start(hub.run)
            self._log = log
            counters = self.server.counters
            presence = Presence(log, self.limits, nursery, lambda: hub.channels, metrics=counters)
            control = Control(log, self.limits, nursery)
            control.on(RENEW, partial(renew_told, hub.deadlines.find_named))
            context = self._context(hub, presence, control)
            revoker = Revoker(context, control, nursery)
            if self.options.identifier.known:
                with trio.move_on_after(self.limits.away_seconds):  # a log that is away keeps no app from starting
                    await control.listens()
            elif not self.options.in_memory:
                control.begin()  # others may revoke channels and URLs, which nobody need be known for
            now = None if self.options.in_memory else NowControl(log, self.limits, nursery, control)
            telling = Telling(context, now)
            nursery.start_soon(telling.run)
            watching = Watching(hub, now, self.options.hooks, nursery)
            nursery.start_soon(watching.run)
            nursery.start_soon(context.timer.run)
            nursery.start_soon(context.turn.run)
            nursery.start_soon(context.deadlines.run)
            nursery.start_soon(relieve, context)
            nursery.start_soon(drain, context, self.server.leave_seconds)
            nursery.start_soon(answer_when_draining, context)
            commands = Commands(self.app, log, hub, nursery, context, self.server)
            nursery.start_soon(commands.drain)
            nursery.start_soon(commands.renew)
            if self.options.reducers:
                nursery.start_soon(Keeper(log, self.limits, self.options.reducers, self.random).run)
            runs = Runs(log, hub, self.limits, nursery, control, self.server)
            nursery.start_soon(partial(runs.run, others=not self.options.in_memory))
            self._life = Life(context, commands, revoker, telling, watching, runs)
            try:
                task_status.started()
                await self._stopping.wait()
                await runs.finish(0)
                await presence.finish(self.limits.goodbye_seconds)
                await control.finish(self.limits.goodbye_seconds)
            finally:
                end_all(context)
                self._log = self._life = None
                self.server = replace(self.server, sockets=no_sockets)  # the app outlives its server
                nursery.cancel_scope.cancel()

    def _context(self, hub: Hub, presence: Presence, control: Control) -> Context:
        return Context(
            hub,
            self.limits,
            self.server.budget,
            self.server.draining,
            self.random,
            wall_time,
            self._registry,
            self.options.policy,
            self.server.counters,
            presence=presence,
            control=control,
            revocations=Revocations(self.limits.write_seconds + TICKET_SECONDS),
        )

    async def finish_work(self) -> None:
        """Take no more commands and runs, and let those that go on end, while all of the app is there still.

        Bounds: Quart cancels all tasks of the app after a while of its own (``BACKGROUND_TASK_SHUTDOWN_TIMEOUT``).
        Before that, those that run still are ended, and given back.
        """
        patience: float = self.app.config["BACKGROUND_TASK_SHUTDOWN_TIMEOUT"] or 0.0
        seconds = max(0.0, patience - self.limits.goodbye_seconds)
        if self._life is not None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._life.commands.finish, seconds)
                nursery.start_soon(self._life.runs.finish, seconds)

    # --- for whoever operates it

    def statistics(self) -> Statistics:
        """Every number, at this moment. Before the app is served, and after, they are those of nobody being there."""
        context = None if self._life is None else self._life.context
        return gather(self.server.counters, self.server.budget, context, self.server.sockets())

    def exposition(self) -> tuple[str, bytes]:
        """The same for Prometheus: content type and text."""
        return self._exporter.exposition()

    def connections(self) -> tuple[ConnectionSnapshot, ...]:
        """Every open connection, at this moment. Raises NotServingError."""
        return tuple(snapshot(conn) for conn in self.context.registry.open.values())

    def explain(self, conn_id: int) -> Explanation:
        """Why a connection is slow, gapped or closed. Raises UnknownConnectionError."""
        if isinstance(conn_id, int) and conn_id in self._registry.open:
            return explain_open(self._registry.open[conn_id])
        for ended in reversed(self._registry.ended):
            if ended.id == conn_id:
                return explain_ended(ended)
        raise UnknownConnectionError(conn_id, self.limits.ended_connections)

    async def stop(self) -> None:
        """End :meth:`run`."""
        self._stopping.set()


@asynccontextmanager
async def alone(service: Service) -> AsyncIterator[None]:
    """Keep a service's log and hub open for the time of a block, without a server.

    Raises:
        LogError: the log cannot be opened.
        Exception: what the block raises, as it is and not in a group.
    """
    failed: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            await nursery.start(service.run)
            yield
        except Exception as error:  # to be raised as what it is, not in the nursery's group
            failed = error
        await service.stop()
    if failed is not None:
        raise failed


def _checked(app: Any, log: EventLog) -> EventLog:
    if app is not None and has_commands(app) and not log.can_commit:
        raise ConfigError(
            f"this app has commands, and its log ({type(log).__name__}) keeps no answers: use a log of Triolet's, "
            "or give it claim, commit and release (see triolet.EventLog)"
        )
    return log


def through_asgi(service: Service) -> bool:
    """Tell whether something stands before an app that must see what comes and what is answered: ASGI middleware around
    ``app.asgi_app`` or around the app itself, or what a subclass or a library has put in the place of Quart's."""
    app = service.app
    around = service.server.app not in (None, app)
    return around or "asgi_app" in vars(app) or not _calls_as_quart_does(type(app))


def _calls_as_quart_does(kind: type[Any]) -> bool:
    """Whether what a server calls of an app is Quart's own, and was not overridden, or put in the place of Quart's."""
    return _is_of_quart(kind.__call__) and _is_of_quart(kind.asgi_app)


def _is_of_quart(called: Any) -> bool:
    return type(called) is FunctionType and called.__code__.co_filename == quart.app.__file__
