"""The file of a SqliteLog: its tables, how it is opened and read. All of it runs in a connection's worker thread.

One row of ``channels`` says what a channel is: ``head`` (offset of the newest event ever), ``oldest`` (of the
oldest row still there), ``total`` and ``dropped`` (bytes of data ever appended, and of those before
``oldest``), ``oldest_at`` (its time; NULL where no row is left). A row of ``events`` knows ``before``: the
bytes appended before it, so that retention by bytes needs no sum.

Deleting lags behind the limits, so that no append waits for it. Readers apply the limits exactly.

Why a statement returns one row of JSON here where it could return many: for each step of a statement apsw
lets go of the GIL, and while Trio's thread is busy with a thousand sockets, getting it back may take long.
So everything takes a small, fixed number of steps.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from operator import itemgetter
from typing import Any, Final

import apsw
import msgspec

from ..bounds import SQLITE_INSERT_ROWS, SQLITE_WAL_BYTES
from ..errors import LogBroken, LogBusy, LogError, LogFull
from ..event import Cursor, Event
from ..limits import Limits
from ..log.contract import Page, resume, with_hole
from .changes import CHANGES_TABLE, last_change, where_now
from .life import LifeFile, check_life

__all__ = [
    "begin_again",
    "events_of",
    "insert",
    "mark_clean",
    "prepare",
    "read_head",
    "read_page",
    "transaction",
    "translate",
]

APPLICATION_ID: Final = 0x54724C74
"""Marks a file as a log of ours: "TrLt" at byte 68 (https://sqlite.org/fileformat2.html)."""

FORM: Final = 3
"""The form of the tables below, kept as ``user_version``. A file of form 1 had no ``changes``, one of form 2 no
``answers``; it is given them."""


_TABLES: Final = """
CREATE TABLE log(epoch TEXT NOT NULL, unsynced_boot TEXT NOT NULL) STRICT;
CREATE TABLE channels(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, head INTEGER NOT NULL, oldest INTEGER NOT NULL,
    total INTEGER NOT NULL, dropped INTEGER NOT NULL, oldest_at REAL
) STRICT;
CREATE INDEX channels_by_age ON channels(oldest_at) WHERE oldest_at IS NOT NULL;
CREATE TABLE events(
    channel INTEGER NOT NULL, offset INTEGER NOT NULL, before INTEGER NOT NULL, at REAL NOT NULL,
    name TEXT NOT NULL, key TEXT, dedupe TEXT, json BLOB NOT NULL, PRIMARY KEY (channel, offset)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX events_by_dedupe ON events(channel, dedupe) WHERE dedupe IS NOT NULL;
"""
_ANSWERS_TABLE: Final = """
CREATE TABLE answers(
    key TEXT NOT NULL PRIMARY KEY, print BLOB NOT NULL, holder BLOB NOT NULL, until REAL NOT NULL,
    answer BLOB NOT NULL, stored TEXT
) STRICT;
CREATE INDEX answers_by_end ON answers(until);
"""

_FIND_HEAD: Final = """
SELECT
    epoch, (SELECT ifnull(max(number), 0) FROM changes), (SELECT ifnull(max(head), 0) FROM channels WHERE name = ?)
FROM log"""
_READ: Final = """
SELECT
    (SELECT epoch FROM log),
    (SELECT ifnull(max(number), 0) FROM changes),
    c.head,
    ifnull(
        (
            SELECT offset FROM events
            WHERE channel = c.id AND offset >= max(c.oldest, c.head - :keep_events + 1)
            AND at >= :too_old AND (before >= c.total - :keep_bytes OR offset = c.head)
            ORDER BY offset LIMIT 1
        ),
        c.head + 1
    ),
    (
        SELECT json_group_array(json_array(e.offset, e.name, CAST(e.json AS TEXT), e.key, e.at))
        FROM events AS first CROSS JOIN events AS e
        WHERE first.channel = c.id AND first.offset = :position + 1
        AND e.channel = c.id AND e.offset >= first.offset AND e.offset < first.offset + :limit
        AND (e.before + length(e.json) <= first.before + :max_bytes OR e.offset = first.offset)
    )
FROM channels AS c WHERE c.name = :name"""
_NEXT: Final = """
SELECT ifnull(min(e.offset) - 1, c.head) FROM channels AS c LEFT JOIN events AS e
ON e.channel = c.id AND e.offset > :position WHERE c.name = :name"""
_MARK_CLEAN: Final = "UPDATE log SET unsynced_boot = '' WHERE unsynced_boot != ''"

_decode_rows = msgspec.json.Decoder(list[tuple[int, str, str, str | None, float]]).decode


def prepare(db: apsw.Connection, path: str, synchronous: str, boot: str, life: LifeFile) -> tuple[str, int]:
    """Make a log of an empty file, and return the epoch and the number of the last change.

    A file that is not known to have gone on from where it was is given a new epoch: see life.py.

    A machine that lost power may have taken acknowledged events along, where ``synchronous`` is normal. The
    next events would get the offsets of the lost ones, and a client that had seen those would miss them
    without a word. So a log that was being written when another boot ended begins a new epoch.

    Args:
        db: the connection.
        path: the file's path, for messages.
        synchronous: ``normal`` or ``full``.
        boot: names this life of the machine; empty if the system does not say.

    Raises:
        LogBroken: the store's fault; the file is not a log, or one of another version.
        LogError: the store's fault; the file system does not support SQLite's WAL.
    """
    _check_form(db, path)
    if db.pragma("journal_mode", "wal") != "wal":
        raise LogError(f"cannot open {path}: its file system does not support SQLite's WAL; use a local disk")
    db.pragma("synchronous", synchronous)
    db.pragma("journal_size_limit", SQLITE_WAL_BYTES)
    with transaction(db):
        form = db.pragma("user_version")
        if not form:
            db.execute(_TABLES)
            db.execute("INSERT INTO log VALUES (?, '')", (_new_epoch(),))
            db.pragma("application_id", APPLICATION_ID)
        if form < 2:  # a new file, or one of form 1
            db.execute(CHANGES_TABLE)
        if form < FORM:
            db.execute(_ANSWERS_TABLE)
            db.pragma("user_version", FORM)
        ((epoch, unsynced_boot),) = db.execute("SELECT epoch, unsynced_boot FROM log")
        number = last_change(db)
        if unsynced_boot not in ("", boot) or (form and not life.vouches_for(epoch, number)):
            epoch = _begin_epoch(db)
        life.renew(epoch, number)
    return str(epoch), number


def begin_again(db: apsw.Connection, life: LifeFile, known: tuple[str, int]) -> tuple[str, int]:
    """Find out what the file is now, after LifeOver: the epoch that another process has begun, or a new one.

    Args:
        known: the epoch that was, and how far it had come at least.
    """
    with transaction(db):
        epoch, number = where_now(db)
        has_lost = epoch == known[0] and number < known[1]
        if has_lost or (life.exists and not life.vouches_for(epoch, number)):
            epoch = _begin_epoch(db)
            life.renew(epoch, number)
    return epoch, number


def _begin_epoch(db: apsw.Connection) -> str:
    epoch = _new_epoch()
    db.execute("UPDATE log SET epoch = ?, unsynced_boot = ''", (epoch,))
    return epoch


def _check_form(db: apsw.Connection, path: str) -> None:
    """Refuse a file that is not a log of this version, before anything in it is changed."""
    mark, form = db.pragma("application_id"), db.pragma("user_version")
    ((tables,),) = db.execute("SELECT count(*) FROM sqlite_schema")
    # An empty file is taken as ours: it has neither a mark nor a form nor a table.
    if (mark or form or tables) and mark != APPLICATION_ID:
        raise LogBroken(f"{path} is a database of something else, not a log; choose another file")
    if not 0 <= form <= FORM:
        raise LogBroken(f"{path} is a log of another version of Triolet's (form {form}, this is {FORM})")


def mark_clean(db: apsw.Connection, life: LifeFile, known: tuple[str, int]) -> None:
    """At the end, say that no acknowledged event can be lost any more, whatever becomes of the machine.

    Nothing must be synced before it: SQLite recovers a WAL up to some point, so where this mark is left, all
    that was written before it is left too.
    """
    with transaction(db):
        epoch, number = where_now(db)
        check_life((epoch, number), known)
        db.execute(_MARK_CLEAN)
        life.renew(epoch, number)


def _new_epoch() -> str:
    return secrets.token_urlsafe(6)


@contextmanager
def transaction(db: apsw.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """Commit at the end of the block, or leave everything as it was."""
    db.execute(f"BEGIN {kind}")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # Some errors have rolled back already (https://sqlite.org/lang_transaction.html, section 3).
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def read_head(db: apsw.Connection, channel: str, known: tuple[str, int]) -> int:
    """Return the offset of the newest event ever appended. Raises LifeOver."""
    epoch, number, head = next(db.execute(_FIND_HEAD, (channel,)))
    check_life((epoch, number), known)
    return int(head)


def read_page(
    db: apsw.Connection,
    channel: str,
    after: Cursor,
    limit: int,
    max_bytes: int,
    *,
    known: tuple[str, int],
    now: float,
    limits: Limits,
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
        "keep_events": int(limits.keep_events),
        "keep_bytes": limits.keep_bytes,
        "too_old": now - limits.keep_seconds,
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
    rest = read_page(db, channel, Cursor(epoch, start), limit, max_bytes, known=known, now=now, limits=limits)
    if rest.gap is not None:  # retention has gone on meanwhile
        start = rest.gap.to.offset
    return Page(rest.events, with_hole(gap, after, Cursor(epoch, position), start), rest.head)


def _without_hole(events: tuple[Event, ...], position: int) -> tuple[Event, ...]:
    """The events up to the first that is missing."""
    if not events or events[-1].offset == position + len(events):
        return events
    return tuple(event for number, event in enumerate(events, position + 1) if event.offset == number)


def events_of(epoch: str, channel: str, rows: str | bytes) -> tuple[Event, ...]:
    """Return the events of a JSON array of ``[offset, name, json, key, at]``, in the order of their offsets."""
    # SQLite promises no order within such an array, and to ask it for one costs more than to sort here.
    return tuple(
        [
            Event(Cursor(epoch, offset), channel, name, json.encode(), key, at)
            for offset, name, json, key, at in sorted(_decode_rows(rows), key=itemgetter(0))
        ]
    )


def insert(db: apsw.Connection, statements: dict[int, str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows in as few steps as their number allows, with a statement for each of SQLITE_INSERT_ROWS."""
    start = 0
    for chunk in SQLITE_INSERT_ROWS:
        while len(rows) - start >= chunk:
            db.execute(statements[chunk], tuple(chain.from_iterable(rows[start : start + chunk])))
            start += chunk


def translate(error: apsw.Error, path: str) -> LogError:
    """Return the LogError for what SQLite reports, with a message that says what to do about it."""
    code = getattr(error, "extendedresult", 0)
    if isinstance(error, apsw.FullError) or code == apsw.SQLITE_IOERR_SHMSIZE:
        return LogFull(f"{path}: no room left on the disk; nothing was stored")
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return LogBusy(f"{path} is locked by another process")
    if isinstance(error, apsw.NotADBError | apsw.CorruptError | apsw.FormatError):
        return LogBroken(f"{path} is not a database, or is damaged ({error}); restore it or choose another file")
    if isinstance(error, apsw.SQLError | apsw.SchemaChangeError | apsw.MismatchError | apsw.ConstraintError):
        return LogBroken(f"{path}: its tables are not those of a log ({error})")
    if isinstance(error, apsw.CantOpenError | apsw.PermissionsError | apsw.ReadOnlyError):
        return LogError(f"{path} cannot be opened for writing ({error}): check the path and its permissions")
    return LogError(f"{path}: {error}")
