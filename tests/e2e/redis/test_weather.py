"""Bad weather: Redis that is away, hangs, comes back empty, older or as a replica, and is full."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from tests.e2e.needs import needs
from triolet.errors import LogAway, LogBroken, LogError, LogFull, LogUncertain
from triolet.event import Cursor, Draft, Event, Gap
from triolet.limits import Limits
from triolet.log.contract import EventLog, Page
from triolet.redis.connect import slot_of
from triolet.redis.log import RedisLog
from triolet.redis.partition import Partition

from .servers import Cluster, RedisServer, running_watched

pytestmark = needs("redis-server", "redis-cli")

T = TypeVar("T")

LIMITS = Limits(away_seconds=1, answer_seconds=0.5, look_seconds=0.2)
PATIENT = Limits(away_seconds=60, answer_seconds=0.5, look_seconds=0.2)
STEADY = Limits(away_seconds=60, answer_seconds=60, look_seconds=0.2)
"""Where Redis is neither away nor hangs: one that answers late, on a machine that is busy, is waited for."""
AWAY = replace(STEADY, away_seconds=1)
"""Where Redis is away, and says so, or is gone: none of its answers is waited for."""
OLDEST = Cursor("", 0)


def at_last(server: RedisServer, limits: Limits) -> RedisLog:
    """A log that opens also where a busy machine lets its server answer late."""
    return RedisLog(f"{server.url}?start=wait", limits)


async def put(log: EventLog, *values: object, channel: str = "a") -> list[Event]:
    return await log.append(channel, [Draft.of(value) for value in values])


async def at_length(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again until Redis has answered: where an answer is waited for no longer than half a second, it may be late
    at any time, on a machine that is busy. What is asked may be done twice."""
    with trio.fail_after(60):
        while True:
            with suppress(LogAway, LogUncertain):
                return await ask()
            await trio.sleep(0.05)


async def page(log: EventLog, after: Cursor = OLDEST, channel: str = "a") -> Page:
    return await log.read(channel, after, limit=100_000, max_bytes=1 << 30)


async def values(log: EventLog, after: Cursor = OLDEST, channel: str = "a") -> list[object]:
    return [event.data for event in (await page(log, after, channel)).events]


async def until(log: EventLog, *, stale: bool) -> None:
    with trio.fail_after(30):
        while log.stale is not stale:  # noqa: ASYNC110  # real time, and nothing to wait for
            await trio.sleep(0.01)


async def hear(tail: AsyncIterator[Sequence[Event]]) -> Sequence[Event]:
    with trio.fail_after(30):
        return await anext(tail)


# --- away at start


async def test_a_redis_that_is_away_at_the_start_is_an_error_that_says_where(server: RedisServer) -> None:
    server.stop()
    with pytest.raises(LogAway, match=f"Redis at 127.0.0.1:{server.port} cannot be reached"):
        async with RedisLog(server.url, LIMITS).open():
            pass


async def test_a_redis_that_is_away_at_the_start_is_waited_for_where_that_is_asked_for(server: RedisServer) -> None:
    server.stop()
    opened = trio.Event()

    async def use() -> None:
        async with RedisLog(f"{server.url}?start=wait", LIMITS).open() as log:
            await put(log, 1)
            opened.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(use)
        await trio.sleep(0.3)
        assert not opened.is_set()
        server.start()
        with trio.fail_after(30):
            await opened.wait()


@pytest.mark.parametrize("start", ["fail", "wait"])
async def test_a_wrong_password_is_an_error_at_once_that_does_not_tell_it(start: str, server: RedisServer) -> None:
    with pytest.raises(LogError) as caught:
        async with RedisLog(f"redis://me:secret@127.0.0.1:{server.port}?start={start}", LIMITS).open():
            pass
    assert "secret" not in str(caught.value)
    assert not isinstance(caught.value, LogAway)


async def test_keys_of_something_else_are_left_alone(server: RedisServer, cluster: Cluster) -> None:
    server.ask("SET", "{triolet:0}:events:a", "mine")
    async with RedisLog(server.url, STEADY).open() as log:
        with pytest.raises(LogBroken, match="something else has a key"):
            await put(log, 1)
        assert (await put(log, 1, channel="b"))[0].offset == 1
    assert server.ask("GET", "{triolet:0}:events:a") == "mine"
    async with RedisLog(f"{cluster.url}?prefix=parts&partitions=3", STEADY).open():
        pass
    with pytest.raises(LogBroken, match="partitions"):
        async with RedisLog(f"{cluster.url}?prefix=parts&partitions=4", STEADY).open():
            pass


