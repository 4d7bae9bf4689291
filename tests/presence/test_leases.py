"""Leases by themselves: when a process is dead, and when this one may say so."""

from __future__ import annotations

from itertools import count

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.presence.processes import LIMITS, cluster
from triolet import Cursor, Event
from triolet.counters import Metrics
from triolet.event import encode_json
from triolet.log.memory import MemoryLog
from triolet.presence.leases import ALIVE, GONE, PROCESSES, Leases

offsets = count(1)


def make_leases(metrics: Metrics | None = None) -> Leases:
    """Leases of the process ``own``, that listens, and hears itself, from now on."""
    leases = Leases("own", MemoryLog(), LIMITS, metrics or Metrics(), lambda: None)
    leases.listen_anew()
    say(leases, "own")
    return leases


def say(leases: Leases, process: str, name: str = ALIVE) -> None:
    """A process says something of itself."""
    data = encode_json({"process": process})
    leases.hear(Event(Cursor("E", next(offsets)), PROCESSES, name, data, None, 0))


async def say_for(leases: Leases, seconds: float, *processes: str) -> None:
    """So many seconds pass, in which these processes renew their leases every 5."""
    for _ in range(int(seconds // 5)):
        await trio.sleep(5)
        for process in processes:
            say(leases, process)
    await trio.sleep(seconds % 5)


async def test_a_process_is_dead_when_it_was_silent_for_longer_than_a_lease(autojump_clock: MockClock) -> None:
    leases = make_leases()
    await say_for(leases, 20, "own", "other")
    await say_for(leases, 15, "own")
    assert not leases.is_dead("other"), "a lease is over when it is over"
    await trio.sleep(0.5)
    assert leases.is_dead("other")
    say(leases, "other")
    assert not leases.is_dead("other")


async def test_a_process_of_which_nothing_was_heard_has_a_lease_from_when_one_began_to_listen(
    autojump_clock: MockClock,
) -> None:
    leases = make_leases()
    await say_for(leases, 15, "own")
    assert not leases.is_dead("never heard")
    await trio.sleep(0.5)
    assert leases.is_dead("never heard")


async def test_a_process_judges_nobody_before_it_has_listened_for_a_lease(autojump_clock: MockClock) -> None:
    leases = make_leases()
    assert not leases.judges
    await say_for(leases, 15, "own")
    assert not leases.judges
    await trio.sleep(0.5)
    assert leases.judges


async def test_a_process_that_does_not_hear_itself_judges_nobody(autojump_clock: MockClock) -> None:
    leases = make_leases()
    await say_for(leases, 20, "own", "other")
    await trio.sleep(7.5)
    assert leases.judges, "half a lease of its own silence may be a renewal that is late"
    await trio.sleep(0.5)
    assert not leases.judges
    await trio.sleep(10)
    assert not leases.is_dead("other")


async def test_a_process_that_hears_itself_again_gives_all_others_a_lease_anew(autojump_clock: MockClock) -> None:
    leases = make_leases()
    await say_for(leases, 20, "own", "other")
    await trio.sleep(60)
    say(leases, "own")
    assert not leases.judges
    assert not leases.is_dead("other")
    await say_for(leases, 15, "own")
    assert not leases.is_dead("other")
    await trio.sleep(0.5)
    assert leases.is_dead("other")


async def test_a_process_whose_renewals_an_overrun_has_lost_has_a_lease_anew(autojump_clock: MockClock) -> None:
    leases = make_leases()
    await say_for(leases, 20, "own", "other")
    await say_for(leases, 15, "own")
    leases.listen_anew()
    await say_for(leases, 5, "own")
    assert not leases.is_dead("other"), "it may have spoken among what was lost"
    await say_for(leases, 10.5, "own")
    assert leases.is_dead("other")


async def test_a_process_never_takes_itself_for_dead(autojump_clock: MockClock) -> None:
    leases = make_leases()
    await say_for(leases, 60, "own")
    assert not leases.is_dead("own")


async def test_a_process_that_said_goodbye_is_dead_at_once(autojump_clock: MockClock) -> None:
    metrics = Metrics()
    leases = make_leases(metrics)
    await say_for(leases, 20, "own", "other")
    deaths = leases.deaths
    say(leases, "other", GONE)
    assert leases.is_dead("other")
    assert leases.deaths > deaths
    leases.expire()
    assert leases.is_dead("other")
    assert (leases.alive, metrics.processes_lost) == (1, 0)


async def test_a_lease_that_ends_is_a_death_to_look_for_and_is_forgotten(autojump_clock: MockClock) -> None:
    metrics = Metrics()
    leases = make_leases(metrics)
    await say_for(leases, 20, "own", *map(str, range(100)))
    leases.expire()
    deaths = leases.deaths
    assert leases.alive == 101
    await say_for(leases, 20, "own", "7")
    leases.expire()
    assert (leases.deaths, leases.alive, metrics.processes_lost) == (deaths + 99, 2, 99)
    leases.expire()
    assert (leases.deaths, len(leases._heard), metrics.processes_lost) == (deaths + 99, 1, 99)


async def test_a_renewal_that_failed_is_tried_again_soon(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        await it.start("one")
        await trio.sleep(4.5)
        it.log.away = True
        await trio.sleep(2)
        it.log.away = False
        await trio.sleep(1.25)
        assert (await it.log.head(PROCESSES)).offset == 2, "and not after a third of a lease"


async def test_a_log_that_began_again_twice_is_noticed_twice(autojump_clock: MockClock) -> None:
    log = MemoryLog(epoch="E")
    noticed: list[str] = []
    leases = Leases("own", log, LIMITS, Metrics(), lambda: noticed.append(log._epoch))
    async with log.open():
        for epoch in ("E", "E", "F", "F", "E"):
            log._epoch = epoch
            assert await leases.renew()
    await wait_all_tasks_blocked()
    assert noticed == ["F", "E"]
