"""A client that does not read: given up to the second, and nobody else notices."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.peer import peer
from tests.shop import ORDER, ORDERS, make_shop
from triolet import Connection, ConnectionEnded, Limits, Triolet
from triolet.testing.network import ClientEnd
from triolet.testing.server import MemoryServer, serve

SMALL = 4 << 10
BIG = {"fill": "x" * 3_000}


@asynccontextmanager
async def following(server: MemoryServer, transport: str) -> AsyncIterator[ClientEnd]:
    """A client that has become live, and reads no more."""
    if transport == "sse":
        async with server.events(ORDERS, kernel_bytes=SMALL) as stream:
            await stream.own("live")
            yield stream.stream
    else:
        async with peer(server, ORDERS, kernel_bytes=SMALL) as client:
            await client.until("live")
            yield client.stream


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_client_that_does_not_read_is_gone_at_stall_seconds(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(stall_seconds=7))
    async with serve(app) as server:
        before = tasks()
        async with following(server, transport) as client:
            await trio.sleep(3)
            await live.publish_many(ORDER, [BIG] * 10)
            await trio.sleep(6.999)
            assert (server.connections, server.followers) == (1, 1)
            await trio.sleep(0.002)
            assert (server.connections, server.followers, tasks()) == (0, 0, before)
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()


def stand_still_when_full(live: Triolet, clock: MockClock) -> None:
    """The only client's kernel is full: before anybody waits for it half a minute passes."""
    (conn,) = live.service.context.registry.open.values()
    outlet, on_full = conn.outlet, conn.outlet.on_full

    def stand_still() -> None:
        outlet.on_full = on_full
        on_full()
        clock.jump(30)

    outlet.on_full = stand_still


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_process_that_stood_still_gives_nobody_up_before_it_has_looked(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(stall_seconds=7))
    async with serve(app) as server, following(server, transport) as client:
        stand_still_when_full(live, autojump_clock)
        await live.publish_many(ORDER, [BIG] * 10)
        await trio.testing.wait_all_tasks_blocked()
        assert server.connections == 1
        with trio.move_on_after(1):
            while await client.receive_some():
                pass
        await trio.sleep(10)
        assert server.connections == 1


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_another_client_gets_everything_while_one_stalls(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, following(server, transport), server.websocket(ORDERS) as other:
        await other.until("live")
        for n in range(50):
            start = trio.current_time()
            await live.publish(ORDER, {"n": n, **BIG})
            assert (await other.event())["data"]["n"] == n
            assert trio.current_time() == start
            await trio.sleep(0.5)
        assert server.connections == 1


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_client_that_reads_a_little_now_and_then_is_kept(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(stall_seconds=10, silence_seconds=1_000))
    async with serve(app) as server, following(server, transport) as client:
        await live.publish_many(ORDER, [BIG] * 20)
        for _ in range(12):
            await trio.sleep(9)
            assert await client.receive_some(1_000)
        assert server.connections == 1


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_client_that_falls_behind_and_reads_on_becomes_live_again(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with serve(app) as server, following(server, transport) as client:
        for n in range(30):
            await live.publish(ORDER, {"n": n, **BIG})
        assert server.hub is not None
        await trio.testing.wait_all_tasks_blocked()
        assert server.hub.statistics().live == 0
        await trio.sleep(5)
        found = b""
        with trio.move_on_after(1):
            while True:
                found += await client.receive_some()
        assert re.findall(rb'{"n":([0-9]+),', found) == [b"%d" % n for n in range(30)]
        assert server.hub.statistics().live == 1


async def test_a_handler_that_sends_to_a_client_that_is_given_up_is_cancelled(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    ended: list[tuple[str, float]] = []

    @live.socket("/talkative")
    async def talkative(conn: Connection) -> None:
        try:
            while True:
                await conn.send(BIG)
        except trio.Cancelled:
            ended.append(("cancelled", trio.current_time()))
            raise

    async with serve(app) as server, peer(server, "/talkative", kernel_bytes=SMALL):
        await trio.sleep(9.9)
        assert ended == []
        await trio.sleep(0.2)
        assert ended == [("cancelled", 10)]
        assert server.connections == 0


async def test_a_handler_waits_once_so_many_messages_wait_for_its_client(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(outbox_messages=5))
    sent: list[int] = []

    @live.socket("/talkative")
    async def talkative(conn: Connection) -> None:
        for n in range(1_000):
            await conn.send({"n": n, **BIG})
            sent.append(n)

    async with serve(app) as server, peer(server, "/talkative", kernel_bytes=SMALL) as client:
        await trio.sleep(1)
        assert 5 <= len(sent) <= 10
        for n in range(1_000):
            assert (await client.until("message"))["data"]["n"] == n


async def test_a_client_with_nothing_to_read_does_not_stall(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, server.events(ORDERS) as stream:
        await stream.own("live")
        await trio.sleep(600)
        assert server.connections == 1


async def test_a_handler_that_only_sends_cannot_starve_the_others_once_its_client_is_gone(
    autojump_clock: MockClock,
) -> None:
    app, live = make_shop()
    outside: list[Connection] = []

    @live.socket("/handed-out")
    async def handed_out(conn: Connection) -> None:
        outside.append(conn)
        await trio.sleep_forever()

    async def only_sends(task_status: trio.TaskStatus[None]) -> Any:
        task_status.started()
        while True:
            with suppress(ConnectionEnded):
                await outside[0].send("is anybody there?")

    async with serve(app) as server, trio.open_nursery() as nursery:
        async with peer(server, "/handed-out") as client:
            await client.until("open")
        await trio.testing.wait_all_tasks_blocked()
        await nursery.start(only_sends)
        assert (await server.get("/page")).status == 200
        nursery.cancel_scope.cancel()
        outside.clear()
