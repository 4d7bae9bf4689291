"""Ends, deletion, and what some channels are kept otherwise, in a file: beside the contract, which test_contract.py
holds it to."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet.errors import ChannelEnded, LogFull
from triolet.event import DELETED, Cursor, Draft, Event
from triolet.limits import Keep, Limits
from triolet.log.contract import Status
from triolet.sqlite import reading
from triolet.sqlite.bounds import SQLITE_PRUNE_ROWS, SQLITE_SWEEP_LOOKS
from triolet.sqlite.log import SqliteLog
from triolet.sqlite.writer import Writer

LAST = Draft.ending({"outcome": "done"})
PATIENT = Limits(lock_seconds=1e9)


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.db"


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many jobs each transaction was tried with."""
    found: list[int] = []
    write = Writer.write

    def counting(self: Writer, db: apsw.Connection, **job: Any) -> Any:
        found.append(len(job["jobs"]))
        return write(self, db, **job)

    monkeypatch.setattr(Writer, "write", counting)
    return found


def _rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(apsw.Connection(str(path))) as db:
        return list(db.execute(sql))


def _drafts(*values: object) -> list[Draft]:
    return [Draft.of(value) for value in values]


async def _all(log: SqliteLog, channel: str) -> list[Event]:
    return list((await log.read(channel, Cursor("", 0), limit=1 << 20, max_bytes=1 << 30)).events)


async def _together(log: SqliteLog, path: Path, *calls: Callable[[], Awaitable[object]]) -> list[object]:
    """Have calls wait for a locked file, so that they are stored as one group, in this order. Return what came of
    each."""
    outcomes: list[object] = [None] * len(calls)

    async def run(number: int, call: Callable[[], Awaitable[object]]) -> None:
        try:
            outcomes[number] = await call()
        except ChannelEnded as error:
            outcomes[number] = error.channel

    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.append, "first", _drafts(0))  # the committer takes this one alone
            await wait_all_tasks_blocked()
            for number, call in enumerate(calls):
                nursery.start_soon(run, number, call)
                await wait_all_tasks_blocked()
            other.execute("ROLLBACK")
    return outcomes


def _events(outcome: object) -> list[Event]:
    return outcome if isinstance(outcome, list) else [outcome] if isinstance(outcome, Event) else []


# --- one group


async def test_what_is_refused_fails_alone_and_the_others_of_its_group_are_stored_in_one_transaction(
    path: Path, groups: list[int], autojump_clock: MockClock
) -> None:
    async with SqliteLog(path, PATIENT).open() as log:
        await log.append("done", [LAST])
        with log.tail() as tail:
            one, refused, end, late, two = await _together(
                log,
                path,
                lambda: log.append("a", _drafts(1)),
                lambda: log.append("done", _drafts(2)),
                lambda: log.append("b", [Draft.of(1), LAST]),
                lambda: log.append("b", _drafts(2)),
                lambda: log.append("a", _drafts(2)),
            )
            assert (refused, late) == ("done", "b")
            assert isinstance(one, list)
            assert isinstance(end, list)
            assert isinstance(two, list)
            heard: list[Event] = []
            while len(heard) < 5:
                heard += await anext(tail)
        assert heard[1:] == [*one, *end, *two]
        assert groups[-1] == 5
        assert await _all(log, "a") == [*one, *two]
        assert await _all(log, "b") == end


async def test_what_one_group_appends_deletes_and_appends_again_is_what_it_says(
    path: Path, groups: list[int], autojump_clock: MockClock
) -> None:
    async with SqliteLog(path, PATIENT).open() as log, SqliteLog(path, PATIENT).open() as other:
        await log.append("a", [Draft.of(1, dedupe="d"), Draft.of(2, dedupe="e")])
        with other.tail() as tail:
            outcomes = await _together(
                log,
                path,
                lambda: log.append("a", [Draft.of(3, dedupe="f"), Draft.of(3, dedupe="d")]),
                lambda: log.delete("a"),
                lambda: log.append("a", [Draft.of(5, dedupe="f"), Draft.of(6, dedupe="d")]),
                lambda: log.append("a", [Draft.of(7, dedupe="f")]),
                lambda: log.delete("b"),
                lambda: log.append("b", [LAST]),
                lambda: log.delete("b"),
                lambda: log.delete("b"),
            )
            offsets = [[event.offset for event in _events(outcome)] for outcome in outcomes]
            assert groups[-1] == 8
            assert offsets == [[3, 1], [4], [5, 6], [5], [1], [2], [3], [4]]
            heard: dict[str, list[int]] = {}
            while heard.get("b", [0])[-1] != 4:
                for event in await anext(tail):
                    heard.setdefault(event.channel, []).append(event.offset)
        assert heard == {"first": [1], "a": [4, 5, 6], "b": [4]}  # what is deleted already nobody need hear
        for one in (log, other):
            assert [(event.offset, event.data) for event in await _all(one, "a")] == [(5, 5), (6, 6)]
            assert [event.json for event in await _all(one, "b")] == [DELETED]
        assert _rows(path, "SELECT count(*) FROM events") == [(5,)]
        assert _rows(path, "SELECT head, oldest, total - dropped FROM channels WHERE name = 'a'") == [(6, 5, 2)]


