"""A Redis that is away, and the process that waits for it, over the modelled Redis of the hunt."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from triolet.clock import wall_time

from .test_commit import LIMITS, OnlyLog, modelled


async def test_a_server_that_has_served_and_goes_away_is_asked_ever_more_seldom(autojump_clock: MockClock) -> None:
    """A minute is some sixty attempts, and not thousands."""
    server, attempts = modelled(), 0
    connect = server.connect

    async def counted(seconds: float) -> object:
        nonlocal attempts
        attempts += 1
        return await connect(seconds)

    server.connect = counted  # type: ignore[method-assign, assignment]  # counted on its way
    async with OnlyLog(server, LIMITS, wall_time).open():
        await trio.sleep(10)
        server.begin("down")
        await trio.sleep(60)
        assert 10 < attempts < 80
        server.end("down")
        await trio.sleep(5)
        assert attempts < 85
