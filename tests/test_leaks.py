"""What looks for objects that are left finds them, and says what holds them."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from trio.testing import MockClock

from triolet.connection import Connection
from triolet.testing.server import serve

from .leaks import describe, left, let_go_of_frames
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


def test_nothing_that_was_there_before_is_looked_at() -> None:
    gc.freeze()
    assert len(gc.get_objects()) < 1_000
    assert describe([]) == "left of connections:\n"
