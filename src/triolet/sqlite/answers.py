"""What is to happen once, in a SqliteLog's file: claims, and the answers that take their places.

A row of ``answers`` is a claim until it has ``stored``: when its events were, and for each of the commit's writes their
offsets. The events themselves stand where all others do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import apsw
import msgspec

from ..event import Event
from ..log.contract import NOTHING_KEPT, Kept
from ..log.jobs import Claim, Commit, Release
from .bounds import SQLITE_INSERT_ROWS, SQLITE_PRUNE_ROWS
from .file import insert

__all__ = ["Answers", "Places", "Row"]

Places = tuple[float, list[list[int]]]
"""When events were stored, and for each write their offsets."""

_FIND: Final = """
SELECT json_group_array(json_array(a.key, hex(a.print), hex(a.holder), a.until, hex(a.answer), json(a.stored)))
FROM json_each(?) AS wanted CROSS JOIN answers AS a ON a.key = wanted.value"""
_SAVE: Final = {
    n: f"""
INSERT INTO answers VALUES {", ".join(["(?, ?, ?, ?, ?, ?)"] * n)}
ON CONFLICT (key) DO UPDATE SET print = excluded.print, holder = excluded.holder, until = excluded.until,
    answer = excluded.answer, stored = excluded.stored"""
    for n in SQLITE_INSERT_ROWS
}
_DROP: Final = "DELETE FROM answers WHERE key IN (SELECT value FROM json_each(?))"
_FORGET: Final = """
DELETE FROM answers WHERE rowid IN (SELECT rowid FROM answers WHERE until <= ? ORDER BY until LIMIT ?)"""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[tuple[str, str, str, float, str, Places | None]]).decode


class Row:
    """A row of ``answers``, for the time of one transaction. ``events`` are those that this transaction stores."""

    __slots__ = ("answer", "events", "holder", "print", "stored", "until")

    def __init__(self, print: bytes, holder: bytes, until: float, answer: bytes, stored: Places | None) -> None:
        self.print = print
        self.holder = holder
        self.until = until
        self.answer = answer
        self.stored = stored
        self.events: list[list[Event]] | None = None

    @property
    def kept(self) -> Kept:
        """What it is to others."""
        return Kept(self.print, None if self.stored is None else self.answer)


class Answers:
    """The keys that one transaction is about.

    Args:
        db: the connection, in the transaction.
        keys: which they are.
        now: what time it is.
    """

    def __init__(self, db: apsw.Connection, keys: Iterable[bytes], now: float) -> None:
        self._db = db
        self._now = now
        self._keys = list(dict.fromkeys(keys))
        self._rows: dict[bytes, Row] = {}
        self._changed: dict[bytes, None] = {}
        if self._keys:
            ((found,),) = db.execute(_FIND, (_encode([key.hex() for key in self._keys]).decode(),))
            for key, print, holder, until, answer, stored in _decode(found):
                if until > now:
                    row = Row(bytes.fromhex(print), bytes.fromhex(holder), until, bytes.fromhex(answer), stored)
                    self._rows[bytes.fromhex(key)] = row

    def claim(self, job: Claim) -> Kept | None:
        """See EventLog.claim."""
        row = self._rows.get(job.key)
        if row is None:
            row = self._rows[job.key] = Row(job.print, job.holder, 0, b"", None)
        elif row.stored is not None or row.holder != job.holder:
            return row.kept
        row.until = self._now + job.seconds
        self._changed[job.key] = None
        return None

    def held(self, job: Commit) -> Row | Kept:
        """Return the row of a key that this holder has claimed, answered or not; or what is kept there instead."""
        row = self._rows.get(job.key)
        if row is None:
            return NOTHING_KEPT
        return row if row.holder == job.holder else row.kept

    def settle(self, job: Commit, row: Row, events: list[list[Event]]) -> None:
        """Keep the answer of a key that is held."""
        row.answer, row.until, row.events = job.answer, self._now + job.seconds, events
        row.stored = self._now, [[event.offset for event in some] for some in events]
        self._changed[job.key] = None

    def release(self, job: Release) -> None:
        """See EventLog.release."""
        row = self._rows.get(job.key)
        if row is not None and row.holder == job.holder and row.stored is None:
            del self._rows[job.key]
            self._changed[job.key] = None

    def save(self) -> None:
        """Write what has changed, and delete some of what is over: more than was added, so it always catches up."""
        if not self._keys:
            return
        rows: list[tuple[Any, ...]] = []
        dropped: list[str] = []
        for key in self._changed:
            row = self._rows.get(key)
            if row is None:
                dropped.append(key.hex())
            else:
                stored = None if row.stored is None else _encode(row.stored).decode()
                rows.append((key.hex(), row.print, row.holder, row.until, row.answer, stored))
        insert(self._db, _SAVE, rows)
        if dropped:
            self._db.execute(_DROP, (_encode(dropped).decode(),))
        self._db.execute(_FORGET, (self._now, 2 * len(rows) + SQLITE_PRUNE_ROWS))