async def test_a_disk_that_is_too_full_at_the_last_row_has_deleted_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    def full(*_: object) -> None:
        raise apsw.FullError("database or disk is full")

    async with SqliteLog(path).open() as log:
        events = await log.append("a", _drafts(1, 2))
        with log.tail() as tail:
            with monkeypatch.context() as patch:
                patch.setattr("triolet.sqlite.writer.save_channels", full)
                with pytest.raises(LogFull):
                    await log.delete("a")
            assert await _all(log, "a") == events
            assert await log.status("a") == Status(events[-1].cursor)
            after = await log.append("b", _drafts(1))
            assert list(await anext(tail)) == after


async def test_much_is_deleted_in_one_step_and_its_room_is_used_again(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path).open() as log, SqliteLog(path).open() as other:
        for _ in range(10):
            await log.append("a", _drafts(*["x" * 500] * 1_000))
        grave = await log.delete("a")
        assert _rows(path, "SELECT count(*) FROM events") == [(1,)]
        assert await other.status("a") == Status(grave.cursor, grave, grave.cursor)
        ((free,),) = _rows(path, "PRAGMA freelist_count")
        assert free > 1_000


async def test_other_processes_hear_of_a_deletion_although_the_channel_has_begun_anew_before_they_look(
    path: Path, autojump_clock: MockClock
) -> None:
    async with SqliteLog(path, Limits(keep_events=10)).open() as log, SqliteLog(path).open() as other:
        await log.append("a", _drafts(1))
        with other.tail() as tail:
            async with other._hearing._announcing:  # it does not get round to listening meanwhile
                grave = await log.delete("a")
                new = await log.append("a", _drafts(2))
            heard: list[Event] = []
            while len(heard) < 2:
                heard += await anext(tail)
        assert heard == [grave, *new]
        assert await _all(other, "a") == new
        await log.append("a", _drafts(*range(100)))
        assert _rows(path, "SELECT min(offset) = max(oldest) FROM events JOIN channels AS c ON c.id = channel") == [
            (1,)
        ]


async def test_an_end_outlives_a_restart(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path).open() as log:
        (end,) = await log.append("a", [LAST])
        grave = await log.delete("b")
    async with SqliteLog(path).open() as log:
        assert await log.status("a") == Status(end.cursor, end)
        assert await log.status("b") == Status(grave.cursor, grave, grave.cursor)
        with pytest.raises(ChannelEnded):
            await log.append("a", _drafts(1))
        assert [event.offset for event in await log.append("b", _drafts(1))] == [2]


# --- what is kept


async def test_channels_that_are_kept_longer_do_not_hide_those_whose_time_is_over(
    path: Path, autojump_clock: MockClock
) -> None:
    clock = Clock()
    keep = {"short/*": Keep(seconds=64), "long/*": Keep(seconds=math.inf)}
    many = 2 * SQLITE_SWEEP_LOOKS + 1
    async with SqliteLog(path, Limits(keep_seconds=6_400, keep=keep), clock).open() as log:
        async with trio.open_nursery() as nursery:
            for number in range(many):
                nursery.start_soon(log.append, f"long/{number}", _drafts(0))
        for number in range(50):
            await log.append(f"short/{number}", _drafts(*range(100)))
        await log.append("other", _drafts(0))
        clock.now += 100
        for _ in range(40):
            await log.append("busy", _drafts(0))
        left = "SELECT count(*) FROM events JOIN channels AS c ON c.id = channel WHERE c.name GLOB "
        assert _rows(path, f"{left} 'short/*'") == [(0,)]
        assert _rows(path, f"{left} 'long/*'") == [(many,)]
        assert _rows(path, f"{left} 'other'") == [(1,)]
        clock.now += 6_400
        for _ in range(10):
            await log.append("busy", _drafts(0))
        assert _rows(path, f"{left} 'long/*'") == [(many,)]
        assert _rows(path, f"{left} 'other'") == [(0,)]


