"""To the tenth of a second and to the close code: what the table's dialogues leave open, over each path of ours."""

from __future__ import annotations

import ssl

import pytest
import trio
from trio.testing import MockClock

from tests.paths.memory import anonymous, served
from tests.peer import BINARY, CLOSE, TEXT, peer
from tests.shop import ORDER, ORDERS, make_shop
from triolet import Connection, Limits
from triolet.testing.clients import STREAMS
from triolet.testing.faults import stalled
from triolet.testing.server import serve

WAYS = ("http1", "tls", "http2", "middleware", "http2 middleware")
BIG = "x" * 3_000


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("transport", STREAMS)
async def test_a_client_that_does_not_read_is_gone_at_stall_seconds(
    transport: str, way: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(stall_seconds=7))
    async with (
        served(app, way) as server,
        server.client(transport, ORDERS, kernel_bytes=4_000) as client,
        server.client("websocket", ORDERS) as other,
    ):
        await client.until("live")
        await other.until("live")
        with stalled(client):
            for n in range(30):
                await live.publish(ORDER, [n, BIG])
                assert (await other.until("event"))["data"][0] == n
            assert trio.current_time() == 0
            await trio.sleep(6.9)
            assert server.followers == 2
            await trio.sleep(0.2)
            assert (server.connections, server.followers) == (1, 1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("transport", STREAMS)
async def test_a_little_that_is_not_read_stalls_a_client_too(
    transport: str, way: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(stall_seconds=7))
    async with served(app, way) as server, server.client(transport, ORDERS, kernel_bytes=2_000) as client:
        await client.until("live")
        with stalled(client):
            await live.publish_many(ORDER, ["x" * 900] * 5)
            await trio.sleep(60)
            assert (server.connections, server.followers) == (0, 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("transport", STREAMS)
async def test_a_client_that_reads_on_after_a_while_misses_nothing(
    transport: str, way: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with served(app, way) as server, server.client(transport, ORDERS, kernel_bytes=4_000) as client:
        await client.until("live")
        with stalled(client):
            for n in range(60):
                await live.publish(ORDER, [n, BIG])
            await trio.sleep(5)
        await client.until("live")
        assert [event["data"][0] for event in client.events] == list(range(60))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("transport", STREAMS)
async def test_a_client_that_stalls_does_not_hold_up_the_end(
    transport: str, way: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(stall_seconds=1_000, goodbye_seconds=1_000, write_seconds=1_000))
    async with served(app, way, grace=10) as server:
        async with server.client(transport, ORDERS, kernel_bytes=2_000) as client:
            await client.until("live")
            with stalled(client):
                await live.publish_many(ORDER, [BIG] * 5)
                await trio.sleep(1)
                server.stop.set()
                await server.ended.wait()
        assert trio.current_time() <= 11


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("path", "opcode", "payload", "code"),
    [
        ("/warehouse", TEXT, b"no JSON", 1008),
        ("/warehouse", BINARY, b"{}", 1003),
        ("/fragile", TEXT, b'{"type":"message","data":1}', 1011),
        ("/warehouse", CLOSE, (3000).to_bytes(2, "big"), 3000),
    ],
)
async def test_a_socket_ends_with_the_right_code(
    path: str, opcode: int, payload: bytes, code: int, way: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()

    @live.socket("/fragile")
    async def fragile(conn: Connection) -> None:
        async for _ in conn:
            raise RuntimeError

    async with served(app, way) as server, peer(server, path) as client:
        await client.send(opcode, payload)
        assert await client.ended() == code
        await trio.sleep(5)
        open_still = server.connections if "http2" not in way else 0  # HTTP/2: the connection is another thing there
        assert (open_still, server.followers, server.worker.crashes) == (0, 0, 0)


@pytest.mark.parametrize("way", WAYS)
async def test_a_raw_socket_echoes_text_and_bytes(way: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with served(app, way) as server, peer(server, "/raw") as client:
        for opcode, payload in ((TEXT, b"text"), (BINARY, b"\x00\xff"), (BINARY, b"")):
            await client.send(opcode, payload)
            assert await client.frame() == (opcode, payload)


async def test_a_page_over_tls_has_the_scheme_of_its_own_origin(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with served(app, "tls") as server:
        assert (await server.upgrade(ORDERS, {"origin": "https://test"})).status == 101
        assert (await server.upgrade(ORDERS, {"origin": "http://test"})).status == 403


async def test_a_handshake_of_tls_has_header_seconds(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(header_seconds=5))
    async with serve(app, tls=anonymous(ssl.PROTOCOL_TLS_SERVER)) as server:
        silent, wrong = server.connect(), server.connect()
        await wrong.send_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        await trio.sleep(4.9)
        assert server.connections == 1
        await trio.sleep(0.2)
        assert (server.connections, server.worker.crashes) == (0, 0)
        silent.reset()
