"""What an operator looks at: what is kept of a channel, the connections, and why one of them is slow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from heapq import nsmallest

import msgspec

from ..admin.bodies import (
    Closed,
    Connections,
    ConnectionSeen,
    EventKept,
    Explained,
    FollowerSeen,
    GapSeen,
    History,
)
from ..admin.contract import Answer, Question
from ..admin.gather import encoded, furthest_first
from ..bounds import ADMIN_CHANNELS_EACH, ADMIN_HISTORY_BYTES, ADMIN_LISTED
from ..connection import Connection, Context
from ..event import Cursor, Event, check_channel
from ..log.checked import read_checked, status_checked
from ..monitoring.explain import Explanation
from ..monitoring.snapshot import ConnectionSnapshot, FollowerSnapshot, snapshot
from .service import Service

__all__ = ["connections", "explained", "furthest_key", "history", "seen"]


async def history(service: Service, question: Question) -> Answer:
    """Read a page of what is kept of a channel.

    Raises:
        ChannelNameError, CursorError: no channel or cursor can be so.
        LogError, NotServingError: it cannot be read.

    Bounds: ``ADMIN_LISTED`` events, of ``ADMIN_HISTORY_BYTES``, but one at least if there is one.
    """
    log, channel = service.log, check_channel(question.values["channel"])
    limit = _limit(question.values)
    after = Cursor.parse_after(question.values.get("after", f"-{limit}"))
    newest = after.offset < 0
    status = await status_checked(log, channel)
    if newest:
        after = Cursor(status.head.epoch, max(0, status.head.offset + after.offset))
    page = await read_checked(log, channel, after, limit=limit, max_bytes=ADMIN_HISTORY_BYTES)
    gap = None if page.gap is None or newest else page.gap  # of whoever asks for the newest nothing is missing
    reached = page.events[-1].cursor if page.events else page.head
    return encoded(
        History(
            channel,
            [_event(event) for event in page.events],
            str(reached),
            str(page.head),
            None if gap is None else GapSeen(str(gap.after), str(gap.to), gap.missed, gap.reason),
            status.end is not None,
        )
    )


def connections(context: Context, values: Mapping[str, str]) -> Connections:
    """Show connections, those that are furthest behind first.

    Cost: a look at each that is open, some 10 ms for 50,000 of them.
    """
    channel, subject = values.get("channel"), values.get("subject")
    meant = [
        conn
        for conn in context.registry.open.values()
        if (channel is None or any(one.channel == channel for one in conn.followers.values()))
        and (subject is None or (conn.identity is not None and conn.identity.subject == subject))
    ]
    first = nsmallest(_limit(values), meant, key=furthest_key)
    return Connections(len(meant), sorted(map(seen, first), key=furthest_first))


def explained(explanation: Explanation) -> Explained:
    """Return an explanation as it is sent."""
    return Explained(0, explanation.verdict, list(explanation.sentences), _seen(explanation.connection))


def _limit(values: Mapping[str, str]) -> int:
    return int(values.get("limit", ADMIN_LISTED // 10))


def seen(conn: Connection) -> ConnectionSeen:
    """Return a connection as it is sent."""
    return _seen(snapshot(conn))


def furthest_key(conn: Connection) -> tuple[int, int]:
    """Where a connection stands in the order of :func:`furthest_first`, without a snapshot of it."""
    return -max([follower.events_behind for follower in conn.subscriptions.behind], default=0), conn.id


def _event(event: Event) -> EventKept:
    time = int(event.published_at * 1000)
    return EventKept(str(event.cursor), event.name, msgspec.Raw(event.json), time, event.key, event.fold)


def _seen(taken: ConnectionSnapshot) -> ConnectionSeen:
    furthest = sorted(taken.followers, key=lambda follower: -follower.events_behind)[:ADMIN_CHANNELS_EACH]
    return ConnectionSeen(
        0,
        taken.id,
        taken.transport,
        taken.open_seconds,
        taken.subject,
        taken.expires_seconds,
        taken.pending_bytes,
        taken.stalled_seconds,
        taken.handler_behind,
        len(taken.followers),
        [_follower(follower) for follower in furthest],
        None if taken.closing is None else Closed(taken.closing.code, taken.closing.reason),
    )


def _follower(taken: FollowerSnapshot) -> FollowerSeen:
    return FollowerSeen(
        taken.channel,
        taken.state,
        taken.cursor,
        taken.events_behind,
        taken.seconds_behind,
        taken.until_retention_seconds if math.isfinite(taken.until_retention_seconds) else None,
        taken.step,
    )
