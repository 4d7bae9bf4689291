"""``stop_when_unwatched=``: a run that nobody watches, in any process, is stopped."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.app.processes import processes
from triolet import ConfigError
from triolet.testing import Tokens, serve

from .answers import ANSWER, EVENTS, make_app, script, told

UNWATCHED = {"outcome": "stopped", "reason": "unwatched"}


@pytest.mark.parametrize("transport", ["websocket", "sse", "long poll", "follow"])
async def test_a_run_that_nobody_watches_is_stopped_after_so_many_seconds(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live = make_app()
    async with serve(app) as server:
        tokens = Tokens()
        run = await live.run(ANSWER, tokens, stop_when_unwatched=30)
        await trio.sleep(20)
        for seconds in (100, 20):  # a reader that comes back after a while
            async with server.client(transport, EVENTS) as client:
                await client.until("live")
                await trio.sleep(seconds)
                await tokens.give("a")
                await client.expect("event")
            await trio.sleep(20)
        assert run.outcome is None
        await trio.sleep(20)
        assert run.outcome == "stopped"
        assert tokens.closed
        assert await told(live.log) == ["a", "a", UNWATCHED]


async def test_readers_of_other_processes_count(autojump_clock: MockClock) -> None:
    make_one = partial(make_app, log="sqlite:///nowhere.db")  # not in memory: there may be others
    async with processes(2, make_one) as (one, two):
        run = await one.live.run(ANSWER, Tokens(), stop_when_unwatched=30)
        async with two.server.client("sse", EVENTS) as client:
            await client.until("live")
            await trio.sleep(300)
            assert run.outcome is None
        with trio.fail_after(40):
            assert await run.wait() == "stopped"


async def test_a_run_that_comes_to_its_end_needs_nobody(autojump_clock: MockClock) -> None:
    async with script() as live:
        tokens = Tokens()
        run = await live.run(ANSWER, tokens, stop_when_unwatched=30)
        await tokens.give("a")
        tokens.finish()
        assert await run.wait() == "done"
        assert trio.current_time() < 1


@pytest.mark.parametrize("seconds", [0, 0.5, -1, True, "30", float("nan")])
async def test_no_such_time_can_be(seconds: Any, autojump_clock: MockClock) -> None:
    async with script() as live:
        with pytest.raises(ConfigError, match="at least 1 second"):
            await live.run(ANSWER, Tokens(), stop_when_unwatched=seconds)
        assert live.runs() == ()


async def test_many_may_be_watched_for(autojump_clock: MockClock) -> None:
    async with script() as live:
        async with trio.open_nursery() as nursery:
            for number in range(300):
                nursery.start_soon(
                    partial(live.run, f"answers/{number}", Tokens(), stop_when_unwatched=5 + number / 100)
                )
        await trio.sleep(10)
        assert live.runs() == ()
        assert live.statistics().counts.runs["stopped"] == 300
