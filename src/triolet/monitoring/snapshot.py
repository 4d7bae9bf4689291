"""Where one client stands, frozen: for whoever operates the server, and for :func:`~.explain.explain`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import trio

from ..closing import Closing
from ..connection import Connection
from ..connection.history import Happening
from ..hub import Follower, State, Window
from ..limits import Limits

__all__ = ["ConnectionSnapshot", "FollowerSnapshot", "Freshness", "Happening", "Pace", "freshness", "pace", "snapshot"]

SAMPLE = 16
"""Newest events of a window by whose size the size of the others is guessed."""


@dataclass(frozen=True, slots=True)
class FollowerSnapshot:
    """One channel that a client follows.

    Attributes:
        channel: its name.
        state: ``live`` or ``behind``.
        cursor: how far the client was sent it.
        events_behind: events that were published and not sent to it yet.
        seconds_behind: age of the oldest of them, estimated where that event is no longer in memory.
        until_retention_seconds: when retention drops that event, if all goes on as it does; infinite where nothing
            is missing. See :func:`pace` for how it is estimated.
        since_seconds: for how long it has been behind.
        from_log: whether it has to be read from the log, and not from the newest events in memory.
        step: what its policy says (see :class:`triolet.policies.Step`), in lower case.
    """

    channel: str
    state: str
    cursor: str
    events_behind: int
    seconds_behind: float
    until_retention_seconds: float
    since_seconds: float
    from_log: bool
    step: str


@dataclass(frozen=True, slots=True)
class ConnectionSnapshot:
    """One connection, as it was when this was taken; one that has ended, as it was when it ended.

    Attributes:
        id: its number, ``conn.id`` in the app's handler.
        transport: ``websocket`` or ``sse``.
        taken_at: Trio's time of this snapshot.
        open_seconds: for how long it was open then.
        followers: what it follows.
        pending_bytes: what waits for its kernel.
        stalled_seconds: for how long its kernel has taken nothing of that.
        handler_behind: whether the app's handler leaves its messages waiting, so that nothing more is read.
        happenings: the last notable things, the oldest first.
        closing: why it ended; None while it is open.
    """

    id: int
    transport: str
    taken_at: float
    open_seconds: float
    followers: tuple[FollowerSnapshot, ...]
    pending_bytes: int
    stalled_seconds: float
    handler_behind: bool
    happenings: tuple[Happening, ...]
    closing: Closing | None


class Pace(NamedTuple):
    """How fast a channel moves: events a second, when the oldest event in memory was published (None: none is
    there), and how many of its events are kept, as far as it looks."""

    per_second: float
    oldest_at: float | None
    keep_events: float


class Freshness(NamedTuple):
    """How far a follower is behind: in events, in seconds, and in seconds until retention passes it."""

    events: int
    seconds: float
    until_retention: float


def pace(window: Window, limits: Limits, now: float) -> Pace:
    """Estimate how fast a channel moves, from the newest events in memory: their number, by the time since the oldest
    of them was published (one second at least). Of the bytes that are kept it is thought that the events to come are
    as large as the newest 16. Constant work."""
    oldest = window.events(window.first - 1, 1, 1)
    if not oldest:
        return Pace(0.0, None, limits.keep_events)
    newest = window.events(max(window.first - 1, window.head - SAMPLE), SAMPLE, 1 << 62)
    size = sum(len(event.json) for event in newest) / len(newest)
    since = max(1.0, now - oldest[0].published_at)
    return Pace(
        (window.head - window.first + 1) / since,
        oldest[0].published_at,
        min(limits.keep_events, limits.keep_bytes / max(1.0, size)),
    )


def freshness(follower: Follower, pace: Pace, limits: Limits, now: float) -> Freshness:
    """Tell how far a follower is behind. Exact in events; in seconds while its next event is in memory, and from the
    channel's pace where that is further back. Retention passes it when so many more events have come that the next
    one for it is dropped, or when that one has become too old, whichever comes first."""
    events = follower.events_behind
    if not events:
        return Freshness(0, 0.0, math.inf)
    window = follower.window
    following = window.head - events + 1
    if pace.oldest_at is None:
        seconds = follower.lag().seconds
    elif following >= window.first:
        seconds = now - window.events(following - 1, 1, 1)[0].published_at
    else:
        seconds = now - pace.oldest_at + (window.first - following) / pace.per_second
    room = pace.keep_events - events
    by_count = room / pace.per_second if room > 0 and pace.per_second else (math.inf if room > 0 else 0.0)
    return Freshness(events, max(0.0, seconds), max(0.0, min(by_count, limits.keep_seconds - seconds)))


def snapshot(conn: Connection) -> ConnectionSnapshot:
    """Look at a connection, and at all that it follows."""
    now = trio.current_time()
    pending = conn.outlet.pending
    return ConnectionSnapshot(
        id=conn.id,
        transport=conn.transport,
        taken_at=now,
        open_seconds=now - conn.history.opened_at,
        followers=tuple(_follower(follower, conn) for follower in conn.followers.values()),
        pending_bytes=pending,
        stalled_seconds=now - conn.outlet.progress_at if pending else 0.0,
        handler_behind=conn.inbox is not None and conn.inbox.full,
        happenings=conn.history.happenings,
        closing=conn.closing,
    )


def _follower(follower: Follower, conn: Connection) -> FollowerSnapshot:
    now = conn.context.metrics.now()
    window = follower.window
    fresh = freshness(follower, pace(window, conn.limits, now), conn.limits, now)
    live = follower.state is State.LIVE
    return FollowerSnapshot(
        channel=follower.channel,
        state="live" if live else "behind",
        cursor=str(follower.position),
        events_behind=fresh.events,
        seconds_behind=fresh.seconds,
        until_retention_seconds=fresh.until_retention,
        since_seconds=0.0 if live else trio.current_time() - follower.behind_since,
        from_log=not live and not window.holds(follower.position),
        step=follower.step.name.lower(),
    )
