"""A connection's thread: interrupted when its caller is cancelled, and let in when Trio is busy.

For ``autojump_clock`` beside threads, see test_sqlite.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest
import trio
from trio.testing import MockClock

from triolet.errors import LogError, LogFull, NotServingError
from triolet.sqlite import thread as sqlite_thread
from triolet.sqlite.bounds import SQLITE_HANDOVER_SECONDS
from triolet.sqlite.file import translate
from triolet.sqlite.thread import Handover, SqliteThread

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


@asynccontextmanager
async def _thread(tmp_path: Path) -> AsyncIterator[SqliteThread]:
    async with SqliteThread.started(str(tmp_path / "x.db"), 5, Handover()) as thread:
        yield thread


async def test_a_job_uses_the_connection_as_if_there_were_no_trio(tmp_path: Path) -> None:
    async with _thread(tmp_path) as thread:
        assert await thread.run(lambda db: list(db.execute("SELECT 1, 'a'"))) == [(1, "a")]


async def test_a_deadline_cancels_and_raises_nothing_of_its_own(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with _thread(tmp_path) as thread:
        for _ in range(3):
            with trio.move_on_after(1) as scope:
                await thread.run(lambda db: list(db.execute(ENDLESS)))
            assert scope.cancelled_caught
        assert await thread.run(lambda db: list(db.execute("SELECT 1"))) == [(1,)]


async def test_a_job_that_must_end_is_not_interrupted(tmp_path: Path) -> None:
    done: list[bool] = []

    def job(db: apsw.Connection) -> None:
        db.execute(f"SELECT * FROM ({ENDLESS.replace('FROM n)', 'FROM n LIMIT 200000)')})").fetchall()
        done.append(True)

    async with _thread(tmp_path) as thread:
        with trio.CancelScope() as scope:
            scope.cancel()
            await thread.run(job, to_its_end=True)
        assert done == [True]


async def test_what_sqlite_reports_is_said_in_our_terms(tmp_path: Path) -> None:
    async with _thread(tmp_path) as thread:
        with pytest.raises(LogError, match="no such table"):
            await thread.run(lambda db: db.execute("SELECT * FROM orders"))
    with pytest.raises(NotServingError):
        await thread.run(lambda db: db.execute("SELECT 1"))


def test_a_write_that_a_quota_or_a_limit_refuses_is_a_full_disk() -> None:
    class Refused(apsw.IOError):
        extendedresult = apsw.SQLITE_IOERR_WRITE

    told = translate(Refused("disk I/O error"), "orders.db")
    assert isinstance(told, LogFull)
    assert "orders.db cannot be written (disk I/O error): a quota or a limit of a file's size" in str(told)


class Time:
    """Stands in for the module."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_a_busy_loop_makes_room_only_while_a_job_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time()
    monkeypatch.setattr(sqlite_thread, "time", time)
    handover = Handover()
    handover.before_io_wait(0)
    with handover.wanted():
        handover.before_io_wait(0)
        time.now = 0.003
        handover.before_io_wait(0.1)  # the loop is idle: the thread has the GIL anyway
        assert time.slept == []
        handover.before_io_wait(0)
        assert time.slept == [SQLITE_HANDOVER_SECONDS]
        with handover.wanted():
            pass
        handover.before_io_wait(0)  # a job was done just now: nobody starves
    time.now = 1
    handover.before_io_wait(0)
    assert len(time.slept) == 1
