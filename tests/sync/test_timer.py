"""The timer: many sleeps, each to its own time, behind one deadline."""

from __future__ import annotations

import math
import random
from functools import partial
from itertools import pairwise

import trio
from trio.testing import MockClock

from triolet.bounds import TIMER_CALLS_A_TURN
from triolet.sync.timer import Timer


async def test_everybody_wakes_at_the_own_time(autojump_clock: MockClock) -> None:
    timer, draw = Timer(), random.Random(7)
    woken: list[float] = []

    async def sleeper() -> None:
        for _ in range(5):
            when = trio.current_time() + draw.choice([0, 0.5, 3, draw.random() * 100])
            await timer.until(when)
            woken.append(trio.current_time() - when)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(timer.run)
        async with trio.open_nursery() as sleepers:
            for _ in range(200):
                sleepers.start_soon(sleeper)
        nursery.cancel_scope.cancel()
    assert len(woken) == 1_000
    assert all(math.isclose(late, 0, abs_tol=1e-9) for late in woken)


async def test_a_time_that_is_past_is_now(autojump_clock: MockClock) -> None:
    timer = Timer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timer.run)
        await trio.sleep(5)
        await timer.until(3)
        assert trio.current_time() == 5
        nursery.cancel_scope.cancel()


async def test_one_who_is_cancelled_wakes_at_once_and_nobody_else(autojump_clock: MockClock) -> None:
    timer = Timer()
    woken: list[str] = []

    async def sleeper(name: str, when: float) -> None:
        with trio.move_on_after(5):
            await timer.until(when)
        woken.append(f"{name} {trio.current_time():g}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(timer.run)
        async with trio.open_nursery() as sleepers:
            sleepers.start_soon(sleeper, "late", 10)
            sleepers.start_soon(sleeper, "early", 4)
        await timer.until(11)
        assert woken == ["early 4", "late 5"]
        nursery.cancel_scope.cancel()


async def test_a_later_sleeper_may_be_due_earlier(autojump_clock: MockClock) -> None:
    timer = Timer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timer.run)
        nursery.start_soon(timer.until, 100)
        await trio.testing.wait_all_tasks_blocked()
        await timer.until(1)
        assert trio.current_time() == 1
        nursery.cancel_scope.cancel()


async def test_one_who_is_cancelled_leaves_those_of_the_same_time_asleep(autojump_clock: MockClock) -> None:
    timer = Timer()
    woken: list[tuple[int, float]] = []

    async def sleeper(number: int) -> None:
        with trio.move_on_after(5 if number == 1 else 99):
            await timer.until(10)
        woken.append((number, trio.current_time()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(timer.run)
        async with trio.open_nursery() as sleepers:
            for number in range(3):
                sleepers.start_soon(sleeper, number)
        assert sorted(woken) == [(0, 10), (1, 5), (2, 10)]
        await timer.until(10)  # its slot is gone, and the next one is due at once
        assert trio.current_time() == 10
        nursery.cancel_scope.cancel()


async def test_a_slot_that_all_have_left_wakes_nobody_and_is_forgotten_in_time(autojump_clock: MockClock) -> None:
    timer = Timer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timer.run)
        with trio.move_on_after(1):
            await timer.until(10)
        await timer.until(11)
        assert (timer._slots, timer._times) == ({}, [])
        nursery.cancel_scope.cancel()


async def test_what_is_called_is_called_at_its_time_unless_it_was_forgotten(autojump_clock: MockClock) -> None:
    timer = Timer()
    called: list[str] = []

    def call(key: str) -> None:
        called.append(f"{key} {trio.current_time():g}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(timer.run)
        for key, when in (("b", 4), ("a", 2), ("never", 4), ("later", 9)):
            timer.call_at(when, key, partial(call, key))
        timer.forget(4, "never")
        timer.forget(5, "of another time")
        await timer.until(5)
        assert called == ["a 2", "b 4"]
        nursery.cancel_scope.cancel()


async def test_what_is_called_may_ask_to_be_called_again(autojump_clock: MockClock) -> None:
    timer = Timer()
    times: list[float] = []

    def again() -> None:
        times.append(trio.current_time())
        timer.call_at(trio.current_time() + 10, "key", again)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(timer.run)
        timer.call_at(10, "key", again)
        await timer.until(35)
        assert times == [10, 20, 30]
        nursery.cancel_scope.cancel()


async def test_others_have_their_turn_within_a_large_slot(autojump_clock: MockClock) -> None:
    timer = Timer()
    called: list[int] = []
    seen: list[int] = []

    async def watch() -> None:
        while not called:
            await trio.lowlevel.checkpoint()
        while len(called) < 10 * TIMER_CALLS_A_TURN:
            seen.append(len(called))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(timer.run)
        for number in range(10 * TIMER_CALLS_A_TURN):
            timer.call_at(1, number, partial(called.append, number))
        await trio.sleep(1)
        await watch()
        nursery.cancel_scope.cancel()
    # Which of two tasks goes first in a turn is drawn anew each time: one may have two of its turns in a row.
    assert max(after - before for before, after in pairwise([0, *seen])) <= 2 * TIMER_CALLS_A_TURN
    assert sorted(called) == list(range(10 * TIMER_CALLS_A_TURN))
