"""What one process says of itself for the operator's page."""

from __future__ import annotations

import math
import os
from heapq import nlargest, nsmallest
from typing import Final

from ..admin.figures import Followed, Lag, Sample, Slowest
from ..bounds import ADMIN_SHOWN
from ..clock import wall_time
from ..counters import Counts
from ..monitoring.lag import channel_rate
from .looking import furthest_key, seen
from .service import Service

__all__ = ["sample"]

_LOGS: Final = {"MemoryLog": "memory", "RedisLog": "Redis", "SqliteLog": "SQLite"}


def sample(service: Service) -> Sample:
    """Look at one process. Before its app is served, and after, it says that nobody is there.

    Cost: a look at each connection, and one at each channel in memory.
    """
    looked = service.statistics()
    slowest, memory, log = looked.slowest, looked.memory, looked.log
    left = slowest.until_retention_seconds
    said = Sample(
        process=os.getpid(),
        open=dict(looked.counts.open),
        counts=_totals(looked.counts),
        followers=looked.hub.followers,
        polls=looked.held.things["polls"],
        behind=looked.behind,
        stalled=looked.stalled,
        slowest=Slowest(
            slowest.events_behind, slowest.seconds_behind, left if math.isfinite(left) else None, slowest.connection
        ),
        held=memory.held,
        ceiling=memory.ceiling,
        draining=looked.draining,
        log="",
        away=False,
        lag=Lag(log.behind_events, log.behind_seconds, log.waiting.events, log.waiting.max_events),
        channels=[],
        furthest=[],
    )
    if service.running:
        kind = type(service.log).__name__
        said.log, said.away = _LOGS.get(kind, kind), service.hub.stale
        said.channels = _most_followed(service)
        behind = [conn for conn in service.context.registry.open.values() if conn.subscriptions.behind]
        said.furthest = [seen(conn) for conn in nsmallest(ADMIN_SHOWN, behind, key=furthest_key)]
    return said


def _most_followed(service: Service) -> list[Followed]:
    # Twice as many as are shown: each worker has some of a channel's followers.
    followed = [audience for audience in service.hub.windows.opened() if audience.listeners]
    now = wall_time()
    return [
        Followed(one.window.channel, one.listeners, channel_rate(one.window, now).per_second)
        for one in nlargest(2 * ADMIN_SHOWN, followed, key=lambda audience: audience.listeners)
    ]


def _totals(counts: Counts) -> dict[str, int]:
    totals = {
        "published": counts.published,
        "delivered": counts.delivered + counts.replayed + counts.polled,
        "opened": sum(counts.opened.values()),
        "returned": counts.returned,
        "refused": counts.refused,
        "crashes": counts.crashes,
    }
    totals |= {f"gap:{reason}": number for reason, number in counts.gaps.items()}
    totals |= {f"closed:{code}:{reason}": number for (code, reason), number in counts.closed.items()}
    for kind, ages in (("written", counts.written), ("acknowledged", counts.acknowledged)):
        totals |= {f"{kind}:{at}": number for at, number in enumerate(ages.counts)}
    return totals
