"""Lag: how far a client is behind, in events and in time, and how long retention leaves it."""

from __future__ import annotations

import math
from typing import NamedTuple

from ..bounds import LAG_SAMPLE_EVENTS
from ..hub import Follower, Window

__all__ = ["ChannelRate", "FollowerLag", "channel_rate", "follower_lag"]


class ChannelRate(NamedTuple):
    """How fast a channel moves.

    Attributes:
        per_second: events that are published in a second.
        oldest_at: when the oldest event in memory was published; None if none is in memory.
        keep_events: how many of its events retention keeps, as far as their sizes tell.
    """

    per_second: float
    oldest_at: float | None
    keep_events: float


class FollowerLag(NamedTuple):
    """How far a follower is behind.

    Attributes:
        events: events that it was not sent yet.
        seconds: age of the oldest of them.
        until_retention: seconds until retention drops that event; infinite if nothing is missing.
    """

    events: int
    seconds: float
    until_retention: float


def channel_rate(window: Window, now: float) -> ChannelRate:
    """Estimate how fast a channel moves, from the newest events in memory: their number, by the time since the oldest
    of them was published (one second at least). The events to come are taken to be as large as the newest 16.

    Args:
        window: the newest events.
        now: the wall clock, in seconds since 1970.

    Bounds: the work is constant.
    """
    oldest = window.events(window.first - 1, 1, 1)
    if not oldest:
        return ChannelRate(0.0, None, window.kept.events)
    newest = window.events(max(window.first - 1, window.head - LAG_SAMPLE_EVENTS), LAG_SAMPLE_EVENTS, 1 << 62)
    size = sum(len(event.json) for event in newest) / len(newest)
    since = max(1.0, now - oldest[0].published_at)
    return ChannelRate(
        (window.head - window.first + 1) / since,
        oldest[0].published_at,
        min(window.kept.events, window.kept.bytes / max(1.0, size)),
    )


def follower_lag(follower: Follower, rate: ChannelRate, now: float) -> FollowerLag:
    """Return how far a follower is behind.

    The events are exact. The seconds are exact while its next event is in memory, and else estimated from the
    channel's rate. Retention passes it when so many more events have come that its next one is dropped, or when that
    one has become too old, whichever comes first.
    """
    # The log is not asked: this is done for many followers at once, and metrics may be looked at every few seconds.
    events = follower.events_behind
    if not events:
        return FollowerLag(0, 0.0, math.inf)
    window = follower.window
    following = window.head - events + 1
    if rate.oldest_at is None:
        seconds = follower.lag().seconds
    elif following >= window.first:
        seconds = now - window.events(following - 1, 1, 1)[0].published_at
    else:
        seconds = now - rate.oldest_at + (window.first - following) / rate.per_second
    room = rate.keep_events - events
    by_count = room / rate.per_second if room > 0 and rate.per_second else (math.inf if room > 0 else 0.0)
    return FollowerLag(events, max(0.0, seconds), max(0.0, min(by_count, window.kept.seconds - seconds)))
