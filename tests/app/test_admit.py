"""One way in: what is asked of a client, in which order, and what it is answered, is the same on every road."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import pytest
import trio
from quart import Response, request, websocket
from quart_trio.wrappers import TrioRequest
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import Connection, Cursor, Draft, Event, Limits, Member, Reducer
from triolet.log import MemoryLog, Page
from triolet.testing.clients import TRANSPORTS
from triolet.testing.http import RefusedError
from triolet.testing.scripted import ScriptedLog, unreadable
from triolet.testing.server import Answer, MemoryServer

from .roads import ROADS, ask, served

AsyncioCancelled: type[BaseException] = import_module("asyncio").CancelledError


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_page_that_may_not_ask_runs_no_view(transport: str, road: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    asked = []

    @app.before_request
    async def look() -> None:
        asked.append(request.path)

    async with served(app, road) as server:
        answer = await ask(server, transport, ORDERS, {"origin": "http://evil.example", "cookie": "a=b"})
        assert (answer.status, asked) == (403, [])


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_refusal_by_the_view_comes_before_what_is_wrong_with_the_request(
    transport: str, road: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    async with served(app, road) as server:
        assert (await ask(server, transport, "/orders/secret/events?after=none")).status == 403
        assert (await ask(server, transport, f"{ORDERS}?after=none")).status == 400


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("wrong", ["cursor", "log"])
async def test_what_is_wrong_is_said_behind_the_headers_of_the_view(
    wrong: str, transport: str, road: str, autojump_clock: MockClock
) -> None:
    log = ScriptedLog(MemoryLog())
    app, _ = make_shop(log=log)

    @app.after_request
    async def mark(response: Response) -> Response:
        response.headers["x-shop"] = "ours"
        return response

    async with served(app, road) as server:
        with log.having(unreadable()):
            answer = await ask(server, transport, f"{ORDERS}?after={'none' if wrong == 'cursor' else 1}")
        assert (answer.status, answer.headers.get("x-shop")) == (400 if wrong == "cursor" else 503, "ours")


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_view_that_waits_for_too_long_is_answered_for(
    transport: str, road: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(write_seconds=5))

    @live.channel("/slow")
    async def slow() -> str:
        await trio.sleep(60)
        return "slow"

    async with served(app, road) as server:
        assert (
            await server.upgrade("/slow") if transport == "websocket" else await once(server, transport)
        ).status == 503
        assert trio.current_time() == pytest.approx(5)


async def once(server: MemoryServer, transport: str) -> Answer:
    """Ask the slow view once."""
    accept = {"accept": "text/event-stream"} if transport == "sse" else {}
    return await server.request("GET", "/slow" + ("?wait=1" if transport == "long poll" else ""), accept)


FOREIGN = [AsyncioCancelled, BaseException, GeneratorExit, type("Timeout", (BaseException,), {})]
"""What libraries raise that is no Exception, and neither Trio's nor the interpreter's own."""


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("error", FOREIGN)
async def test_what_a_view_raises_that_is_no_exception_is_answered_500_and_no_other_notices(
    error: type[BaseException], grouped: bool, transport: str, road: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()

    @live.channel("/foreign")
    async def foreign() -> str:
        raise BaseExceptionGroup("a nursery of the view's", [error()]) if grouped else error()

    async with served(app, road) as server, server.websocket(ORDERS) as other:
        await other.until("live")
        assert (await ask(server, transport, "/foreign")).status == 500
        await live.publish(ORDER, 1)
        assert (await other.event())["data"] == 1


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("error", FOREIGN)
async def test_what_a_followed_view_or_a_handler_raises_ends_that_alone(
    error: type[BaseException], road: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()

    @live.channel("/foreign")
    async def foreign() -> str:
        raise error

    @live.socket("/handler")
    async def handler(conn: Connection) -> None:
        raise error

    async with served(app, road) as server, server.websocket("/live") as other:
        await other.follow(ORDERS)
        with pytest.raises(RefusedError):
            await other.follow("/foreign")
        async with server.websocket("/handler") as client:
            await client.ended()
        await live.publish(ORDER, 1)
        assert (await other.event())["data"] == 1


@pytest.mark.parametrize("road", ROADS)
async def test_a_page_or_websocket_of_quarts_that_raises_no_exception_ends_alone(
    road: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()

    @app.get("/foreign")
    async def foreign() -> str:
        raise AsyncioCancelled

    @app.websocket("/own")
    async def own() -> None:
        await websocket.receive()
        raise AsyncioCancelled

    async with served(app, road) as server, server.websocket(ORDERS) as other:
        await other.until("live")
        assert (await server.get("/foreign")).status == 500
        async with server.websocket("/own") as client:
            await client.send("go on")
            await client.ended()
        await live.publish(ORDER, 1)
        assert (await other.event())["data"] == 1


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("where", ["snapshot", "policy", "reducer", "hook", "member", "allow"])
@pytest.mark.parametrize("error", FOREIGN)
async def test_what_a_function_of_the_apps_raises_that_is_no_exception_ends_no_other_client(
    error: type[BaseException], where: str, road: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(page_events=2, window_events=2))

    def fail(*_: Any) -> Any:
        raise error

    def state(channel: str) -> Any:
        fail()

    options: dict[str, Any] = {where: fail}
    if where in ("snapshot", "reducer"):
        options = {"snapshot": state if where == "snapshot" else Reducer(fail, name="failing", every=1)}

    @live.channel("/fragile", **({} if where == "hook" else options))
    async def fragile() -> str:
        return "fragile"

    if where == "hook":
        live.watched("fragile")(fail)
    async with served(app, road) as server, server.websocket(ORDERS) as other:
        await other.until("live")
        for number in range(5):
            await live.publish("fragile", number)
        for transport in TRANSPORTS:
            with suppress(trio.BrokenResourceError):
                await ask(server, transport, "/fragile?after=1&snapshot=1")
        await trio.sleep(60)  # a state is kept, a hook called
        await live.publish(ORDER, 1)
        assert (await other.event())["data"] == 1


class Failing(MemoryLog):
    """A log of one's own with a bug."""

    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        raise KeyError("a bug of the log's")


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("wait", ["", "&wait=1"])
async def test_a_poll_whose_log_raises_what_it_may_not_is_answered_as_where_it_cannot_be_read(
    wait: str, road: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop(log=Failing())
    async with served(app, road) as server:
        answer = await server.request("GET", f"{ORDERS}?after=of-another-life.3{wait}")
        assert (answer.status, answer.json["error"]) == (503, "log")


class Unwritable(MemoryLog):
    """Another one."""

    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        raise KeyError("a bug of the log's")


async def test_a_log_that_raises_what_it_may_not_ends_no_server_that_tells_others(autojump_clock: MockClock) -> None:
    app, live = make_shop(log=Unwritable())
    async with served(app, "direct") as server:
        with trio.fail_after(5):
            assert not await live.revoke(subject="ann")  # in force here, and told to nobody
        await trio.sleep(5)
        assert (await server.request("GET", ORDERS)).status == 200


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_member_that_cannot_be_leaves_no_follower(transport: str, road: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.channel("/met", member=lambda: Member("ada", info={"about": "x" * (2 << 20)}))
    async def met() -> str:
        return "met"

    async with served(app, road) as server:
        assert (await ask(server, transport, "/met")).status == 500
        assert server.followers == 0


@pytest.mark.parametrize("road", ROADS)
async def test_a_request_that_was_refused_is_held_by_nothing(road: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with served(app, road) as server:
        for _ in range(3):
            assert (await server.get("/warehouse")).status == 426
            assert (await ask(server, "sse", "/warehouse")).status == 426
    gc.collect()
    assert not [thing for thing in gc.get_objects() if isinstance(thing, TrioRequest) and thing.path == "/warehouse"]
