"""The log with a script: the contract while nothing is scripted, and faults such as disks and servers have."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import Triolet
from triolet.errors import ConfigError, LogAway, LogBroken, LogBusy, LogError, LogFull, LogUncertain
from triolet.event import Cursor, Draft, Event
from triolet.limits import Limits
from triolet.log import EventLog, Kept, MemoryLog
from triolet.sqlite.log import SqliteLog
from triolet.testing import LOG_CHECKS, LogCheck, LogFactory
from triolet.testing.clients import TRANSPORTS
from triolet.testing.scripted import LogFault, ScriptedLog, away, failing, full, slow, unreadable
from triolet.testing.server import MemoryServer, serve

OLDEST = Cursor("", 0)


def _memory(folder: Path) -> LogFactory:
    return lambda limits, clock: ScriptedLog(MemoryLog(limits, clock))


def _sqlite(folder: Path) -> LogFactory:
    names = (folder / f"{number}.db" for number in count())
    return lambda limits, clock: ScriptedLog(SqliteLog(next(names), limits, clock))


def _slow(folder: Path) -> LogFactory:
    script = [slow("append", 0.01, 0.02), slow("read", 0.02, 0.01)]
    return lambda limits, clock: ScriptedLog(MemoryLog(limits, clock), script)


@pytest.mark.parametrize("check", LOG_CHECKS, ids=lambda check: check.__name__.strip("_"))
@pytest.mark.parametrize("factory", [_memory, _sqlite, _slow])
async def test_it_keeps_the_contract_of_logs(
    factory: Callable[[Path], LogFactory], check: LogCheck, tmp_path: Path, autojump_clock: MockClock
) -> None:
    await check(factory(tmp_path))


@pytest.fixture
async def log() -> AsyncIterator[ScriptedLog]:
    async with ScriptedLog(MemoryLog()).open() as log:
        yield log


async def _put(log: EventLog, *values: object, channel: str = "a") -> list[Event]:
    return await log.append(channel, [Draft.of(value) for value in values])


async def _kept(log: EventLog, channel: str = "a") -> list[object]:
    page = await log.read(channel, OLDEST, limit=1_000, max_bytes=1 << 20)
    assert page.gap is None
    assert [event.offset for event in page.events] == list(range(1, len(page.events) + 1))
    assert await log.head(channel) == page.head == Cursor(page.head.epoch, len(page.events))
    return [event.data for event in page.events]


# --- calls that fail, and calls that take time


async def test_the_third_append_fails_and_is_surely_not_stored(log: ScriptedLog) -> None:
    with log.having(failing("append", nth=3)), log.tail() as tail:
        await _put(log, 1)
        await _put(log, 2)
        with pytest.raises(LogError, match="nothing was done"):
            await _put(log, 3)
        await _put(log, 4)
        assert [event.data for event in await anext(tail)] == [1, 2, 4]
    assert await _kept(log) == [1, 2, 4]


async def test_an_append_whose_answer_is_lost_is_stored_and_announced(log: ScriptedLog) -> None:
    with log.having(failing("append", nth=1, stored=True)), log.tail() as tail:
        with pytest.raises(LogUncertain, match="may have been done"):
            await log.append("a", [Draft.of(1, dedupe="k")])
        assert [event.data for event in await anext(tail)] == [1]
    (again,) = await log.append("a", [Draft.of(1, dedupe="k")])
    assert again.offset == 1
    assert await _kept(log) == [1]


async def test_a_log_that_is_away_is_stale_and_has_stored_nothing(log: ScriptedLog, autojump_clock: MockClock) -> None:
    assert not log.stale
    with log.having(*away(patience=3)):
        assert log.stale
        with pytest.raises(LogAway, match="nothing was done"):
            await _put(log, 1)
        with pytest.raises(LogAway):
            await log.head("a")
        assert trio.current_time() == 6
    assert not log.stale
    assert await _kept(log) == []


async def test_a_script_may_stand_from_the_beginning() -> None:
    script = [failing("append", nth=range(2, 4)), failing("open", nth=1, error=LogBusy)]
    log = ScriptedLog(MemoryLog(), script)
    with pytest.raises(LogBusy):
        async with log.open():
            pass
    async with log.open():
        for value, works in enumerate([True, False, False, True]):
            if works:
                await _put(log, value)
            else:
                with pytest.raises(LogError):
                    await _put(log, value)
        assert await _kept(log) == [0, 3]


@pytest.mark.parametrize(
    "impossible", [{"nth": 0}, {"nth": range(3)}, {"nth": range(0)}, {"on": "apend"}, {"before": -1.0}]
)
def test_a_fault_that_would_never_happen_is_none(impossible: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="this would never happen"):
        LogFault(**{"on": "append", **impossible})


async def test_of_one_channel_only_its_calls_count(log: ScriptedLog) -> None:
    with log.having(LogFault("append", 2, "b", error=LogError)):
        await _put(log, 1)
        await _put(log, 1)
        await _put(log, 1, channel="b")
        with pytest.raises(LogError):
            await _put(log, 2, channel="b")


async def test_a_full_log_can_be_read(log: ScriptedLog) -> None:
    await _put(log, 1)
    with log.having(full()):
        with pytest.raises(LogFull):
            await _put(log, 2)
        assert await _kept(log) == [1]
    await _put(log, 3)
    assert await _kept(log) == [1, 3]


async def test_a_damaged_log_can_be_appended_to(log: ScriptedLog) -> None:
    with log.having(unreadable()):
        await _put(log, 1)
        with pytest.raises(LogBroken):
            await log.read("a", OLDEST, limit=1, max_bytes=1)
        with pytest.raises(LogBroken):
            await log.head("a")
    assert await _kept(log) == [1]


async def test_calls_that_take_time_wait_side_by_side(log: ScriptedLog, autojump_clock: MockClock) -> None:
    with log.having(slow("append", 2, 3)):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_put, log, 1)
            nursery.start_soon(_put, log, 1)
            await trio.sleep(1.9)
            assert await _kept(log) == []
            await trio.sleep(0.2)
            assert await _kept(log) == [1, 1]
        assert trio.current_time() == 5


@pytest.mark.parametrize(("patience", "stored"), [(1, []), (4, [1])])
async def test_an_append_cancelled_on_the_way_back_was_done(
    patience: float, stored: list[int], log: ScriptedLog, autojump_clock: MockClock
) -> None:
    with log.having(slow("append", 2, 3)), trio.move_on_after(patience):
        await _put(log, 1)
    assert await _kept(log) == stored


async def test_faults_add_up(log: ScriptedLog, autojump_clock: MockClock) -> None:
    with log.having(slow("append", 1)), log.having(slow("append", 2), full()):
        with pytest.raises(LogFull):
            await _put(log, 1)
        assert trio.current_time() == 3
    await _put(log, 1)
    assert trio.current_time() == 3


# --- losses


async def test_a_listener_that_is_overrun_is_told_before_what_is_left(log: ScriptedLog) -> None:
    with log.tail() as tail:
        await _put(log, 1, 2)
        await _put(log, 3)
        log.overrun(2)
        assert await anext(tail) == ()
        assert [event.data for event in await anext(tail)] == [3]
        await _put(log, 4)
        assert [event.data for event in await anext(tail)] == [4]


async def test_one_that_loses_the_newest_is_told_when_it_has(log: ScriptedLog) -> None:
    steps: list[Sequence[Event]] = []

    async def listen() -> None:
        with log.tail() as tail:
            async for events in tail:
                steps.append(events)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        log.overrun(5)
        await trio.testing.wait_all_tasks_blocked()
        assert steps == []
        await _put(log, 1)
        await trio.testing.wait_all_tasks_blocked()
        assert steps == [()]
        nursery.cancel_scope.cancel()


async def test_what_is_lost_are_the_last_of_all_channels_and_the_epoch_is_another(log: ScriptedLog) -> None:
    for turn in range(4):
        await _put(log, turn, channel="a")
        await _put(log, turn, turn, channel="b")
    before = (await log.head("a")).epoch
    log.lose(4)
    assert await _kept(log, "a") == [0, 1, 2]
    assert await _kept(log, "b") == [0, 0, 1, 1, 2]
    page = await log.read("a", Cursor(before, 4), limit=10, max_bytes=1 << 20)
    assert page.gap is not None
    assert page.gap.reason == "epoch"
    assert [event.data for event in page.events] == [0, 1, 2]
    (event,) = await _put(log, "new")
    assert event.cursor == Cursor(page.head.epoch, 4)
    log.lose(1_000)
    assert await _kept(log, "a") == await _kept(log, "b") == []


async def test_what_is_lost_is_deduped_no_more_and_what_is_kept_still_is(log: ScriptedLog) -> None:
    for key in "kl":
        await log.append("a", [Draft.of(key, dedupe=key)])
        await log.append("a", [Draft.of(key, dedupe=key)])
    log.lose(1)
    (kept,) = await log.append("a", [Draft.of("other", dedupe="k")])
    (new,) = await log.append("a", [Draft.of("other", dedupe="l")])
    assert (kept.cursor.epoch, kept.offset, kept.data) == (new.cursor.epoch, 1, "k")
    assert (new.offset, new.data) == (2, "other")


async def test_a_loss_goes_together_with_retention(autojump_clock: MockClock) -> None:
    async with ScriptedLog(MemoryLog(Limits(keep_events=10))).open() as log:
        await _put(log, *range(95))
        log.lose(20)
        page = await log.read("a", OLDEST, limit=100, max_bytes=1 << 20)
        assert (page.events, page.head.offset) == ((), 75)
        await _put(log, "new")
        page = await log.read("a", OLDEST, limit=100, max_bytes=1 << 20)
        assert [(event.offset, event.data) for event in page.events] == [(76, "new")]


async def test_listeners_are_told_of_a_loss_at_once(log: ScriptedLog) -> None:
    async def listen(tail: AsyncIterator[Sequence[Event]]) -> None:
        assert await anext(tail) == ()

    with log.tail() as tail:
        await _put(log, 1)
        assert len(await anext(tail)) == 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, tail)
            await trio.testing.wait_all_tasks_blocked()
            log.lose(1)


async def test_a_log_that_lies_gives_offsets_twice(log: ScriptedLog) -> None:
    (first,) = await _put(log, "first")
    log.lose(1, lies=True)
    (second,) = await _put(log, "second")
    assert first.cursor == second.cursor


async def test_only_what_is_in_memory_can_be_lost(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only a MemoryLog"):
        ScriptedLog(SqliteLog(tmp_path / "a.db")).lose(1)


# --- what an app makes of it


@asynccontextmanager
async def _served(log: ScriptedLog) -> AsyncIterator[tuple[MemoryServer, Triolet]]:
    app = QuartTrio("scripted")
    live = Triolet(app, log=log)

    @live.channel("/live")
    async def follow() -> str:
        return "a"

    async with serve(app) as server:
        yield server, live


async def test_a_client_gets_what_the_tail_has_lost(autojump_clock: MockClock) -> None:
    log = ScriptedLog(MemoryLog())
    async with _served(log) as (server, live), server.client("sse", "/live", after=0) as client:
        await client.until("live")
        for number in range(5):
            log.overrun(2)
            await live.publish("a", number)
            await client.expect(data=number)


@pytest.mark.triolet_seeds(5)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_is_told_when_the_log_has_lost_its_tail(transport: str, autojump_clock: MockClock) -> None:
    """Also of what was announced, and may be on its way."""
    log = ScriptedLog(MemoryLog())
    async with _served(log) as (server, live), server.client(transport, "/live", after=0) as client:
        for number in range(3):
            await live.publish("a", number)
            await client.expect(data=number)
        await live.publish("a", "lost")
        log.lose(1)
        assert (await client.until("gap"))["reason"] == "epoch"
        for number in range(3):
            await client.expect(data=number)
        await live.publish("a", "new")
        await client.expect(data="new")


async def test_what_fails_an_append_fails_a_commit_that_stores_nothing(log: ScriptedLog) -> None:
    await log.claim(b"k", b"p", b"me", 10)
    writes = [("a", [Draft.of(1)]), ("b", [Draft.of(2)])]
    for fault in (full(), failing("append"), LogFault("append", channel="b", error=LogFull), failing("commit")):
        with log.having(fault):
            with pytest.raises(LogError):
                await log.commit(b"k", b"me", b"", 60, writes)
            assert (await log.head("a")).offset == 0
    with log.having(LogFault("append", channel="c", error=LogFull)):
        assert isinstance(await log.commit(b"k", b"me", b"", 60, writes), list)


async def test_a_commit_whose_answer_is_lost_is_repeated(log: ScriptedLog) -> None:
    await log.claim(b"k", b"p", b"me", 10)
    with log.having(failing("commit", stored=True)), pytest.raises(LogUncertain):
        await log.commit(b"k", b"me", b"", 60, [("a", [Draft.of(1)])])
    again = await log.commit(b"k", b"me", b"", 60, [("a", [Draft.of(1)])])
    assert isinstance(again, list)
    assert [event.offset for event in again[0]] == [1]
    assert (await log.head("a")).offset == 1


async def test_claims_and_releases_fail_too(log: ScriptedLog, autojump_clock: MockClock) -> None:
    with log.having(*away()):
        for call in (log.claim(b"k", b"p", b"me", 10), log.release(b"k", b"me"), log.commit(b"k", b"me", b"", 60, [])):
            with pytest.raises(LogAway):
                await call
    with log.having(failing("claim", stored=True)), pytest.raises(LogUncertain):
        await log.claim(b"k", b"p", b"me", 10)
    assert await log.claim(b"k", b"p", b"it", 10) == Kept(b"p", None)


async def test_what_is_lost_takes_its_answer_along(log: ScriptedLog) -> None:
    writes = [("a", [Draft.of(1)]), ("b", [Draft.of(2)])]
    for key in (b"1", b"2"):
        await log.claim(key, b"p", b"me", 10)
        await log.commit(key, b"me", b"answer", 60, writes)
    before = await log.commit(b"1", b"me", b"", 60, writes)
    log.lose(1)
    assert await log.claim(b"2", b"p", b"it", 10) is None
    assert await log.claim(b"1", b"p", b"it", 10) == Kept(b"p", b"answer")
    again = await log.commit(b"1", b"me", b"", 60, writes)
    assert isinstance(again, list)
    assert isinstance(before, list)
    assert again[0][0].cursor == await _first(log, "a") != before[0][0].cursor


async def _first(log: EventLog, channel: str) -> Cursor:
    return (await log.read(channel, Cursor("", 0), limit=1, max_bytes=1)).events[0].cursor