# --- away for a while


async def test_while_redis_is_away_the_log_is_stale_and_what_cannot_be_stored_is_surely_not(
    durable: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with at_last(durable, AWAY).open() as log:
        await put(log, 1)
        assert not log.stale
        durable.stop()
        await until(log, stale=True)
        with pytest.raises(LogAway, match="this is not stored"):
            await put(log, 2)
        with pytest.raises(LogAway):
            await log.head("a")
        durable.start()
        await until(log, stale=False)
        assert await values(log) == [1]
        assert (await put(log, 3))[0].offset == 2
    told = [record.getMessage() for record in caplog.records if record.name == "triolet.log"]
    assert [text.split(":")[0] for text in told if " is away" in text] == ["Redis at 127.0.0.1"]
    assert sum(" is back after " in text for text in told) == 1


async def test_what_went_out_to_a_redis_that_hangs_is_uncertain_and_its_repeat_is_safe(server: RedisServer) -> None:
    one, two = ([Draft.of(number, dedupe=str(number))] for number in (1, 2))
    async with at_last(server, LIMITS).open() as log:
        await at_length(partial(log.append, "a", one))
        server.freeze()
        with pytest.raises(LogUncertain, match="may be stored"):
            await log.append("a", two)
        assert log.stale
        server.thaw()
        await until(log, stale=False)
        (event,) = await at_length(partial(log.append, "a", two))
        assert await at_length(partial(values, log)) == [1, 2]
        assert event.data == 2


async def test_appends_wait_through_restarts_and_each_is_stored_once(durable: RedisServer) -> None:
    returned: list[Event] = []

    async def publish(log: EventLog, number: int) -> None:
        for turn in range(40):
            returned.extend(await put(log, [number, turn]))
            await trio.sleep(0.01)

    async with at_last(durable, PATIENT).open() as log:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(publish, log, number)
            for _ in range(2):
                await trio.sleep(0.15)
                await trio.to_thread.run_sync(durable.stop)
                await trio.to_thread.run_sync(durable.start)
        stored = (await page(log)).events
    assert [event.offset for event in stored] == list(range(1, 401))
    assert sorted(event.json for event in stored) == sorted(event.json for event in returned)
    assert {event.offset: event.json for event in returned} == {event.offset: event.json for event in stored}


async def test_an_answer_that_got_lost_is_not_a_second_append(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Partition.call
    lost: list[object] = []

    async def losing(
        self: Partition, connection: object, script: object, keys: Sequence[str], *args: object, **options: object
    ) -> object:
        answer = await call(self, connection, script, keys, *args, **options)  # type: ignore[arg-type]  # as it came
        if len(keys) > 2 and not lost:
            lost.append(answer)
            connection.invalidate()  # type: ignore[attr-defined]
            await trio.sleep_forever()
        return answer

    monkeypatch.setattr(Partition, "call", losing)
    async with at_last(server, PATIENT).open() as log:
        (event,) = await put(log, 1)
        assert lost
        assert await values(log) == [1]
        assert (await put(log, 2))[0].offset == event.offset + 1


async def test_a_redis_that_does_not_let_us_in_any_more_is_away_until_it_does(server: RedisServer) -> None:
    async with at_last(server, AWAY).open() as log:
        await put(log, 1)
        server.ask("ACL", "SETUSER", "default", "-eval", "-evalsha")
        await until(log, stale=True)
        with pytest.raises(LogAway, match="does not allow it"):
            await page(log)
        server.ask("ACL", "SETUSER", "default", "+eval", "+evalsha")
        await until(log, stale=False)
        assert await values(log) == [1]


async def test_what_somebody_else_publishes_where_hints_are_is_passed_over(server: RedisServer) -> None:
    async with at_last(server, STEADY).open() as log:
        with log.tail() as tail:
            for strange in (b"", b"{}", b"\x93\xa1\xff\x01\x90"):
                server.ask("PUBLISH", "{triolet:0}:hints:0", os.fsdecode(strange))
            await put(log, 1)
            assert [event.data for event in await hear(tail)] == [1]


# --- hints that are lost


async def test_another_process_is_heard_in_order(server: RedisServer) -> None:
    async with at_last(server, STEADY).open() as mine, at_last(server, STEADY).open() as other:
        with mine.tail() as tail:
            written = [await put(log, number) for number, log in enumerate([mine, other] * 20)]
            heard: list[Event] = []
            while len(heard) < 40:
                heard += await hear(tail)
        assert heard == [event for events in written for event in events]


@pytest.mark.parametrize("found", ["at the next look", "with the next hint"])
async def test_a_hint_that_was_lost_is_found(found: str, server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = STEADY if found == "at the next look" else replace(STEADY, look_seconds=1_000)
    async with at_last(server, limits).open() as mine, at_last(server, limits).open() as other:
        with mine.tail() as tail:
            take, lost = Partition._take, trio.Event()
            monkeypatch.setattr(
                Partition, "_take", lambda self, payload: lost.set() if self in mine._partitions else None
            )
            with trio.fail_after(30):
                await put(other, 1)
                await lost.wait()
            monkeypatch.setattr(Partition, "_take", take)
            if found == "at the next look":
                assert list(await hear(tail)) == []
            (event,) = await put(other, 2)
            if found == "with the next hint":
                assert list(await hear(tail)) == []
            assert list(await hear(tail)) == [event]


async def test_who_was_cut_off_is_told_what_it_may_have_missed_and_hears_on(server: RedisServer) -> None:
    async with at_last(server, PATIENT).open() as log:
        with log.tail() as tail:
            server.ask("CLIENT", "KILL", "TYPE", "pubsub")
            async with at_last(server, STEADY).open() as other:
                events = await put(other, 1)
            heard = list(await hear(tail))
            assert heard in ([], events)  # it may have been back already
            more = await put(log, 2)
            assert list(await hear(tail)) == more


# --- what was lost


async def test_a_redis_that_lost_nothing_at_its_restart_begins_an_epoch_that_nobody_is_told_of(
    durable: RedisServer,
) -> None:
    async with at_last(durable, PATIENT).open() as log:
        with log.tail() as tail:
            before = await put(log, 1, 2, 3)
            assert list(await hear(tail)) == before
            durable.stop()
            durable.start()
            assert list(await hear(tail)) == []
            after = await put(log, 4)
            assert list(await hear(tail)) == after
        assert after[0].offset == 4
        assert after[0].cursor.epoch != before[0].cursor.epoch
        for event in before:
            assert (await page(log, event.cursor)).gap is None
            assert await values(log, event.cursor) == [2, 3, 4][event.offset - 1 :]
        for number in range(5, 30):  # and many epochs later
            if number % 10 == 0:
                durable.stop()
                durable.start()
            await put(log, number)
        assert (await page(log, before[1].cursor)).gap is None
        assert await values(log, before[1].cursor) == list(range(3, 30))


async def test_a_redis_that_comes_back_empty_is_a_gap_to_everyone(server: RedisServer) -> None:
    async with at_last(server, PATIENT).open() as log:
        events = await put(log, 1, 2, 3)
        server.stop()
        server.start()
        (other,) = await put(log, 4)
        assert other.offset == 1
        for event in events:
            found = await page(log, event.cursor)
            assert found.gap == Gap(event.cursor, Cursor(other.cursor.epoch, 0), None, "epoch")
            assert [event.data for event in found.events] == [4]


async def test_what_still_waits_of_an_epoch_that_is_over_is_not_heard_after_the_loss(server: RedisServer) -> None:
    async with at_last(server, PATIENT).open() as log:
        with log.tail() as tail:
            await put(log, 1, 2, 3)
            server.stop()
            server.start()
            events = await put(log, 4)
            assert list(await hear(tail)) == []
            assert list(await hear(tail)) == events


async def test_a_redis_that_comes_back_older_is_a_gap_to_whoever_has_seen_more(server: RedisServer) -> None:
    async with at_last(server, PATIENT).open() as log:
        kept = await put(log, 1, 2)
        server.ask("SAVE")
        lost = await put(log, 3, 4)
        quiet = await put(log, "lost too", channel="quiet")
        server.stop()
        server.start()
        await until(log, stale=False)
        # before anybody appends
        assert (await page(log, kept[1].cursor)).gap is None
        found = await page(log, lost[1].cursor)
        assert found.gap == Gap(lost[1].cursor, found.head, None, "future")
        assert found.head.offset == 2
        # and after offsets were used again
        again = await put(log, 5, 6, 7)
        assert [event.offset for event in again] == [3, 4, 5]
        assert (await page(log, kept[0].cursor)).gap is None
        assert await values(log, kept[0].cursor) == [2, 5, 6, 7]
        for event in lost:
            found = await page(log, event.cursor)
            assert found.gap == Gap(event.cursor, Cursor(again[0].cursor.epoch, 2), None, "future")
            assert [event.data for event in found.events] == [5, 6, 7]
        await put(log, 1, channel="quiet")
        assert (await page(log, quiet[0].cursor, "quiet")).gap is not None


async def test_a_replica_that_takes_over_without_the_last_events_is_found_out(tmp_path: Path) -> None:
    with running_watched(tmp_path, 300) as servers:
        async with RedisLog(servers.url, PATIENT).open() as mine, RedisLog(servers.url, PATIENT).open() as other:
            kept = await put(mine, 1, 2)
            servers.let_the_replica_catch_up()
            with mine.tail() as tail:
                servers.cut_off_the_replica()
                lost = await put(mine, 3, 4)
                servers.master.stop()
                again = await put(other, 5, 6, 7)  # it has heard of 3 and 4 no more than the replica
                while list(await hear(tail)):
                    pass
                assert (await put(mine, 8))[0].offset == 6
            assert [event.offset for event in again] == [3, 4, 5]
            assert lost[1].cursor.epoch != again[1].cursor.epoch
            for log in (mine, other):
                assert await values(log, kept[1].cursor) == [5, 6, 7, 8]
                assert (await page(log, kept[1].cursor)).gap is None
                found = await page(log, lost[0].cursor)
                assert found.gap == Gap(lost[0].cursor, Cursor(again[0].cursor.epoch, 2), None, "future")


# --- full, and in pieces


async def test_a_full_redis_refuses_appends_says_so_and_is_read_on(server: RedisServer) -> None:
    async with at_last(server, STEADY).open() as log:
        await put(log, 1)
        server.ask("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(LogFull, match="maxmemory"):
            await put(log, 2)
        with pytest.raises(LogFull):
            await put(log, 2, channel="new")
        assert await values(log) == [1]
        async with at_last(server, STEADY).open() as other:
            assert await values(other) == [1]
        server.ask("CONFIG", "SET", "maxmemory", "0")
        assert (await put(log, 3))[0].offset == 2
    assert not logging.getLogger("triolet").disabled


async def test_a_full_redis_that_begins_a_new_epoch_can_be_read(server: RedisServer) -> None:
    async with at_last(server, STEADY).open() as log:
        (event,) = await put(log, 1)
    server.ask("REPLICAOF", "127.0.0.1", "1")  # and promoted: another replication id
    server.ask("REPLICAOF", "NO", "ONE")
    server.ask("CONFIG", "SET", "maxmemory", "1")
    async with at_last(server, STEADY).open() as log:
        assert await values(log) == [1]
        assert (await log.head("a")).epoch != event.cursor.epoch
        with pytest.raises(LogFull):
            await put(log, 2)


async def test_channels_that_move_to_another_server_of_the_cluster_lose_nothing(cluster: Cluster) -> None:
    returned: list[Event] = []
    heard: list[Event] = []

    async def publish(log: EventLog) -> None:
        for number in range(60):
            returned.extend(await put(log, number))
            await trio.sleep(0.01)

    async with RedisLog(f"{cluster.url}?prefix=moving&partitions=1", PATIENT).open() as log:
        with log.tail() as tail:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(publish, log)
                await trio.sleep(0.2)
                await trio.to_thread.run_sync(cluster.move, slot_of("moving:0"))
            while not heard or heard[-1] != returned[-1]:
                events = await hear(tail)
                heard += events or (await page(log, heard[-1].cursor if heard else OLDEST)).events
        assert [event.offset for event in returned] == list(range(1, 61))
        assert [event.data for event in (await page(log)).events] == list(range(60))
        assert {event.offset for event in heard} == set(range(1, 61))
        assert (await page(log, returned[0].cursor)).gap is None


async def test_one_server_of_a_cluster_that_hangs_keeps_only_its_own_channels_waiting(cluster: Cluster) -> None:
    async with RedisLog(f"{cluster.url}?prefix=hung&start=wait", LIMITS).open() as log:
        cluster.servers[0].freeze()
        stored = uncertain = 0
        try:
            await until(log, stale=True)
            for number in range(5):
                try:
                    await put(log, number, channel=f"channel {number}")
                    stored += 1
                except (LogAway, LogUncertain):
                    uncertain += 1
        finally:
            cluster.servers[0].thaw()
        assert stored
        assert uncertain
        await until(log, stale=False)
