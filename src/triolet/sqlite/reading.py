"""How a SqliteLog's file is read: pages, how far a channel has come, and which channels there are.

All of it runs in a connection's worker thread, and in few steps: see file.py.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final, TypeAlias

import apsw
import msgspec

from ..event import Cursor, Event
from ..limits import Retention
from ..log.contract import Page, Status, resume, with_hole
from .changes import where_now
from .life import check_life

__all__ = ["events_of", "read_channels", "read_page", "read_status"]

_STATUS: Final = """
SELECT
    epoch,
    (SELECT ifnull(max(number), 0) FROM changes),
    (
        SELECT json_array(
            c.head,
            json(CASE WHEN c.ended THEN (
                SELECT json_array(offset, name, CAST(json AS TEXT), key, at, fold) FROM events
                WHERE channel = c.id AND offset = c.head AND (c.ended = 1 OR at >= ?)
            ) END),
            c.deleted
        ) FROM channels AS c WHERE c.name = ?
    )
FROM log"""
_CHANNELS: Final = """
SELECT
    (SELECT epoch FROM log),
    (SELECT ifnull(max(number), 0) FROM changes),
    (
        SELECT json_group_array(json_array(name, ended, at)) FROM (
            SELECT c.name, c.ended, (SELECT at FROM events WHERE channel = c.id AND offset = c.head) AS at
            FROM channels AS c
            WHERE c.name >= CAST(? AS TEXT) AND c.name < CAST(? AS TEXT) AND c.oldest <= c.head
            ORDER BY c.name LIMIT ?
        )
    )"""
_READ: Final = """
SELECT
    (SELECT epoch FROM log),
    (SELECT ifnull(max(number), 0) FROM changes),
    c.head,
    ifnull(
        (
            SELECT offset FROM events
            WHERE channel = c.id AND offset >= max(c.oldest, c.head - :keep_events + 1)
            AND (at >= :too_old OR c.ended = 1 AND offset = c.head)
            AND (before >= c.total - :keep_bytes OR offset = c.head)
            ORDER BY offset LIMIT 1
        ),
        c.head + 1
    ),
    (
        SELECT json_group_array(json_array(e.offset, e.name, CAST(e.json AS TEXT), e.key, e.at, e.fold))
        FROM events AS first CROSS JOIN events AS e
        WHERE first.channel = c.id AND first.offset = :position + 1
        AND e.channel = c.id AND e.offset >= first.offset AND e.offset < first.offset + :limit
        AND (e.before + length(e.json) <= first.before + :max_bytes OR e.offset = first.offset)
    )
