"""What is to happen once, in a file: beside the contract, which test_contract.py holds it to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import apsw
import pytest
import trio
from trio.testing import MockClock

from triolet.errors import LogBusy, LogFull
from triolet.event import Draft, Event
from triolet.limits import Limits
from triolet.log.contract import EventLog, Kept
from triolet.sqlite.bounds import SQLITE_PRUNE_ROWS
from triolet.sqlite.log import SqliteLog
from triolet.testing.log_commands import PAIR_CHECKS, PairCheck
from triolet.testing.log_ends import check_ends_of_pair

from .test_errors import _locked, small_disk

__all__ = ["small_disk"]

KEY, PRINT, MINE, ITS = b"k" * 32, b"p" * 32, b"mine", b"its"
Writes = list[tuple[str, list[Draft]]]
PATIENT = Limits(lock_seconds=1e9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.db"


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def _rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(apsw.Connection(str(path))) as db:
        return list(db.execute(sql))


async def _commit(log: EventLog, writes: Writes, key: bytes = KEY) -> list[list[Event]]:
    done = await log.commit(key, MINE, b"answer", 60, writes)
    assert isinstance(done, list)
    return done


def _large(*channels: str) -> list[tuple[str, list[Draft]]]:
    return [(channel, [Draft.of("x" * 60_000)]) for channel in channels]


@pytest.mark.parametrize("check", [*PAIR_CHECKS, check_ends_of_pair], ids=lambda check: check.__name__.strip("_"))
async def test_two_processes_keep_one_promise(check: PairCheck, tmp_path: Path, autojump_clock: MockClock) -> None:
    paths = (tmp_path / f"{number}.db" for number in count())

    def pair(limits: Limits, clock: Callable[[], float]) -> tuple[EventLog, EventLog]:
        path = next(paths)
        return SqliteLog(path, PATIENT, clock), SqliteLog(path, PATIENT, clock)

    await check(pair)


async def test_claims_and_answers_outlive_their_process(path: Path, autojump_clock: MockClock) -> None:
    writes = [("a", [Draft.of(1), Draft.of(2, dedupe="d")]), ("b", [])]
    async with SqliteLog(path).open() as log:
        await log.append("a", [Draft.of(0, dedupe="d")])
        await log.claim(KEY, PRINT, MINE, 10)
        done = await log.commit(KEY, MINE, b"answer", 60, writes)
        await log.claim(ITS * 8, PRINT, MINE, 10)
    async with SqliteLog(path).open() as log:
        assert await log.claim(KEY, PRINT, ITS, 10) == Kept(PRINT, b"answer")
        assert await log.claim(ITS * 8, PRINT, ITS, 10) == Kept(PRINT, None)
        assert await log.commit(KEY, MINE, b"answer", 60, writes) == done


@pytest.mark.usefixtures("small_disk")
async def test_a_full_disk_stores_nothing_of_a_commit_and_the_claim_stays(
    path: Path, autojump_clock: MockClock
) -> None:
    """The first of the three channels would have fitted."""
    async with SqliteLog(path).open() as log:
        await log.claim(KEY, PRINT, MINE, 10)
        with log.tail() as tail:
            with pytest.raises(LogFull):
                await log.commit(KEY, MINE, b"answer", 60, _large("a", "b", "c"))
            assert [(await log.head(channel)).offset for channel in "abc"] == [0, 0, 0]
            assert await log.claim(KEY, PRINT, ITS, 10) == Kept(PRINT, None)
            with pytest.raises(LogFull):
                await log.commit(KEY, MINE, b"x" * 200_000, 60, [])
            (events,) = await _commit(log, [("a", [Draft.of(1)])])
            assert await anext(tail) == events
    assert _rows(path, "SELECT name FROM channels") == [("a",)]


@pytest.mark.usefixtures("small_disk")
async def test_a_commit_too_large_fails_alone(path: Path, autojump_clock: MockClock) -> None:
    outcomes: dict[int, object] = {}
    keys = [bytes([number]) * 32 for number in range(8)]

    async with SqliteLog(path).open() as log:

        async def commit(number: int) -> None:
            writes = _large("a", "b", "c") if number == 3 else [("a", [Draft.of(number)])]
            try:
                outcomes[number] = len(await _commit(log, writes, keys[number]))
            except LogFull:
                outcomes[number] = "full"

        for key in keys:
            await log.claim(key, PRINT, MINE, 10)
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(commit, number)
    assert outcomes == {number: "full" if number == 3 else 1 for number in range(8)}


async def test_a_locked_file_holds_up_claims_and_commits(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path, Limits(lock_seconds=1)).open() as log:
        await log.claim(KEY, PRINT, MINE, 10)
        with _locked(path):
            for call in (
                log.claim(ITS * 8, PRINT, MINE, 10),
                log.commit(KEY, MINE, b"", 60, [("a", [Draft.of(1)])]),
                log.release(KEY, MINE),
            ):
                with pytest.raises(LogBusy):
                    await call
        assert isinstance(await log.commit(KEY, MINE, b"", 60, [("a", [Draft.of(1)])]), list)


async def test_what_is_over_is_deleted_soon_and_not_at_once(path: Path, autojump_clock: MockClock) -> None:
    clock = Clock()
    many = 3 * SQLITE_PRUNE_ROWS

    async with SqliteLog(path, clock=clock).open() as log:

        async def keep(number: int) -> None:
            key = number.to_bytes(32, "big")
            await log.claim(key, PRINT, MINE, 10)
            await log.commit(key, MINE, b"", 60, [])

        async with trio.open_nursery() as nursery:
            for number in range(many):
                nursery.start_soon(keep, number)
        assert _rows(path, "SELECT count(*) FROM answers") == [(many,)]
        clock.now += 60
        await log.claim(KEY, PRINT, MINE, 10)
        (left,) = _rows(path, "SELECT count(*) FROM answers")[0]
        assert left == many - SQLITE_PRUNE_ROWS - 1
        for _ in range(3):
            await log.claim(KEY, PRINT, MINE, 10)
        assert _rows(path, "SELECT count(*) FROM answers") == [(1,)]
        await log.release(KEY, MINE)
        assert _rows(path, "SELECT count(*) FROM answers") == [(0,)]


async def test_an_answer_in_a_file_that_was_put_back_is_as_old_as_its_events(
    path: Path, autojump_clock: MockClock
) -> None:
    async with SqliteLog(path).open() as log:
        await log.append("a", [Draft.of(0)])
    copy = await trio.Path(path).read_bytes()
    async with SqliteLog(path).open() as log:
        await log.claim(KEY, PRINT, MINE, 10)
        await log.commit(KEY, MINE, b"answer", 60, [("a", [Draft.of(1)])])
    await trio.Path(path).write_bytes(copy)
    async with SqliteLog(path).open() as log:
        assert (await log.head("a")).offset == 1
        assert await log.claim(KEY, PRINT, ITS, 10) is None