async def test_a_channel_of_more_than_is_deleted_at_once_is_gone_on_with(path: Path, autojump_clock: MockClock) -> None:
    """Its events are of one moment: by time the walk would be past it."""
    clock = Clock()
    async with SqliteLog(path, Limits(keep_seconds=64), clock).open() as log:
        await log.append("idle", _drafts(*range(4 * SQLITE_PRUNE_ROWS)))
        clock.now += 100
        for _ in range(5):
            await log.append("busy", _drafts(0))
        assert _rows(path, "SELECT count(*) FROM events WHERE channel = 1") == [(0,)]


async def test_an_end_is_kept_for_ever_and_no_sweep_looks_at_it_again(path: Path, autojump_clock: MockClock) -> None:
    clock = Clock()
    async with SqliteLog(path, Limits(keep_seconds=64), clock).open() as log:
        for number in range(30):
            await log.append(f"done/{number}", [*_drafts(*range(10)), LAST])
        clock.now += 100
        for _ in range(10):
            await log.append("busy", _drafts(0))
        assert _rows(path, "SELECT count(*), sum(oldest = head) FROM channels WHERE name != 'busy'") == [(30, 30)]
        assert _rows(path, "SELECT count(*) FROM events WHERE name = 'triolet.end'") == [(30,)]
        assert _rows(path, "SELECT count(*) FROM channels WHERE oldest_at NOT NULL AND name != 'busy'") == [(0,)]
        assert (await log.channels("done/", limit=2)) == ["done/0", "done/1"]


async def test_what_stands_for_the_deleted_grows_old(path: Path, autojump_clock: MockClock) -> None:
    clock = Clock()
    async with SqliteLog(path, Limits(keep_seconds=64), clock).open() as log:
        grave = await log.delete("a")
        clock.now += 65
        assert await log.status("a") == Status(grave.cursor, None, grave.cursor)
        assert await _all(log, "a") == []
        assert await log.channels() == []
        await log.append("busy", _drafts(0))
        assert _rows(path, "SELECT name FROM events") == [("message",)]
        assert [event.offset for event in await log.append("a", _drafts(1))] == [2]
        assert await log.channels() == ["a", "busy"]


# --- the list


async def test_the_list_of_channels_is_read_from_its_place_on(path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path).open():
        pass
    with closing(apsw.Connection(str(path))) as db:
        plan = list(db.execute(f"EXPLAIN QUERY PLAN {reading._CHANNELS}", (b"a", b"b", 1)))
    assert any("SEARCH c USING" in row[-1] and "(name>? AND name<?)" in row[-1] for row in plan), plan


async def test_the_list_passes_over_channels_of_which_nothing_is_kept(path: Path, autojump_clock: MockClock) -> None:
    clock = Clock()
    keep = {"a/*": Keep(seconds=10)}
    async with SqliteLog(path, Limits(keep=keep), clock).open() as log:
        for number in range(20):
            await log.append(f"{'ab'[number % 2]}/{number:02}", _drafts(0))
        clock.now += 11
        odd = [f"b/{number:02}" for number in range(1, 20, 2)]
        assert await log.channels(limit=3) == odd[:3]
        assert await log.channels(after=odd[2], limit=3) == odd[3:6]
        assert await log.channels(after="a/", limit=100) == odd
        assert await log.channels("a/") == []


@pytest.mark.parametrize("text", ["\ud800", "\0", "b\0", "\U0010ffff", "x" * 1_000])
async def test_no_text_is_too_strange_to_ask_with(text: str, path: Path, autojump_clock: MockClock) -> None:
    async with SqliteLog(path).open() as log:
        await log.append("b", _drafts(0))
        assert await log.channels(text) == []
        assert await log.channels(after=text) == (["b"] if text < "b" else [])
