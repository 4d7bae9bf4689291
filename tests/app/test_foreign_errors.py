"""What an app's functions raise that is no Exception, as asyncio's CancelledError: it ends no server, wherever it is
called from."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.app.roads import served
from triolet import Command, Connection, Reducer, Triolet
from triolet.testing import RefusedError

SECONDS = 4
"""For what is called after a while: a recheck, or a hook that hears that nobody watches any more."""


class Foreign(BaseException):
    """Such as asyncio's CancelledError."""


def foreign(*args: Any, **kwargs: Any) -> Any:
    raise Foreign


async def foreign_later(*args: Any, **kwargs: Any) -> Any:
    raise Foreign


Make = Callable[[QuartTrio, Triolet], object]


def of_route(view: Callable[..., Any] | None = None, **options: Any) -> Make:
    async def names_it() -> str:
        return "c"

    return lambda app, live: live.channel("/c", **options)(view or names_it)


def beside_route(add: Make) -> Make:
    def make(app: QuartTrio, live: Triolet) -> None:
        of_route()(app, live)
        add(app, live)

    return make


def of_recheck(app: QuartTrio, live: Triolet) -> None:
    asked = 0

    @live.channel("/c", recheck=1)
    async def view() -> str:
        nonlocal asked
        asked += 1
        return "c" if asked == 1 else foreign()


def of_handler(app: QuartTrio, live: Triolet) -> None:
    @live.socket("/c")
    async def handler(conn: Connection) -> None:
        foreign()


def of_command(app: QuartTrio, live: Triolet) -> None:
    @live.command("/command")
    async def command(command: Command) -> None:
        foreign()


FUNCTIONS: dict[str, Make] = {
    "view": of_route(foreign_later),
    "recheck": of_recheck,
    "before_request": beside_route(lambda app, live: app.before_request(foreign_later)),
    "after_request": beside_route(lambda app, live: app.after_request(foreign_later)),
    "identify": beside_route(lambda app, live: live.identify(foreign_later)),
    "member": of_route(member=foreign),
    "allow": of_route(allow=foreign),
    "snapshot": of_route(snapshot=foreign),
    "snapshot, later": of_route(snapshot=foreign_later),
    "reducer": of_route(snapshot=Reducer(foreign, name="state", initial=0)),
    "render": of_route(format="plain", render=foreign),
    "policy": of_route(policy=foreign),
    "watched": beside_route(lambda app, live: live.watched("*")(foreign_later)),
    "handler": of_handler,
    "command": beside_route(of_command),
}


@pytest.mark.parametrize("road", ["direct", "asgi"])
@pytest.mark.parametrize("name", FUNCTIONS)
async def test_it_ends_no_server(
    name: str, road: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    app = QuartTrio("foreign")
    live = Triolet(app)
    FUNCTIONS[name](app, live)

    @live.socket("/other")
    async def other(conn: Connection) -> None:
        await conn.follow("d", after=0)
        await trio.sleep_forever()

    async with served(app, road) as server:
        await live.publish("c", 1)
        for path, after in (("/c", "0"), ("/c?snapshot=1", None)):
            for transport in (server.sse, server.websocket, server.long_poll):
                with suppress(RefusedError, AssertionError, trio.BrokenResourceError):
                    async with transport(path, after=after) as client:
                        with trio.move_on_after(SECONDS):
                            await client.until("bye")
        await server.request("POST", "/command", {"idempotency-key": "1"}, b"")
        await trio.sleep(SECONDS)
        for functions in (app.before_request_funcs, app.after_request_funcs):
            functions.clear()
        assert (await server.get("/nothing")).status == 404
        if name != "identify":
            async with server.websocket("/other") as client:
                await live.publish("d", 1)
                assert (await client.until("event"))["data"] == 1
    assert [record for record in caplog.records if record.levelno >= logging.ERROR], "nobody is told"
