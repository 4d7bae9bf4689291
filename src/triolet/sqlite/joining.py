"""A transaction of the app's own, in the file of a SqliteLog: which connections it may be on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar, cast

import apsw
import apsw.aio

from ..errors import ConfigError
from .life import LifeFile
from .thread import set_for_now

__all__ = ["check_joinable", "check_ours", "is_open", "run_on", "untraced"]

T = TypeVar("T")

SYNCHRONOUS: Final = {"normal": 1, "full": 2}
"""What ``PRAGMA synchronous`` says (https://sqlite.org/pragma.html#pragma_synchronous)."""

_SHADOWS: Final = """
SELECT count(*) FROM temp.sqlite_schema WHERE name IN ('log', 'channels', 'events', 'changes', 'answers')"""


def check_ours(connection: object) -> apsw.Connection:
    """Return what was given as ``within=`` if it is a connection of apsw's. Raises ConfigError."""
    if isinstance(connection, apsw.Connection):
        return connection
    # Locks on a file are its process's, and a second copy of SQLite in it sees none of them: both can be in a writing
    # transaction at once, and of what both commit one is lost (https://sqlite.org/howtocorrupt.html, section 2.2.1).
    kind = f"{type(connection).__module__}.{type(connection).__qualname__}"
    raise ConfigError(
        f"within= is an apsw.Connection to the log's file, not {kind:.80}: the log's SQLite is apsw's, and another "
        "one in the same process, as Python's sqlite3 is, sees none of its locks and would overwrite what it stores"
    )


def check_joinable(db: apsw.Connection, path: str, life: LifeFile, synchronous: str) -> None:
    """See that events can be stored in the transaction that is open on a connection.

    Args:
        db: the connection, where it may be used.
        path: of the log.
        life: knows which file that is.
        synchronous: how safe the log's own commits are.

    Raises:
        ConfigError: the app's fault; the message says what would do.
        FileReplaced: the log's file is not at its path any more.
    """
    life.check_in_place()
    file = db.db_filename("main")
    if not life.is_at(file):
        raise ConfigError(f"within= is a connection to {file or 'a database in memory'}, and the log's file is {path}")
    if db.readonly("main"):
        raise ConfigError(f"within= is a connection that may only read {path}")
    if db.txn_state("main") != apsw.SQLITE_TXN_WRITE:
        # To wait for another's lock here would hold up the whole process; and a transaction that has read before it
        # writes can be too late to write at all (SQLITE_BUSY_SNAPSHOT).
        raise ConfigError("within= is a connection in no transaction that writes: begin it by BEGIN IMMEDIATE")
    if db.pragma("synchronous") < SYNCHRONOUS[synchronous]:
        raise ConfigError(
            f"within= is less safe than the log: PRAGMA synchronous={synchronous} on its connection first"
        )
    ((shadows,),) = db.execute(_SHADOWS)
    if shadows:
        raise ConfigError("within= is a connection with a temporary table of the name of one of the log's: rename it")


@contextmanager
def untraced(db: apsw.Connection) -> Iterator[None]:
    """Leave out what the app has rows and statements go through, for the time of a block."""
    tracers = db.row_trace, db.exec_trace
    db.row_trace = db.exec_trace = None
    try:
        yield
    finally:
        db.row_trace, db.exec_trace = tracers


async def run_on(connection: apsw.Connection, job: Callable[[apsw.Connection], T]) -> T:
    """Run a function on a connection of the app's: here, or in the thread of one that is apsw's for ``async``.

    Cancellation: there it is interrupted, or done; which of the two is not known.
    """
    if not connection.is_async:
        return job(connection)
    with set_for_now(apsw.aio.deadline, math.inf):
        result = await cast("apsw.AsyncConnection", connection).async_run(job, connection)
    return cast("T", result)


async def is_open(connection: apsw.Connection) -> bool:
    """Whether a transaction is open on a connection of the app's, or may be."""
    try:
        return await run_on(connection, _in_transaction)
    except apsw.ConnectionClosedError:
        return False  # what was not committed is rolled back
    except apsw.Error:
        return True  # another thread is just using it


def _in_transaction(db: apsw.Connection) -> bool:
    return bool(db.in_transaction)
