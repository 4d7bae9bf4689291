"""What looks for objects that are left finds them, and says what holds them."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from triolet.connection import Connection
from triolet.redis.answer import answer_in_time
from triolet.testing.server import MemoryServer, serve

from .leaks import describe, left, let_go_of_frames, living
from .shop import ORDERS, make_shop

kept: list[Any] = []
KEPT = r"1 connection\.connection\.Connection\n +held by builtins.list <- the names of tests.test_leaks"


async def test_a_connection_that_somebody_keeps_is_found_with_what_keeps_it(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    served = serve(app)
    server = await served.__aenter__()
    async with server.websocket(ORDERS) as client:
        await client.until("live")
        kept.extend(live.service.context.registry.open.values())
    with pytest.raises(AssertionError, match=KEPT):
        await served.__aexit__(None, None, None)
    kept.clear()
    assert left() == []


async def test_an_error_in_the_log_keeps_nothing(autojump_clock: MockClock) -> None:
    error = ValueError("kept")
    app, live = make_shop()

    @live.socket("/fails")
    async def fails(conn: Connection) -> None:
        raise error

    async with serve(app) as server:
        async with server.websocket("/fails") as client:
            await client.ended()
        let_go_of_frames([error])


async def test_what_a_log_waits_for_is_its_own(autojump_clock: MockClock) -> None:
    """It asks its server anew by itself: a look at what clients have left may find it waiting for an answer."""

    class Asked:
        async def get_result(self) -> None:
            await trio.sleep_forever()

    app, _ = make_shop()
    async with trio.open_nursery() as nursery:
        async with serve(app) as server:
            async with server.websocket(ORDERS) as client:
                await client.until("live")
            nursery.start_soon(answer_in_time, Asked(), 600)
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


def test_nothing_that_was_there_before_is_looked_at() -> None:
    gc.freeze()
    assert len(gc.get_objects()) < 1_000
    assert describe([]) == "left of connections:\n"


async def follow_socket(server: MemoryServer) -> None:
    async with server.websocket(ORDERS) as client:
        await client.until("live")


async def follow_events(server: MemoryServer) -> None:
    async with server.events(ORDERS) as stream:
        await stream.own("live")


async def poll(server: MemoryServer) -> None:
    await server.get(f"{ORDERS}?after=0&wait=1")


async def ask(server: MemoryServer) -> None:
    await server.get("/page")


async def send_no_request(server: MemoryServer) -> None:
    async with server.connect() as client:
        await client.send_all(b"GET / HTTP/1.1\r\n\r\n")
        await client.receive_some()


@pytest.mark.parametrize("visit", [follow_socket, follow_events, poll, ask, send_no_request])
async def test_what_has_gone_is_freed_without_the_garbage_collector(
    visit: Callable[[MemoryServer], Awaitable[None]], autojump_clock: MockClock
) -> None:
    app, _live = make_shop()
    async with serve(app) as server:
        await visit(server)  # what is made once
        await trio.sleep(60)
        gc.collect()
        gc.disable()
        try:
            before = {id(thing) for thing in living()}
            await visit(server)
            await trio.sleep(60)
            assert [thing for thing in living() if id(thing) not in before] == []
        finally:
            gc.enable()
