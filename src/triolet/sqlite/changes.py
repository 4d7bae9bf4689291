"""Changes: how processes that share a SqliteLog's file learn of each other's events, in the order of their commits.

Each transaction leaves one row for each channel in ``changes``, numbered without holes: from which offset to which it
has appended there. A process remembers the number up to which it has read, and reads on after it.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Final, NamedTuple

import apsw
import msgspec

from ..event import Cursor, Event
from .bounds import SQLITE_CHANGES, SQLITE_TAIL_EVENTS
from .life import check_life

__all__ = ["ADD_CHANGES", "CHANGES_TABLE", "TRIM_CHANGES", "News", "last_change", "read_news", "where_now"]


CHANGES_TABLE: Final = """
CREATE TABLE changes(
    number INTEGER PRIMARY KEY, channel INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL
) STRICT"""
ADD_CHANGES: Final = {
    rows: f"INSERT INTO changes VALUES {', '.join(['(?, ?, ?, ?)'] * rows)}" for rows in (64, 16, 4, 1)
}
TRIM_CHANGES: Final = f"DELETE FROM changes WHERE number <= ? - {SQLITE_CHANGES}"

_LAST: Final = "SELECT ifnull(max(number), 0) FROM changes"
_WHERE: Final = "SELECT epoch, (SELECT ifnull(max(number), 0) FROM changes) FROM log"
_NEWS: Final = """
WITH news AS MATERIALIZED (
    SELECT * FROM (
        SELECT *, sum(last - first + 1) OVER (ORDER BY number) AS events, row_number() OVER (ORDER BY number) AS row
        FROM changes WHERE number > :seen AND number <= :upto
    ) WHERE events <= :events OR row = 1
)
SELECT
    (SELECT min(number) FROM news),
    (SELECT max(number) FROM news),
    (
        SELECT json_group_array(
            json_array(n.number, c.name, e.offset, e.name, CAST(e.json AS TEXT), e.key, e.at, e.fold)
        )
        FROM news AS n CROSS JOIN channels AS c ON c.id = n.channel
        CROSS JOIN events AS e ON e.channel = n.channel AND e.offset BETWEEN n.first AND n.last
    )"""

_decode = msgspec.json.Decoder(list[tuple[int, str, int, str, str, str | None, float, str | None]]).decode


class News(NamedTuple):
    """Events of other processes.

    Attributes:
        events: the events, in the order of their commits.
        seen: the number of the last change that is in them.
        lost: whether changes before them are no longer kept.
    """

    events: list[Event]
    seen: int
    lost: bool


def last_change(db: apsw.Connection) -> int:
    """Return the number of the newest change."""
    ((number,),) = db.execute(_LAST)
    return int(number)


def where_now(db: apsw.Connection) -> tuple[str, int]:
    """The epoch, and the newest number."""
    ((epoch, number),) = db.execute(_WHERE)
    return str(epoch), int(number)


def read_news(db: apsw.Connection, epoch: str, seen: int, upto: int | None = None) -> News | None:
    """Read on after a number, up to another one or to the newest. None where there is nothing. Raises LifeOver."""
    if upto is None:
        found = where_now(db)
        check_life(found, (epoch, seen))
        upto = found[1]
    if upto <= seen:
        return None
    ((first, last, rows),) = db.execute(_NEWS, {"seen": seen, "upto": upto, "events": SQLITE_TAIL_EVENTS})
    if first is None:  # all of them have been trimmed
        return News([], upto, True)
    events = [
        Event(Cursor(epoch, offset), channel, name, json.encode(), key, at, fold)
        for _, channel, offset, name, json, key, at, fold in sorted(_decode(rows), key=itemgetter(0, 2))
    ]
    return News(events, int(last), first != seen + 1)
