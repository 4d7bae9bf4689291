"""What is particular to the log in memory: how it forgets, what it costs, how it lets others run."""

from __future__ import annotations

import tracemalloc

import pytest
import trio

from triolet.event import Cursor, Draft
from triolet.limits import Limits
from triolet.log import MemoryLog

OLDEST = Cursor("", 0)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _draft(size: int = 1, dedupe: str | None = None) -> Draft:
    return Draft(b"1" * size, dedupe=dedupe)


async def _offsets(log: MemoryLog, channel: str) -> list[int]:
    page = await log.read(channel, OLDEST, limit=1 << 20, max_bytes=1 << 30)
    return [event.offset for event in page.events]


async def test_each_log_is_a_life_of_its_own() -> None:
    epochs = {MemoryLog()._epoch for _ in range(100)}
    assert len(epochs) == 100
    assert {len(epoch) for epoch in epochs} == {8}


async def test_count_and_bytes_are_kept_to_exactly() -> None:
    log = MemoryLog(Limits(keep_events=100, keep_bytes=1_000))
    async with log.open():
        for offset in range(1, 500):
            await log.append("many", [_draft()])
            assert await _offsets(log, "many") == list(range(max(1, offset - 99), offset + 1))
            await log.append("large", [_draft(90)])
            assert await _offsets(log, "large") == list(range(max(1, offset - 10), offset + 1))


async def test_a_forgotten_event_takes_its_dedupe_along() -> None:
    log = MemoryLog(Limits(keep_events=3))
    async with log.open():
        for number in range(1, 50):
            (event,) = await log.append("a", [_draft(dedupe=f"k{number}")])
            assert event.offset == number
            repeated = await log.append("a", [_draft(dedupe=f"k{max(1, number - 2)}")])
            assert repeated[0].offset == max(1, number - 2)
        assert (await log.append("a", [_draft(dedupe="k1")]))[0].offset == 50


async def test_a_log_that_is_opened_again_has_kept_its_events() -> None:
    log = MemoryLog()
    async with log.open():
        await log.append("a", [_draft(), _draft()])
    async with log.open():
        assert await _offsets(log, "a") == [1, 2]


async def test_a_million_idle_channels_would_cost_little() -> None:
    """Some of them, appended to once and grown old, and one channel that goes on."""
    clock = Clock()
    log = MemoryLog(Limits(keep_seconds=80), clock)
    names = [f"orders/{number}" for number in range(20_000)]
    async with log.open():
        tracemalloc.start()
        for name in names:
            await log.append(name, [_draft(200)])
        full, _ = tracemalloc.get_traced_memory()
        clock.now = 90
        for _ in range(400):
            await log.append("busy", [_draft()])
        clock.now = 200  # the log looks again, at the 64 channels of a step
        await log.append("busy", [_draft()])
        left, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (await log.head(names[0])).offset == 1
    assert full / len(names) < 800
    assert left / len(names) < 100


async def test_a_tight_publisher_lets_others_run() -> None:
    log = MemoryLog()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with log.open(), trio.open_nursery() as nursery:
        nursery.start_soon(count)
        for _ in range(6_500):
            await log.append("a", [_draft()])
        nursery.cancel_scope.cancel()
    assert turns >= 100


async def test_a_cancelled_publisher_stores_nothing() -> None:
    log = MemoryLog()
    async with log.open():
        with trio.CancelScope() as scope:
            scope.cancel()
            await log.append("a", [_draft()])
            pytest.fail("was not cancelled")
        assert (await log.head("a")).offset == 0
