"""The alarm: many sleeps, each to its own time, behind one deadline."""

from __future__ import annotations

import math
import random

import trio
from trio.testing import MockClock

from triolet.sync.timer import Alarm


async def test_everybody_wakes_at_the_own_time(autojump_clock: MockClock) -> None:
    alarm, draw = Alarm(), random.Random(7)
    woken: list[float] = []

    async def sleeper() -> None:
        for _ in range(5):
            when = trio.current_time() + draw.choice([0, 0.5, 3, draw.random() * 100])
            await alarm.until(when)
            woken.append(trio.current_time() - when)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarm.run)
        async with trio.open_nursery() as sleepers:
            for _ in range(200):
                sleepers.start_soon(sleeper)
        nursery.cancel_scope.cancel()
    assert len(woken) == 1_000
    assert all(math.isclose(late, 0, abs_tol=1e-9) for late in woken)


async def test_a_time_that_is_past_is_now(autojump_clock: MockClock) -> None:
    alarm = Alarm()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarm.run)
        await trio.sleep(5)
        await alarm.until(3)
        assert trio.current_time() == 5
        nursery.cancel_scope.cancel()


async def test_one_who_is_cancelled_wakes_at_once_and_nobody_else(autojump_clock: MockClock) -> None:
    alarm = Alarm()
    woken: list[str] = []

    async def sleeper(name: str, when: float) -> None:
        with trio.move_on_after(5):
            await alarm.until(when)
        woken.append(f"{name} {trio.current_time():g}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarm.run)
        async with trio.open_nursery() as sleepers:
            sleepers.start_soon(sleeper, "late", 10)
            sleepers.start_soon(sleeper, "early", 4)
        await alarm.until(11)
        assert woken == ["early 4", "late 5"]
        nursery.cancel_scope.cancel()


async def test_a_later_sleeper_may_be_due_earlier(autojump_clock: MockClock) -> None:
    alarm = Alarm()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarm.run)
        nursery.start_soon(alarm.until, 100)
        await trio.testing.wait_all_tasks_blocked()
        await alarm.until(1)
        assert trio.current_time() == 1
        nursery.cancel_scope.cancel()
