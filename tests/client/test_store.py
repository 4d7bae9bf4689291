"""A client that keeps its cursor: at least once, from one life to the next."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import ConfigError, Limits
from triolet.client import Event, FileStore, Gap, Live, MemoryStore, Store
from triolet.testing import serve

from .stage import client_of, data, options_of, shop, take, told


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_a_client_goes_on_behind_what_it_was_done_with(
    kind: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    kept = MemoryStore()

    def store() -> Store:
        return kept if kind == "memory" else FileStore(tmp_path / "cursors")

    async with shop() as (server, live):
        for number in range(5):
            await live.publish(ORDER, number)
        async with client_of(server, store=store()) as client, client.follow(ORDERS, after=0) as events:
            assert told(await take(events, 3)) == [0, 1, 2]  # and with the third it is not done
        async with client_of(server, store=store()) as client, client.follow(ORDERS, after=0) as events:
            assert told(await take(events, 4)) == [2, 3, 4, "live"]
            await events.commit()
        await live.publish(ORDER, 5)
        async with client_of(server, store=store()) as client, client.follow(ORDERS) as events:
            assert told(await take(events, 2)) == [5, "live"]


async def test_what_is_not_committed_comes_again(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with shop() as (server, live):
        for number in range(5):
            await live.publish(ORDER, number)
        for _ in range(2):
            opened = client_of(server, store=store)
            async with opened as client, client.follow(ORDERS, after=0, auto_commit=False) as events:
                assert told(await take(events, 6))[:5] == [0, 1, 2, 3, 4]
        async with client_of(server, store=store) as client:
            async with client.follow(ORDERS, after=0, auto_commit=False) as events:
                await take(events, 2)
                await events.commit()
                await take(events, 2)
            async with client.follow(ORDERS, auto_commit=False) as events:
                assert told(await take(events, 1)) == [2]


async def test_follows_of_one_channel_may_have_names(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with shop() as (server, live):
        await live.publish(ORDER, 0)
        async with client_of(server, store=store) as client:
            for name in ("mail", "stock"):
                async with client.follow(ORDERS, after=0, name=name) as events:
                    assert told(await take(events, 2)) == [0, "live"]
                    await events.commit()
    assert set(store.cursors) == {"mail", "stock"}


async def test_a_crash_between_two_items_repeats_the_last_one(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with shop() as (server, live):
        for number in range(3):
            await live.publish(ORDER, number)
        done = []
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):  # noqa: PT012 - a program, and how it ends
                async with client_of(server, store=store) as client, client.follow(ORDERS, after=0) as events:
                    async for item in events:
                        if isinstance(item, Event):
                            done.append(item.data)
                        if len(done) % 2 == 0 or isinstance(item, Live):
                            raise ZeroDivisionError
        assert done == [0, 1, 1, 2, 2]


async def test_nothing_is_committed_without_a_store(autojump_clock: MockClock) -> None:
    async with shop() as (server, _), client_of(server) as client, client.follow(ORDERS) as events:
        with pytest.raises(RuntimeError, match="store"):
            await events.commit()


async def test_a_file_that_is_none_of_ours_is_said(tmp_path: Path, autojump_clock: MockClock) -> None:
    (tmp_path / "cursors").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot read"):
        await FileStore(tmp_path / "cursors").load("a")
    with pytest.raises(ConfigError, match="cannot keep"):
        await FileStore(tmp_path / "absent" / "cursors").save("a", "e.1")
    (tmp_path / "cursors").write_text('{"a": "no cursor"}', encoding="utf-8")
    async with shop() as (server, _), client_of(server, store=FileStore(tmp_path / "cursors")) as client:
        with pytest.raises(ConfigError, match="no cursor"):
            async with client.follow(ORDERS, name="a"):
                await trio.lowlevel.checkpoint()


async def test_behind_counts_what_is_known_from_elsewhere(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), client_of(server) as client, client.follow(ORDERS) as events:
        await take(events, 1)
        first = await live.publish(ORDER, 1)
        events.expect(str(first.cursor))
        assert events.behind == 1
        assert not isinstance((await take(events, 1))[0], Gap)
        assert events.behind == 0


async def test_a_program_that_is_cancelled_keeps_what_it_was_done_with(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with shop() as (server, live):
        for number in range(3):
            await live.publish(ORDER, number)
        with trio.move_on_after(5):
            opened = client_of(server, store=FileStore(tmp_path / "cursors"))
            async with opened as client, client.follow(ORDERS, after=0) as events:
                await take(events, 4)
                await anext(events)
        async with client_of(server, store=FileStore(tmp_path / "cursors")) as client, client.follow(ORDERS) as events:
            assert told(await take(events, 1)) == ["live"]


async def test_what_is_not_for_a_client_moves_what_it_keeps_while_it_waits(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(beat_seconds=20))

    @live.channel("/orders/<order_id>/mine", allow=lambda event, _: event.data == "mine")
    async def mine(order_id: str) -> str:
        return f"orders/{order_id}"

    store = MemoryStore()
    async with serve(app) as server:
        for way in ("websocket", "socket", "sse"):
            opened = client_of(server, store=store, **options_of(way))
            async with (
                opened as client,
                client.follow(ORDERS),
                client.follow("/orders/A123/mine", name=way) as events,
                trio.open_nursery() as nursery,
            ):
                assert told(await take(events, 1)) == ["live"]
                nursery.start_soon(data, events, 1)
                await trio.sleep(1)
                for number in range(20):
                    last = await live.publish(ORDER, number)
                    await trio.sleep(3)
                await trio.sleep(60)
                assert store.cursors[way] == f"{last.cursor} {ORDER}"
                await live.publish(ORDER, "mine")


async def test_a_full_disk_is_said_and_the_file_stays_as_it_was(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = FileStore(tmp_path / "cursors")
    await store.save("a", "e.1")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, before[1]))
    try:
        with pytest.raises(ConfigError, match="cannot keep cursors"):
            await store.save("a", "e.2")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == ["cursors"]
    assert await FileStore(tmp_path / "cursors").load("a") == "e.1"
    await store.save("a", "e.3")


async def test_two_programs_that_write_one_file_are_told_so(tmp_path: Path, autojump_clock: MockClock) -> None:
    one, other = FileStore(tmp_path / "cursors"), FileStore(tmp_path / "cursors")
    await one.load("a")
    await other.save("b", "e.1")
    with pytest.raises(ConfigError, match="another program"):
        await one.save("a", "e.2")
    await other.save("b", "e.3")
    assert await FileStore(tmp_path / "cursors").load("b") == "e.3"


async def test_a_store_that_fails_ends_the_client_in_plain_words(tmp_path: Path, autojump_clock: MockClock) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    async with shop() as (server, live):
        await live.publish(ORDER, 1)
        with pytest.raises(ConfigError, match="cannot keep cursors"):  # noqa: PT012 - a program, and how it ends
            async with (
                client_of(server, store=FileStore(folder / "cursors")) as client,
                client.follow(ORDERS, after=0) as events,
            ):
                folder.rmdir()
                await take(events, 2)
                await trio.sleep(10)
