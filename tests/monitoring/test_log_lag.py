"""How far what is served is behind the log: what was heard of it, what waits, and what it has failed at."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.shop import ORDER, ORDERS, make_shop
from triolet import Cursor, Draft, Event, Limits, LogAway, Triolet
from triolet.bounds import TAIL_BYTES, TAIL_EVENTS
from triolet.counters import Metrics
from triolet.hub.pump import LogStatistics
from triolet.log import MemoryLog
from triolet.log.contract import Page, Status
from triolet.log.tail import Waiting
from triolet.testing.server import serve


def wall() -> float:
    """A wall clock that goes with the virtual one."""
    return 1e9 + trio.current_time()


class Log(MemoryLog):
    """In memory, and away at times."""

    away = False

    @property
    def stale(self) -> bool:
        return self.away

    def check(self) -> None:
        if self.away:
            raise LogAway("the log is away")

    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        self.check()
        return await super().append(channel, drafts)

    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        self.check()
        return await super().read(channel, after, limit=limit, max_bytes=max_bytes)

    async def status(self, channel: str) -> Status:
        self.check()
        return await super().status(channel)


def sample(live: Triolet, name: str) -> float:
    """One sample that Prometheus reads, by name and labels."""
    text = live.service.exposition()[1].decode()
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.rpartition(" ")[2])


async def test_what_is_heard_of_the_log_is_counted_with_its_age_whoever_has_published_it(
    autojump_clock: MockClock,
) -> None:
    log = Log(Limits(), wall)
    app, live = make_shop(log=log)
    async with serve(app) as server:
        server.worker.metrics.now = wall
        assert sample(live, "triolet_newest_heard_timestamp_seconds") == 0
        await live.publish_many(ORDER, [1, 2])
        await log.append("another/processes", [Draft.of(3)])
        await wait_all_tasks_blocked()
        counts = live.statistics().counts
        assert (counts.heard, counts.heard_at, counts.published) == (3, wall(), 2)
        assert counts.heard_age.count in (1, 2), "once for what came together"
        server.worker.metrics.now = lambda: wall() + 30  # heard of half a minute late
        await live.publish(ORDER, 4)
        await wait_all_tasks_blocked()
        assert live.statistics().counts.heard_age.sum == 30
        assert sample(live, "triolet_events_heard_total") == 4


async def test_a_hub_that_cannot_ask_the_log_for_what_was_lost_is_behind_until_it_can(
    autojump_clock: MockClock,
) -> None:
    log = Log(Limits(), wall)
    app, live = make_shop(log=log)
    async with serve(app) as server, server.events(ORDERS) as client:
        server.worker.metrics.now = wall
        await client.own("live")
        assert live.statistics().log == LogStatistics(waiting=Waiting(0, 0, TAIL_EVENTS, TAIL_BYTES, 0))
        log.away = True
        log._tail.lose()
        await wait_all_tasks_blocked()
        log.away = False  # others publish, before this hub asks again
        await log.append(ORDER, [Draft.of("x" * 98), Draft.of(1)])
        log.away = True
        await trio.sleep(7)
        seen = live.statistics().log
        assert (seen.away, seen.behind_events, seen.behind_seconds) == (True, 2, 7)
        assert (seen.waiting.events, seen.waiting.bytes) == (2, 101)
        assert sample(live, "triolet_log_away") == 1
        assert sample(live, "triolet_log_behind_seconds") == 7
        log.away = False
        await trio.sleep(3)
        told = await client.event()
        assert told is not None
        assert told["data"] == "x" * 98
        assert sample(live, "triolet_log_away") == sample(live, "triolet_log_behind_seconds") == 0
        assert sample(live, "triolet_log_behind_events") == 0


async def test_what_the_log_fails_at_is_counted(autojump_clock: MockClock) -> None:
    log = Log(Limits(), wall)
    app, live = make_shop(log=log)
    async with serve(app) as server:
        log.away = True
        with pytest.raises(LogAway):
            await live.publish(ORDER, 1)
        assert (await server.get(ORDERS + "?after=0")).status == 503
        assert dict(live.statistics().counts.log_failures) == {"publish": 1, "read": 1}


def test_a_process_says_since_when_it_counts() -> None:
    assert Metrics(lambda: 5.0).snapshot().started == 5
    _, live = make_shop()
    live.service.server.counters.started = 1e9
    assert sample(live, "process_start_time_seconds") == 1e9
    assert sample(live, "process_cpu_seconds_total") > 0
