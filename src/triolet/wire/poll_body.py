"""The body of the answer to a short or long poll."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..event import Cursor, Event, Gap
from .codec import JSON
from .messages import End, GapMessage, SnapshotMessage, end_of, gap_fields

__all__ = ["poll_body"]


class _Body(msgspec.Struct, frozen=True, omit_defaults=True):
    channel: str
    events: msgspec.Raw
    cursor: str
    gap: GapMessage | None
    live: bool
    retry: int | None
    time: int
    stale: bool = False
    filtered: bool = False
    end: End | None = None
    snapshot: SnapshotMessage | None = None


def poll_body(
    channel: str,
    events: Sequence[Event],
    gap: Gap | None,
    cursor: Cursor,
    live: bool,
    retry: int | None,
    time: int,
    stale: bool = False,
    filtered: bool = False,
    end: Event | None = None,
    snapshot: SnapshotMessage | None = None,
) -> bytes:
    """Return a page as JSON.

    Args:
        channel: the channel's name.
        events: the page, in order: what the client may see of it.
        gap: what is missing before them; None if nothing is.
        cursor: the cursor to ask with next.
        live: whether the page reaches the channel's head.
        retry: ms after which to ask again; None: not by itself.
        time: the server's clock, in ms since 1970.
        stale: whether the server cannot reach its log now.
        filtered: whether the client may not see every event: then offsets have holes that are no gaps.
        end: the event that has ended the channel, which is none of the page's; None: it goes on.
        snapshot: the channel's state, from which the events go on; None where none was asked for.
    """
    # An event's JSON goes in as it was published, without being decoded again.
    array = JSON.join([JSON.event(event) for event in events])
    said = None if gap is None else gap_fields(channel, gap)
    ended = None if end is None else end_of(end)
    return msgspec.json.encode(
        _Body(channel, msgspec.Raw(array), str(cursor), said, live, retry, time, stale, filtered, ended, snapshot)
    )
