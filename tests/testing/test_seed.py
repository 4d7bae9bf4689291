"""One seed decides a run, step for step; and the canary that says what to do when Trio changes what that stands on."""

from __future__ import annotations

import gc
import os
import random
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from triolet import clock
from triolet.clock import wall_time
from triolet.event import Cursor, Draft, Event
from triolet.log import EventLog
from triolet.sqlite.log import SqliteLog
from triolet.testing import threads
from triolet.testing.clients import TRANSPORTS
from triolet.testing.seed import HOUR, PRIVATE, Played, Seed, Trace, current, play, seeded

from .day import day

ADVICE = """
Trio {version} no longer gives what triolet/testing/seed.py stands on: {what}.
Look for what took its place in trio/_core/_run.py, where `runner.runq` is emptied (of threads: in trio/_threads.py,
to_thread_run_sync), change it in seed.py, which is the only place that knows it, and run this file again. Until then no
run repeats. pytest-trio uses the same names, so its newest version may show how.
"""


def _advice(what: str) -> str:
    return ADVICE.format(version=trio.__version__, what=what)


async def _race(tasks: int = 6, turns: int = 4) -> list[int]:
    """Who came when, of tasks that all are ready in each pass."""
    order = []

    async def run(number: int) -> None:
        for _ in range(turns):
            order.append(number)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for number in range(tasks):
            nursery.start_soon(run, number)
    return order


# --- the canary


@pytest.mark.parametrize("name", [f"{path}.{name}" for path, names in PRIVATE.items() for name in names])
def test_canary_trio_has_the_private_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        play(0, _race)
    except RuntimeError as error:
        raise AssertionError(_advice(str(error))) from error
    monkeypatch.delattr(f"trio.{name}")
    with pytest.raises(RuntimeError, match=rf"has no trio\.{name}.* newer Triolet or an older Trio"):
        play(0, _race)


def test_canary_the_order_of_tasks_comes_from_the_seed() -> None:
    orders = [play(seed, _race).result for seed in range(8)]
    again = [play(seed, _race).result for seed in range(8)]
    assert orders == again, _advice("an order of tasks that comes from the generator alone")
    assert len({tuple(order) for order in orders}) == 8, _advice("an order of tasks that comes from the generator")


def test_canary_the_order_does_not_come_from_addresses() -> None:
    """Sets of tasks, and equal deadlines, are gone through in the order of addresses: those differ here each time."""
    kept: list[object] = []
    digests = set()
    for turn in range(5):
        kept.append([bytearray(40 + 16 * turn) for _ in range(1_000 + 37 * turn)])
        digests.add(play(3, _many_at_once).digest)
    assert len(digests) == 1, _advice("the sorting of tasks by age (task._counter)")


async def _many_at_once() -> None:
    """Tasks woken by one event, cancelled by one scope, and by deadlines at one moment."""
    event, limit = trio.Event(), trio.CapacityLimiter(3)

    async def wait() -> None:
        await event.wait()
        async with limit:
            await trio.sleep(1)

    async def sleep() -> None:
        with trio.move_on_at(5):
            await trio.sleep_forever()
        with trio.move_on_at(7), trio.move_on_at(7):
            async with limit:
                await trio.sleep(9)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(wait)
            nursery.start_soon(sleep)
        await trio.sleep(2)
        event.set()
        await trio.sleep(6)
        nursery.cancel_scope.cancel()


# --- chance


def test_a_stream_is_decided_by_its_name_alone() -> None:
    first, second = Seed(5), Seed(5)
    first.random("other").random()
    assert first.random("network").random() == second.random("network").random()
    assert Seed(5).random("network").random() != Seed(6).random("network").random()
    assert Seed(5).random("network").random() != Seed(5, "setup").random("network").random()
    assert first.random("network") is first.random("network")


def test_current_is_the_seed_of_the_innermost_block() -> None:
    with seeded(3) as outer:
        assert current() is outer
        with seeded(4):
            assert current().number == 4
        assert current() is outer


