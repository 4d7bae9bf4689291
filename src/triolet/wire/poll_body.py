"""The body of the answer to a short or long poll, of one channel or of many."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..event import Cursor, Event, Gap
from .codec import JSON
from .messages import End, GapMessage, Refused, SnapshotMessage, Tell, end_of, gap_fields

__all__ = ["Followed", "many_body", "poll_body"]


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
    end: End | None = None
    snapshot: SnapshotMessage | None = None
    told: tuple[Tell, ...] = ()


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
    end: Event | None = None,
    snapshot: SnapshotMessage | None = None,
    told: Sequence[Event] = (),
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
        end: the event that has ended the channel, which is none of the page's; None: it goes on.
        snapshot: the channel's state, from which the events go on; None where none was asked for.
        told: what was only for now. None of it is an event of the channel's.
    """
    # An event's JSON goes in as it was published, without being decoded again.
    array = JSON.join([JSON.event(event) for event in events])
    said = None if gap is None else gap_fields(channel, gap)
    ended = None if end is None else end_of(end)
    return msgspec.json.encode(
        _Body(
            channel,
            msgspec.Raw(array),
            str(cursor),
            said,
            live,
            retry,
            time,
            stale,
            filtered,
            ended,
            snapshot,
            _tells(told),
        )
    )


def _tells(told: Sequence[Event]) -> tuple[Tell, ...]:
    return tuple([Tell(one.channel, one.name, msgspec.Raw(one.json), one.key) for one in told])


class Followed(msgspec.Struct, frozen=True, omit_defaults=True):
    """One channel of a poll of many.

    Attributes:
        url: the URL that is followed, as the client wrote it.
        channel: the channel's name.
        cursor: up to where the client was told it, with this answer.
        filtered: whether the client may not see every event.
    """

    url: str | None
    channel: str
    cursor: str
    filtered: bool = False


class _ManyBody(msgspec.Struct, frozen=True, omit_defaults=True):
    follows: list[Followed]
    events: msgspec.Raw
    gaps: list[GapMessage]
    refused: list[Refused]
    cursor: str
    live: bool
    retry: int | None
    time: int
    stale: bool = False
    ends: list[End] = []
    snapshots: list[SnapshotMessage] = []
    told: tuple[Tell, ...] = ()


def many_body(
    events: Sequence[Event],
    gaps: Sequence[tuple[str, Gap]],
    follows: Sequence[Followed],
    refused: Sequence[Refused],
    cursor: str,
    live: bool,
    retry: int | None,
    time: int,
    stale: bool,
    ends: Sequence[Event],
    snapshots: Sequence[SnapshotMessage],
    told: Sequence[Event],
) -> bytes:
    """Return the pages of many channels as JSON.

    Args:
        events: of all channels, those of each in order.
        gaps: what is missing before them, each with its channel.
        follows: the channels that are followed.
        refused: what is not, or no longer.
        cursor: the cursor of all channels, to ask with next.
        live: whether all pages reach their channel's head.
        retry: ms after which to ask again; None: not by itself.
        time, stale: as of :func:`poll_body`.
        ends: the events that have ended some of the channels, which are none of the pages'.
        snapshots: the states of some, from which their events go on.
        told: what was only for now, of all channels.
    """
    array = JSON.join([JSON.event(event) for event in events])
    said = [gap_fields(channel, gap) for channel, gap in gaps]
    return msgspec.json.encode(
        _ManyBody(
            [*follows],
            msgspec.Raw(array),
            said,
            [*refused],
            cursor,
            live,
            retry,
            time,
            stale,
            [end_of(event) for event in ends],
            [*snapshots],
            _tells(told),
        )
    )
