"""Ends, deletions and the list of channels in Redis: beside the contract, which test_contract.py holds it to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from tests.e2e.needs import needs
from triolet.bounds import REDIS_NAMES
from triolet.errors import ChannelEnded, LogBroken, LogFull
from triolet.event import DELETED, END, Cursor, Draft, Event, Gap
from triolet.limits import Keep, Limits
from triolet.log.contract import EventLog, Kept, Status
from triolet.redis.connect import Dialer
from triolet.redis.log import RedisLog
from triolet.redis.partition import Partition
from triolet.redis.scripts import decode_row
from triolet.redis.url import RedisAddress

from .servers import Cluster, RedisServer
from .test_keys import dump, put_back
from .test_weather import PATIENT, STEADY, hear, page, put, until, values

pytestmark = needs("redis-server", "redis-cli")

LAST = Draft.ending({"outcome": "done"})
KEY, OTHER, PRINT, MINE, ITS = b"k" * 32, b"o" * 32, b"p" * 32, b"mine", b"its"
STREAM, LOG, NAMES = "{triolet:0}:events:a", "{triolet:0}:log", "{triolet:0}:log:names"


async def end(log: EventLog, channel: str = "a") -> Event:
    (event,) = await log.append(channel, [LAST])
    return event


async def stored(server: RedisServer) -> list[bytes]:
    """What is stored of each event."""
    async with trio.open_nursery() as nursery:
        async with Dialer(RedisAddress.parse(server.url), 10, nursery).connected(0) as connection:
            entries: Any = await connection.create_request(b"XRANGE", STREAM, "-", "+")
        nursery.cancel_scope.cancel()
    return [fields[1] for _, fields in entries]


async def expired(server: RedisServer, key: str) -> None:
    with trio.fail_after(30):
        while server.ask("EXISTS", key) != "0":  # noqa: ASYNC110  # Redis's own time
            await trio.sleep(0.02)


# --- where an end is kept


async def test_an_end_outlives_its_stream(server: RedisServer) -> None:
    async with RedisLog(server.url, Limits(keep_seconds=0.3)).open() as log:
        await put(log, 1, 2)
        event = await end(log)
        assert await values(log) in ([1, 2, {"outcome": "done"}], [{"outcome": "done"}])
        await expired(server, STREAM)
        epoch = event.cursor.epoch
        assert await log.status("a") == Status(event.cursor, event)
        got = await page(log, Cursor(epoch, 1))
        assert (got.events, got.gap) == ((event,), Gap(Cursor(epoch, 1), Cursor(epoch, 2), 1, "expired"))
        assert await end(log) == event
        with pytest.raises(ChannelEnded):
            await put(log, 3)
        assert await log.channels() == ["a"]


async def test_a_channel_that_only_has_an_end_has_no_stream(server: RedisServer) -> None:
    """A stream takes 4 kB, and there may be a million of them."""
    async with RedisLog(server.url, STEADY).open() as log:
        await end(log)
        await log.delete("b")
        assert server.ask("KEYS", "*:a").split() == server.ask("KEYS", "*:b").split() == []
        assert await log.channels() == ["a", "b"]


async def test_what_a_deletion_leaves_is_forgotten_and_taken_out_of_the_list(server: RedisServer) -> None:
    async with RedisLog(server.url, Limits(keep_seconds=0.3)).open() as log:
        event = await log.delete("a")
        assert (await log.status("a")).end in (event, None)
        with trio.fail_after(30):
            while await log.channels():  # noqa: ASYNC110  # Redis's own time
                await trio.sleep(0.02)
        assert await log.status("a") == Status(event.cursor, None, event.cursor)
        assert (await page(log)).events == ()
        assert server.ask("ZRANGE", NAMES, "0", "-1").split() == []
        (new,) = await put(log, 1)
        assert new.offset == 2
        assert await log.channels() in (["a"], [])


async def test_a_stream_that_is_put_back_after_its_deletion_stays_deleted(server: RedisServer) -> None:
    async with RedisLog(server.url, STEADY).open() as log:
        await put(log, 1, 2, 3)
        keys = [key for key in dump(server) if key == STREAM]
        event = await log.delete("a")
        put_back(server, keys)
        assert (await page(log)).events == (event,)
        await put(log, "new")
        assert await values(log) == ["new"]


async def test_each_channel_expires_as_it_is_kept(server: RedisServer) -> None:
    limits = Limits(keep_seconds=1_000, keep={"short/*": Keep(seconds=10), "long": Keep(seconds=5_000.5, events=2)})
    async with RedisLog(server.url, limits).open() as log:
        for channel in ("short/a", "long", "other"):
            await log.append(channel, [Draft.of(1, dedupe="k")])
        for kind in ("events", "dedupe"):
            lasting = [int(server.ask("PTTL", f"{{triolet:0}}:{kind}:{name}")) for name in ("short/a", "other", "long")]
            assert [round(each, -4) for each in lasting] in ([10_000, 1_000_000, 5_000_000], [10_000, 1_000_000, 5e6])


# --- what a batch may refuse


async def together(log: EventLog, *calls: Callable[[], Awaitable[object]]) -> list[object]:
    """Have calls wait for the same batch, in this order. Return what they return, or the class of what they raise."""
    results: list[object] = [None] * len(calls)

    async def run(number: int, call: Callable[[], Awaitable[object]]) -> None:
        try:
            results[number] = await call()
        except Exception as error:
            results[number] = type(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(put, log, "first", channel="x"))  # while it is under way the others gather
        await trio.lowlevel.checkpoint()
        for number, call in enumerate(calls):
            nursery.start_soon(run, number, call)
            await trio.lowlevel.checkpoint()
    return results


async def test_each_call_of_a_batch_is_refused_for_itself(server: RedisServer) -> None:
    async with RedisLog(server.url, STEADY).open() as log:
        (known,) = await log.append("a", [Draft.of(1, dedupe="k")])
        for key in (KEY, OTHER):
            await log.claim(key, PRINT, MINE, 60)
        last = await end(log)
        again, new = Draft.of(1, dedupe="k"), Draft.of(2)
        writes: Sequence[tuple[str, Sequence[Draft]]] = [("b", [new]), ("a", [new])]
        results = await together(
            log,
            partial(log.append, "a", [new]),
            partial(log.append, "a", [again, LAST]),
            partial(log.append, "a", [again, new]),
            partial(log.commit, KEY, MINE, b"", 60, writes),
            partial(put, log, 1, channel="b"),
            partial(log.commit, OTHER, MINE, b"", 60, [("a", [again]), ("b", [Draft.of(2)])]),
        )
        assert results[:4] == [ChannelEnded, [known, last], ChannelEnded, ChannelEnded]
        assert isinstance(results[5], list)
        assert results[5][0] == [known]
        assert await values(log, channel="b") in ([1, 2], [2, 1])
        assert await values(log) == [1, {"outcome": "done"}]
        assert await log.claim(KEY, PRINT, ITS, 10) == Kept(PRINT, None), "and is claimed as before"


async def test_what_comes_behind_an_end_in_its_batch_is_refused(server: RedisServer) -> None:
    async with RedisLog(server.url, STEADY).open() as log:
        await log.claim(KEY, PRINT, MINE, 60)
        first, last, more, commit, again, event, new = await together(
            log,
            partial(put, log, 1),
            partial(end, log),
            partial(put, log, 2),
            partial(log.commit, KEY, MINE, b"", 60, [("a", [Draft.of(3)])]),
            partial(end, log),
            partial(log.delete, "a"),
            partial(put, log, 4),
        )
        assert isinstance(last, Event)
        assert (more, commit, again) == (ChannelEnded, ChannelEnded, last)
        assert isinstance(event, Event)
        assert (last.offset, event.offset) == (2, 3)
        assert isinstance(first, list)
        assert isinstance(new, list)
        assert await values(log) == [4]
        assert new[0].offset == 4


async def test_nothing_comes_after_an_end_in_its_own_append_or_commit(server: RedisServer) -> None:
    async with RedisLog(server.url, STEADY).open() as log:
        with pytest.raises(ChannelEnded):
            await log.append("a", [Draft.of(1), LAST, Draft.of(2)])
        await log.claim(KEY, PRINT, MINE, 60)
        with pytest.raises(ChannelEnded):
            await log.commit(KEY, MINE, b"", 60, [("a", [LAST]), ("b", [Draft.of(1)]), ("a", [Draft.of(2)])])
        assert [(await log.head(channel)).offset for channel in "ab"] == [0, 0]
        events = await log.append("a", [Draft.of(1), LAST, LAST])
        assert [event.offset for event in events] == [1, 2, 2]
        done = await log.commit(KEY, MINE, b"", 60, [("b", [LAST]), ("b", [LAST])])
        assert isinstance(done, list)
        assert done[0] == done[1]


# --- what befalls Redis


async def test_an_end_goes_on_through_restarts_and_new_epochs(durable: RedisServer) -> None:
    async with RedisLog(durable.url, PATIENT).open() as log:
        await put(log, 1)
        event = await end(log)
        durable.stop()
        durable.start()
        await until(log, stale=False)
        with pytest.raises(ChannelEnded):
            await put(log, 2)
        status = await log.status("a")
        assert status.head.epoch != event.cursor.epoch
        assert status.head.offset == event.offset
        assert status.end is not None
        assert (status.end.cursor, status.end.json) == (status.head, event.json)
        assert (await page(log, event.cursor)).gap is None
        assert await values(log, Cursor(event.cursor.epoch, 1)) == [{"outcome": "done"}]
        deleted = await log.delete("a")
        assert deleted.cursor == Cursor(status.head.epoch, 3)
        assert (await page(log, event.cursor)).events == (deleted,)
        assert (await page(log, event.cursor)).gap is None


@pytest.mark.parametrize("kept", ["", ":events:a"])
async def test_an_end_that_a_dump_had_not_is_lost_and_told(kept: str, server: RedisServer) -> None:
    """All keys are put back, or all but the stream."""
    async with RedisLog(server.url, STEADY).open() as log:
        await put(log, 1, 2)
        keys = [key for key in dump(server) if not (kept and key.endswith(kept))]
        await put(log, 3)
        event = await end(log)
        with log.tail() as tail:
            put_back(server, keys)
            assert await hear(tail) == ()
        got = await page(log, event.cursor)
        assert got.gap is not None
        assert (got.gap.after, got.gap.reason) == (event.cursor, "future")
        assert (await log.status("a")).end is None
        (new,) = await put(log, "new")
        assert new.offset == (4 if kept else 3)


async def test_a_deletion_that_a_dump_had_not_is_undone_as_far_as_there_is_anything(server: RedisServer) -> None:
    async with RedisLog(server.url, STEADY).open() as log:
        await put(log, 1, 2)
        keys = [key for key in dump(server) if not key.endswith(":events:a")]
        await put(log, 3)
        await log.delete("a")
        _, event = await put(log, 5, 6)
        with log.tail() as tail:
            put_back(server, keys)
            assert await hear(tail) == ()
        assert await values(log) == [5, 6]  # the stream is there still, and goes on
        assert (await page(log, event.cursor)).gap is None
        assert (await put(log, 7))[0].offset == 7


async def test_a_full_redis_ends_nothing_and_deletes(server: RedisServer) -> None:
    async with RedisLog(server.url, STEADY).open() as log:
        await put(log, 1)
        await end(log, "b")
        server.ask("CONFIG", "SET", "maxmemory", "1")
        for channel in ("a", "new"):
            with pytest.raises(LogFull):
                await end(log, channel)
        with pytest.raises(ChannelEnded):
            await put(log, 1, channel="b")
        assert (await log.status("b")).end is not None
        assert (await log.status("a")).end is None
        assert await log.channels() == ["a", "b"]
        assert (await log.delete("a")).offset == 2
        server.ask("CONFIG", "SET", "maxmemory", "0")
        await end(log, "a")
        assert [event.offset for event in (await page(log)).events] == [3]


async def test_a_deletion_whose_answer_got_lost_is_done_once(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, fate = Partition.call, ["delete"]

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
        await put(log, 1)
        event = await log.delete("a")
        assert (event.name, event.offset, event.json) == (END, 2, DELETED)
        assert await log.status("a") == Status(event.cursor, event, event.cursor)
    assert not fate


async def test_a_stranger_s_key_is_not_deleted(server: RedisServer) -> None:
    server.ask("SET", STREAM, "mine")
    async with RedisLog(server.url, STEADY).open() as log:
        with pytest.raises(LogBroken):
            await log.delete("a")
    assert server.ask("GET", STREAM) == "mine"


# --- other versions


WITHOUT_THE_END = """
local saved = redis.call('HGET', KEYS[1], 'a')
redis.call('SET', 'end', string.match(saved, 'E.*$'))
redis.call('HSET', KEYS[1], 'a', string.match(saved, '^[ %d:]*'))
"""
"""What an earlier version reads of the channel: it takes the end for the last of what it knows, and writes it again."""
WITH_IT_AGAIN = "redis.call('HSET', KEYS[1], 'a', redis.call('HGET', KEYS[1], 'a') .. redis.call('GET', 'end'))"


async def test_an_end_behind_which_an_earlier_version_has_appended_is_none(server: RedisServer) -> None:
    async with RedisLog(server.url, STEADY).open() as log:
        await put(log, 1)
        event = await end(log)
        server.ask("EVAL", WITHOUT_THE_END, "1", LOG)
        await put(log, 3)
        server.ask("EVAL", WITH_IT_AGAIN, "1", LOG)
        epoch = event.cursor.epoch
        assert await log.status("a") == Status(Cursor(epoch, 3))
        assert (await put(log, 4))[0].offset == 4
        got = await page(log, Cursor(epoch, 1))
        assert got.gap == Gap(Cursor(epoch, 1), Cursor(epoch, 2), 1, "expired")


async def test_how_an_event_is_folded_stands_before_its_key(server: RedisServer) -> None:
    """Where an earlier version reads it, as a part of the key."""
    async with RedisLog(server.url, STEADY).open() as log:
        await log.append("a", [Draft.of(1, key="k", fold="sum"), Draft.of(2, key="k"), Draft.of(3)])
        rows = [decode_row(blob) for blob in await stored(server)]
        assert [row[3] for row in rows] == ["sum\0k", "k", None]


AS_BEFORE = """
local about = cmsgpack.unpack(redis.call('HGET', KEYS[1], ''))
about[7] = nil
redis.call('HSET', KEYS[1], '', cmsgpack.pack(about))
redis.call('DEL', KEYS[1] .. ':names')
"""


async def test_the_channels_of_an_earlier_version_are_found(server: RedisServer) -> None:
    """Also those that one has begun since: it writes no seventh word, and puts nothing into the list."""
    names = [f"n/{number:05}" for number in range(3 * REDIS_NAMES)]
    async with RedisLog(server.url, STEADY).open() as log:
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(partial(put, log, 1, channel=name))
        for _ in range(2):
            server.ask("EVAL", AS_BEFORE, "1", LOG)
            assert await log.channels("n/", names[9], 5) == names[10:15]
            assert await log.channels("", "", 10_000) == names
        server.ask("CONFIG", "SET", "maxmemory", "1")
        server.ask("DEL", NAMES)
        assert await log.channels("", "", 10_000) == names


async def test_names_that_keep_nothing_are_looked_at_in_vain_once(server: RedisServer) -> None:
    gone = [f"a/{number:05}" for number in range(2 * REDIS_NAMES + 10)]
    async with RedisLog(server.url, STEADY).open() as log:
        async with trio.open_nursery() as nursery:
            for name in [*gone, "z"]:
                nursery.start_soon(partial(put, log, 1, channel=name))
        server.ask(lines="".join(f"DEL {{triolet:0}}:events:{name}\n" for name in gone))
        assert await log.channels("", "", 1) == ["z"]
        assert server.ask("ZCARD", NAMES) == "2"
        await put(log, 2, channel=gone[5])
        assert await log.channels() == [gone[5], "z"]


async def test_all_partitions_of_a_cluster_are_listed_in_one_order(cluster: Cluster) -> None:
    async with RedisLog(f"{cluster.url}?prefix=listed", STEADY).open() as log:
        names = sorted(f"n/{number * 7919 % 1000}" for number in range(200))
        for name in names:
            await put(log, 1, channel=name)
        assert await log.channels() == names
        found: list[str] = []
        while more := await log.channels("n/", found[-1] if found else "", 30):
            found += more
        assert found == names
