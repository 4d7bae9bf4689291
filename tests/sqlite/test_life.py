"""The file of a log that was put back, copied, replaced or written over: its life is known outside of it too."""

# ruff: noqa: ASYNC240  # nothing runs beside what is done to the files

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path

import apsw
import pytest
import trio
from trio.testing import MockClock

from tests.peer import peer
from tests.shop import ORDER, ORDERS, make_shop
from triolet import Limits
from triolet.errors import LogBroken, LogError
from triolet.event import Cursor, Draft, Event
from triolet.log import Page
from triolet.sqlite.log import SqliteLog
from triolet.testing.server import serve

OLDEST = Cursor("", 0)
PATIENT = Limits(lock_seconds=1e9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.db"


async def publish(log: SqliteLog, *values: object) -> list[Event]:
    events: list[Event] = []
    for value in values:
        events += await log.append("c", [Draft.of(value)])
    return events


async def page(log: SqliteLog, after: Cursor = OLDEST) -> Page:
    return await log.read("c", after, limit=100, max_bytes=1 << 20)


async def life(path: Path, *values: object) -> list[Event]:
    """Start, publish, and stop."""
    async with SqliteLog(path).open() as log:
        return await publish(log, *values)


async def epoch(path: Path) -> str:
    async with SqliteLog(path).open() as log:
        return (await log.head("c")).epoch


def backup(source: Path, target: Path) -> None:
    """As ``sqlite3 source ".backup target"`` does; into a file that is in use, as ``.restore``."""
    with (
        closing(apsw.Connection(str(source))) as one,
        closing(apsw.Connection(str(target))) as other,
        other.backup("main", one, "main") as copying,
    ):
        copying.step()


def vacuum_into(source: Path, target: Path) -> None:
    with closing(apsw.Connection(str(source))) as db:
        db.execute("VACUUM INTO ?", (str(target),))


def copy(source: Path, target: Path) -> None:
    shutil.copy(source, target)


def exact_copy(source: Path, target: Path) -> None:
    """Times, rights and extended attributes too, as ``cp -a`` and ``rsync -aX`` do."""
    shutil.copy2(source, target)


def without_wal(path: Path) -> None:
    for name in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(f"{path}{name}")


def removed_all(path: Path, put: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    shutil.copy(put, path)


def removed_log(path: Path, put: Path) -> None:
    path.unlink()
    shutil.copy2(put, path)


def renamed(path: Path, put: Path) -> None:
    os.replace(put, path)


def written_over(path: Path, put: Path) -> None:
    path.write_bytes(put.read_bytes())


def restored(path: Path, put: Path) -> None:
    backup(put, path)


MAKING = [backup, vacuum_into, copy, exact_copy]
PUTTING = [removed_all, removed_log, renamed, written_over, restored]


@pytest.mark.parametrize("put", PUTTING)
@pytest.mark.parametrize("make", MAKING)
async def test_a_backup_put_back_at_rest_begins_a_new_life(
    make: Callable[[Path, Path], None], put: Callable[[Path, Path], None], path: Path, autojump_clock: MockClock
) -> None:
    await life(path, *range(1, 6))
    make(path, path.with_name("copy.db"))
    seen = (await life(path, *range(6, 11)))[-1].cursor
    without_wal(path)
    put(path, path.with_name("copy.db"))
    await life(path, *range(106, 113))
    async with SqliteLog(path).open() as log:
        found = await page(log, seen)
    assert found.gap is not None
    assert (found.gap.after, found.gap.reason) == (seen, "epoch")
    assert [event.data for event in found.events] == [1, 2, 3, 4, 5, *range(106, 113)]


async def test_a_backup_that_another_server_has_gone_on_with_begins_a_new_life(
    path: Path, autojump_clock: MockClock
) -> None:
    """It has come further than the one that it replaces: by number nothing is missing."""
    await life(path, 1, 2, 3)
    other = path.with_name("other.db")
    backup(path, other)
    seen = (await life(path, 4))[-1].cursor
    assert (await life(other, 14, 15, 16))[-1].cursor.epoch != seen.epoch
    restored(path, other)
    async with SqliteLog(path).open() as log:
        found = await page(log, seen)
    assert found.gap is not None
    assert found.gap.reason == "epoch"


@pytest.mark.parametrize("in_place", [True, False])
async def test_a_whole_folder_put_back_begins_a_new_life(
    in_place: bool, path: Path, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """With all that stands beside the log: what it says of itself does not fit."""
    await life(path, 1, 2, 3)
    kept = {file.name: file.read_bytes() for file in tmp_path.glob("orders.db*")}
    before = (await life(path, 4))[-1].cursor.epoch
    for name, content in kept.items():
        if not in_place:
            (tmp_path / name).unlink()
        (tmp_path / name).write_bytes(content)
    assert await epoch(path) != before


async def test_a_log_without_the_file_beside_it_begins_a_new_life(path: Path, autojump_clock: MockClock) -> None:
    before = (await life(path, 1))[-1].cursor.epoch
    os.unlink(f"{path}-life")
    assert await epoch(path) != before


@pytest.mark.parametrize("content", [b"", b"x", b"9" * 4_096, b'00000000000000000001{"epoch":1}', b"\xff" * 100])
async def test_a_log_with_nonsense_beside_it_begins_a_new_life(
    content: bytes, path: Path, autojump_clock: MockClock
) -> None:
    before = (await life(path, 1))[-1].cursor.epoch
    Path(f"{path}-life").write_bytes(content)
    after = await epoch(path)
    assert after != before
    assert await epoch(path) == after


async def test_a_restart_goes_on(path: Path, tmp_path: Path, autojump_clock: MockClock) -> None:
    """Also where the file was read, copied from, touched, tidied up or moved meanwhile."""
    first = await epoch(path)
    await life(path, 1, 2)
    backup(path, tmp_path / "copy.db")
    vacuum_into(path, tmp_path / "another.db")
    os.utime(path)
    path.chmod(0o600)
    with closing(apsw.Connection(str(path))) as db:
        db.execute("VACUUM")
    await life(path, 3)
    folder = tmp_path / "new"
    folder.mkdir()
    for file in tmp_path.glob("orders.db*"):
        file.rename(folder / file.name)
    async with SqliteLog(folder / path.name).open() as log:
        assert (await log.head("c")) == Cursor(first, 3)
    assert [file.name for file in sorted(folder.iterdir())] == ["orders.db", "orders.db-life"]


async def test_workers_that_come_and_go_share_one_life(path: Path, autojump_clock: MockClock) -> None:
    first = await epoch(path)
    async with AsyncExitStack() as workers:
        logs = [await workers.enter_async_context(SqliteLog(path, PATIENT).open()) for _ in range(3)]
        for number, log in enumerate(logs * 2):
            await publish(log, number)
            await life(path, "come", "gone")
        os.unlink(f"{path}-life")  # it is made again by those that live
        await publish(logs[0], "again")
    assert await epoch(path) == first


# --- under a running log


@pytest.mark.parametrize("make", [backup, vacuum_into])
async def test_a_backup_restored_into_a_running_log_begins_a_new_life_for_all(
    make: Callable[[Path, Path], None], path: Path, autojump_clock: MockClock
) -> None:
    async with SqliteLog(path, PATIENT).open() as one, SqliteLog(path, PATIENT).open() as two:
        await publish(one, *range(1, 6))
        make(path, path.with_name("copy.db"))
        seen = (await publish(two, *range(6, 11)))[-1].cursor
        with one.tail() as hears_one, two.tail() as hears_two:
            restored(path, path.with_name("copy.db"))
            for tail in (hears_one, hears_two):
                await _until_lost(tail)
            (event,) = await publish(one, "new")
            assert (event.offset, event.cursor.epoch == seen.epoch) == (6, False)
            for log in (one, two):
                assert (await log.head("c")) == event.cursor
                found = await page(log, seen)
                assert found.gap is not None
                assert (found.gap.after, found.gap.reason) == (seen, "epoch")
        now = event.cursor.epoch
    assert await epoch(path) == now


async def _until_lost(tail: object) -> None:
    while await anext(tail):  # type: ignore[call-overload]
        pass


@pytest.mark.parametrize("is_vouched_for", [True, False])
async def test_who_appends_first_after_a_restore_finds_it(
    is_vouched_for: bool, path: Path, autojump_clock: MockClock
) -> None:
    """Before the watcher has looked; also where the file beside it has gone."""
    async with SqliteLog(path).open() as log:
        await publish(log, *range(1, 6))
        backup(path, path.with_name("copy.db"))
        seen = (await publish(log, *range(6, 11)))[-1].cursor
        async with log._hearing._announcing:
            restored(path, path.with_name("copy.db"))
            if not is_vouched_for:
                path.with_name("orders.db-life").unlink()
            async with trio.open_nursery() as nursery:
                results: list[Event] = []

                async def append() -> None:
                    results.extend(await publish(log, "new"))

                nursery.start_soon(append)
                await trio.testing.wait_all_tasks_blocked()
                log._hearing._announcing.release()
                await trio.testing.wait_all_tasks_blocked()
                await log._hearing._announcing.acquire()
        assert results[0].cursor.epoch != seen.epoch
        assert results[0].offset == 6


@pytest.mark.parametrize("put", [renamed, removed_log, None])
async def test_a_file_that_is_replaced_under_a_running_log_is_told(
    put: Callable[[Path, Path], None] | None, path: Path, autojump_clock: MockClock
) -> None:
    """And its WAL, which is another's by then, is left alone."""
    async with SqliteLog(path).open() as log:
        await publish(log, *range(1, 6))
        backup(path, path.with_name("copy.db"))
        old = (await publish(log, *range(6, 11)))[-1].cursor
        if put is None:
            path.unlink()
        else:
            put(path, path.with_name("copy.db"))
        without_wal(path)
        for call in (publish(log, "lost"), page(log), log.head("c")):
            with pytest.raises(LogBroken, match="restart"):
                await call
        async with SqliteLog(path).open() as new:
            assert (await new.head("c")).epoch != old.epoch
            await publish(new, "anew")
            with pytest.raises(LogBroken, match="replaced"):
                await publish(log, "lost")
            assert log.stale
            assert not new.stale
    async with SqliteLog(path).open() as log:
        assert (await page(log)).events[-1].data == "anew"


async def test_one_worker_of_two_has_the_old_file_and_only_the_other_acknowledges(
    path: Path, autojump_clock: MockClock
) -> None:
    async with SqliteLog(path).open() as old, AsyncExitStack() as stack:
        await publish(old, 1)
        for file in path.parent.glob("orders.db*"):
            file.unlink()
        new = await stack.enter_async_context(SqliteLog(path).open())
        acknowledged = []
        for log in (old, new) * 3:
            with suppress(LogError):
                acknowledged += await publish(log, "x")
        await stack.aclose()
    async with SqliteLog(path).open() as log:
        assert list((await page(log)).events) == acknowledged
        assert len(acknowledged) == 3


def wal_removed(path: Path) -> None:
    os.unlink(f"{path}-wal")


def shm_removed(path: Path) -> None:
    os.unlink(f"{path}-shm")


def wal_of_nobody(path: Path) -> None:
    os.unlink(f"{path}-wal")
    Path(f"{path}-wal").touch()


def wal_copied(path: Path) -> None:
    shutil.copy(f"{path}-wal", f"{path}-copy")
    os.replace(f"{path}-copy", f"{path}-wal")


@pytest.mark.parametrize("harm", [wal_removed, shm_removed, without_wal, wal_of_nobody, wal_copied])
async def test_what_sqlite_keeps_beside_a_running_log_is_not_replaced_in_silence(
    harm: Callable[[Path], None], path: Path, autojump_clock: MockClock
) -> None:
    """What is committed to it afterwards nobody would find who opens the log: two logs, of which both acknowledge."""
    async with SqliteLog(path).open() as one, SqliteLog(path).open() as two:
        acknowledged = await publish(one, 1, 2) + await publish(two, 3)
        harm(path)
        for log in (one, two):
            with pytest.raises(LogBroken, match=r"orders\.db-(wal|shm) was (removed|replaced) .* restart"):
                await publish(log, "lost")
            assert log.stale
            with pytest.raises(LogBroken, match="restart"):
                await page(log)
    async with SqliteLog(path).open() as log:
        kept = (await page(log)).events[:3]
        assert list(kept) == acknowledged or (await log.head("c")).epoch != acknowledged[0].cursor.epoch


async def test_all_that_was_acknowledged_is_kept_where_the_wal_is_removed_and_the_log_is_closed(
    path: Path, autojump_clock: MockClock
) -> None:
    async with SqliteLog(path).open() as log:
        acknowledged = await publish(log, 1, 2)
        without_wal(path)
    async with SqliteLog(path).open() as log:
        assert list((await page(log)).events) == acknowledged


async def test_where_nothing_can_be_written_beside_it_each_start_begins_a_new_life_and_says_so(
    path: Path, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    before = (await life(path, 1))[-1].cursor.epoch
    os.unlink(f"{path}-life")
    os.mkdir(f"{path}-life")
    os.mkdir(f"{path}-life/in the way")
    async with SqliteLog(path, PATIENT).open() as one, SqliteLog(path, PATIENT).open() as two:
        await publish(one, 2)
        await publish(two, 3)
        assert (await one.head("c")) == (await two.head("c"))
        assert (await one.head("c")).epoch != before
    assert "the next start begins a new epoch" in caplog.text


async def test_a_live_client_is_told_of_a_backup_restored_under_it(path: Path, autojump_clock: MockClock) -> None:
    app, live = make_shop(log=f"sqlite:///{path}")
    async with serve(app) as server, peer(server, ORDERS) as client:
        await client.until("live")
        for number in range(1, 6):
            await live.publish(ORDER, number)
        backup(path, path.with_name("copy.db"))
        for number in range(6, 11):
            await live.publish(ORDER, number)
        seen = [await client.until("event") for _ in range(10)][-1]["id"]
        restored(path, path.with_name("copy.db"))
        gap = await client.until("gap")
        assert (gap["from"], gap["reason"]) == (seen, "epoch")
        await live.publish(ORDER, "new")
        assert [(await client.until("event"))["data"] for _ in range(6)] == [1, 2, 3, 4, 5, "new"]
