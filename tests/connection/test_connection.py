"""One connection as a whole: it ends once, and what it held is had back at once."""

from __future__ import annotations

import gc
import weakref

import trio
from trio.testing import MockClock

from tests.hub.doubles import CHANNEL, running
from tests.shop import ORDERS, make_shop
from tests.transports.test_contract import connected
from triolet import Connection
from triolet.closing import GONE, NORMAL, RESTARTING
from triolet.connection.access import Access
from triolet.connection.heartbeat import begin as begin_heartbeat
from triolet.connection.supervisor import supervise
from triolet.hub import Subscription
from triolet.log import MemoryLog
from triolet.testing.server import serve


async def test_the_first_reason_to_end_stays() -> None:
    async with running(MemoryLog()) as hub:
        conn, _ = connected(hub)
        conn.end(RESTARTING)
        conn.end(NORMAL)
        conn.detach()
        assert conn.closing is RESTARTING


async def test_one_that_ended_before_its_tasks_began_ends_at_once() -> None:
    async with running(MemoryLog()) as hub:
        conn, _ = connected(hub)
        conn.end(GONE)
        assert await supervise(conn, trio.sleep_forever) is GONE
        assert conn.context.registry.open == {}


class Probe:
    """Stands where a connection and its subscriptions keep a function, and can be seen to be freed."""

    async def __call__(self, _: object) -> None:
        """Nothing is asked of it."""


async def test_one_that_has_ended_is_freed_without_the_garbage_collector(autojump_clock: MockClock) -> None:
    async with running(MemoryLog()) as hub:
        probe = Probe()
        freed = weakref.ref(probe)
        conn, _ = connected(hub, raw=probe, access=Access(decide=probe))
        await conn.subscriptions.add(Subscription(CHANNEL))
        gc.disable()
        try:
            call_off = begin_heartbeat(conn)
            await supervise(conn, trio.sleep_forever, end)
            call_off()
            del call_off, conn, probe
            assert freed() is None
        finally:
            gc.enable()


async def end(conn: Connection) -> None:
    await trio.sleep(1)
    conn.end(NORMAL)


async def test_detaching_twice_counts_it_once(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.websocket(ORDERS) as client:
        await client.until("live")
        (conn,) = live.service.context.registry.open.values()
        conn.end(NORMAL)
        await client.until("bye")
        conn.detach()
        await trio.sleep(1)
        assert sum(live.statistics().counts.closed.values()) == 1
        del conn
