"""The file of a SqliteLog: its tables, and how it is opened. All of it runs in a connection's worker thread.

One row of ``channels`` says what a channel is: ``head`` (offset of the newest event ever), ``oldest`` (of the
oldest row that may be read), ``total`` and ``dropped`` (bytes of data ever appended, and of those before
``oldest``), ``oldest_at`` (its time; NULL where no row is left that may grow old), ``ended`` (1 where it has ended by
its newest event, 2 where that one stands for what was deleted, else 0), ``deleted`` (offset of the event that took the
place of what was deleted last, also when the channel goes on; 0 where nothing was). A row of ``events`` knows
``before``: the bytes appended before it, so that retention by bytes needs no sum.

Deleting lags behind the limits, so that no append waits for it. Readers apply the limits exactly.

Why a statement returns one row of JSON here where it could return many: for each step of a statement apsw
lets go of the GIL, and while Trio's thread is busy with a thousand sockets, getting it back may take long.
So everything takes a small, fixed number of steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final

import apsw

from ..errors import LogBroken, LogBusy, LogError, LogFull
from ..log.epoch import draw_epoch
from .bounds import SQLITE_INSERT_ROWS, SQLITE_WAL_BYTES
from .changes import CHANGES_TABLE, last_change, where_now
from .life import LifeFile, check_life

__all__ = [
    "begin_again",
    "insert",
    "mark_clean",
    "prepare",
    "savepoint",
    "transaction",
    "translate",
]

APPLICATION_ID: Final = 0x54724C74
"""Marks a file as a log of ours: "TrLt" at byte 68 (https://sqlite.org/fileformat2.html)."""

_LOG_TABLES: Final = """
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
_ENDS_AND_FOLDS: Final = """
ALTER TABLE channels ADD COLUMN ended INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN fold TEXT;
"""

_DELETIONS: Final = "ALTER TABLE channels ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;"

FORMS: Final = (_LOG_TABLES, CHANGES_TABLE, _ANSWERS_TABLE, _ENDS_AND_FOLDS, _DELETIONS)
"""What each form of the file has more than the one before it. The number of a file's form is kept as its
``user_version``, and a file of an earlier form, a new one too, is given what it lacks."""

_MARK_CLEAN: Final = "UPDATE log SET unsynced_boot = '' WHERE unsynced_boot != ''"


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
        for lacking in FORMS[form:]:
            db.execute(lacking)
        if form < len(FORMS):
            db.pragma("user_version", len(FORMS))
        if not form:
            db.execute("INSERT INTO log VALUES (?, '')", (draw_epoch(),))
            db.pragma("application_id", APPLICATION_ID)
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
    epoch = draw_epoch()
    db.execute("UPDATE log SET epoch = ?, unsynced_boot = ''", (epoch,))
    return epoch


def _check_form(db: apsw.Connection, path: str) -> None:
    """Refuse a file that is not a log of this version, before anything in it is changed."""
    mark, form = db.pragma("application_id"), db.pragma("user_version")
    ((tables,),) = db.execute("SELECT count(*) FROM sqlite_schema")
    # An empty file is taken as ours: it has neither a mark nor a form nor a table.
    if (mark or form or tables) and mark != APPLICATION_ID:
        raise LogBroken(f"{path} is a database of something else, not a log; choose another file")
    if not 0 <= form <= len(FORMS):
        raise LogBroken(f"{path} is a log of another version of Triolet's (form {form}, this is {len(FORMS)})")


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


@contextmanager
def savepoint(db: apsw.Connection) -> Iterator[None]:
    """Do all of the block within a transaction that is open, or nothing of it."""
    db.execute("SAVEPOINT triolet")
    try:
        yield
    except BaseException:
        if db.in_transaction:  # else SQLite has rolled all of it back by itself
            db.execute("ROLLBACK TO triolet")
            db.execute("RELEASE triolet")
        raise
    db.execute("RELEASE triolet")


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
        return LogBusy(f"{path} is locked by another connection, of this process or of another one")
    if isinstance(error, apsw.NotADBError | apsw.CorruptError | apsw.FormatError):
        return LogBroken(f"{path} is not a database, or is damaged ({error}); restore it or choose another file")
    if isinstance(error, apsw.SQLError | apsw.SchemaChangeError | apsw.MismatchError | apsw.ConstraintError):
        return LogBroken(f"{path}: its tables are not those of a log ({error})")
    if code == apsw.SQLITE_IOERR_WRITE:  # what is not a full disk, but is met as one
        return LogFull(
            f"{path} cannot be written ({error}): a quota or a limit of a file's size is reached, or the disk fails; "
            "nothing was stored"
        )
    if isinstance(error, apsw.CantOpenError | apsw.PermissionsError | apsw.ReadOnlyError):
        return LogError(f"{path} cannot be opened for writing ({error}): check the path and its permissions")
    return LogError(f"{path}: {error}")
