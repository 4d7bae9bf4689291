"""Deadlines: in order, once each, and with nothing kept of what was put off or has ended."""

from __future__ import annotations

import math

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet.bounds import ENDED_AT_ONCE
from triolet.identity.bounds import DEADLINES_STALE
from triolet.identity.deadlines import Deadlines


class Lease:
    """Something that ends."""

    def __init__(self, until: float, heard: list[tuple[float, str]], name: str = "it") -> None:
        self.until = until
        self.warning = 30.0
        self.due = math.inf
        self.key: bytes | None = None
        self.over = False
        self._heard = heard
        self._name = name

    @property
    def warns_at(self) -> float:
        return self.until - self.warning

    def warn(self, seconds: float) -> None:
        self._heard.append((trio.current_time(), f"{self._name} ends in {seconds:g}"))

    def lapse(self) -> None:
        self.over = True

    def expire(self) -> None:
        self._heard.append((trio.current_time(), f"{self._name} ended"))


async def test_each_is_warned_and_ended_at_its_time(autojump_clock: MockClock) -> None:
    deadlines, heard = Deadlines(), list[tuple[float, str]]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        await wait_all_tasks_blocked()
        for id, until in enumerate([100, 50, 10]):
            deadlines.put(id, Lease(until, heard, str(until)))
        await trio.sleep(200)
        nursery.cancel_scope.cancel()
    assert heard == [
        (0, "10 ends in 10"),
        (10, "10 ended"),
        (20, "50 ends in 30"),
        (50, "50 ended"),
        (70, "100 ends in 30"),
        (100, "100 ended"),
    ]
    assert len(deadlines) == 0


async def test_what_is_put_off_ends_later_and_what_is_put_forward_earlier(autojump_clock: MockClock) -> None:
    deadlines, heard = Deadlines(), list[tuple[float, str]]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        lease = Lease(100, heard)
        for until in (1_000, 300, 60):
            lease.until = until
            deadlines.put(1, lease)
        await trio.sleep(2_000)
        assert heard == [(30, "it ends in 30"), (60, "it ended")]
        lease.until = math.inf
        deadlines.put(1, lease)
        assert len(deadlines) == 0
        nursery.cancel_scope.cancel()


async def test_what_is_removed_does_not_end(autojump_clock: MockClock) -> None:
    deadlines, heard = Deadlines(), list[tuple[float, str]]()
    deadlines.put(1, Lease(10, heard))
    deadlines.name(1, b"name")
    deadlines.remove(1)
    deadlines.remove(1)
    assert deadlines.find_named(b"name") is None
    await trio.sleep(100)
    deadlines.enforce()
    assert heard == []


async def test_renewals_without_end_fill_nothing(autojump_clock: MockClock) -> None:
    deadlines, heard = Deadlines(), list[tuple[float, str]]()
    leases = [Lease(1_000, heard) for _ in range(10)]
    for n in range(10_000):
        leases[n % 10].until = 1_000 + n
        deadlines.put(n % 10, leases[n % 10])
        assert len(deadlines._heap) <= 2 * len(leases) + DEADLINES_STALE
    await trio.sleep(20_000)
    deadlines.enforce()
    assert all(lease.over for lease in leases)
    assert deadlines._heap == []


async def test_connections_that_come_and_go_leave_nothing(autojump_clock: MockClock) -> None:
    deadlines, heard = Deadlines(), list[tuple[float, str]]()
    for n in range(10_000):
        deadlines.put(n, Lease(1_000, heard))
        deadlines.name(n, str(n).encode())
        deadlines.remove(n)
    assert (len(deadlines), len(deadlines._named)) == (0, 0)
    assert len(deadlines._heap) <= 2 + DEADLINES_STALE


async def test_a_name_is_the_latest_that_was_given(autojump_clock: MockClock) -> None:
    deadlines = Deadlines()
    lease = Lease(100, [])
    deadlines.put(1, lease)
    deadlines.name(1, b"one")
    deadlines.name(1, b"two")
    assert deadlines.find_named(b"one") is None
    assert deadlines.find_named(b"two") is lease


async def test_ten_thousand_are_over_at_once_and_are_ended_a_few_in_each_turn(autojump_clock: MockClock) -> None:
    deadlines, heard = Deadlines(), list[tuple[float, str]]()
    leases = [Lease(100, heard) for _ in range(10_000)]
    for id, lease in enumerate(leases):
        deadlines.put(id, lease)
    most = {"ends in 30": 0, "ended": 0}

    async def watch(count: int) -> None:
        while len(heard) < count:
            before = len(heard)
            await trio.lowlevel.checkpoint()
            for word in most:
                most[word] = max(most[word], sum(line.endswith(word) for _, line in heard[before:]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        for time, count in ((70, 10_000), (100, 20_000)):
            await trio.sleep(time - trio.current_time())
            deadlines.enforce()
            assert all(lease.over for lease in leases) == (time == 100)
            await watch(count)
        nursery.cancel_scope.cancel()
    assert max(most.values()) <= 2 * ENDED_AT_ONCE, "of both tasks either may be the first in a turn"
    assert len(heard) == 20_000


async def test_what_is_put_off_or_ends_before_its_turn_is_not_warned(autojump_clock: MockClock) -> None:
    deadlines, heard = Deadlines(), list[tuple[float, str]]()
    leases = [Lease(100, heard, str(id)) for id in range(3)]
    for id, lease in enumerate(leases):
        deadlines.put(id, lease)
    await trio.sleep(75)
    deadlines.enforce()
    leases[0].until = 200
    deadlines.put(0, leases[0])
    deadlines.remove(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert heard == [(75, "2 ends in 25")]
