"""Events within a transaction of the app's own: they are there with what it has written, or never were."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import apsw.aio
import pytest
import trio
from trio.testing import MockClock

from tests.sqlite.test_life import backup, restored
from triolet.errors import ChannelEnded, ConfigError, LogBusy, LogFull, NotServingError
from triolet.event import Cursor, Draft, Event
from triolet.limits import Limits
from triolet.sqlite import hearing as sqlite_hearing
from triolet.sqlite import log as sqlite
from triolet.sqlite.life import MARK_DIGITS
from triolet.sqlite.log import SqliteLog
from triolet.sqlite.thread import set_for_now
from triolet.sqlite.watch import FileWatch

PATIENT = Limits(lock_seconds=1e9)
ROWS = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM events), (SELECT count(*) FROM changes)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.db"


@contextmanager
def _app(path: Path, **options: Any) -> Iterator[apsw.Connection]:
    """The app's own connection, with a table of its own."""
    with closing(apsw.Connection(str(path), **options)) as db:
        if not options:
            db.execute("CREATE TABLE IF NOT EXISTS orders(state TEXT)")
        yield db


def _drafts(*values: object) -> list[Draft]:
    return [Draft.of(value) for value in values]


async def _all(log: SqliteLog, channel: str = "a") -> list[Event]:
    return list((await log.read(channel, Cursor("", 0), limit=1 << 20, max_bytes=1 << 30)).events)


async def test_what_is_committed_is_heard_by_all_processes_in_the_order_of_commits(
    path: Path, autojump_clock: MockClock
) -> None:
    async with SqliteLog(path, PATIENT).open() as one, SqliteLog(path, PATIENT).open() as two:
        with _app(path) as db, one.tail() as mine, two.tail() as others:
            appended: list[Event] = []
            for turn in range(10):
                db.execute("BEGIN IMMEDIATE")
                db.execute("INSERT INTO orders VALUES ('packed')")
                appended += await one.append_within(db, "a", _drafts(turn, turn))
                appended += await one.append_within(db, "b", _drafts(turn))
                db.execute("COMMIT")
                if turn % 3:
                    appended += await two.append("a", _drafts("other"))
                else:
                    appended += await one.append("a", _drafts("own"))
            for tail in (mine, others):
                heard: list[Event] = []
                while len(heard) < len(appended):
                    batch = await anext(tail)
                    assert batch, "some were lost"
                    heard += batch
                assert heard == appended
            assert next(db.execute(ROWS)) == (10, 40, 30)
        assert [event.offset for event in await _all(two)] == list(range(1, 31))


async def test_what_is_rolled_back_never_was(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path).open() as log:
        with _app(path) as db, log.tail() as tail:
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO orders VALUES ('packed')")
            for channel in ("a", "new"):
                events = await log.append_within(db, channel, _drafts(1, 2))
            assert events[-1].offset == 2
            assert await _all(log) == []
            assert (await log.head("a")).offset == 0
            db.execute("ROLLBACK")
            assert next(db.execute(ROWS)) == (0, 0, 0)
            (event,) = await log.append("a", _drafts(3))
            assert event.offset == 1
            assert list(await anext(tail)) == [event]
            await trio.sleep(1)
            with trio.move_on_after(10) as nothing:
                await anext(tail)
            assert nothing.cancelled_caught


async def test_the_second_publish_of_a_transaction_sees_the_first(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path).open() as log:
        with _app(path) as db:
            db.execute("BEGIN IMMEDIATE")
            (first,) = await log.append_within(db, "a", [Draft.of(1, dedupe="d")])
            again, second = await log.append_within(db, "a", [Draft.of(2, dedupe="d"), Draft.of(3)])
            assert again == first
            assert await log.append_within(db, "a", []) == []
            (end,) = await log.append_within(db, "a", [Draft.ending("done")])
            with pytest.raises(ChannelEnded):
                await log.append_within(db, "a", _drafts(4))
            db.execute("COMMIT")
        assert await _all(log) == [first, second, end]
        assert (await log.status("a")).end == end


async def test_what_is_refused_leaves_the_transaction_as_it_was(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path).open() as log:
        await log.append("done", [Draft.ending(1)])
        with _app(path) as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO orders VALUES ('packed')")
            with pytest.raises(ChannelEnded):
                await log.append_within(db, "done", _drafts(1))
            await log.append_within(db, "a", _drafts(1))
            db.execute("COMMIT")
            assert next(db.execute(ROWS)) == (1, 2, 2)


