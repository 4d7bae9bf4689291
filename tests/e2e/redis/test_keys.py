"""Keys that others have changed: put back from a dump, deleted from, added to; and a disk that is full."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence

import pytest
import trio

from tests.e2e.needs import needs
from triolet.errors import LogBroken, LogError, LogFull
from triolet.event import Cursor, Draft, Event, Gap
from triolet.log.contract import Page
from triolet.redis.log import RedisLog

from .servers import RedisServer
from .test_weather import STEADY, hear, page, put, values

pytestmark = needs("redis-server", "redis-cli")


def dump(server: RedisServer) -> list[str]:
    """All keys, as commands that put them back."""
    keys = server.ask("KEYS", "*").splitlines()
    script = "local a = redis.call('DUMP', KEYS[1]) return redis.call('SET', 'dump:' .. KEYS[1], a)"
    for key in keys:
        server.ask("EVAL", script, "1", key)
    return keys


def put_back(server: RedisServer, keys: Sequence[str]) -> None:
    script = "return redis.call('RESTORE', KEYS[1], 0, redis.call('GET', 'dump:' .. KEYS[1]), 'REPLACE')"
    for key in keys:
        server.ask("EVAL", script, "1", key)


@pytest.mark.parametrize("kept", ["", ":mark", ":events:a"])
async def test_keys_put_back_under_a_running_log_are_told_as_a_gap(kept: str, server: RedisServer) -> None:
    """All of them, or all but one."""
    async with RedisLog(server.url, STEADY).open() as log, RedisLog(server.url, STEADY).open() as other:
        for number in range(1, 6):
            await put(log, number)
        keys = [key for key in dump(server) if not (kept and key.endswith(kept))]
        for number in range(6, 11):
            (event,) = await put(log, number)
        with log.tail() as tail, other.tail() as others:
            put_back(server, keys)
            assert await hear(tail) == ()  # at the latest at the next look
            await lost(others)
            (new,) = await put(other, "new")
            assert new.cursor.epoch != event.cursor.epoch
            assert new.offset == (11 if kept == ":events:a" else 6)
            assert [found.data for found in await hear(tail)] == ["new"]
        got = await page(log, event.cursor)
        if kept == ":events:a":  # what it brought is there still
            assert (got.gap, [found.data for found in got.events]) == (None, ["new"])
        else:
            assert got.gap is not None
            assert (got.gap.after, got.gap.reason) == (event.cursor, "future")


async def lost(tail: AsyncIterator[Sequence[Event]]) -> None:
    while await hear(tail):
        pass


async def test_keys_put_back_at_rest_are_told_as_a_gap(server: RedisServer) -> None:
    async with RedisLog(server.url, STEADY).open() as log:
        for number in range(1, 6):
            await put(log, number)
        keys = [key for key in dump(server) if not key.endswith(":mark")]
        for number in range(6, 11):
            (event,) = await put(log, number)
    put_back(server, keys)
    async with RedisLog(server.url, STEADY).open() as log:
        await put(log, *range(106, 113))
        got = await page(log, event.cursor)
        assert got.gap is not None
        assert (got.gap.after, got.gap.reason) == (event.cursor, "future")
        assert [found.data for found in got.events] == list(range(106, 113))
        before = got.head
    async with RedisLog(server.url, STEADY).open() as log:
        assert await log.head("a") == before  # a start as any other


async def test_a_hash_put_back_from_before_what_retention_has_dropped_goes_on_with_what_there_is(
    server: RedisServer,
) -> None:
    async with RedisLog(server.url, STEADY).open() as log:
        seen = (await put(log, 1, 2))[-1].cursor
        keys = [key for key in dump(server) if not key.endswith(":events:a")]
        await put(log, 3, 4, 5, 6)
        server.ask("XTRIM", "{triolet:0}:events:a", "MINID", "5-0")
        with log.tail() as tail:
            put_back(server, keys)
            assert await hear(tail) == ()
        got = await page(log, seen)
        assert got.gap == Gap(Cursor(got.head.epoch, 2), Cursor(got.head.epoch, 4), 2, "expired")
        assert [event.data for event in got.events] == [5, 6]
        assert (await put(log, 7))[0].offset == 7


async def test_a_stream_put_back_alone_is_a_gap_of_what_it_lacks(server: RedisServer) -> None:
    async with RedisLog(server.url, STEADY).open() as log:
        await put(log, *range(1, 6))
        keys = [key for key in dump(server) if key.endswith(":events:a")]
        (*_, event) = await put(log, *range(6, 11))
        put_back(server, keys)
        (new,) = await put(log, "new")
        assert new.cursor == Cursor(event.cursor.epoch, 11)
        assert await values(log) == [1, 2, 3, 4, 5]
        got = await page(log, Cursor(event.cursor.epoch, 5))
        assert got == Page((new,), Gap(Cursor(new.cursor.epoch, 5), event.cursor, 5, "expired"), new.cursor)


async def test_what_somebody_deletes_is_a_gap_of_just_that(server: RedisServer) -> None:
    async with RedisLog(server.url, STEADY).open() as log:
        for number in range(1, 11):
            (event,) = await put(log, number)
        epoch = event.cursor.epoch
        server.ask("XDEL", "{triolet:0}:events:a", "4-0", "5-0", "10-0")
        assert await values(log) == [1, 2, 3]
        got = await page(log, Cursor(epoch, 3))
        assert got.gap == Gap(Cursor(epoch, 3), Cursor(epoch, 5), 2, "expired")
        assert [event.offset for event in got.events] == [6, 7, 8, 9]
        assert (await page(log, Cursor(epoch, 9))).gap == Gap(Cursor(epoch, 9), Cursor(epoch, 10), 1, "expired")
        assert (await put(log, 11))[0].offset == 11
        assert (await page(log, Cursor(epoch, 9))).events[0].offset == 11


@pytest.mark.parametrize("entry", ["11-1", "*", "10-5", "11-0"])
async def test_what_a_stranger_adds_is_no_event_and_the_channel_says_so(entry: str, server: RedisServer) -> None:
    """And the other channel of the same batch is stored, and acknowledged."""
    async with RedisLog(server.url, STEADY).open() as log:
        await put(log, *range(1, 11))
        server.ask("XADD", "{triolet:0}:events:a", entry, "strange", "thing")
        assert await values(log) == list(range(1, 11))
        results: dict[str, object] = {}

        async def append(channel: str) -> None:
            try:
                results[channel] = (await put(log, "x", channel=channel))[0].offset
            except LogError as error:
                results[channel] = type(error)

        async with trio.open_nursery() as nursery:
            for channel in ("b", "a", "c"):
                nursery.start_soon(append, channel)
        assert results == {"a": LogBroken, "b": 1, "c": 1}
        assert await values(log, channel="b") == await values(log, channel="c") == ["x"]
        last = server.ask("XREVRANGE", "{triolet:0}:events:a", "+", "-", "COUNT", "1").split()[0]
        server.ask("XDEL", "{triolet:0}:events:a", last)
        if entry in ("*", "11-1", "11-0"):
            with pytest.raises(LogBroken):
                await put(log, "x")
            server.ask("XSETID", "{triolet:0}:events:a", "10-0")
        assert (await put(log, "x"))[0].offset == 11


@pytest.mark.parametrize("kind", ["events", "dedupe"])
async def test_a_batch_of_which_a_channel_is_broken_is_stored_but_for_that(kind: str, server: RedisServer) -> None:
    async with RedisLog(server.url, STEADY).open() as log:
        server.ask("SET", f"{{triolet:0}}:{kind}:a", "mine")
        for dedupe in (None, "once"):
            results: dict[str, object] = {}

            async def append(channel: str, dedupe: str | None, results: dict[str, object]) -> None:
                try:
                    results[channel] = (await log.append(channel, [Draft.of(1, dedupe=dedupe)]))[0].json
                except LogError as error:
                    results[channel] = type(error)

            async with trio.open_nursery() as nursery:
                for channel in ("b", "a", "c"):
                    nursery.start_soon(append, channel, dedupe, results)
            assert results == {"a": LogBroken, "b": b"1", "c": b"1"}
        assert len(await values(log, channel="b")) == len(await values(log, channel="c")) == 2


async def test_a_redis_that_cannot_write_to_its_disk_is_full(server: RedisServer) -> None:
    async with RedisLog(server.url, STEADY).open() as log:
        await put(log, 1)
        server.ask("CONFIG", "SET", "save", "1 1")
        shutil.rmtree(server.folder)
        server.ask("BGSAVE", check=False)
        with trio.fail_after(30):
            while "rdb_last_bgsave_status:err" not in server.ask("INFO", "persistence"):  # noqa: ASYNC110
                await trio.sleep(0.05)
        with pytest.raises(LogFull, match="cannot write to its disk"):
            await put(log, 2)
        assert await values(log) == [1]
