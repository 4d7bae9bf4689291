"""What is to happen once, in Redis: beside the contract, which test_contract.py holds it to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.e2e.needs import needs
from triolet.errors import ConfigError, LogAway, LogBroken, LogError, LogFull, LogUncertain
from triolet.event import Draft, Event
from triolet.limits import Limits
from triolet.log.contract import NOTHING_KEPT, EventLog, Kept
from triolet.redis.log import RedisLog
from triolet.redis.partition import Partition
from triolet.testing import LOG_CHECKS, LogCheck
from triolet.testing.log_commands import COMMAND_CHECKS, PAIR_CHECKS, PairCheck
from triolet.testing.log_ends import END_CHECKS, check_ends_of_pair

from .servers import Cluster, RedisServer, running_watched
from .test_contract import factory_for
from .test_weather import LIMITS, PATIENT, STEADY, at_last, at_length, hear, page, put, until, values

pytestmark = needs("redis-server", "redis-cli")

KEY, OTHER, PRINT, MINE, ITS = b"k" * 32, b"o" * 32, b"p" * 32, b"mine", b"its"
ONCE = "{triolet:0}:once:" + KEY.hex()
NAMES = (f"pair{number}" for number in count())

Writes = Sequence[tuple[str, Sequence[Draft]]]


def writes(*channels: str, value: object = 1) -> Writes:
    return [(channel, [Draft.of(value)]) for channel in channels]


async def commit(log: EventLog, of: Writes, key: bytes = KEY) -> list[list[Event]]:
    done = await log.commit(key, MINE, b"answer", 60, of)
    assert isinstance(done, list)
    return done


@pytest.mark.parametrize("check", [*PAIR_CHECKS, check_ends_of_pair], ids=lambda check: check.__name__.strip("_"))
async def test_two_processes_keep_one_promise(check: PairCheck, shared: RedisServer) -> None:
    def pair(limits: Limits, clock: Callable[[], float]) -> tuple[EventLog, EventLog]:
        url = f"{shared.url}?prefix={next(NAMES)}"
        return RedisLog(url, limits, clock), RedisLog(url, limits, clock)

    await check(pair)


# --- a cluster


@pytest.mark.parametrize("check", [*COMMAND_CHECKS, *END_CHECKS], ids=lambda check: check.__name__.strip("_"))
async def test_a_cluster_with_one_partition_keeps_the_promise(check: LogCheck, cluster: Cluster) -> None:
    assert {*COMMAND_CHECKS, *END_CHECKS} < set(LOG_CHECKS)
    await check(factory_for(f"{cluster.url}?partitions=1"))


async def test_a_cluster_with_more_partitions_says_what_it_cannot_do(cluster: Cluster) -> None:
    async with RedisLog(f"{cluster.url}?prefix=once", STEADY).open() as log:
        assert not log.can_commit
        assert await log.claim(KEY, PRINT, MINE, 10) is None
        with pytest.raises(ConfigError, match=r"16 partitions.*\?partitions=1"):
            await log.commit(KEY, MINE, b"", 60, writes("a"))
        assert (await log.head("a")).offset == 0
        assert await log.claim(KEY, PRINT, ITS, 10) == Kept(PRINT, None)


async def test_a_cluster_with_more_partitions_keeps_answers_without_events(cluster: Cluster) -> None:
    """As of tickets, which are used once."""
    url = f"{cluster.url}?prefix=tickets"
    async with RedisLog(url, STEADY).open() as log, RedisLog(url, STEADY).open() as other:
        for number in range(50):
            key = number.to_bytes(32, "big")
            assert await log.claim(key, PRINT, MINE, 10) is None
            assert await other.claim(key, PRINT, ITS, 10) == Kept(PRINT, None)
            assert await log.commit(key, MINE, b"%d" % number, 60, [("a", [])]) == [[]]
            assert await other.claim(key, PRINT, ITS, 10) == Kept(PRINT, b"%d" % number)
        await log.claim(KEY, PRINT, MINE, 10)
        await log.release(KEY, MINE)
        assert await other.claim(KEY, PRINT, ITS, 10) is None
    held = [server.ask("--scan", "--pattern", "{tickets:*}:once:*").count("\n") + 1 for server in cluster.servers]
    assert min(held) > 2, "they are spread over the servers"


# --- expiry


async def test_claims_and_answers_are_keys_that_expire(server: RedisServer) -> None:
    async with RedisLog(server.url, STEADY).open() as log:
        await log.claim(KEY, PRINT, MINE, 100)
        assert 90_000 < int(server.ask("PTTL", ONCE)) <= 100_000
        await commit(log, writes("a"))
        assert 50_000 < int(server.ask("PTTL", ONCE)) <= 60_000
        await log.claim(OTHER, PRINT, MINE, 0.2)
        with trio.fail_after(30):
            while (await log.claim(OTHER, PRINT, ITS, 10)) is not None:  # noqa: ASYNC110  # Redis's own time
                await trio.sleep(0.05)
        await log.release(OTHER, ITS)
        assert server.ask("KEYS", "*:once:*").split() == [ONCE]


# --- what is not Triolet's, and what is full


async def test_a_commit_of_which_one_channel_is_broken_stores_nothing(server: RedisServer) -> None:
    """The others of the same batch are stored."""
    async with RedisLog(server.url, STEADY).open() as log:
        await put(log, 1, 2, channel="b")
        await put(log, 1, channel="d")
        server.ask("XADD", "{triolet:0}:events:b", "9-0", "strange", "thing")
        server.ask("SET", "{triolet:0}:events:c", "mine")
        server.ask("XADD", "{triolet:0}:events:d", "9-0", "strange", "thing")
        server.ask("XDEL", "{triolet:0}:events:d", "9-0")
        server.ask("SET", "{triolet:0}:once:" + OTHER.hex(), "mine")
        results: dict[object, object] = {}

        async def run(key: bytes, *channels: str) -> None:
            await log.claim(key, PRINT, MINE, 10)
            try:
                results[channels] = len(await commit(log, writes(*channels), key))
            except LogError as error:
                results[channels] = type(error)

        async with trio.open_nursery() as nursery:
            for number, channel in enumerate("bcd"):
                nursery.start_soon(run, bytes([number]) * 32, "a", channel)
            nursery.start_soon(run, bytes([9]) * 32, "e", "f")
        assert results == {("a", "b"): LogBroken, ("a", "c"): LogBroken, ("a", "d"): LogBroken, ("e", "f"): 2}
        assert [(await log.head(channel)).offset for channel in "abdef"] == [0, 2, 1, 1, 1]
        assert await log.claim(bytes(32), PRINT, ITS, 10) == Kept(PRINT, None), "and its claim stays"
        for call in (
            log.claim(OTHER, PRINT, MINE, 10),
            log.claim(OTHER, PRINT, MINE, 10),
            log.commit(OTHER, MINE, b"", 60, writes("a")),
            log.release(OTHER, MINE),
        ):
            with pytest.raises(LogBroken):
                await call
        server.ask("XSETID", "{triolet:0}:events:d", "1-0")
        assert len(await commit(log, writes("a", "d"), bytes([2]) * 32)) == 2


async def test_a_channel_whose_stream_is_ahead_stays_broken_for_all_of_a_batch(server: RedisServer) -> None:
    """Were the first of them counted, the second would leave a hole."""
    async with RedisLog(server.url, STEADY).open() as log:
        await put(log, 1)
        await log.claim(KEY, PRINT, MINE, 60)
        server.ask("XADD", "{triolet:0}:events:a", "2-0", "strange", "thing")
        server.ask("XDEL", "{triolet:0}:events:a", "2-0")
        results: list[object] = []

        async def append() -> None:
            try:
                results.append(await put(log, 2))
            except LogBroken:
                results.append("broken")

        async with trio.open_nursery() as nursery:  # in one batch, for the lane takes all that waits when it wakes
            nursery.start_soon(partial(put, log, "first", channel="x"))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(append)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(commit, log, writes("b"))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(append)
        assert results == ["broken", "broken"]
        server.ask("XSETID", "{triolet:0}:events:a", "1-0")
        assert (await put(log, 2))[0].offset == 2


async def test_a_full_redis_claims_and_commits_nothing_and_forgets_nothing(server: RedisServer) -> None:
    async with RedisLog(server.url, STEADY).open() as log:
        done = bytes(32)
        for key in (KEY, done):
            await log.claim(key, PRINT, MINE, 60)
        await commit(log, [], done)
        await put(log, 1)
        server.ask("CONFIG", "SET", "maxmemory", "1")
        for call in (log.claim(OTHER, PRINT, MINE, 10), log.commit(KEY, MINE, b"answer", 60, writes("a", "b"))):
            with pytest.raises(LogFull):
                await call
        await log.release(OTHER, MINE)
        assert await log.claim(done, PRINT, ITS, 10) == Kept(PRINT, b"answer"), "a repeat is answered"
        assert await values(log) == [1]
        server.ask("CONFIG", "SET", "maxmemory", "0")
        assert await log.claim(KEY, PRINT, ITS, 10) == Kept(PRINT, None)
        assert await log.claim(OTHER, PRINT, ITS, 10) is None
        await commit(log, writes("a", "b"))
        assert await values(log) == [1, 1]


# --- away


@pytest.mark.parametrize("lost", ["claim", "commit", "release"])
async def test_an_answer_that_got_lost_is_not_done_twice(
    lost: str, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, fate = Partition.call, [lost]

    async def losing(
        self: Partition, connection: object, script: object, keys: Sequence[str], *args: object, **options: object
    ) -> object:
        answer = await call(self, connection, script, keys, *args, **options)  # type: ignore[arg-type]  # as it came
        if fate and fate[0] in args:
            fate.clear()
            connection.invalidate()  # type: ignore[attr-defined]  # the pool knows it
            await trio.sleep_forever()
        return answer

    monkeypatch.setattr(Partition, "call", losing)
    async with RedisLog(server.url, PATIENT).open() as log:
        assert await log.claim(KEY, PRINT, MINE, 60) is None
        done = await commit(log, writes("a", "b"))
        assert [[event.offset for event in events] for events in done] == [[1], [1]]
        assert await values(log) == await values(log, channel="b") == [1]
        await log.claim(OTHER, PRINT, MINE, 60)
        await log.release(OTHER, MINE)
        assert await log.claim(OTHER, PRINT, ITS, 60) is None
    assert not fate


async def test_what_went_out_to_a_redis_that_hangs_is_uncertain_and_its_repeat_is_safe(server: RedisServer) -> None:
    async with at_last(server, LIMITS).open() as log:
        await at_length(lambda: log.claim(KEY, PRINT, MINE, 60))
        server.freeze()
        with pytest.raises(LogUncertain, match="may be stored"):
            await commit(log, writes("a", "b"))
        with pytest.raises(LogAway):
            await log.claim(OTHER, PRINT, MINE, 60)
        server.thaw()
        await until(log, stale=False)
        with log.tail() as tail:
            done = await at_length(lambda: commit(log, writes("a", "b")))
            (end,) = await at_length(lambda: log.append("end", [Draft.of("end", dedupe="end")]))
            heard: list[Event] = []
            while end not in heard:
                step = await hear(tail)
                if not step:  # something may be lost, as it was away once more
                    break
                heard += step
        assert await at_length(lambda: values(log)) == await at_length(lambda: values(log, channel="b")) == [1]
        assert Counter(map(str, heard)) <= Counter(map(str, [*done[0], *done[1], end]))


async def test_commits_wait_through_restarts_and_each_is_stored_once(durable: RedisServer) -> None:
    answered: list[bytes] = []

    async def command(log: EventLog, number: int) -> None:
        for turn in range(30):
            key = bytes([number, turn]) * 16
            assert await log.claim(key, PRINT, bytes([number]), 600) is None
            done = await log.commit(key, bytes([number]), key, 600, writes("a", f"b{number}", value=[number, turn]))
            assert isinstance(done, list)
            answered.append(key)

    async with RedisLog(durable.url, PATIENT).open() as log, RedisLog(durable.url, PATIENT).open() as other:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(command, (log, other)[number % 2], number)
            for _ in range(2):
                await trio.sleep(0.1)
                await trio.to_thread.run_sync(durable.stop)
                await trio.to_thread.run_sync(durable.start)
        stored = (await page(log)).events
        assert [event.offset for event in stored] == list(range(1, 301))
        assert sorted(event.data for event in stored) == [[number, turn] for number in range(10) for turn in range(30)]
        for number in range(10):
            assert await values(log, channel=f"b{number}") == [[number, turn] for turn in range(30)]
        for key in answered:
            assert await other.claim(key, PRINT, ITS, 10) == Kept(PRINT, key)


async def test_an_answer_is_lost_only_with_its_events(tmp_path: Path) -> None:
    """A replica is promoted that had heard of the claim, and not of the commit."""
    with running_watched(tmp_path, 500) as servers:
        async with RedisLog(servers.url, PATIENT).open() as log:
            await log.claim(KEY, PRINT, MINE, 600)
            await log.claim(OTHER, PRINT, MINE, 600)
            await commit(log, writes("a", "b"))
            servers.let_the_replica_catch_up()
            servers.cut_off_the_replica()
            await commit(log, writes("a", "b", value=2), OTHER)
            servers.master.stop()
            assert await values(log) in ([1], [1, 2])  # waits for the promotion, or is told by the old server
            await until(log, stale=False)
            assert await log.claim(KEY, PRINT, ITS, 10) == Kept(PRINT, b"answer")
            assert await log.claim(OTHER, PRINT, ITS, 10) == Kept(PRINT, None), "the claim was there"
            assert await values(log) == await values(log, channel="b") == [1]
            done = await commit(log, writes("a", "b", value=2), OTHER)
            assert [[event.offset for event in events] for events in done] == [[2], [2]]
            again = await commit(log, writes("a", "b"))
            assert [[event.offset for event in events] for events in again] == [[1], [1]]


async def test_a_redis_that_comes_back_empty_has_nothing_to_commit_to(server: RedisServer) -> None:
    async with RedisLog(server.url, PATIENT).open() as log:
        await log.claim(KEY, PRINT, MINE, 600)
        server.stop()
        server.start()
        assert await log.commit(KEY, MINE, b"", 60, writes("a")) == NOTHING_KEPT
        assert await values(log) == []
