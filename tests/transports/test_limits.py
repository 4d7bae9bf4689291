"""Every limit holds on every transport."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from trio.testing import MockClock

from tests.peer import UPGRADE
from tests.shop import ORDER, ORDERS, make_shop
from triolet import Limits
from triolet.testing.clients import STREAMS, TRANSPORTS
from triolet.testing.faults import slow_reader
from triolet.testing.network import ClientEnd
from triolet.testing.server import MemoryServer, serve

REQUESTS = {
    "websocket": UPGRADE.format(path=ORDERS),
    "sse": f"GET {ORDERS} HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n",
    "long poll": f"GET {ORDERS}?wait=20 HTTP/1.1\r\nHost: test\r\n\r\n",
    "short poll": f"GET {ORDERS} HTTP/1.1\r\nHost: test\r\n\r\n",
}


async def answer(stream: ClientEnd, request: str) -> bytes:
    """Ask, and return the first bytes of the answer."""
    with suppress(trio.BrokenResourceError):  # it may be answered before it is asked
        await stream.send_all(request.encode())
    with trio.move_on_after(1):
        return await stream.receive_some()
    return b""


@asynccontextmanager
async def crowd(server: MemoryServer, size: int, address: str) -> AsyncIterator[None]:
    """So many streams of one address."""
    streams = [server.connect(address=address) for _ in range(size)]
    for stream in streams:
        await stream.send_all(REQUESTS["sse"].encode())
    await trio.testing.wait_all_tasks_blocked()
    yield
    for stream in streams:
        stream.reset()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_one_connection_too_many_is_answered_503(transport: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(connections=5))
    async with serve(app) as server:
        async with crowd(server, 5, "198.51.100.1"):
            refused = await answer(server.connect(address="198.51.100.2"), REQUESTS[transport])
            assert refused.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: " in refused
            assert (server.connections, server.worker.admission.refused) == (5, 1)
        await trio.sleep(5)
        welcome = await answer(server.connect(), REQUESTS[transport])
        assert transport == "long poll" or welcome.split(b" ")[1] in (b"101", b"200")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_one_connection_too_many_of_an_address_is_answered_503(transport: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(connections_per_address=3))
    async with serve(app) as server, crowd(server, 3, "198.51.100.1"):
        refused = await answer(server.connect(address="198.51.100.1"), REQUESTS[transport])
        assert refused.startswith(b"HTTP/1.1 503 ")
        welcome = await answer(server.connect(address="198.51.100.2"), REQUESTS[transport])
        assert transport == "long poll" or welcome.split(b" ")[1] in (b"101", b"200")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_head_too_large_is_answered_431(transport: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(header_bytes=2_000))
    async with serve(app) as server:
        request = REQUESTS[transport].replace("\r\n\r\n", f"\r\nX-Long: {'x' * 3_000}\r\n\r\n")
        assert (await answer(server.connect(), request)).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_head_that_is_not_finished_in_time_ends_the_connection(
    transport: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop(Limits(header_seconds=5))
    async with serve(app) as server:
        stream = server.connect()
        for byte in REQUESTS[transport][:6]:
            await stream.send_all(byte.encode())
            await trio.sleep(0.9)
        assert server.connections == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_batch_holds_no_more_than_a_page(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(page_events=10, page_bytes=5_000))
    async with serve(app) as server:
        await live.publish_many(ORDER, ["x" * 900] * 40)
        most = 0
        if transport in STREAMS:
            async with server.client(transport, ORDERS, after=0, kernel_bytes=6_500) as client:
                with slow_reader(client, bytes_per_second=20_000):
                    await client.until("live")
                assert len(client.events) == 40
        else:
            cursor = "0"
            while cursor.rpartition(".")[2] != "40":
                wait = "&wait=1" if transport == "long poll" else ""
                body = (await server.get(f"{ORDERS}?after={cursor}{wait}")).json
                most = max(most, len(body["events"]))
                cursor = body["cursor"]
            assert most == 5


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_channel_of_a_name_that_cannot_be_is_like_one_that_is_not_there(
    transport: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        request = REQUESTS[transport].replace("A123", "x" * 300)
        assert (await answer(server.connect(), request)).split(b" ")[1] == b"404"


async def test_a_client_that_does_not_read_its_answer_has_write_seconds(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(write_seconds=30))
    async with serve(app) as server:
        await live.publish_many(ORDER, ["x" * 1_000] * 100)
        stream = server.connect(kernel_bytes=2_000)
        await stream.send_all(f"GET {ORDERS}?after=0 HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        await trio.sleep(29.9)
        assert server.connections == 1
        await trio.sleep(5)
        assert server.connections == 0


async def test_a_client_that_does_not_read_its_refusal_has_write_seconds(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(write_seconds=30))
    async with serve(app) as server:
        stream = server.connect(kernel_bytes=300)
        await stream.send_all(UPGRADE.format(path="/orders/secret/events").encode())
        await trio.sleep(29.9)
        assert server.connections == 1
        await trio.sleep(0.2)
        assert server.connections == 0


@pytest.mark.parametrize("transport", STREAMS)
async def test_a_view_that_never_answers_is_not_waited_for_for_ever(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(write_seconds=30))

    @live.channel("/never")
    async def never() -> str:
        await trio.sleep_forever()
        return "never"

    async with serve(app) as server:
        stream = server.connect()
        await stream.send_all(REQUESTS[transport].replace(ORDERS, "/never").encode())
        await trio.sleep(5)
        stream.reset()
        await trio.sleep(40)
        assert server.connections == 0