FROM channels AS c WHERE c.name = :name"""
_NEXT: Final = """
SELECT ifnull(min(e.offset) - 1, c.head) FROM channels AS c LEFT JOIN events AS e
ON e.channel = c.id AND e.offset > :position WHERE c.name = :name"""
_Row: TypeAlias = tuple[int, str, str, str | None, float, str | None]

_decode_rows = msgspec.json.Decoder(list[_Row]).decode
_decode_status = msgspec.json.Decoder(tuple[int, _Row | None, int]).decode
_decode_channels = msgspec.json.Decoder(list[tuple[str, int, float | None]]).decode


def read_status(db: apsw.Connection, channel: str, known: tuple[str, int], *, now: float, kept: Retention) -> Status:
    """Return what EventLog.status does. Raises LifeOver."""
    ((epoch, number, status),) = db.execute(_STATUS, (now - kept.seconds, channel))
    check_life((epoch, number), known)
    head, row, deleted = (0, None, 0) if status is None else _decode_status(status)
    end = None if row is None else _event_of(epoch, channel, row)
    return Status(Cursor(epoch, head), end, Cursor(epoch, deleted) if deleted else None)


def read_channels(
    db: apsw.Connection,
    known: tuple[str, int],
    *,
    prefix: str,
    after: str,
    limit: int,
    now: float,
    kept: Callable[[str], Retention],
) -> list[str]:
    """Return what EventLog.channels does. Raises LifeOver."""
    # As bytes: so is the order, and text of which 0xFF is a byte comes behind all that begins with what is before it.
    # Names that nobody can have, such as half of a surrogate pair, are found nowhere.
    first, past = _bytes_of(prefix), _bytes_of(prefix) + b"\xff"
    start = max(first, _bytes_of(after) + b"\0") if after else first
    found: list[str] = []
    while True:
        ((epoch, number, rows),) = db.execute(_CHANNELS, (start, past, limit))
        check_life((epoch, number), known)
        names = sorted(_decode_channels(rows))
        # Rows that are there still may be too old; for how long they are kept is not known to SQL.
        found += [name for name, ended, at in names if ended == 1 or (at or 0.0) >= now - kept(name).seconds]
        if len(names) < limit or len(found) >= limit:
            return found[:limit]
        start = names[-1][0].encode() + b"\0"


def _bytes_of(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def read_page(
    db: apsw.Connection,
    channel: str,
    after: Cursor,
    limit: int,
    max_bytes: int,
    *,
    known: tuple[str, int],
    now: float,
    kept: Retention,
) -> Page:
    """Read what EventLog.read returns, all of it from one state of the file.

    One statement looks up the head, the oldest event kept, and the page after a position. Where it shows that
    the page must begin elsewhere, it is asked again. A page ends before rows that somebody has deleted, and the next
    one begins with a gap.

    Args:
        known: the epoch, and how far the file has come at least.

    Raises:
        LifeOver: the file is another one's.
    """
    epoch = known[0]
    position = after.offset if after.epoch in ("", epoch) else 0
    bindings: dict[str, Any] = {
        "name": channel,
        "limit": limit,
        "max_bytes": max_bytes,
        "keep_events": kept.events,
        "keep_bytes": kept.bytes,
        "too_old": now - kept.seconds,
    }
    while True:
        rows = db.execute(_READ, bindings | {"position": position})
        found, number, head, oldest, page = next(rows, None) or (*where_now(db), 0, 1, "[]")
        check_life((found, number), known)
        wanted, gap = resume(after, epoch, oldest, head)
        # One statement sees one state of the file. A second one may see the next state, in which retention has gone on;
        # so its answer is looked at in the same way, until both agree.
        if wanted == position:
            break
        position = wanted
    events = events_of(epoch, channel, page)
    if events or position == head or limit < 1:
        return Page(_without_hole(events, position), gap, Cursor(epoch, head))
    start: Any = db.execute(_NEXT, bindings | {"position": position}).fetchall()[0][0]
    rest = read_page(db, channel, Cursor(epoch, start), limit, max_bytes, known=known, now=now, kept=kept)
    if rest.gap is not None:  # retention has gone on meanwhile
        start = rest.gap.to.offset
    return Page(rest.events, with_hole(gap, after, Cursor(epoch, position), start), rest.head)


def _without_hole(events: tuple[Event, ...], position: int) -> tuple[Event, ...]:
    """The events up to the first that is missing."""
    if not events or events[-1].offset == position + len(events):
        return events
    return tuple(event for number, event in enumerate(events, position + 1) if event.offset == number)


def events_of(epoch: str, channel: str, rows: str | bytes) -> tuple[Event, ...]:
    """Return the events of a JSON array of ``[offset, name, json, key, at, fold]``, in the order of their offsets."""
    # SQLite promises no order within such an array, and to ask it for one costs more than to sort here.
    return tuple([_event_of(epoch, channel, row) for row in sorted(_decode_rows(rows), key=itemgetter(0))])


def _event_of(epoch: str, channel: str, row: _Row) -> Event:
    offset, name, json, key, at, fold = row
    return Event(Cursor(epoch, offset), channel, name, json.encode(), key, at, fold)
