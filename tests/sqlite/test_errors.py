"""A full disk, a locked file, a file of something else: what is raised, and that nothing else happened.

For ``autojump_clock`` beside threads, see test_sqlite.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import msgspec
import pytest
import trio
from trio.testing import MockClock

from triolet.errors import LogBroken, LogBusy, LogError, LogFull
from triolet.event import Cursor, Draft, Event
from triolet.limits import Limits
from triolet.sqlite.log import SqliteLog

OLDEST = Cursor("", 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.db"


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let databases grow to 40 pages (160 kB), as if the disk had no more."""
    monkeypatch.setattr(apsw, "connection_hooks", [lambda db: db.pragma("max_page_count", 40)])


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def _fill(log: SqliteLog) -> list[Event]:
    """Append until the disk is full. Return what was stored."""
    stored: list[Event] = []
    try:
        while True:
            stored += await log.append("a", [Draft.of("x" * 10_000)] * 2)
    except LogFull as error:
        assert "orders.db: no room left" in str(error)  # noqa: PT017 - the loop ends by it
    return stored


async def _offsets(log: SqliteLog, channel: str = "a") -> list[int]:
    page = await log.read(channel, OLDEST, limit=1 << 20, max_bytes=1 << 30)
    return [event.offset for event in page.events]


# --- full


@pytest.mark.usefixtures("small_disk")
async def test_a_full_disk_refuses_and_nothing_is_announced(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path).open() as log:
        with log.tail() as tail:
            kept = await _fill(log)
            assert list(await anext(tail)) == kept
            with pytest.raises(LogFull):
                await log.append("b", [Draft.of(n) for n in range(40_000)])
            assert await _offsets(log, "b") == []
            assert log._tail.statistics().waiting == 0
        assert len(kept) > 5
        assert await _offsets(log) == [event.offset for event in kept]


