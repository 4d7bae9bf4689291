"""Snapshots of one connection, frozen: for an operator of the server, and for ``live.explain``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import trio

from ..closing import Closing
from ..connection import Connection
from ..connection.history import Happening
from ..hub import Follower, State
from .lag import channel_rate, follower_lag

__all__ = ["ConnectionSnapshot", "FollowerSnapshot", "snapshot"]


@dataclass(frozen=True, slots=True)
class FollowerSnapshot:
    """One channel that a client follows.

    Attributes:
        channel: the channel's name.
        state: ``live`` or ``behind``.
        cursor: up to where the client was sent the channel.
        events_behind: events that were published and not sent to it yet.
        seconds_behind: age of the oldest of them, estimated where that event is no longer in memory.
        until_retention_seconds: seconds until retention drops that event, if all goes on as it does; infinite if
            nothing is missing. It is estimated from the channel's rate.
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
    """One connection, as it was when this was taken. A connection that has ended is shown as it was when it ended.

    Attributes:
        id: its number: ``conn.id`` in the app's handler.
        transport: ``websocket`` or ``sse``.
        taken_at: Trio's time of this snapshot.
        open_seconds: for how long it was open then.
        followers: the channels that it follows.
        pending_bytes: bytes that wait for its kernel.
        stalled_seconds: for how long its kernel has taken nothing of them.
        handler_behind: whether the app's handler leaves its messages waiting, so that nothing more is read.
        happenings: the last notable things that happened to it, the oldest first.
        closing: why it ended; None while it is open.
        subject: the subject of its client's identity; None is nobody.
        expires_seconds: for how much longer that identity is good, 0 where it is no more; None is without end.
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
    subject: str | None = None
    expires_seconds: float | None = None


def snapshot(conn: Connection) -> ConnectionSnapshot:
    """Take a snapshot of a connection, and of all that it follows."""
    now = trio.current_time()
    pending, grant, identity = conn.outlet.pending, conn.grant, conn.identity
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
        subject=None if identity is None else identity.subject,
        expires_seconds=None if grant is None or grant.until == math.inf else max(0.0, grant.until - now),
    )


def _follower(follower: Follower, conn: Connection) -> FollowerSnapshot:
    now = conn.context.metrics.now()
    window = follower.window
    lag = follower_lag(follower, channel_rate(window, now), now)
    live = follower.state is State.LIVE
    return FollowerSnapshot(
        channel=follower.channel,
        state="live" if live else "behind",
        cursor=str(follower.position),
        events_behind=lag.events,
        seconds_behind=lag.seconds,
        until_retention_seconds=lag.until_retention,
        since_seconds=0.0 if live else trio.current_time() - follower.behind_since,
        from_log=not live and not window.holds(follower.position),
        step=follower.step.name.lower(),
    )
