"""The operator's listener: metrics and health, one request a connection, in memory."""

from __future__ import annotations

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from quart_trio import QuartTrio
from trio.testing import MockClock, memory_stream_pair

from tests.shop import ORDERS, make_shop
from triolet.bounds import STATUS_HEAD_BYTES, STATUS_SECONDS
from triolet.server.settings import Settings
from triolet.server.status import Observed, serve_status
from triolet.server.worker import Worker
from triolet.testing.server import serve


async def ask(observed: Observed, request: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Send what is to be a request; the answer's first line, headers and body."""
    client, server = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_status, server, observed)
        await client.send_all(request)
        answer = b"".join([part async for part in client])
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    return first, dict(line.lower().split(b": ", 1) for line in lines if line), body


async def get(observed: Observed, path: str) -> tuple[bytes, dict[bytes, bytes], bytes]:
    return await ask(observed, f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())


async def test_metrics_are_answered_in_prometheus_text_format(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, server.events(ORDERS) as stream:
        await stream.own("live")
        first, headers, body = await get(server.worker, "/metrics")
    assert first == b"HTTP/1.1 200 OK"
    assert headers[b"content-type"] == b"text/plain; version=0.0.4; charset=utf-8"
    assert headers[b"content-length"] == str(len(body)).encode()
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert {one.labels["transport"]: one.value for one in families["triolet_connections_open"].samples} == {
        "websocket": 0,
        "sse": 1,
    }


async def test_a_server_is_ready_from_its_start_until_it_drains(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    before = Worker(app, Settings())
    assert (await get(before, "/health/ready"))[0] == b"HTTP/1.1 503 Service Unavailable"
    async with serve(app) as server, server.events(ORDERS) as stream:
        await stream.own("live")
        assert (await get(server.worker, "/health/ready"))[0] == b"HTTP/1.1 200 OK"
        server.stop.set()
        await trio.testing.wait_all_tasks_blocked()
        assert (await get(server.worker, "/health/ready"))[0] == b"HTTP/1.1 503 Service Unavailable"
        assert (await get(server.worker, "/health/live"))[0] == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize("path", ["/", "/metrics/", "/health", "/page", "/orders/A123/events", "//metrics", "*"])
async def test_everything_else_is_not_found(path: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    assert (await get(Worker(app, Settings()), path))[0] == b"HTTP/1.1 404 Not Found"


async def test_an_app_without_triolet_has_health_and_no_metrics(autojump_clock: MockClock) -> None:
    worker = Worker(QuartTrio("plain"), Settings())
    assert (await get(worker, "/metrics"))[0] == b"HTTP/1.1 404 Not Found"
    assert (await get(worker, "/health/live"))[0] == b"HTTP/1.1 200 OK"


async def test_head_is_answered_without_a_body(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    _, headers, body = await ask(Worker(app, Settings()), b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert (int(headers[b"content-length"]) > 1_000, body) == (True, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "CONNECT", "nonsense"])
async def test_another_method_is_not_allowed(method: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    first, headers, _ = await ask(Worker(app, Settings()), f"{method} /metrics HTTP/1.1\r\n\r\n".encode())
    assert (first, headers[b"allow"]) == (b"HTTP/1.1 405 Method Not Allowed", b"get, head")


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"\r\n\r\n", b"GET\r\n\r\n", b"\xff\xfe\r\n\r\n"])
async def test_what_is_no_request_is_answered_all_the_same(junk: bytes, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    assert (await ask(Worker(app, Settings()), junk))[0].startswith(b"HTTP/1.1 40")


async def test_a_head_that_is_too_long_is_cut_off(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    client, server = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_status, server, Worker(app, Settings()))
        await client.send_all(b"GET /metrics HTTP/1.1\r\nx: " + b"y" * 4 * STATUS_HEAD_BYTES)
        assert await client.receive_some() == b""


async def test_who_asks_and_says_nothing_is_cut_off_in_time(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    client, server = memory_stream_pair()
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_status, server, Worker(app, Settings()))
        assert await client.receive_some() == b""
    assert trio.current_time() - start == STATUS_SECONDS


async def test_who_asks_and_reads_nothing_is_cut_off_in_time(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    client, server = memory_stream_pair()

    async def never() -> None:
        await trio.sleep_forever()

    server.send_stream.send_all_hook = never
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_status, server, Worker(app, Settings()))
        await client.send_all(b"GET /metrics HTTP/1.1\r\n\r\n")
    assert trio.current_time() - start == STATUS_SECONDS
