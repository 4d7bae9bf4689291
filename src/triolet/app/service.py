"""What runs for one app while it is served: one log, one hub, and what its connections share."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import trio

from ..budget import Budget
from ..clock import wall_time
from ..connection import Connection, Context, Registry
from ..connection.drain import drain, end_all
from ..connection.memory_pressure import relieve
from ..counters import Metrics
from ..errors import ConfigError, NotServingError, UnknownConnectionError
from ..hub import Hub, Policy
from ..limits import Limits
from ..log import EventLog
from ..monitoring.explain import Explanation, explain_ended, explain_open
from ..monitoring.prometheus import Exporter
from ..monitoring.snapshot import ConnectionSnapshot, snapshot
from ..monitoring.statistics import Statistics, gather
from ..presence.presence import Attendance
from ..sockets.server_state import ServerState

if TYPE_CHECKING:
    from .serve import AppUpgrades

__all__ = ["Service"]

logger = logging.getLogger("triolet")

LEAVE_SECONDS: Final[float] = 5
"""Within which everybody is asked to leave, where the server does not say."""


class Service:
    """One app's log and hub. It stands in ``app.extensions["triolet"]``.

    Attributes:
        app: the app; None outside of one.
        upgrades: who serves the app's WebSockets.
        attended: whether a server of ours serves the app, and says when it drains.
        in_memory: whether the log is known to this process only.
        random: draws when clients come back, and when they hear their first beat. Seeded in tests.
        make_log: makes the log, each time the app's life begins. Tests put another there.
    """

    upgrades: AppUpgrades

    def __init__(
        self,
        app: Any,
        make_log: Callable[[], EventLog],
        limits: Limits,
        origins: frozenset[str],
        *,
        deflate: bool = False,
        policy: Policy | None = None,
        in_memory: bool = False,
    ) -> None:
        self.app = app
        self.in_memory = in_memory
        self.limits = limits
        self.origins = origins
        self.deflate = deflate
        self.policy = policy
        self.attended = False
        self.draining = trio.Event()
        self._leave_seconds = LEAVE_SECONDS
        self.random = random.Random()
        self.budget = Budget(limits.memory_bytes)
        self.metrics = Metrics()
        self._exporter = Exporter(self.statistics)
        self._registry: Registry[Connection, ConnectionSnapshot] = Registry(snapshot, limits.ended_connections)
        self.make_log = make_log
        self._log: EventLog | None = None
        self._context: Context | None = None
        self._stopping = trio.Event()

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
    def context(self) -> Context:
        """What the app's connections share. Raises NotServingError."""
        if self._context is None:
            raise NotServingError("the event log is open while the app is served, or within `async with live:`")
        return self._context

    def begin(self, server: ServerState | None) -> None:
        """The app's life begins, on a server of ours that has left this for it, or on another."""
        self.attended = server is not None
        if server is None:
            server = ServerState(Budget(self.limits.memory_bytes), Metrics(), trio.Event(), LEAVE_SECONDS)
        self.draining = server.draining
        self._leave_seconds = server.leave_seconds
        self.budget = server.budget
        self.metrics = server.counters
        if not self.attended:
            logger.warning("not on `triolet serve`: everything works, but a client that stalls cannot be cut off")

    @property
    def attendance(self) -> Attendance:
        """Who is present. Raises NotServingError."""
        attendance = self.context.attendance
        assert attendance is not None, "every service has one"
        return attendance

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
        log = self.make_log()
        async with log.open(), trio.open_nursery() as nursery:
            hub = Hub(log, self.limits, self.budget, self.metrics)
            await nursery.start(hub.run)
            self._log = log
            attendance = Attendance(log, self.limits, nursery, lambda: hub.channels)
            self._context = context = Context(
                hub,
                self.limits,
                self.budget,
                self.draining,
                self.random,
                wall_time,
                self._registry,
                self.policy,
                self.metrics,
                attendance=attendance,
            )
            nursery.start_soon(context.timer.run)
            nursery.start_soon(relieve, context)
            nursery.start_soon(drain, context, self._leave_seconds)
            try:
                task_status.started()
                await self._stopping.wait()
                await attendance.finish(self.limits.goodbye_seconds)
            finally:
                end_all(context)
                self._log = self._context = None
                nursery.cancel_scope.cancel()

    # --- for whoever operates it

    def statistics(self) -> Statistics:
        """Every number, at this moment. Before the app is served, and after, they are those of nobody being there."""
        return gather(self.metrics, self.budget, self._context)

    def exposition(self) -> tuple[str, bytes]:
        """The same for Prometheus: content type and text."""
        return self._exporter.exposition()

    def connections(self) -> tuple[ConnectionSnapshot, ...]:
        """Every open connection, at this moment. Raises NotServingError."""
        return tuple(snapshot(conn) for conn in self.context.registry.open.values())

    def explain(self, conn_id: int) -> Explanation:
        """Why a connection is slow, gapped or closed. Raises UnknownConnectionError."""
        if conn_id in self._registry.open:
            return explain_open(self._registry.open[conn_id])
        for ended in reversed(self._registry.ended):
            if ended.id == conn_id:
                return explain_ended(ended)
        raise UnknownConnectionError(conn_id, self.limits.ended_connections)

    async def stop(self) -> None:
        """End :meth:`run`."""
        self._stopping.set()
