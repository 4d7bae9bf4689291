"""Statistics of one worker process at one moment: what was counted, and what is so now."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..budget import Budget, BudgetStatistics
from ..connection import Connection, Context
from ..counters import Counts, Metrics
from ..hub import Follower, HubStatistics, LogStatistics, Window
from ..presence.presence import PresenceStatistics
from ..sockets.stages import OpenSockets
from .held import Held, look
from .lag import FollowerLag, channel_rate, follower_lag

__all__ = ["Slowest", "Statistics", "gather"]


@dataclass(frozen=True, slots=True)
class Slowest:
    """How far the slowest clients are behind. Each number is the worst of all clients, not of one and the same.

    Attributes:
        events_behind: events that were published and not sent yet.
        seconds_behind: age of the oldest of them.
        until_retention_seconds: seconds until retention drops an event that some client has not been sent; infinite if
            none is behind. It is estimated from how fast the channel went lately (``monitoring/lag.py``).
        connection: the id of the connection that retention passes first: ``live.explain`` it. None if none is behind.
    """

    events_behind: int = 0
    seconds_behind: float = 0.0
    until_retention_seconds: float = math.inf
    connection: int | None = None


@dataclass(frozen=True, slots=True)
class Statistics:
    """The statistics of one worker process at one moment.

    Attributes:
        counts: what was counted since the process began.
        hub: windows and followers.
        memory: bytes held for clients.
        behind: number of connections that have something to catch up.
        stalled: number of them whose kernel takes nothing at this moment.
        slowest: how far the slowest clients are behind.
        draining: whether the server shuts down gracefully, and wants every client to leave.
        presence: sessions of members, and the processes that hold them.
        held: what is held, and for whom.
        log: how far what is served is behind the log.
    """

    counts: Counts
    hub: HubStatistics
    memory: BudgetStatistics
    behind: int
    stalled: int
    slowest: Slowest
    draining: bool
    presence: PresenceStatistics = field(default_factory=PresenceStatistics)
    held: Held = field(default_factory=Held)
    log: LogStatistics = field(default_factory=LogStatistics)

    @property
    def connections(self) -> int:
        """Number of connections that are open."""
        return sum(self.counts.open.values())

    @property
    def long_poll_timeout_ratio(self) -> float:
        """Part of the long polls that were answered without an event because their time was over; 0 before any."""
        answered: Mapping[str, int] = self.counts.long_polls
        return answered["timeout"] / max(1, sum(answered.values()))


def gather(metrics: Metrics, budget: Budget, context: Context | None, sockets: OpenSockets | None = None) -> Statistics:
    """Gather what was counted and what is so now.

    The cost is a look at every connection: some 10 ms for 50,000 of them, and three times that if all are behind.

    Args:
        metrics: the counters.
        budget: the memory budget.
        context: what the connections share; None while the app is not served.
        sockets: the open connections as their server sees them; None where it does not tell.
    """
    connections = () if context is None else context.registry.open.values()
    behind = [conn for conn in connections if conn.subscriptions.behind]
    return Statistics(
        counts=metrics.snapshot(),
        hub=HubStatistics(0, 0, 0, 0, 0) if context is None else context.hub.statistics(),
        memory=budget.statistics(),
        behind=len(behind),
        stalled=sum(1 for conn in behind if conn.outlet.pending),
        slowest=Slowest() if context is None else _slowest(context, behind),
        draining=context is not None and context.draining.is_set(),
        presence=PresenceStatistics() if context is None or context.presence is None else context.presence.statistics(),
        held=look(budget, context, sockets or OpenSockets()),
        log=LogStatistics() if context is None else context.hub.log_statistics(),
    )


def _slowest(context: Context, behind: Iterable[Connection]) -> Slowest:
    """Find how far the slowest are behind: constant work for each follower that is behind, and for each channel."""
    # Of each channel only the furthest is looked at closely: the same events are missing to all of its followers, so
    # none of them can be worse in seconds or nearer to retention.
    furthest: dict[Window, tuple[int, Follower, int]] = {}
    for conn in behind:
        for follower in conn.subscriptions.behind:
            events = follower.events_behind
            if events > furthest.get(follower.window, (0,))[0]:
                furthest[follower.window] = events, follower, conn.id
    now = context.metrics.now()
    found: list[tuple[FollowerLag, int]] = [
        (follower_lag(follower, channel_rate(window, now), now), conn_id)
        for window, (_, follower, conn_id) in furthest.items()
    ]
    if not found:
        return Slowest()
    first = min(found, key=lambda one: one[0].until_retention)
    return Slowest(
        events_behind=max(lag.events for lag, _ in found),
        seconds_behind=max(lag.seconds for lag, _ in found),
        until_retention_seconds=first[0].until_retention,
        connection=first[1],
    )
