"""The one way in which every transport is served: opened, listened to, told goodbye, and ended in any case."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.hub.doubles import CHANNEL, running
from triolet.budget import Budget
from triolet.closing import GONE, RESTARTING, SLOW, Closing
from triolet.connection import Connection, Context
from triolet.hub import Hub, Subscription
from triolet.limits import Limits
from triolet.log import MemoryLog
from triolet.sockets.direct_outlet import DirectOutlet
from triolet.testing.network import ClientEnd, link_pair
from triolet.transports.contract import Transport, bye, serve
from triolet.wire.codec import WEBSOCKET


class Spoken(Transport):
    """A transport that notes what is asked of it. Its client is read until the test ends the connection."""

    owns_socket = True

    def __init__(self, ends: Closing | None = RESTARTING) -> None:
        self.asked: list[str] = []
        self.open_at_goodbye: dict[int, Connection] | None = None
        self.followers_at_goodbye: int | None = None
        self._ends = ends

    async def open(self, conn: Connection) -> None:
        self.asked.append("open")
        conn.outlet.write(b"HEAD")

    async def read(self, conn: Connection) -> None:
        self.asked.append("read")
        if self._ends is None:
            await trio.sleep_forever()
        else:
            conn.end(self._ends)

    async def goodbye(self, conn: Connection, closing: Closing) -> None:
        self.asked.append(f"goodbye {closing.reason}")
        self.open_at_goodbye = dict(conn.context.registry.open)
        self.followers_at_goodbye = conn.context.hub.statistics().followers
        await bye(conn, closing)


def connected(hub: Hub, kernel_bytes: int = 10_000, **options: Any) -> tuple[Connection, ClientEnd]:
    context = Context(hub, Limits(), Budget(1 << 30), trio.Event(), random.Random(0), lambda: 0.0)
    client, link = link_pair(kernel_bytes=kernel_bytes)
    return Connection(context, DirectOutlet(link, context.budget), WEBSOCKET, **options), client


async def is_reset(client: ClientEnd) -> bool:
    """Whether a client that reads on finds its connection reset; False where it stays open."""
    with trio.move_on_after(60):
        try:
            while await client.receive_some():
                pass
        except trio.BrokenResourceError:
            return True
    return False


async def test_the_bookkeeping_is_done_when_the_goodbye_is_said() -> None:
    async with running(MemoryLog()) as hub:
        conn, client = connected(hub)
        await conn.subscriptions.add(Subscription(CHANNEL))
        transport = Spoken()
        transport.owns_socket = False
        await serve(conn, transport)
        assert transport.asked == ["open", "read", "goodbye restarting"]
        assert (transport.open_at_goodbye, transport.followers_at_goodbye) == ({}, 0)
        said = await client.receive_some()
        assert said.startswith(b"HEAD")
        assert b'"type":"bye"' in said


@pytest.mark.parametrize("closing", [GONE, SLOW], ids=["gone", "slow"])
async def test_a_client_that_hears_nothing_is_told_nothing_and_reset(
    closing: Closing, autojump_clock: MockClock
) -> None:
    async with running(MemoryLog()) as hub:
        conn, client = connected(hub)
        transport = Spoken(closing)
        transport.owns_socket = False
        await serve(conn, transport)
        assert transport.asked == ["open", "read"]
        assert await is_reset(client)


async def test_a_client_that_does_not_take_its_goodbye_is_reset_in_time(autojump_clock: MockClock) -> None:
    async with running(MemoryLog()) as hub:
        conn, client = connected(hub, kernel_bytes=10)
        transport = Spoken()
        transport.owns_socket = False
        await serve(conn, transport)
        assert trio.current_time() == conn.limits.goodbye_seconds
        assert conn.outlet.pending == 0
        assert await is_reset(client)


async def test_a_socket_that_others_go_on_using_stays_open_behind_a_goodbye(autojump_clock: MockClock) -> None:
    async with running(MemoryLog()) as hub:
        conn, client = connected(hub)
        transport = Spoken()
        transport.owns_socket = False
        await serve(conn, transport)
        assert not await is_reset(client)


async def test_one_that_cannot_be_opened_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    class Unopened(Spoken):
        async def open(self, conn: Connection) -> None:
            raise ValueError("a head that cannot be sent")

    async with running(MemoryLog()) as hub:
        conn, client = connected(hub)
        await conn.subscriptions.add(Subscription(CHANNEL))
        transport = Unopened()
        with pytest.raises(ValueError, match="a head"):
            await serve(conn, transport)
        assert (transport.asked, hub.statistics().followers, conn.closing) == ([], 0, GONE)
        assert await is_reset(client)


async def test_one_that_is_cancelled_says_no_goodbye_and_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    async with running(MemoryLog()) as hub:
        conn, client = connected(hub)
        await conn.subscriptions.add(Subscription(CHANNEL))
        transport = Spoken(None)
        with trio.move_on_after(1):
            await serve(conn, transport)
        assert (transport.asked, hub.statistics().followers, conn.closing) == (["open", "read"], 0, GONE)
        assert conn.context.registry.open == {}
        assert await is_reset(client)


async def test_a_client_that_went_first_is_not_reset(autojump_clock: MockClock) -> None:
    class ClosedByPeer(Spoken):
        owns_socket = False

        async def read(self, conn: Connection) -> None:
            conn.peer_closed = True
            conn.end(GONE)

    async with running(MemoryLog()) as hub:
        conn, client = connected(hub)
        await serve(conn, ClosedByPeer())
        assert not await is_reset(client)