async def test_what_fails_half_way_leaves_nothing_of_itself_in_the_transaction(
    path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    def full(*_: object) -> None:
        raise apsw.FullError("database or disk is full")

    async with SqliteLog(path).open() as log:
        with _app(path) as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO orders VALUES ('packed')")
            with monkeypatch.context() as patch:
                patch.setattr("triolet.sqlite.writer.save_channels", full)
                with pytest.raises(LogFull):
                    await log.append_within(db, "a", _drafts(1))
            db.execute("COMMIT")
            assert next(db.execute(ROWS)) == (1, 0, 0)
        assert [event.offset for event in await log.append("a", _drafts(1))] == [1]


# --- which connections


async def test_a_connection_that_will_not_do_is_refused_and_told_what_would(
    path: Path, tmp_path: Path, autojump_clock: MockClock
) -> None:
    other = tmp_path / "other.db"

    def attached(db: apsw.Connection) -> None:
        db.execute("ATTACH ? AS log", (str(path),))
        db.execute("BEGIN IMMEDIATE")

    def reading(db: apsw.Connection) -> None:
        db.execute("BEGIN")
        db.execute("SELECT * FROM orders").fetchall()

    def unsafe(db: apsw.Connection) -> None:
        db.pragma("synchronous", "off")
        db.execute("BEGIN IMMEDIATE")

    def shadowed(db: apsw.Connection) -> None:
        db.execute("CREATE TEMP TABLE events(x)")
        db.execute("BEGIN IMMEDIATE")

    def begun(db: apsw.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")

    def nothing(db: apsw.Connection) -> None:
        pass

    cases: list[tuple[str, Any, str]] = [
        (":memory:", begun, "a database in memory"),
        (str(other), begun, "other.db, and the log's file is"),
        (str(other), attached, "other.db, and the log's file is"),
        (str(path), nothing, "BEGIN IMMEDIATE"),
        (str(path), reading, "BEGIN IMMEDIATE"),
        (str(path), unsafe, "PRAGMA synchronous=normal"),
        (str(path), shadowed, "temporary table"),
    ]
    async with SqliteLog(path).open() as log, SqliteLog(other).open():
        with _app(path):
            pass
        for file, prepare, says in cases:
            with closing(apsw.Connection(file)) as db:
                prepare(db)
                with pytest.raises(ConfigError, match=says):
                    await log.append_within(db, "a", _drafts(1))
                assert db.in_transaction == (prepare is not nothing)
        with _app(path, flags=apsw.SQLITE_OPEN_READONLY) as db, pytest.raises(ConfigError, match="may only read"):
            await log.append_within(db, "a", _drafts(1))
        with pytest.raises(ConfigError, match="cannot be used here"):
            await log.append_within(db, "a", _drafts(1))
        for what in (None, str(path), 7, log):
            with pytest.raises(ConfigError, match=r"within= is an apsw\.Connection"):
                await log.append_within(what, "a", _drafts(1))
        assert await log.channels() == []


async def test_pythons_sqlite3_is_refused_for_it_sees_no_lock_of_ours(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path).open() as log:
        with closing(sqlite3.connect(":memory:")) as db, pytest.raises(ConfigError, match=r"not sqlite3\.Connection"):
            await log.append_within(db, "a", _drafts(1))


async def test_a_log_that_waits_for_the_disk_takes_no_transaction_that_does_not(
    path: Path, autojump_clock: MockClock
) -> None:
    async with SqliteLog(path, synchronous="full").open() as log:
        with _app(path) as db:
            for synchronous, is_good in (("normal", False), ("full", True), ("extra", True)):
                db.pragma("synchronous", synchronous)
                db.execute("BEGIN IMMEDIATE")
                if is_good:
                    await log.append_within(db, "a", _drafts(1))
                else:
                    with pytest.raises(ConfigError, match="PRAGMA synchronous=full"):
                        await log.append_within(db, "a", _drafts(1))
                db.execute("COMMIT")
        assert len(await _all(log)) == 2


async def test_a_connection_that_another_thread_uses_is_refused(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path).open() as log:
        with _app(path) as db:

            def meanwhile(*_: Any) -> None:
                with pytest.raises(ConfigError, match="cannot be used here"):
                    trio.from_thread.run(log.append_within, db, "a", _drafts(1))

            db.create_scalar_function("meanwhile", meanwhile)
            db.execute("BEGIN IMMEDIATE")
            await trio.to_thread.run_sync(lambda: db.execute("SELECT meanwhile()").fetchall())
            await log.append_within(db, "a", _drafts(2))
            db.execute("COMMIT")
        assert [event.data for event in await _all(log)] == [2]


async def test_rows_and_statements_that_the_app_traces_are_none_of_ours(path: Path, autojump_clock: MockClock) -> None:
    seen: list[str] = []

    def statement(cursor: apsw.Cursor, sql: str, bindings: Any) -> bool:
        seen.append(sql)
        return True

    async with SqliteLog(path).open() as log:
        with _app(path) as db:
            db.row_trace = lambda cursor, row: {"row": row}
            db.exec_trace = statement
            db.execute("BEGIN IMMEDIATE")
            await log.append_within(db, "a", _drafts(1))
            db.execute("COMMIT")
            assert seen == ["BEGIN IMMEDIATE", "COMMIT"]
            assert next(db.execute("SELECT 1")) == {"row": (1,)}
        assert len(await _all(log)) == 1


async def test_a_connection_of_apsws_for_async_will_do(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path).open() as log:
        with set_for_now(apsw.async_controller, apsw.aio.Trio):
            db = await apsw.Connection.as_async(str(path))
        try:
            with log.tail() as tail:
                await db.execute("BEGIN IMMEDIATE")
                events = await log.append_within(db, "a", _drafts(1))
                await trio.sleep(1)
                await db.execute("COMMIT")
                assert list(await anext(tail)) == events
                await trio.sleep(1)
                assert log._hearing._joined == {}
        finally:
            await db.aclose()


# --- beside the log's own appends


async def test_other_appends_wait_for_its_end_and_none_fails(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path, Limits(lock_seconds=5)).open() as log:
        with _app(path) as db:
            async with trio.open_nursery() as nursery:
                db.execute("BEGIN IMMEDIATE")
                await log.append_within(db, "a", _drafts("within"))
                for number in range(10):
                    nursery.start_soon(log.append, "a", _drafts(number))
                await trio.sleep(3)
                await log.append_within(db, "a", _drafts("within"))
                db.execute("COMMIT")
        found = [event.data for event in await _all(log)]
        assert found[:2] == ["within", "within"]
        assert sorted(found[2:]) == list(range(10))


async def test_one_that_stays_open_too_long_makes_others_fail(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path, Limits(lock_seconds=5)).open() as log:
        with _app(path) as db:
            db.execute("BEGIN IMMEDIATE")
            await log.append_within(db, "a", _drafts("within"))
            with pytest.raises(LogBusy, match=r"for 5 s by a transaction of this process, in which the app published"):
                await log.append("a", _drafts(1))
            db.execute("COMMIT")
        assert [event.data for event in await _all(log)] == ["within"]


async def test_who_waits_for_a_transaction_of_which_the_log_knows_nothing_is_told_so(
    path: Path, autojump_clock: MockClock
) -> None:
    async with SqliteLog(path, Limits(lock_seconds=5)).open() as log:
        with _app(path) as db, _app(path) as other:
            db.execute("BEGIN IMMEDIATE")
            await log.append_within(db, "a", _drafts("within"))
            db.execute("COMMIT")
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LogBusy, match="another process, or by a connection of the app's own"):
                await log.append("a", _drafts(1))


async def test_a_log_that_was_put_back_meanwhile_says_so_and_goes_on_afterwards(
    path: Path, autojump_clock: MockClock
) -> None:
    async with SqliteLog(path, PATIENT).open() as log:
        with _app(path):
            pass
        await log.append("a", _drafts(1))
        backup(path, path.with_name("copy.db"))
        (seen,) = await log.append("a", _drafts(2))
        async with log._hearing._announcing:  # it does not get round to looking
            restored(path, path.with_name("copy.db"))
            with _app(path) as db:
                db.execute("BEGIN IMMEDIATE")
                with pytest.raises(LogBusy, match="roll back, and do all of it again"):
                    await log.append_within(db, "a", _drafts(3))
                db.execute("ROLLBACK")
        await trio.sleep(log._limits.look_seconds)
        await log.head("a")
        with _app(path) as db:
            db.execute("BEGIN IMMEDIATE")
            (event,) = await log.append_within(db, "a", _drafts(3))
            db.execute("COMMIT")
        assert event.cursor.epoch != seen.cursor.epoch
        assert [found.data for found in await _all(log)] == [1, 3]


async def test_a_full_disk_is_told_and_the_log_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with SqliteLog(path).open() as log:
        with _app(path) as db:
            db.pragma("max_page_count", 40)
            db.execute("BEGIN IMMEDIATE")
            await log.append_within(db, "a", _drafts("x"))
            with pytest.raises(LogFull):
                await log.append_within(db, "a", _drafts("x" * 300_000))
            if db.in_transaction:
                db.execute("ROLLBACK")
        assert [event.offset for event in await log.append("a", _drafts(1))] == [1]


async def test_a_log_that_is_not_open_takes_none(path: Path, autojump_clock: MockClock) -> None:
    log = SqliteLog(path)
    async with log.open():
        pass
    with _app(path) as db, pytest.raises(NotServingError):
        await log.append_within(db, "a", _drafts(1))


async def test_who_is_cancelled_has_stored_nothing(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path).open() as log:
        with _app(path) as db:
            db.execute("BEGIN IMMEDIATE")
            with trio.CancelScope() as scope:
                scope.cancel()
                await log.append_within(db, "a", _drafts(1))
            assert scope.cancelled_caught
            db.execute("COMMIT")
        assert await _all(log) == []


# --- what the log's own transactions do besides


async def test_it_deletes_what_the_limits_do_not_keep(path: Path, autojump_clock: MockClock) -> None:
    now = 1_000.0
    async with SqliteLog(path, Limits(keep_events=100, keep_seconds=64), lambda: now).open() as log:
        with _app(path) as db:
            db.execute("BEGIN IMMEDIATE")
            await log.append_within(db, "idle", _drafts(*range(100)))
            for _ in range(20):
                await log.append_within(db, "a", _drafts(*range(50)))
            db.execute("COMMIT")
            ((rows,),) = db.execute("SELECT count(*) FROM events WHERE channel = 2")
            assert 100 <= rows <= 100 + 100 // 8 + 16 + 50
            now += 100
            db.execute("BEGIN IMMEDIATE")
            await log.append_within(db, "a", _drafts(1))
            db.execute("COMMIT")
            assert list(db.execute("SELECT count(*) FROM events WHERE channel = 1")) == [(0,)]


async def test_it_marks_the_file_as_not_safe_from_a_loss_of_power(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    boot = tmp_path / "boot_id"
    boot.write_text("one\n")
    monkeypatch.setattr(sqlite, "BOOT_ID", boot)
    async with SqliteLog(path).open() as log:
        with _app(path) as db:
            db.execute("BEGIN IMMEDIATE")
            await log.append_within(db, "a", _drafts(1))
            db.execute("COMMIT")
            assert list(db.execute("SELECT unsynced_boot FROM log")) == [("one",)]


async def test_how_far_it_has_come_is_known_outside_of_the_file_before_anybody_hears(
    path: Path, autojump_clock: MockClock
) -> None:
    async with SqliteLog(path).open() as log:
        await log.append("a", _drafts(0))
        with _app(path) as db, log.tail() as tail:
            for number in range(3):
                db.execute("BEGIN IMMEDIATE")
                await log.append_within(db, "a", _drafts(number))
                db.execute("COMMIT")
                assert await anext(tail)
                assert int(path.with_name("orders.db-life").read_bytes()[:MARK_DIGITS]) == number + 2


async def test_what_others_have_stored_before_it_does_not_pass_for_its_commit(
    path: Path, autojump_clock: MockClock
) -> None:
    async with SqliteLog(path).open() as log, SqliteLog(path).open() as other:
        with _app(path) as db, log.tail() as tail:
            async with log._hearing._announcing:  # it has not heard of the other's when the transaction begins
                await other.append("a", _drafts(1))
                db.execute("BEGIN IMMEDIATE")
                await log.append_within(db, "a", _drafts(2))
            assert await anext(tail)
            db.execute("COMMIT")
            assert await anext(tail)
            assert int(path.with_name("orders.db-life").read_bytes()[:MARK_DIGITS]) == 2


# --- how late it is heard


@pytest.mark.parametrize("ending", ["COMMIT", "ROLLBACK", "close"])
async def test_the_bell_rings_when_it_is_over(
    ending: str, path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(sqlite_hearing, "ring", rung.append)
    async with SqliteLog(path).open() as log:
        with _app(path) as db:
            for _ in range(2):
                db.execute("BEGIN IMMEDIATE")
                await log.append_within(db, "a", _drafts(1))
                await log.append_within(db, "a", _drafts(2))
                await trio.sleep(5)
                assert rung == []
                if ending == "close":
                    db.close()
                else:
                    db.execute(ending)
                await trio.sleep(0.021)
                assert rung == [str(path)]
                rung.clear()
                await trio.sleep(5)
                assert rung == []
                if ending == "close":
                    break


async def test_what_no_hint_told_of_is_found_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """As where a process died right after its commit, and the kernel was faster than SQLite."""

    async def deaf(self: FileWatch) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(FileWatch, "changed", deaf)
    monkeypatch.setattr(FileWatch, "forget", lambda self: False)
    async with SqliteLog(path).open() as one, SqliteLog(path, Limits(look_seconds=3)).open() as two:
        with two.tail() as tail:
            await trio.sleep(1.5)  # both have looked
            events = await one.append("a", _drafts(1))
            with trio.fail_after(3.1):
                assert list(await anext(tail)) == events
