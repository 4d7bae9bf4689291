"""The operator's listener: one request a connection, in memory."""

from __future__ import annotations

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from quart_trio import QuartTrio
from trio.testing import MockClock, memory_stream_pair

from tests.shop import ORDERS, make_shop
from triolet.admin.contract import Answer, Hear, Question, nothing
from triolet.admin.listener import Callers
from triolet.bounds import (
    ADMIN_BODIES,
    ADMIN_BODY_BYTES,
    ADMIN_BODY_SECONDS,
    ADMIN_CONNECTIONS,
    ADMIN_HEAD_BYTES,
    ADMIN_HEAD_SECONDS,
    ADMIN_READ_BYTES,
    ADMIN_SECONDS,
)
from triolet.server.settings import Settings
from triolet.server.worker import Worker
from triolet.testing.server import serve

from .asking import KEY, ask, get, office, raw, read


def idle() -> Worker:
    """A worker that does not run yet."""
    app, _ = make_shop()
    return Worker(app, Settings())


async def test_metrics_are_answered_in_prometheus_text_format(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, server.events(ORDERS) as stream:
        await stream.own("live")
        told = await get(office(server.worker), "/metrics")
    assert told.status == 200
    assert told.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert told.headers["content-length"] == str(len(told.body))
    families = {family.name: family for family in text_string_to_metric_families(told.body.decode())}
    assert {one.labels["transport"]: one.value for one in families["triolet_connections_open"].samples} == {
        "websocket": 0,
        "sse": 1,
    }


async def test_a_server_is_ready_from_its_start_until_it_drains(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    before = office(idle())
    assert (await get(before, "/health/ready")).status == 503
    async with serve(app) as server, server.events(ORDERS) as stream:
        await stream.own("live")
        asked = office(server.worker)
        assert (await get(asked, "/health/ready")).status == 200
        server.stop.set()
        await trio.testing.wait_all_tasks_blocked()
        assert (await get(asked, "/health/ready")).status == 503
        assert (await get(asked, "/health/live")).body == b"live\n"


@pytest.mark.parametrize(
    "path", ["//", "/metrics/", "/health", "/page", ORDERS, "//metrics", "/explain/", "/explain/1/2"]
)
async def test_everything_else_is_not_found(path: str, autojump_clock: MockClock) -> None:
    told = await get(office(idle()), path)
    assert told.status == 404
    assert "GET /metrics" in told.json["message"]


async def test_an_app_without_triolet_has_health_and_nothing_else(autojump_clock: MockClock) -> None:
    asked = office(Worker(QuartTrio("plain"), Settings()))
    assert (await get(asked, "/metrics")).status == 404
    assert (await ask(asked, "POST", "/publish", {"channel": "a", "data": 1})).status == 404
    assert (await get(asked, "/health/live")).status == 200


async def test_before_the_app_is_served_and_after_it_is_asked_to_come_again(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        asked = office(server.worker)
    for told in [
        await get(asked, "/connections"),
        await get(office(idle()), "/history?channel=a"),
        await ask(office(idle()), "POST", "/publish", {"channel": "a", "data": 1}),
    ]:
        assert (told.status, told.headers["retry-after"], told.json["error"]) == (503, "1", "away")


async def test_head_is_answered_without_a_body(autojump_clock: MockClock) -> None:
    told = await ask(office(idle()), "HEAD", "/metrics")
    assert (int(told.headers["content-length"]) > 1_000, told.body) == (True, b"")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("POST", "/metrics", "get, head"), ("nonsense", "/metrics", "get, head"), ("GET", "/publish", "post")],
)
async def test_another_method_is_not_allowed(method: str, path: str, allowed: str, autojump_clock: MockClock) -> None:
    told = await ask(office(idle()), method, path)
    assert (told.status, told.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize(
    "junk",
    [b"\x16\x03\x01\x02\x00\r\n\r\n", b"\r\n\r\n", b"GET\r\n\r\n", b"\xff\xfe\r\n\r\n", b"CONNECT x HTTP/1.1\r\n\r\n"],
)
async def test_what_is_no_request_is_answered_all_the_same(junk: bytes, autojump_clock: MockClock) -> None:
    assert (await raw(office(idle()), junk)).startswith(b"HTTP/1.1 400")


async def test_a_head_that_is_too_long_is_refused(autojump_clock: MockClock) -> None:
    long = b"GET /metrics HTTP/1.1\r\nx: " + b"y" * 2 * ADMIN_HEAD_BYTES
    assert (await raw(office(idle()), long)).startswith(b"HTTP/1.1 431")


async def test_an_agent_of_http_1_0_without_a_host_and_a_proxys_form_of_a_target_are_understood(
    autojump_clock: MockClock,
) -> None:
    asked = office(idle())
    assert read(await raw(asked, b"GET /health/live HTTP/1.0\r\n\r\n")).status == 200
    absolute = b"GET http://localhost:9100/health/live HTTP/1.1\r\nHost: localhost:9100\r\n\r\n"
    assert read(await raw(asked, absolute)).status == 200


async def test_who_says_nothing_is_cut_off_in_time(autojump_clock: MockClock) -> None:
    client, server = memory_stream_pair()
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office(idle()).serve, server)
        assert await client.receive_some() == b""
    assert trio.current_time() - start == ADMIN_HEAD_SECONDS


async def test_who_asks_and_reads_nothing_is_cut_off_in_time(autojump_clock: MockClock) -> None:
    client, server = memory_stream_pair()

    async def never() -> None:
        await trio.sleep_forever()

    server.send_stream.send_all_hook = never
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office(idle()).serve, server)
        await client.send_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert trio.current_time() - start == ADMIN_HEAD_SECONDS