DRAWS: dict[str, Callable[[], object]] = {
    "os.urandom": lambda: os.urandom(8),
    "secrets.token_urlsafe": lambda: secrets.token_urlsafe(6),
    "secrets.randbelow": lambda: secrets.randbelow(1 << 40),
    "random.random": random.random,
    "random.shuffle": lambda: random.sample(range(100), 100),
    "random.Random()": lambda: random.Random().random(),
    "SystemRandom": lambda: random.SystemRandom().random(),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_all_chance_comes_from_the_seed_and_is_given_back(draw: Callable[[], object]) -> None:
    def drawn(seed: int) -> list[object]:
        with seeded(seed):
            return [draw(), draw()]

    assert drawn(1) == drawn(1) != drawn(2)
    assert drawn(1)[0] != drawn(1)[1]
    state = random.getstate()
    drawn(1)
    assert random.getstate() == state
    assert random.Random(5).random() == random.Random(5).random()


def test_blocks_give_back_what_they_found() -> None:
    def found() -> list[object]:
        run: Any = trio._core._run
        post = trio.lowlevel.TrioToken.run_sync_soon
        return [run._ALLOW_DETERMINISTIC_SCHEDULING, run._r.getstate(), os.urandom, post, gc.isenabled(), wall_time]

    def fail() -> None:
        with seeded(1):
            assert found() != before
            assert not gc.isenabled()
            raise ZeroDivisionError

    before = found()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert found() == before


# --- time


def test_the_hour_goes_with_the_virtual_clock() -> None:
    async def ask() -> tuple[float, float]:
        first = wall_time()
        await trio.sleep(90)
        return first, wall_time()

    assert play(0, ask).result == (HOUR, HOUR + 90)


def test_without_a_virtual_clock_it_is_the_present_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask() -> float:
        return wall_time()

    monkeypatch.setattr(clock, "system", lambda: 5.0)
    with seeded(0):
        assert trio.run(ask) == 5.0


# --- traces


def _played(seed: int) -> Played[list[int]]:
    return play(seed, _race, keep=True)


def test_a_trace_tells_every_step_and_no_address() -> None:
    class Job:
        async def __call__(self) -> None:
            await trio.sleep(2)

    async def main() -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Job())
        return "done"

    played = play(0, main, keep=True)
    assert played.result == "done"
    assert played.steps == len(played.lines)
    jobs = [line for line in played.lines if "Job" in line]
    assert len(jobs) == 2
    assert jobs[0].startswith("0.0 ")
    assert jobs[1].startswith("2.0 ")
    assert not [line for line in played.lines if " at 0x" in line]


def test_another_seed_is_another_trace() -> None:
    assert _played(1) == _played(1)
    assert _played(1).digest != _played(2).digest


def test_a_run_that_fails_leaves_its_trace_to_who_holds_it() -> None:
    async def fail() -> None:
        await trio.sleep(1)
        raise ZeroDivisionError

    def trace() -> str:
        trace = Trace()
        with seeded(1), pytest.raises(ZeroDivisionError):
            trio.run(fail, clock=MockClock(autojump_threshold=0), instruments=[trace])
        return trace.digest

    assert trace() == trace()


# --- a whole app


def test_a_whole_day_of_an_app_is_the_same_again() -> None:
    """For another process, whose addresses and order of sets differ, see tests/e2e/test_same_seed.py."""
    first, second = play(7, day), play(7, day)
    assert first == second
    assert first.digest != play(8, day).digest
    assert {name.partition(" ")[2] for name in first.result} >= set(TRANSPORTS)


# --- threads


async def _threads() -> list[object]:
    """Two threads at once, one slower, beside a timeout that a jumping clock would let pass."""
    told: list[object] = []

    def work(number: int) -> int:
        return sum(range(number))

    async def ask(number: int) -> None:
        with trio.fail_after(0.001):
            told.append((number, await trio.to_thread.run_sync(work, number), trio.current_time()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, 200_000)
        nursery.start_soon(ask, 10)
        await trio.sleep(1)
    return told


def test_a_thread_takes_no_virtual_time_and_ends_at_the_same_step() -> None:
    plays = [play(seed, _threads) for seed in (1, 1, 1)]
    assert len({played.digest for played in plays}) == 1
    assert sorted(plays[0].result, key=str) == [(10, 45, 0.0), (200_000, 19_999_900_000, 0.0)]


def test_a_thread_that_waits_for_a_core_or_the_disk_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that is busy, for longer than one that waits for the loop."""
    looks: list[str] = []

    def look() -> bool:
        looks.append("another works")
        return True

    def work() -> str:
        while len(looks) <= 2 * threads.LOOKS:
            pass
        return "done"

    monkeypatch.setattr(threads, "_another_works", look)
    monkeypatch.setattr(threads, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(threads, "WORK_SECONDS", 100)

    async def ask() -> tuple[str, float]:
        with trio.move_on_after(5):  # to where a clock would jump
            return await trio.to_thread.run_sync(work), trio.current_time()
        raise AssertionError("it was not done in no time")

    assert play(0, ask).result == ("done", 0.0)


def test_a_log_in_sqlite_is_played_the_same_way(tmp_path: Path) -> None:
    async def publish_and_follow(path: Path) -> list[Event]:
        heard: list[Event] = []

        async def publish(log: EventLog, number: int) -> None:
            for turn in range(3):
                await log.append("a", [Draft.of([number, turn])])
                await trio.sleep(0.5)

        async def follow(log: EventLog) -> None:
            while len(heard) < 9:
                after = heard[-1].cursor if heard else Cursor("", 0)
                with trio.fail_after(0.001):
                    heard.extend((await log.read("a", after, limit=2, max_bytes=1 << 20)).events)
                await trio.sleep(0.1)

        async with SqliteLog(path).open() as log, trio.open_nursery() as nursery:
            nursery.start_soon(follow, log)
            for number in range(3):
                nursery.start_soon(publish, log, number)
        return heard

    plays = [play(2, publish_and_follow, tmp_path / f"{number}.db") for number in range(3)]
    assert plays[0] == plays[1] == plays[2]


def test_a_thread_may_call_back() -> None:
    async def ask() -> list[object]:
        told: list[object] = []

        async def tell() -> float:
            await trio.lowlevel.checkpoint()
            return trio.current_time()

        def work() -> None:
            told.append(trio.from_thread.run(tell))
            trio.from_thread.run_sync(told.append, "sync")

        await trio.to_thread.run_sync(work)
        return told

    assert play(0, ask).result == [0.0, "sync"]
