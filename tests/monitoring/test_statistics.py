"""What an operator watches: every number moves when what it counts happens, in the whole server in memory."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
import trio
import trio.lowlevel
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from tests.pages import text_of
from tests.peer import CLOSE, peer
from tests.shop import ORDER, ORDERS, make_shop
from triolet import Connection, Limits, LogBusy, Statistics, Triolet, policies
from triolet.admin.merge_metrics import HELP
from triolet.closing import CATALOGUE
from triolet.counters import BY_CLIENT, Histogram, closing_labels
from triolet.log import MemoryLog
from triolet.testing.network import ClientEnd
from triolet.testing.server import MemoryServer, serve

SMALL = 4 << 10
BIG = {"fill": "x" * 3_000}


def wall() -> float:
    """A wall clock that goes with the virtual one."""
    return 1e9 + trio.current_time()


@asynccontextmanager
async def shop(limits: Limits | None = None, **options: Any) -> AsyncIterator[tuple[MemoryServer, Triolet]]:
    """A served shop of which log and metrics go by one clock."""
    limits = limits or Limits()
    app, live = make_shop(limits, log=MemoryLog(limits, clock=wall), **options)
    async with serve(app) as server:
        server.worker.metrics.now = wall
        yield server, live


@asynccontextmanager
async def stalled(server: MemoryServer, transport: str = "websocket", path: str = ORDERS) -> AsyncIterator[ClientEnd]:
    """A client that has become live, and reads no more."""
    if transport == "sse":
        async with server.events(path, kernel_bytes=SMALL) as stream:
            await stream.own("live")
            yield stream.stream
    else:
        async with peer(server, path, kernel_bytes=SMALL) as client:
            await client.until("live")
            yield client.stream


async def read_all(client: ClientEnd) -> None:
    """Read until nothing more comes for a second."""
    with trio.move_on_after(1):
        while await client.receive_some():
            pass


def samples(live: Triolet) -> dict[tuple[str, tuple[str, ...]], float]:
    """What Prometheus reads, by name and the labels' values."""
    text = live.service.exposition()[1].decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_connections_are_counted_by_transport_while_they_are_open(autojump_clock: MockClock) -> None:
    async with shop() as (server, live):
        async with server.websocket("/live") as first, server.events(ORDERS) as second:
            await first.next()
            await second.own("live")
            assert dict(live.statistics().counts.open) == {"websocket": 1, "sse": 1}
            assert live.statistics().connections == 2
        await trio.sleep(1)
        counts = live.statistics().counts
        assert dict(counts.open) == {"websocket": 0, "sse": 0}
        assert dict(counts.opened) == {"websocket": 1, "sse": 1}


