"""The body of the answer to a short or long poll."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..event import Cursor, Event, Gap
from .codec import JSON
from .messages import GapMessage, gap_fields

__all__ = ["poll_body"]


class _Body(msgspec.Struct, frozen=True, omit_defaults=True):
    channel: str
    events: msgspec.Raw
    cursor: str
    gap: GapMessage | None
    live: bool
    retry: int
    time: int
    stale: bool = False
    filtered: bool = False


def poll_body(
    channel: str,
    events: Sequence[Event],
    gap: Gap | None,
    cursor: Cursor,
    live: bool,
    retry: int,
    time: int,
    stale: bool = False,
    filtered: bool = False,
) -> bytes:
    """Return a page as JSON.

    Args:
        channel: the channel's name.
        events: the page, in order: what the client may see of it.
        gap: what is missing before them; None if nothing is.
        cursor: the cursor to ask with next.
        live: whether the page reaches the channel's head.
        retry: ms after which to ask again.
        time: the server's clock, in ms since 1970.
        stale: whether the server cannot reach its log now.
        filtered: whether the client may not see every event: then offsets have holes that are no gaps.
    """
    # An event's JSON goes in as it was published, without being decoded again.
    array = JSON.join([JSON.event(event) for event in events])
    said = None if gap is None else gap_fields(channel, gap)
    return msgspec.json.encode(
        _Body(channel, msgspec.Raw(array), str(cursor), said, live, retry, time, stale, filtered)
    )