class Stuck:
    """Workers that never answer."""

    ready = True
    figures = None

    async def ask_one(self, question: Question) -> Answer:
        return await trio.sleep_forever()

    async def ask_all(self, question: Question, hear: Hear = nothing) -> dict[int, Answer | None]:
        return await trio.sleep_forever()


async def test_what_takes_too_long_is_said_to_be_perhaps_done(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    told = await ask(office(Stuck()), "POST", "/publish", {"channel": "a", "data": 1})
    assert trio.current_time() - start == ADMIN_SECONDS
    assert (told.status, told.json["error"], told.headers["retry-after"]) == (503, "late", "1")
    assert "may be done" in told.json["message"]


# --- how many at once


async def test_there_is_room_as_long_as_one_only_holds_a_connection_and_else_when_one_ends(
    autojump_clock: MockClock,
) -> None:
    callers, asked, clients = Callers(), office(Stuck()), []
    request = b"GET /connections HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with trio.open_nursery() as nursery:

        async def connect() -> None:
            client, server = memory_stream_pair()
            clients.append(client)
            callers.enter()
            nursery.start_soon(callers.serve, server, asked)
            await trio.testing.wait_all_tasks_blocked()

        for _ in range(ADMIN_CONNECTIONS):
            await callers.room()
            await connect()
        await callers.room()
        await connect()
        assert await clients.pop(0).receive_some() == b""  # the oldest of those that say nothing
        for client in clients:
            await client.send_all(request)
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        await callers.room()
        assert trio.current_time() - start == ADMIN_SECONDS
        for client in clients:
            assert (await client.receive_some()).startswith(b"HTTP/1.1 503")


async def test_who_was_answered_before_its_body_was_read_keeps_nobody_waiting(autojump_clock: MockClock) -> None:
    callers, asked, clients = Callers(), office(Stuck(), KEY), []
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(ADMIN_CONNECTIONS + 2):
            client, server = memory_stream_pair()
            clients.append(client)
            await callers.room()
            callers.enter()
            nursery.start_soon(callers.serve, server, asked)
            await client.send_all(PUBLISH + b"Content-Length: 9\r\n\r\n")  # without the key, and without the body
            assert (await client.receive_some()).startswith(b"HTTP/1.1 401 ")
            await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == start
        for client in clients[:2]:
            with pytest.raises(trio.BrokenResourceError):  # the oldest are cut off, as they are owed nothing
                await client.send_all(b"{")
        await clients[2].send_all(b"{")
        nursery.cancel_scope.cancel()


# --- bodies


PUBLISH = b"POST /publish?channel=a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'Transfer-Encoding: chunked\r\n\r\n4\r\n{"da\r\n5;x=y\r\nta":1\r\n1\r\n}\r\n0\r\n\r\n', 200),
        (b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 500 + b'a\r\n{"data":1}\r\n0\r\n\r\n', 200),
        (b'Transfer-Encoding: chunked\r\n\r\n4\r\n{"dat\r\n0\r\n\r\n', 400),  # a chunk that is longer than it says
        (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (ADMIN_BODY_BYTES + 1), 413),
        (b"Content-Length: %d\r\n\r\n" % (ADMIN_BODY_BYTES + 1), 413),
        (b"Content-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"\r\n", 400),  # no body at all
    ],
)
async def test_a_body_is_read_as_it_is_framed(body: bytes, status: int, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        client, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(office(server.worker).serve, theirs)
            await client.send_all(PUBLISH + body)
            answer = b"".join([bytes(part) async for part in client])
        assert read(answer).status == status, answer


async def test_a_body_that_is_cut_short_publishes_nothing(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        client, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(office(server.worker).serve, theirs)
            await client.send_all(PUBLISH + b'Content-Length: 11\r\n\r\n{"data":1}')
            await client.send_eof()
            told = read(b"".join([bytes(part) async for part in client]))
        assert (told.status, (await live.log.head("a")).offset) == (400, 0)
        assert "cut short" in told.json["message"]


async def test_who_waits_to_be_told_to_go_on_is_told_when_the_request_is_good(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        for kind, first in [(b"application/json", b"HTTP/1.1 100 "), (b"text/plain", b"HTTP/1.1 415 ")]:
            client, theirs = memory_stream_pair()
            head = PUBLISH.replace(b"application/json", kind) + b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(office(server.worker).serve, theirs)
                await client.send_all(head)
                answer = bytes(await client.receive_some())
                assert answer.startswith(first)
                await client.send_all(b'{"data":1}')
                await client.send_eof()
                answer += b"".join([bytes(part) async for part in client])
            assert (b"HTTP/1.1 200" in answer) == (kind == b"application/json")


LONG = PUBLISH + b"Content-Length: %d\r\n\r\n" % (ADMIN_READ_BYTES + 1)


async def test_who_sends_a_body_slowly_keeps_nobody_waiting(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, trio.open_nursery() as nursery:
        callers, asked, clients = Callers(), office(server.worker), []

        async def connect(request: bytes) -> trio.abc.Stream:
            client, theirs = memory_stream_pair()
            await callers.room()
            callers.enter()
            nursery.start_soon(callers.serve, theirs, asked)
            await client.send_all(request)
            await trio.testing.wait_all_tasks_blocked()
            return client

        start = trio.current_time()
        for number in range(ADMIN_CONNECTIONS):
            request = (LONG, PUBLISH + b"Content-Length: 9\r\n\r\n")[number % 2]
            clients.append(await connect(request + b"{"))
        for path in (b"/health/live", b"/metrics"):
            answer = await (await connect(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)).receive_some()
            assert answer.startswith(b"HTTP/1.1 200 "), path
        published = await (await connect(PUBLISH + b'Content-Length: 10\r\n\r\n{"data":1}')).receive_some()
        assert published.startswith(b"HTTP/1.1 200 ")
        assert trio.current_time() == start
        assert await clients[0].receive_some() == b"", "the oldest has made room"
        assert (await clients[-1].receive_some()).startswith(b"HTTP/1.1 408 "), "the others had their time"
        assert trio.current_time() - start == ADMIN_BODY_SECONDS
        nursery.cancel_scope.cancel()


async def test_a_slow_body_gives_its_turn_to_the_next_one_in_time(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, trio.open_nursery() as nursery:
        asked = office(server.worker)
        for _ in range(ADMIN_BODIES):
            client, theirs = memory_stream_pair()
            nursery.start_soon(asked.serve, theirs)
            await client.send_all(LONG + b"{")
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        body = b'{"data":1}' + b" " * ADMIN_READ_BYTES
        told = await ask(asked, "POST", "/publish?channel=a", body, "application/json")
        assert (told.status, (await live.log.head("a")).offset) == (200, 1)
        assert trio.current_time() - start == ADMIN_BODY_SECONDS
        nursery.cancel_scope.cancel()


# --- URLs


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/history", "channel is missing from the URL"),
        ("/history?channel=a&chanel=b", "'chanel' is no parameter of /history: there are channel, after, limit"),
        ("/history?channel=a&channel=b", "a parameter stands twice in the URL"),
        ("/history?channel=a&limit=0", "limit must be a number from 1 to 1000, not '0'"),
        ("/history?channel=a&limit=1e3", "limit must be a number from 1 to 1000, not '1e3'"),
        ("/history?channel=a&after=x", "is no cursor"),
        ("/history?channel=%00", "cannot name a channel"),
        ("/history?channel=%ff", "in UTF-8"),
        ("/connections?" + "&".join(["limit=1"] * 40), "at most 16 values"),
        ("/metrics?x=1", "'x' is no parameter of /metrics: there are none"),
        ("/explain/-1", "id must be a number"),
        ("/explain/%ff", "in UTF-8"),
        ("/explain/99999999999999999999", "id must be a number"),
        ("/presence?channel=" + "a" * 256, "use text of 1 to 255 bytes"),
    ],
)
async def test_what_is_wrong_in_a_url_is_said(path: str, says: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        told = await get(office(server.worker), path)
    assert told.status == 400
    assert says in told.json["message"]