@pytest.mark.usefixtures("small_disk")
async def test_offsets_have_no_hole_where_the_disk_was_full(
    path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with SqliteLog(path).open() as log:
        head = (await _fill(log))[-1].offset
        assert (await log.head("a")).offset == head
    monkeypatch.setattr(apsw, "connection_hooks", [])
    async with SqliteLog(path).open() as log:
        assert (await log.append("a", [Draft.of(1)]))[0].offset == head + 1
        assert await _offsets(log) == list(range(1, head + 2))


@pytest.mark.usefixtures("small_disk")
async def test_an_append_too_large_fails_alone(path: Path, autojump_clock: MockClock) -> None:
    outcomes: dict[int, Sequence[Event] | str] = {}

    async def publish(log: SqliteLog, number: int) -> None:
        try:
            outcomes[number] = await log.append("a", [Draft.of("x" * (200_000 if number % 5 == 0 else 10))])
        except LogFull:
            outcomes[number] = "full"

    async with SqliteLog(path).open() as log:
        with log.tail() as tail:
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(publish, log, number)
            assert len(await anext(tail)) == 16
        assert await _offsets(log) == list(range(1, 17))
    assert [number for number in sorted(outcomes) if outcomes[number] == "full"] == [0, 5, 10, 15]


async def test_an_append_that_is_no_json_fails_alone(path: Path, autojump_clock: MockClock) -> None:
    outcomes: list[str] = []

    async def publish(log: SqliteLog, draft: Draft) -> None:
        try:
            await log.append("a", [draft])
            outcomes.append("stored")
        except Exception as error:
            outcomes.append(type(error).__name__)

    broken = Draft.of(0)
    msgspec.structs.force_setattr(broken, "json", object())
    async with SqliteLog(path).open() as log, trio.open_nursery() as nursery:
        for draft in (Draft.of(1), broken, Draft.of(2)):
            nursery.start_soon(publish, log, draft)
    assert sorted(outcomes) == ["TypeError", "stored", "stored"]


# --- locked


async def test_a_locked_file_is_waited_for_within_the_bound(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path, Limits(lock_seconds=7)).open() as log:
        with log.tail() as tail:
            with _locked(path):
                start = trio.current_time()
                with pytest.raises(LogBusy, match=r"by another process, .* for 7 s"):
                    await log.append("a", [Draft.of(1)])
                assert 6.9 <= trio.current_time() - start <= 7
                assert await _offsets(log) == []
            await log.append("a", [Draft.of(2)])
            assert [event.data for event in await anext(tail)] == [2]
        assert await _offsets(log) == [1]


async def test_all_who_wait_for_a_locked_file_are_told(path: Path, autojump_clock: MockClock) -> None:
    told: list[float] = []

    async def publish(log: SqliteLog) -> None:
        with pytest.raises(LogBusy):
            await log.append("a", [Draft.of(1)])
        told.append(trio.current_time())

    async with SqliteLog(path, Limits(lock_seconds=5)).open() as log:
        start = trio.current_time()
        with _locked(path):
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(publish, log)
    assert len(told) == 10
    assert max(told) - start <= 10


async def test_a_file_that_is_unlocked_in_time_takes_the_append(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path, Limits(lock_seconds=5)).open() as log:
        async with trio.open_nursery() as nursery:
            with _locked(path):
                nursery.start_soon(log.append, "a", [Draft.of(1)])
                await trio.sleep(3)
        assert await _offsets(log) == [1]


async def test_a_publisher_that_gives_up_waiting_stores_nothing(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path, Limits(lock_seconds=100)).open() as log:
        with _locked(path):
            with trio.move_on_after(1):
                await log.append("early", [Draft.of(1)])
            with trio.move_on_after(1) as scope:
                await log.append("late", [Draft.of(1)])
            assert scope.cancelled_caught
        await log.append("a", [Draft.of(1)])
        assert await _offsets(log, "late") == []
        assert await _offsets(log, "a") == [1]


# --- not a log


def _garbage(path: Path) -> None:
    path.write_bytes(b"id,state\n" * 1_000)


def _foreign(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as db:
        db.execute("CREATE TABLE orders(id); INSERT INTO orders VALUES (1)")


def _marked(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as db:
        db.execute("PRAGMA application_id = 7")


def _future(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as db:
        db.execute("PRAGMA application_id = 0x54724C74; PRAGMA user_version = 99; CREATE TABLE log(x)")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_garbage, "not a database"),
        (_foreign, "a database of something else"),
        (_marked, "a database of something else"),
        (_future, "another version"),
    ],
)
async def test_a_file_of_something_else_is_left_alone(
    make: object, says: str, path: Path, autojump_clock: MockClock
) -> None:
    assert callable(make)
    make(path)
    before = path.read_bytes()  # noqa: ASYNC240 - nobody else runs
    with pytest.raises(LogBroken, match=says):
        async with SqliteLog(path).open():
            pytest.fail("opened")
    assert path.read_bytes() == before  # noqa: ASYNC240 - the same


async def test_a_folder_is_no_file(tmp_path: Path, autojump_clock: MockClock) -> None:
    with pytest.raises(LogError, match="cannot be opened"):
        async with SqliteLog(tmp_path).open():
            pytest.fail("opened")


async def test_an_empty_file_becomes_a_log(path: Path, autojump_clock: MockClock) -> None:
    path.touch()  # noqa: ASYNC240 - the same
    async with SqliteLog(path).open() as log:
        await log.append("a", [Draft.of(1)])
        assert await _offsets(log) == [1]


async def test_a_damaged_file_is_said_to_be_damaged(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path).open() as log:
        await log.append("a", [Draft.of("x" * 100)] * 1_000)
    _damage(path)
    async with SqliteLog(path).open() as log:
        with pytest.raises(LogBroken, match="damaged"):
            await log.read("a", OLDEST, limit=1_000, max_bytes=1 << 30)
        with pytest.raises(LogBroken, match="damaged"):
            await log.append("a", [Draft.of("x" * 100)] * 1_000)


def _damage(path: Path) -> None:
    """Overwrite all pages but the first eight, which hold the tables' definitions and the few channels."""
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(8 * 4_096)
        file.write(b"\xa5" * (size - 8 * 4_096))


async def test_tables_that_someone_changed_are_not_a_log(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path).open() as log:
        with closing(apsw.Connection(str(path))) as other:
            other.execute("DROP TABLE events")
        with pytest.raises(LogBroken, match="not those of a log"):
            await log.append("a", [Draft.of(1)])
        with pytest.raises(LogBroken, match="not those of a log"):
            await log.read("a", OLDEST, limit=1, max_bytes=1)