async def test_a_connection_that_could_not_be_made_is_not_open(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def locked(channel: str) -> None:
        raise LogBusy("locked by another")

    async with shop() as (server, live):
        monkeypatch.setattr(live.service.hub.windows, "open", locked)
        assert (await server.upgrade(ORDERS)).status == 503
        assert (await server.get(ORDERS, accept="text/event-stream")).status == 503
        assert live.connections() == ()
        assert (live.statistics().connections, dict(live.statistics().counts.closed)) == (0, {})


async def test_the_duration_of_a_connection_is_known_when_it_has_ended(autojump_clock: MockClock) -> None:
    async with shop() as (server, live):
        async with server.events(ORDERS):
            await trio.sleep(42)
            assert live.statistics().counts.durations.count == 0
        await trio.sleep(1)
        durations = live.statistics().counts.durations
        assert durations.count == 1
        assert durations.sum == pytest.approx(42, abs=1)


async def test_a_connection_that_comes_with_a_cursor_has_returned(autojump_clock: MockClock) -> None:
    async with shop() as (server, live):
        events = await live.publish_many(ORDER, [1, 2, 3])
        for after, returned in [("", 0), ("?after=0", 0), (f"?after={events[0].cursor}", 1)]:
            async with server.websocket(ORDERS + after) as client:
                await client.until("live")
                assert live.statistics().counts.returned == returned


async def test_catching_up_is_counted_apart_from_what_the_live_are_sent(autojump_clock: MockClock) -> None:
    async with shop() as (server, live):
        events = await live.publish_many(ORDER, [1, 2, 3])
        async with server.websocket(f"{ORDERS}?after={events[0].cursor}") as back, server.events(ORDERS) as new:
            await back.until("live")
            await new.own("live")
            counts = live.statistics().counts
            assert (counts.replays, counts.replayed, counts.delivered) == (1, 2, 0)
            await live.publish_many(ORDER, [4, 5])
            await back.event()
            counts = live.statistics().counts
            assert (counts.published, counts.replayed, counts.delivered) == (5, 2, 4)


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_client_that_does_not_read_is_seen_behind_and_stalled(
    transport: str, autojump_clock: MockClock
) -> None:
    async with shop() as (server, live), stalled(server, transport) as client:
        await live.publish_many(ORDER, [BIG] * 2)
        await trio.sleep(3)
        await live.publish_many(ORDER, [BIG] * 20)
        await trio.sleep(2)
        seen = live.statistics()
        assert (seen.behind, seen.stalled, seen.counts.fell_behind) == (1, 1, 1)
        assert seen.slowest.events_behind == 20
        assert seen.slowest.seconds_behind == pytest.approx(2)
        assert seen.memory.held > 0
        (conn,) = live.connections()
        assert seen.slowest.connection == conn.id
        assert conn.transport == transport
        assert conn.stalled_seconds == pytest.approx(5)
        await read_all(client)
        seen = live.statistics()
        assert (seen.behind, seen.stalled, seen.slowest.events_behind) == (0, 0, 0)
        assert seen.slowest.until_retention_seconds == math.inf


async def test_the_time_until_retention_passes_the_slowest_is_told_by_count(autojump_clock: MockClock) -> None:
    limits = Limits(keep_events=100, stall_seconds=1_000, silence_seconds=2_000)
    async with shop(limits) as (server, live), stalled(server) as client:
        for _ in range(60):
            await live.publish(ORDER, BIG)
            await trio.sleep(1)
        left = live.statistics().slowest.until_retention_seconds
        assert left == pytest.approx(41, abs=2)
        for _ in range(int(left) - 3):
            await live.publish(ORDER, BIG)
            await trio.sleep(1)
        await read_all(client)
        assert dict(live.statistics().counts.gaps) == {}


async def test_the_time_until_retention_passes_the_slowest_is_told_by_age(autojump_clock: MockClock) -> None:
    limits = Limits(keep_seconds=60, stall_seconds=1_000, silence_seconds=2_000)
    async with shop(limits) as (server, live), stalled(server):
        await live.publish_many(ORDER, [BIG] * 2)
        await trio.sleep(1)
        await live.publish(ORDER, BIG)
        await trio.sleep(20)
        assert live.statistics().slowest.until_retention_seconds == pytest.approx(40, abs=1)


async def test_a_follower_whose_next_event_is_not_in_memory_is_placed_by_the_channels_pace(
    autojump_clock: MockClock,
) -> None:
    limits = Limits(window_events=10, stall_seconds=1_000, silence_seconds=2_000)
    async with shop(limits) as (server, live), stalled(server):
        for _ in range(50):
            await live.publish(ORDER, BIG)
            await trio.sleep(1)
        slowest = live.statistics().slowest
        assert slowest.events_behind == 48
        assert slowest.seconds_behind == pytest.approx(48, abs=2)
        (conn,) = live.connections()
        assert conn.followers[0].from_log


async def test_a_silent_client_is_a_heartbeat_miss(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), peer(server, ORDERS) as client:
        await client.until("live")
        await trio.sleep(60)
        counts = live.statistics().counts
        assert (counts.heartbeat_misses, counts.closed[("4409", "silent")]) == (1, 1)


@pytest.mark.parametrize(("code", "label"), [(1000, "1000"), (1001, "1001"), (3999, "other"), (4999, "other")])
async def test_a_clients_own_close_code_is_counted_if_it_is_a_known_one(
    code: int, label: str, autojump_clock: MockClock
) -> None:
    async with shop() as (server, live), peer(server, ORDERS) as client:
        await client.send(CLOSE, code.to_bytes(2, "big"))
        await client.ended()
        assert dict(live.statistics().counts.closed) == {(label, BY_CLIENT): 1}


def test_every_closing_of_the_catalogue_has_labels_of_its_own() -> None:
    assert len({closing_labels(closing) for closing in CATALOGUE}) == len(CATALOGUE)


async def test_a_gap_is_counted_with_what_it_left_out(autojump_clock: MockClock) -> None:
    async with shop(Limits(keep_events=10)) as (server, live):
        events = await live.publish_many(ORDER, list(range(30)))
        async with server.websocket(f"{ORDERS}?after={events[4].cursor}") as client:
            await client.until("live")
        await server.get(f"{ORDERS}?after={events[14].cursor}")
        counts = live.statistics().counts
        assert (dict(counts.gaps), dict(counts.missed)) == ({"expired": 2}, {"expired": 20})


async def test_a_step_of_a_policy_is_counted_with_what_it_skipped(autojump_clock: MockClock) -> None:
    async with shop(policy=policies.skip(events=5)) as (server, live), stalled(server) as client:
        await live.publish_many(ORDER, [BIG] * 2)
        await trio.sleep(1)
        await live.publish_many(ORDER, [BIG] * 20)
        await read_all(client)
        counts = live.statistics().counts
        assert (dict(counts.steps), dict(counts.missed)) == ({"skip": 1}, {"skipped": 20})


async def test_what_conflation_left_out_was_not_replayed(autojump_clock: MockClock) -> None:
    async with shop(policy=policies.latest(events=5)) as (server, live):
        for n in range(20):
            await live.publish(ORDER, n, key="price")
        async with server.websocket(f"{ORDERS}?after=0") as client:
            await client.until("live")
        counts = live.statistics().counts
        assert (counts.replayed, dict(counts.missed), dict(counts.steps)) == (1, {"conflated": 19}, {"latest": 1})


async def test_long_polls_are_counted_by_what_they_were_answered_with(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), trio.open_nursery() as nursery:
        await server.get(f"{ORDERS}?wait=5")
        nursery.start_soon(server.get, f"{ORDERS}?wait=5")
        await trio.sleep(1)
        await live.publish_many(ORDER, [1, 2])
        await trio.sleep(1)
        seen = live.statistics()
        assert dict(seen.counts.long_polls) == {"events": 1, "timeout": 1, "draining": 0}
        assert (seen.counts.polled, seen.long_poll_timeout_ratio) == (2, 0.5)
        nursery.start_soon(server.get, f"{ORDERS}?wait=5")
        await trio.sleep(1)
        server.stop.set()
        await trio.sleep(1)
        assert server.worker.metrics.long_polls["draining"] == 1


async def test_short_polls_that_bring_nothing_new_are_counted_apart(autojump_clock: MockClock) -> None:
    async with shop() as (server, live):
        tag = (await server.get(ORDERS)).headers["etag"]
        assert (await server.get(ORDERS, if_none_match=tag)).status == 304
        counts = live.statistics().counts
        assert (counts.short_polls, counts.not_modified) == (1, 1)


async def test_a_follow_that_is_refused_on_a_live_connection_is_counted(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), server.websocket("/live") as client:
        await client.say(type="follow", url="/orders/secret/events")
        await client.until("refused")
        assert live.statistics().counts.follows_refused == 1


async def test_one_connection_too_many_is_counted_as_refused(autojump_clock: MockClock) -> None:
    async with shop(Limits(connections=1)) as (server, live), server.events(ORDERS):
        assert (await server.connect().receive_some()).startswith(b"HTTP/1.1 503")
        assert live.statistics().counts.refused == 1


async def test_a_handler_that_crashes_and_one_that_takes_nothing_are_counted(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(inbox_messages=2))

    @live.socket("/broken")
    async def broken(conn: Connection) -> None:
        raise RuntimeError("a bug of the app's")

    @live.socket("/asleep")
    async def asleep(conn: Connection) -> None:
        await trio.sleep_forever()

    async with serve(app) as server:
        async with peer(server, "/broken") as client:
            assert await client.ended() == 1011
        async with peer(server, "/asleep") as client:
            for n in range(4):
                await client.say(type="message", data=n)
            assert await client.ended() == 1008
        counts = live.statistics().counts
        assert (counts.crashes, counts.slow_handlers) == (1, 1)


async def test_the_age_of_an_event_is_taken_when_its_round_is_written(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), server.events(ORDERS) as first, server.websocket(ORDERS) as second:
        await first.own("live")
        await second.until("live")
        server.worker.metrics.now = lambda: wall() + 0.3
        await live.publish(ORDER, 1)
        await second.event()
        written = live.statistics().counts.written
        assert written.count == 2
        assert written.sum == pytest.approx(0.6)
        assert dict(zip(written.bounds, written.counts, strict=False))[0.5] == 2


async def test_the_age_of_an_event_is_taken_when_its_client_acknowledges_it(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), server.websocket(ORDERS) as client:
        await client.until("live")
        event = await live.publish(ORDER, 1)
        await client.event()
        await trio.sleep(2)
        await client.say(type="ack", channel=ORDER, cursor=str(event.cursor))
        await trio.sleep(0.1)
        acknowledged = live.statistics().counts.acknowledged
        assert acknowledged.count == 1
        assert acknowledged.sum == pytest.approx(2, abs=0.01)


async def test_an_age_by_clocks_that_differ_is_never_below_zero(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), server.websocket(ORDERS) as client:
        await client.until("live")
        server.worker.metrics.now = lambda: wall() - 60
        await live.publish(ORDER, 1)
        await client.event()
        assert live.statistics().counts.written.sum == 0


async def test_no_metric_is_labelled_with_a_channel_or_a_user(autojump_clock: MockClock) -> None:
    async with shop(Limits(keep_events=5)) as (server, live), stalled(server):
        await live.publish_many(ORDER, [BIG] * 20)
        await live.publish_many("users/ada@example.org", [1])
        async with server.websocket(f"{ORDERS}?after=1") as client:
            await client.event()
        text = live.service.exposition()[1].decode()
    assert not any(name in text for name in ("orders", "A123", "ada", "198.51.100.1"))
    labels = {name for family in text_string_to_metric_families(text) for one in family.samples for name in one.labels}
    assert labels <= {"transport", "code", "reason", "way", "le", "step", "answer", "stage", "kind", "outcome", "what"}


async def test_prometheus_reads_what_the_snapshot_says(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), server.events(ORDERS) as stream:
        await stream.own("live")
        await live.publish_many(ORDER, [1, 2, 3])
        await stream.event()
        found = samples(live)
        seen = live.statistics()
    assert found["triolet_connections_open", ("sse",)] == 1
    assert found["triolet_events_published_total", ()] == 3
    assert found["triolet_events_delivered_total", ("live",)] == seen.counts.delivered == 3
    assert found["triolet_event_age_written_seconds_count", ()] == seen.counts.written.count
    assert found["triolet_slowest_until_retention_seconds", ()] == math.inf
    assert found["triolet_memory_ceiling_bytes", ()] == live.limits.memory_bytes


async def test_what_may_happen_is_there_at_zero_before_it_does(autojump_clock: MockClock) -> None:
    async with shop() as (_, live):
        found = samples(live)
    assert found["triolet_gaps_total", ("expired",)] == 0
    assert found["triolet_policy_steps_total", ("disconnect",)] == 0
    assert found["triolet_connections_closed_total", ("4408", "slow")] == 0
    assert ("triolet_policy_steps_total", ("catch_up",)) not in found


async def test_every_metric_has_a_help_text_and_is_documented(autojump_clock: MockClock) -> None:
    async with shop() as (_, live):
        families = list(text_string_to_metric_families(live.service.exposition()[1].decode()))
    assert len(families) > 30
    name = r"``((?:triolet|process)_[a-z_]+?)(?:_total)?(?:\{[a-z,]+\})?``"
    told = set(re.findall(name, text_of("metrics.rst")))
    supervisors = {f"triolet_{name.removesuffix('_total')}" for name in HELP}
    assert told == {family.name for family in families} | supervisors
    assert all(family.documentation for family in families)


async def test_statistics_can_be_read_before_the_app_is_served(autojump_clock: MockClock) -> None:
    _, live = make_shop()
    seen = live.statistics()
    assert (seen.connections, seen.hub.followers, seen.draining) == (0, 0, False)


def test_statistics_are_frozen() -> None:
    _, live = make_shop()
    seen: Statistics = live.statistics()
    with pytest.raises(FrozenInstanceError):
        seen.behind = 1  # type: ignore[misc]  # frozen: that is the test
    with pytest.raises(TypeError):
        seen.counts.gaps["expired"] = 1  # type: ignore[index]  # the same


def test_a_histogram_counts_a_value_at_a_bound_below_it_and_one_above_all_apart() -> None:
    histogram = Histogram((1, 2))
    for value, weight in [(0.5, 1), (1, 2), (1.5, 3), (9, 4)]:
        histogram.observe(value, weight)
    seen = histogram.snapshot()
    assert (seen.counts, seen.count, seen.sum) == ((3, 3, 4), 10, 43)


async def test_an_idle_connection_remembers_nothing(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), server.websocket(ORDERS) as client:
        await client.until("live")
        await live.publish(ORDER, 1)
        await client.event()
        (conn,) = live.service.context.registry.open.values()
        assert not conn.history.eventful
        del conn
