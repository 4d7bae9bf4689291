"""What is particular to the log in SQLite: its file outlives it, other processes write to it too.

About time. SQLite works in threads; a virtual clock waits for them, for the tests run seeded (triolet.testing.seed).
The log sleeps between two attempts at a locked file, and between two looks at what others have written. Where the file
is unlocked by another log's thread, not by the test, any number of attempts are allowed (PATIENT).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager
from pathlib import Path

import apsw
import pytest
import trio
from trio.testing import MockClock

from triolet.errors import ConfigError, NotServingError
from triolet.event import Cursor, Draft, Event
from triolet.limits import Limits
from triolet.sqlite import batch as sqlite_batch
from triolet.sqlite import changes as sqlite_changes
from triolet.sqlite import log as sqlite
from triolet.sqlite.log import SqliteLog

OLDEST = Cursor("", 0)


PATIENT = Limits(lock_seconds=1e9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.db"


def _drafts(*values: object) -> list[Draft]:
    return [Draft.of(value) for value in values]


async def _all(log: SqliteLog, channel: str = "a") -> list[Event]:
    return list((await log.read(channel, OLDEST, limit=1 << 20, max_bytes=1 << 30)).events)


def _rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(apsw.Connection(str(path))) as db:
        return list(db.execute(sql))


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


# --- what outlives a restart


async def test_a_restart_keeps_everything(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path).open() as log:
        before = await log.append("a", [Draft.of(1, name="x", key="k", dedupe="d"), Draft.of("Å")])
    async with SqliteLog(path).open() as log:
        assert await log.head("a") == before[-1].cursor
        assert await _all(log) == before
        assert await log.append("a", [Draft.of(2, dedupe="d")]) == before[:1]
        assert (await log.append("a", _drafts(3)))[0].cursor == Cursor(before[0].cursor.epoch, 3)


async def test_a_restart_keeps_the_head_when_nothing_else_is_kept(path: Path, autojump_clock: MockClock) -> None:
    now = 0.0
    limits = Limits(keep_seconds=10)
    async with SqliteLog(path, limits, lambda: now).open() as log:
        await log.append("a", _drafts(*range(1_000)))
        now = 20.0
        for _ in range(8):
            await log.append("b", _drafts(0))
    assert _rows(path, "SELECT count(*) FROM events WHERE channel = 1") == [(0,)]
    async with SqliteLog(path, limits, lambda: now).open() as log:
        assert (await log.head("a")).offset == 1_000
        assert (await log.append("a", _drafts(1)))[0].offset == 1_001


async def test_a_new_file_is_a_new_life(tmp_path: Path, path: Path, autojump_clock: MockClock) -> None:
    epochs = set()
    for name in ("one.db", "two.db"):
        async with SqliteLog(tmp_path / name).open() as log:
            epochs.add((await log.head("a")).epoch)
    assert len(epochs) == 2


@pytest.mark.parametrize(
    ("synchronous", "is_closed", "is_same_life"),
    [("normal", True, True), ("normal", False, False), ("full", False, True)],
)
async def test_a_machine_that_died_begins_a_new_life_unless_nothing_can_be_lost(
    synchronous: str,
    is_closed: bool,
    is_same_life: bool,
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
) -> None:
    boot = tmp_path / "boot_id"
    boot.write_text("one\n")
    monkeypatch.setattr(sqlite, "BOOT_ID", boot)
    async with AsyncExitStack() as until_then:  # what a process that died has left is what one that lives has there
        log = await until_then.enter_async_context(SqliteLog(path, synchronous=synchronous).open())
        (event,) = await log.append("a", _drafts(1))
        if is_closed:
            await until_then.aclose()
        boot.write_text("two\n")
        async with SqliteLog(path, synchronous=synchronous).open() as log:
            head = await log.head("a")
            page = await log.read("a", event.cursor, limit=10, max_bytes=100)
    assert (head.epoch == event.cursor.epoch) is is_same_life
    assert head.offset == 1
    assert (page.gap and page.gap.reason) == (None if is_same_life else "epoch")


async def test_a_killed_process_leaves_its_life_to_the_next(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path).open() as killed:
        (event,) = await killed.append("a", _drafts(1))
        async with SqliteLog(path).open() as log:
            assert await _all(log) == [event]


# --- other processes


async def test_two_processes_append_without_holes(path: Path, autojump_clock: MockClock) -> None:
    """Two logs on one file share nothing but the file, as two processes would."""
    async with SqliteLog(path, PATIENT).open() as one, SqliteLog(path, PATIENT).open() as two:

        async def publish(log: SqliteLog, value: str) -> None:
            for _ in range(20):
                await log.append("a", _drafts(value, value))

        with one.tail() as tail:
            async with trio.open_nursery() as nursery:
                for log, value in ((one, "one"), (two, "two")) * 3:
                    nursery.start_soon(publish, log, value)
            heard = await _heard(tail, 240)
        events = await _all(one)
        assert await _all(two) == events
        assert [event.offset for event in events] == list(range(1, 241))
        assert heard == events


async def _heard(tail: AsyncIterator[Sequence[Event]], count: int) -> list[Event]:
    """So many events of a tail that has lost none."""
    heard: list[Event] = []
    while len(heard) < count:
        batch = await anext(tail)
        assert batch, "some were lost"
        heard += batch
    return heard


async def test_a_tail_tells_what_others_append_to_many_channels_in_the_order_of_commits(
    path: Path, autojump_clock: MockClock
) -> None:
    async with SqliteLog(path).open() as one, SqliteLog(path).open() as two:
        with one.tail() as tail:
            appended: list[Event] = []
            for turn in range(60):
                log = two if turn % 3 else one
                appended += await log.append(f"c{turn % 5}", _drafts(*range(turn % 4 + 1)))
                if turn % 7 == 0:
                    repeated = [Draft.of(turn, dedupe="once")]
                    first = turn == 0
                    appended += [*(await two.append("d", repeated))] if first else []
                    await one.append("d", repeated)
            assert await _heard(tail, len(appended)) == appended


@pytest.mark.parametrize("appends", [3, 5])
async def test_a_tail_that_is_too_far_behind_others_says_so(
    appends: int, path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(sqlite_batch, "TRIM_CHANGES", "DELETE FROM changes WHERE number <= ? - 2")
    async with SqliteLog(path).open() as one, SqliteLog(path).open() as two:
        with one.tail() as tail:
            async with one._hearing._announcing:  # it does not get round to listening meanwhile
                for number in range(appends):
                    await two.append("a", _drafts(number))
            assert await anext(tail) == ()
            assert [event.data for event in await anext(tail)] == [appends - 2, appends - 1]


async def test_much_that_others_append_is_read_in_parts(
    path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(sqlite_changes, "SQLITE_TAIL_EVENTS", 7)
    async with SqliteLog(path).open() as one, SqliteLog(path).open() as two:
        with one.tail() as tail:
            appended = []
            async with one._hearing._announcing:
                for number in range(20):
                    appended += await two.append("a", _drafts(*range(number)) or _drafts("none"))
            assert await _heard(tail, len(appended)) == appended


async def test_without_inotify_a_tail_hears_of_others_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr("triolet.sqlite.watch.ctypes.CDLL", lambda *_, **__: object())
    async with SqliteLog(path).open() as one, SqliteLog(path).open() as two:
        with one.tail() as tail:
            appended = await two.append("a", _drafts(1))
            assert await _heard(tail, 1) == appended


async def test_a_channel_that_two_processes_begin_is_one(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path).open() as one, SqliteLog(path).open() as two:
        for number in range(10):
            for log in (one, two):
                await log.append(f"a{number}", _drafts(0))
            assert (await one.head(f"a{number}")).offset == 2


# --- retention


async def test_rows_that_nobody_may_read_are_deleted_soon(path: Path, autojump_clock: MockClock) -> None:
    limits = Limits(keep_events=1_000, keep_bytes=50_000)
    async with SqliteLog(path, limits).open() as log:
        for _ in range(40):
            await log.append("many", _drafts(*[1] * 100))
            await log.append("large", _drafts(*["x" * 998] * 10))
        assert len(await _all(log, "many")) == 1_000
        assert len(await _all(log, "large")) == 50
    ((many,), (large,)) = _rows(path, "SELECT count(*) FROM events GROUP BY channel ORDER BY channel")
    assert isinstance(many, int)
    assert isinstance(large, int)
    assert 1_000 <= many <= 1_241  # an eighth and 16 more, and one append
    assert 50 <= large <= 66


async def test_channels_that_nobody_appends_to_grow_old_too(path: Path, autojump_clock: MockClock) -> None:
    now = 0.0
    async with SqliteLog(path, Limits(keep_seconds=64), lambda: now).open() as log:
        for number in range(50):
            await log.append(f"idle/{number}", _drafts(*range(100)))
        now = 100.0
        for _ in range(25):
            await log.append("busy", _drafts(0))
    assert _rows(path, "SELECT count(*) FROM events") == [(25,)]
    assert _rows(path, "SELECT min(head), max(oldest) FROM channels WHERE name != 'busy'") == [(100, 101)]


async def test_a_channel_that_is_always_appended_to_grows_old_too(path: Path, autojump_clock: MockClock) -> None:
    now = 0.0
    async with SqliteLog(path, Limits(keep_seconds=16), lambda: now).open() as log:
        for second in range(160):
            now = float(second)
            await log.append("busy", _drafts(second))
        ((rows,),) = _rows(path, "SELECT count(*) FROM events")
        assert isinstance(rows, int)
        assert 16 <= rows <= 32


# --- being open


async def test_no_thread_is_left(path: Path, autojump_clock: MockClock) -> None:
    before = _threads()
    async with SqliteLog(path).open() as log:
        await log.append("a", _drafts(1))
        assert _threads() > before
    await _until_threads(before)
    with trio.CancelScope() as scope:
        async with SqliteLog(path).open():
            scope.cancel()
            await trio.sleep_forever()
    await _until_threads(before)
    with trio.CancelScope() as scope:
        scope.cancel()
        async with SqliteLog(path).open():
            pytest.fail("was not cancelled")
    await _until_threads(before)


async def _until_threads(number: int) -> None:
    """A thread that has answered for the last time is about to end: give it the processor until it has."""
    while _threads() > number:
        await trio.lowlevel.checkpoint()


async def test_an_error_of_the_app_comes_out_as_it_is(path: Path, autojump_clock: MockClock) -> None:
    with pytest.raises(ZeroDivisionError):
        async with SqliteLog(path).open():
            _ = 1 // 0


async def test_a_log_is_opened_once_at_a_time(path: Path, autojump_clock: MockClock) -> None:
    log = SqliteLog(path)
    async with log.open():
        with pytest.raises(ConfigError, match="open already"):
            async with log.open():
                pytest.fail("opened twice")
        await log.append("a", _drafts(1))
    async with log.open():
        assert len(await _all(log)) == 1


async def test_appends_that_wait_at_the_end_are_stored(path: Path, autojump_clock: MockClock) -> None:
    results: list[Event | str] = []

    async def publish(log: SqliteLog) -> None:
        try:
            results.extend(await log.append("a", _drafts(*range(100))))
        except NotServingError:
            results.append("refused")

    async with trio.open_nursery() as nursery:
        async with SqliteLog(path).open() as log:
            for _ in range(10):
                nursery.start_soon(publish, log)
            await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(publish, log)
    async with SqliteLog(path).open() as log:
        assert len(await _all(log)) == 1_000
    assert len(results) == 1_001
    assert results[-1] == "refused"


async def test_a_cancelled_log_answers_those_who_wait(path: Path, autojump_clock: MockClock) -> None:
    """Their own scope is not cancelled, and the file is locked: nothing but an error can answer them."""
    results: list[str] = []

    async def publish(log: SqliteLog) -> None:
        with pytest.raises(NotServingError, match="ended before"):
            await log.append("a", _drafts(1))
        results.append("refused")

    async with trio.open_nursery() as nursery:
        with ExitStack() as until_then, trio.CancelScope() as scope:
            async with SqliteLog(path).open() as log:
                until_then.enter_context(_locked(path))
                for _ in range(3):
                    nursery.start_soon(publish, log)
                await trio.sleep(1)
                scope.cancel()
                await trio.sleep_forever()
    assert results == ["refused"] * 3


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
