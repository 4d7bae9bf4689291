"""Where runs begin: in views, commands and handlers of sockets, none of which they need any more; where they end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import trio
from quart import current_app, g, has_request_context, request
from quart_trio import QuartTrio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet import Command, Connection, Limits, RunError, Triolet
from triolet.log import MemoryLog
from triolet.testing import ScriptedLog, Tokens, serve, slow

from .answers import ANSWER, make_app, told

DONE = {"outcome": "done"}
RESTARTING = {"outcome": "stopped", "reason": "restarting"}


async def context() -> AsyncIterator[Any]:
    """Tell what there is of Quart's contexts."""
    for _ in range(2):
        yield [current_app.name, has_request_context(), hasattr(g, "of_the_request")]
        await trio.sleep(1)


def make_places() -> tuple[QuartTrio, Triolet]:
    app, live = make_app()

    @app.post("/ask")
    async def ask() -> str:
        g.of_the_request = True
        await live.run(ANSWER, context())
        return request.path

    @live.command("/command")
    async def command(command: Command) -> str:
        await live.run(ANSWER, context())
        return ANSWER

    @live.socket("/talk")
    async def talk(conn: Connection) -> None:
        async for _ in conn:
            await live.run(ANSWER, context())
            await conn.send("begun")

    return app, live


@pytest.mark.parametrize("place", ["view", "command", "socket"])
async def test_a_run_has_the_apps_context_and_not_the_requests(place: str, autojump_clock: MockClock) -> None:
    app, live = make_places()
    async with serve(app) as server:
        if place == "view":
            assert (await server.post("/ask")).status == 200
        elif place == "command":
            assert (await server.request("POST", "/command", {"idempotency-key": "1"})).status == 200
        else:
            async with server.websocket("/talk") as client:
                await client.say(type="message", data=1)
                assert (await client.until("message"))["data"] == "begun"
        (run,) = live.runs()
        assert await run.wait() == "done"
        assert await told(live.log) == [["answers", False, False]] * 2 + [DONE]


async def test_a_client_that_goes_while_its_run_begins_does_not_stop_it(autojump_clock: MockClock) -> None:
    app, live = make_places()
    log = ScriptedLog(MemoryLog())
    async with serve(app, log=log) as server:
        with log.having(slow("claim", 5)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(server.post, "/ask"))
                await trio.sleep(1)
                nursery.cancel_scope.cancel()
            server.vanish()
            await trio.sleep(10)
        assert await told(live.log) == [["answers", False, False]] * 2 + [DONE]


async def test_a_server_that_drains_lets_runs_go_on_for_a_while_and_then_stops_them(
    autojump_clock: MockClock,
) -> None:
    app, live = make_app()
    log = ScriptedLog(MemoryLog())
    short, long = Tokens(), Tokens()
    async with serve(app, log=log, grace=10) as server:
        first = await live.run("answers/1", short)
        second = await live.run("answers/2", long)
        server.stop.set()
        await trio.sleep(2)
        await short.give("a")
        short.finish()
        await long.give("b")
        await trio.sleep(1)
        assert (first.outcome, second.outcome) == ("done", None)
        with pytest.raises(RunError, match="shuts down"):
            await live.run("answers/3", Tokens())
        await server.ended.wait()
        assert (second.outcome, long.closed) == ("stopped", True)
    async with log.inner.open():
        assert await told(log, "answers/1") == ["a", DONE]
        assert await told(log, "answers/2") == ["b", RESTARTING]


async def test_a_source_that_ignores_a_shutdown_keeps_no_end_from_being_told(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def source() -> AsyncIterator[str]:
        yield "a"
        with trio.CancelScope(shield=True):
            await trio.sleep(30)

    log = MemoryLog()
    async with Triolet(log=log, limits=Limits(goodbye_seconds=2)) as live:
        await live.run(ANSWER, source())
        await wait_all_tasks_blocked()
        at = trio.current_time()
    assert trio.current_time() - at == 30
    async with log.open():
        assert await told(log) == ["a", RESTARTING]
    assert "does not heed its cancellation" in caplog.text
