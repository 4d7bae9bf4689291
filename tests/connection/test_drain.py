"""The end of all connections, when the server drains: in turns, over all four transports."""

from __future__ import annotations

from contextlib import AsyncExitStack
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import Limits
from triolet.bounds import DRAINED_POLL_SECONDS, ENDED_AT_ONCE
from triolet.testing.server import MemoryServer, serve

CROWD = 4 * ENDED_AT_ONCE


async def leave(server: MemoryServer) -> list[float]:
    """When each of a crowd of streams was told to leave, in seconds from the signal."""
    left: list[float] = []

    retries: set[int] = set()
    begun = 0.0

    async def one(*, task_status: trio.TaskStatus[None]) -> None:
        async with server.events(ORDERS) as stream:
            await stream.own("live")
            task_status.started()
            bye = await stream.own("bye")
            left.append(trio.current_time() - begun)
            assert bye is not None
            retries.add(bye["retry"])

    async with trio.open_nursery() as nursery:
        for _ in range(CROWD):
            await nursery.start(one)
        begun = trio.current_time()
        server.stop.set()
    assert len(retries) > CROWD / 2
    return sorted(left)


async def test_who_leaves_does_so_in_turns(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(leaves_per_second=ENDED_AT_ONCE))
    async with serve(app, grace=100) as server:
        left = await leave(server)
    assert left[0] == 0
    assert left[-1] == pytest.approx(CROWD / ENDED_AT_ONCE - 1)
    assert max(later - earlier for earlier, later in pairwise(left)) <= 1


async def test_a_short_grace_hurries_them(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(leaves_per_second=1))
    async with serve(app, grace=10) as server:
        left = await leave(server)
    assert left[-1] < 3.5


async def test_who_waits_for_its_turn_to_leave_is_served_on(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(leaves_per_second=ENDED_AT_ONCE))
    heard: list[int] = []
    async with serve(app, grace=100) as server, AsyncExitStack() as stack:
        for _ in range(ENDED_AT_ONCE):
            await (await stack.enter_async_context(server.events(ORDERS))).own("live")
        last = await stack.enter_async_context(server.events(ORDERS))
        await last.own("live")
        server.stop.set()
        await trio.sleep(0.5)
        await live.publish(ORDER, 1)
        while (event := await last.event()) is not None:
            heard.append(event["data"])
    assert heard == [1]


async def test_a_poll_that_waits_is_told_when_to_come_back(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    retries: list[int] = []
    answered: list[float] = []

    async def ask(server: MemoryServer) -> None:
        retries.append((await server.get(f"{ORDERS}?wait=25")).json["retry"])
        answered.append(trio.current_time())

    async with serve(app) as server, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask, server)
        await trio.sleep(1)
        server.stop.set()
    assert len(set(retries)) > 10
    assert all(0 <= retry <= 5_000 for retry in retries)
    assert 1 < min(answered) < max(answered) <= 1 + DRAINED_POLL_SECONDS
