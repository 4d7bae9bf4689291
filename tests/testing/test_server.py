"""Serving an app in memory: requests, another log, what is left, and what comes out of the block."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio
from quart import request
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import Event, Limits
from triolet.log import MemoryLog
from triolet.testing.http import Answer, ask
from triolet.testing.network import Network, link_pair
from triolet.testing.server import serve


def make_echo() -> QuartTrio:
    """An app without a Triolet, which tells what it was asked."""
    app = QuartTrio("echo")

    @app.route("/echo", methods=["GET", "POST", "PUT"])
    async def echo() -> Any:
        return {
            "method": request.method,
            "type": request.headers.get("content-type"),
            "token": request.headers.get("x-token"),
            "body": await request.get_data(as_text=True),
            "address": request.remote_addr,
        }

    return app


async def test_an_app_is_asked(autojump_clock: MockClock) -> None:
    async with serve(make_echo()) as server:
        plain = await server.get("/echo", x_token="t")
        assert (plain.status, plain.headers["content-type"]) == (200, "application/json")
        assert (plain.json["method"], plain.json["token"]) == ("GET", "t")
        sent = (await server.post("/echo", json={"a": [1]}, x_token="t")).json
        assert sent["type"] == "application/json"
        assert (sent["method"], sent["token"], sent["body"]) == ("POST", "t", '{"a": [1]}')
        put = await server.request("PUT", "/echo", {"content-type": "text/plain"}, b"x", address="203.0.113.9")
        assert (put.json["type"], put.json["body"], put.json["address"]) == ("text/plain", "x", "203.0.113.9")
        assert (await server.get("/nothing")).status == 404


@pytest.mark.parametrize("body", [{"a": 1}, "a", None])
async def test_a_body_is_bytes(body: Any, autojump_clock: MockClock) -> None:
    async with serve(make_echo()) as server:
        with pytest.raises(TypeError, match=r"the body of a request is bytes, not .*: a JSON value is given as json="):
            await server.post("/echo", body)


def test_an_answer_is_read_as_what_it_is() -> None:
    answer = Answer(200, {}, '{"å": 1}'.encode())
    assert (answer.json, answer.text, repr(answer)) == ({"å": 1}, '{"å": 1}', f"<Answer 200 {answer.body!r}>")


async def test_a_block_of_an_event_stream_may_have_many_lines_of_data(autojump_clock: MockClock) -> None:
    app = QuartTrio("stream")

    @app.get("/stream")
    async def stream() -> Any:
        return ": hello\n\nid: 1\ndata:a\ndata:  b\nevent\n\n", {"content-type": "text/event-stream"}

    async with serve(app) as server, server.events("/stream") as events:
        assert await events.block() == {"": "hello"}
        assert await events.block() == {"id": "1", "data": "a\n b", "event": ""}
        assert await events.block() is None


async def test_what_is_no_event_stream_is_no_client_of_one(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        with pytest.raises(Exception, match="sse /page was answered 200: a page"):
            await server.sse("/page").__aenter__()


async def test_an_app_is_given_another_log_for_the_time_of_the_block(autojump_clock: MockClock) -> None:
    app, live = make_shop(log=MemoryLog(Limits(), epoch="mine"))
    for log, epoch in ((MemoryLog(Limits(), epoch="other"), "other"), (None, "mine")):
        async with serve(app, log=log) as server, server.sse(ORDERS) as page:
            assert (await live.publish(ORDER, 1)).cursor.epoch == epoch
            await page.expect(data=1)
    async with serve(app, log="memory:"):
        assert (await live.publish(ORDER, 1)).offset == 1


async def test_two_servers_on_one_network_are_two(autojump_clock: MockClock) -> None:
    network = Network()
    (one, of_one), (two, of_two) = make_shop(), make_shop()
    async with serve(one, network=network) as first, serve(two, network=network) as second:
        assert first.network is second.network is network
        async with first.sse(ORDERS) as here, second.sse(ORDERS) as there:
            await of_one.publish(ORDER, 1)
            await here.expect(data=1)
            await there.nothing_for(5)
            await of_two.publish(ORDER, 2)
            await there.expect(data=2)


async def test_on_a_shared_network_no_two_clients_have_one_address(autojump_clock: MockClock) -> None:
    network = Network()
    async with serve(make_echo(), network=network) as one, serve(make_echo(), network=network) as other:
        assert one.sse("/").address != other.sse("/").address


@pytest.mark.parametrize("what", [make_echo, None, "app"])
async def test_what_is_no_app_is_not_served(what: Any, autojump_clock: MockClock) -> None:
    with pytest.raises(TypeError, match="is no ASGI app"):
        async with serve(what):
            """Never."""


async def tells_its_host(scope: Any, receive: Any, send: Any) -> None:
    host = dict(scope["headers"])[b"host"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-host", host)]})
    await send({"type": "http.response.body", "body": b"hello"})


async def test_a_request_may_name_its_host(autojump_clock: MockClock) -> None:
    async with serve(tells_its_host) as server:
        assert (await server.request("GET", "/", {"Host": "example.org"})).headers["x-host"] == "example.org"


@pytest.mark.parametrize("early", [b"", b"HTTP/1.1 200"])
async def test_a_connection_that_ends_before_its_answer_is_broken(early: bytes) -> None:
    client, link = link_pair()
    link.send(early)
    link.send_eof()
    with pytest.raises(trio.BrokenResourceError, match="ended before there was an answer"):
        await ask(client, "GET", "/", {})


async def test_hints_before_an_answer_are_passed_over() -> None:
    client, link = link_pair()
    link.send(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
    _, head = await ask(client, "GET", "/", {})
    assert head.status_code == 204


async def test_a_connection_that_outlives_its_client_is_told(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    with pytest.raises(AssertionError, match="1 connections are left"):
        async with serve(app) as server:
            server.worker.admission.enter("of nobody")
    async with serve(app) as server:
        for _ in range(100):
            server.connect()  # never closed by the test: that is done at the end


async def test_a_task_of_the_apps_own_that_follows_is_no_client_that_is_left(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    heard: list[Any] = []

    @app.before_serving
    async def begin() -> None:
        app.nursery.start_soon(follow)

    async def follow() -> None:
        async with live.follow(ORDER, after=0) as events:
            async for item in events:
                heard.append(item)

    async with serve(app) as server:
        await live.publish(ORDER, 1)
        await trio.sleep(1)
        assert [item.data for item in heard if isinstance(item, Event)] == [1]
        assert server.followers == 0
        async with server.sse(ORDERS) as client:
            await client.until("live")
            assert server.followers == 1


async def boom() -> None:
    raise ZeroDivisionError


async def test_what_breaks_beside_the_test_comes_in_a_group_and_names_the_tests_own(autojump_clock: MockClock) -> None:
    own = KeyError("mine")
    app, _ = make_shop()

    async def fail() -> None:
        async with serve(app) as server:
            server.start_soon(boom)
            raise own

    with pytest.raises(ExceptionGroup) as raised:
        await fail()
    assert raised.value.subgroup(ZeroDivisionError) is not None
    assert raised.value.__cause__ is own


async def test_an_app_whose_server_broke_is_served_again(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    async def fail() -> None:
        async with serve(app) as server, server.sse(ORDERS) as page:
            await page.until("live")
            server.start_soon(boom)
            await page.nothing_for(1)

    with pytest.raises(ExceptionGroup) as raised:
        await fail()
    assert raised.value.subgroup(AssertionError) is None
    async with serve(app) as server, server.sse(ORDERS) as page:
        await live.publish(ORDER, 1)
        await page.expect(data=1)


async def test_an_app_that_can_be_served_once_says_so(autojump_clock: MockClock) -> None:
    app, _ = make_shop()

    @app.while_serving
    async def database() -> AsyncGenerator[None, None]:
        yield

    async with serve(app):
        pass
    with pytest.raises(RuntimeError, match="runs a while_serving generator once, and database has run: make the app"):
        await serve(app).__aenter__()


async def test_a_client_does_not_outlive_its_server(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    heard: list[str] = []

    async def listen() -> None:
        async for message in page:
            heard.append(message["type"])

    async with trio.open_nursery() as nursery, serve(app) as server:
        page = await server.websocket("/live").__aenter__()
        nursery.start_soon(listen)
        await trio.sleep(1)
    assert heard[0] == "open"
    assert page.closed is not None
