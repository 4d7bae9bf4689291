"""What is held for whom: each number is there while its client is, and comes back to nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock

from tests.peer import peer
from tests.shop import ORDER, ORDERS, make_shop
from triolet import Limits, Triolet
from triolet.closing import NORMAL
from triolet.connection import Connection
from triolet.monitoring.held import BYTES, STAGES, THINGS, Held
from triolet.testing.server import MemoryServer, serve

SMALL = 4 << 10


@asynccontextmanager
async def shop(limits: Limits | None = None) -> AsyncIterator[tuple[MemoryServer, Triolet]]:
    """A served shop for which nothing is held when the clients of a block have gone."""
    app, live = make_shop(limits)

    @live.socket("/asleep")
    async def asleep(conn: Connection) -> None:
        await trio.sleep_forever()

    async with serve(app) as server:
        yield server, live
        server.vanish()
        await trio.sleep(60)
        held = live.statistics().held
        assert held.nothing, held


def connections(live: Triolet) -> dict[str, int]:
    """The stages that some connection is in."""
    return {stage: number for stage, number in live.statistics().held.connections.items() if number}


async def test_a_connection_is_counted_where_it_has_come_to(autojump_clock: MockClock) -> None:
    async with shop() as (server, live):
        silent = server.connect()
        await trio.sleep(1)
        assert connections(live) == {"head": 1}
        await silent.send_all(b"GET /page HTTP/1.1\r\nHost: test\r\n\r\n")
        await trio.sleep(1)
        assert connections(live) == {"idle": 1}
        async with server.websocket(ORDERS) as client:
            await client.until("live")
            assert connections(live) == {"idle": 1, "stream": 1}


async def test_who_sends_no_request_is_refused_and_then_gone(autojump_clock: MockClock) -> None:
    async with shop() as (server, live):
        wrong = server.connect()
        await wrong.send_all(b"GET /page HTTP/1.1\r\nHost: test\r\nHost: test\r\n\r\n")
        await trio.sleep(1)
        assert connections(live) == {"refused": 1}


async def test_a_client_that_is_told_goodbye_is_counted_until_it_answers(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), peer(server, ORDERS) as client:
        await client.until("live")
        for conn in live.service.context.registry.open.values():
            conn.end(NORMAL)
        del conn
        await trio.sleep(0.1)
        assert connections(live) == {"goodbye": 1}


async def test_a_long_poll_is_counted_while_it_waits(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), trio.open_nursery() as nursery:
        nursery.start_soon(server.get, f"{ORDERS}?wait=5")
        await trio.sleep(1)
        held = live.statistics().held
        assert (held.things["polls"], held.things["followers"], held.connections["http"]) == (1, 0, 1)


async def test_what_a_kernel_has_not_taken_is_unsent(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), peer(server, ORDERS, kernel_bytes=SMALL) as client:
        await client.until("live")
        for _ in range(5):
            await live.publish(ORDER, "x" * 3_000)
            await trio.sleep(0.1)
        seen = live.statistics()
        assert seen.held.bytes["unsent"] > 0
        assert sum(seen.held.bytes.values()) == seen.memory.held
        assert seen.held.things["followers"] == 1


async def test_messages_that_no_handler_takes_are_counted(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), peer(server, "/asleep") as client:
        await client.say(type="message", data="x" * 100)
        await trio.sleep(1)
        held = live.statistics().held
        assert held.things["messages"] == 1
        assert held.bytes["messages"] > 100


def test_every_kind_is_always_there() -> None:
    held = Held()
    assert (tuple(held.connections), tuple(held.things), tuple(held.bytes)) == (STAGES, THINGS, BYTES)
    assert held.nothing
