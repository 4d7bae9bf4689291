"""Events as DATA frames, and clients that read some streams and others not, or nothing at all."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h2.connection
import h2.events
import pytest
import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from quart import Response
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.paths.memory import Seen, anonymous
from tests.peer import CLOSE, PING, PONG, TEXT, encode
from tests.shop import ORDER, ORDERS, make_shop
from triolet import Connection, Limits
from triolet.budget import Budget
from triolet.http.http2_outlet import StreamOutlet
from triolet.sockets.direct_outlet import DirectOutlet
from triolet.testing.network import KERNEL_BYTES, ClientEnd, link_pair
from triolet.testing.server import MemoryServer, serve

BIG = {"fill": "x" * 3_000}
WINDOW = 65_535
PLENTY = 1 << 24


class Browser:
    """A client of HTTP/2 over TLS. Of a stream in ``closed_windows`` it takes no more than its first window."""

    def __init__(self, end: ClientEnd, window: int) -> None:
        self.end = end
        self.secure = trio.SSLStream(end, context(ssl.PROTOCOL_TLS_CLIENT), https_compatible=True)
        self.h2 = h2.connection.H2Connection()
        self.h2.initiate_connection()
        self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.h2.increment_flow_control_window(PLENTY)
        self.closed_windows: set[int] = set()
        self.data: dict[int, bytes] = {}
        self.ended: dict[int, ErrorCodes | int | None] = {}
        self._waiting: dict[int, int] = {}

    async def flush(self) -> None:
        await self.secure.send_all(self.h2.data_to_send())

    async def ask(self, stream: int, path: str = ORDERS, *more: tuple[str, str]) -> None:
        """Open an event stream."""
        asked = (":method", "GET"), (":path", path), (":scheme", "https"), (":authority", "test")
        self.h2.send_headers(stream, [*asked, ("accept", "text/event-stream"), *more], end_stream=True)
        await self.flush()

    async def upgrade(self, stream: int, path: str) -> None:
        """Open a WebSocket (RFC 8441)."""
        asked = (":method", "CONNECT"), (":protocol", "websocket"), (":path", path), (":scheme", "https")
        self.h2.send_headers(stream, [*asked, (":authority", "test"), ("sec-websocket-version", "13")])
        await self.flush()

    async def say(self, stream: int, data: bytes) -> None:
        self.h2.send_data(stream, data)
        await self.flush()

    async def open_window(self, stream: int) -> None:
        """Take what was left waiting of a stream."""
        self.closed_windows.discard(stream)
        self.h2.acknowledge_received_data(self._waiting.pop(stream), stream)
        await self.flush()

    async def listen(self, seconds: float = 0.1) -> None:
        """Take in what comes within so many seconds."""
        with trio.move_on_after(seconds):
            while data := await self.secure.receive_some():
                for event in self.h2.receive_data(data):
                    self._take(event)
                await self.flush()

    def frames(self, stream: int) -> list[tuple[int, bytes]]:
        """The frames of a WebSocket; the last one must be whole."""
        data, frames = self.data[stream], []
        while data:
            size, start = data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            assert len(data) >= start + size
            frames.append((data[0] & 0x0F, data[start : start + size]))
            data = data[start + size :]
        return frames

    def _take(self, event: Any) -> None:
        if isinstance(event, h2.events.DataReceived):
            self.data[event.stream_id] = self.data.get(event.stream_id, b"") + event.data
            if event.stream_id in self.closed_windows:
                self._waiting[event.stream_id] = self._waiting.get(event.stream_id, 0) + event.flow_controlled_length
            elif event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.ended[event.stream_id] = event.error_code
        elif isinstance(event, h2.events.StreamEnded):
            self.ended[event.stream_id] = None


def context(side: Any) -> ssl.SSLContext:
    made = anonymous(side)
    made.set_alpn_protocols(["h2"])
    return made


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[MemoryServer]:
    async with serve(app, tls=context(ssl.PROTOCOL_TLS_SERVER), http2=True, grace=5) as server:
        yield server


async def browser(server: MemoryServer, *, window: int = WINDOW, kernel_bytes: int = KERNEL_BYTES) -> Browser:
    made = Browser(server.connect(kernel_bytes=kernel_bytes), window)
    await made.flush()
    await made.listen()
    return made


def numbers(data: bytes) -> list[int]:
    """What the events of a stream carry."""
    lines = [line.removeprefix("data: ") for line in data.decode().split("\n") if line.startswith("data: {")]
    return [told["n"] for told in map(json.loads, lines) if "n" in told]


class TestStreams:
    async def test_events_reach_all_streams_of_a_connection(self, autojump_clock: MockClock) -> None:
        app, live = make_shop()
        async with served(app) as server:
            client = await browser(server)
            for stream in (1, 3):
                await client.ask(stream)
            await client.listen()
            for n in range(3):
                await live.publish(ORDER, {"n": n})
            await client.listen()
            assert [numbers(client.data[stream]) for stream in (1, 3)] == [[0, 1, 2]] * 2
            assert server.hub is not None
            assert server.hub.statistics().live == 2

    async def test_nothing_is_lost_while_windows_close_and_open(self, autojump_clock: MockClock) -> None:
        app, live = make_shop()
        async with served(app) as server:
            client = await browser(server, window=2_000)
            await client.ask(1)
            await client.listen()
            client.closed_windows.add(1)
            for n in range(20):
                await live.publish(ORDER, {"n": n, **BIG})
            await client.listen()
            assert len(client.data[1]) < 4_000
            await client.open_window(1)
            await client.listen(1)
            assert numbers(client.data[1]) == [*range(20)]

    async def test_nothing_is_lost_while_the_kernel_is_full(self, autojump_clock: MockClock) -> None:
        app, live = make_shop()
        async with served(app) as server:
            client = await browser(server, window=PLENTY, kernel_bytes=5_000)
            for stream in (1, 3):
                await client.ask(stream)
            await client.listen()
            for n in range(20):
                await live.publish(ORDER, {"n": n, **BIG})
            await trio.sleep(5)
            await client.listen(1)
            assert [numbers(client.data[stream]) for stream in (1, 3)] == [[*range(20)]] * 2

    async def test_a_stream_that_the_client_resets_is_gone_at_once(self, autojump_clock: MockClock) -> None:
        app, _ = make_shop()
        async with served(app) as server:
            client = await browser(server)
            for stream in (1, 3):
                await client.ask(stream)
            await client.listen()
            assert server.followers == 2
            client.h2.reset_stream(1, ErrorCodes.CANCEL)
            await client.flush()
            await client.listen()
            assert (server.connections, server.followers) == (1, 1)

    async def test_a_draining_server_says_bye_and_ends_the_stream(self, autojump_clock: MockClock) -> None:
        app, _ = make_shop()
        async with served(app) as server:
            client = await browser(server)
            await client.ask(1)
            await client.listen()
            server.stop.set()
            await client.listen(1)
            assert b"event: triolet.bye" in client.data[1]
            assert client.ended == {1: None}


class TestStalls:
    async def test_a_stream_whose_window_stays_closed_is_reset_and_the_others_go_on(
        self, autojump_clock: MockClock
    ) -> None:
        app, live = make_shop(Limits(stall_seconds=7))
        async with served(app) as server:
            client = await browser(server, window=8_000)
            for stream in (1, 3):
                await client.ask(stream)
            await client.listen()
            client.closed_windows.add(1)
            await live.publish_many(ORDER, [{"n": n, **BIG} for n in range(10)])
            await client.listen(6.9)
            assert (client.ended, server.followers) == ({}, 2)
            await client.listen(0.2)
            assert (client.ended, server.followers) == ({1: ErrorCodes.CANCEL}, 1)
            await live.publish(ORDER, {"n": 10})
            await client.listen()
            assert numbers(client.data[3]) == [*range(11)]

    @pytest.mark.parametrize("transport", ["sse", "websocket"])
    async def test_a_window_that_opened_while_the_process_stood_still_opened_in_time(
        self, transport: str, autojump_clock: MockClock
    ) -> None:
        async def read_late(max_bytes: int) -> bytes:
            data: bytes = await receive_some(max_bytes)
            if len(data) > 500:
                autojump_clock.jump(5)
            return data

        app, live = make_shop(Limits(stall_seconds=7))
        async with served(app) as server:
            client = await browser(server, window=8_000)
            await (client.ask if transport == "sse" else client.upgrade)(1, ORDERS)
            await client.listen()
            client.closed_windows.add(1)
            await live.publish_many(ORDER, [{"n": n, **BIG} for n in range(10)])
            await client.listen(6)
            link: Any = next(iter(server.worker._streams)).socket
            receive_some, link.receive_some = link.receive_some, read_late
            client.h2.ping(bytes(8))
            await client.flush()
            await client.listen()  # now it is read so
            for _ in range(50):  # it lies behind them, and they are not read in one turn
                client.h2.ping(bytes(8))
            await client.open_window(1)
            await client.listen()
            assert (client.ended, server.followers) == ({}, 1)
            await client.listen(6)
            assert (client.ended, server.followers) == ({}, 1)
            assert client.data[1].count(b'"n":') == 10
            client.end.reset()

    @pytest.mark.parametrize("transport", ["sse", "websocket"])
    async def test_behind_middleware_it_is_reset_as_well(self, transport: str, autojump_clock: MockClock) -> None:
        app, live = make_shop(Limits(stall_seconds=7))
        app.asgi_app = Seen(app.asgi_app)  # type: ignore[method-assign]  # how ASGI middleware is put in
        async with served(app) as server:
            client = await browser(server, window=8_000)
            await (client.ask if transport == "sse" else client.upgrade)(1, ORDERS)
            await client.listen()
            client.closed_windows.add(1)
            for _ in range(60):
                await live.publish(ORDER, BIG)
            await client.listen(6.9)
            assert (client.ended, server.followers) == ({}, 1)
            await client.listen(0.2)
            assert (client.ended, server.followers) == ({1: ErrorCodes.CANCEL}, 0)

    async def test_a_connection_that_takes_nothing_is_gone_with_all_its_streams(
        self, autojump_clock: MockClock
    ) -> None:
        app, live = make_shop(Limits(stall_seconds=7))
        async with served(app) as server:
            client = await browser(server, window=PLENTY, kernel_bytes=5_000)
            for stream in (1, 3, 5):
                await client.ask(stream)
            await client.listen()
            await live.publish_many(ORDER, [BIG] * 10)
            await trio.sleep(6.9)
            assert (server.connections, server.followers) == (1, 3)
            await trio.sleep(0.2)
            assert server.followers == 0
            with pytest.raises(trio.BrokenResourceError):
                await client.end.receive_some()

    @pytest.mark.parametrize("window", [2_000, PLENTY], ids=["window", "kernel"])
    async def test_a_handler_in_the_middle_of_a_send_is_cancelled_when_its_client_is_given_up(
        self, window: int, autojump_clock: MockClock
    ) -> None:
        app, live = make_shop(Limits(stall_seconds=7))
        ended: list[float] = []

        @live.socket("/talkative")
        async def talkative(conn: Connection) -> None:
            try:
                while True:
                    await conn.send(BIG)
            finally:
                ended.append(trio.current_time())

        async with served(app) as server:
            client = await browser(server, window=window, kernel_bytes=5_000)
            start = trio.current_time()
            await client.upgrade(1, "/talkative")
            await trio.sleep(6.9)
            assert ended == []
            await trio.sleep(0.2)
            assert ended == [start + 7]

    async def test_a_server_with_stalled_streams_and_connections_ends_in_time(self, autojump_clock: MockClock) -> None:
        app, live = make_shop()
        async with served(app) as server:
            for window in (2_000, PLENTY):
                for _ in range(5):
                    client = await browser(server, window=window, kernel_bytes=5_000)
                    await client.ask(1)
                    await client.listen()
            await live.publish_many(ORDER, [BIG] * 10)
            await trio.sleep(1)
            assert server.followers == 10
            start = trio.current_time()
            server.stop.set()
            await server.ended.wait()
            assert trio.current_time() <= start + 5

    @pytest.mark.parametrize("window", [0, 8_000, 20_000, PLENTY])
    async def test_a_view_that_sends_without_end_is_held_back_and_given_up(
        self, window: int, autojump_clock: MockClock
    ) -> None:
        app, _ = make_shop(Limits(write_seconds=5))
        sent = 0

        @app.get("/endless")
        async def endless() -> Response:
            async def body() -> AsyncIterator[bytes]:
                nonlocal sent
                while True:
                    yield bytes(1_000)
                    sent += 1_000

            response = Response(body())
            response.timeout = None
            return response

        async with served(app) as server:
            client = await browser(server, window=window, kernel_bytes=50_000)
            client.closed_windows.add(1)
            await client.ask(1, "/endless")
            await trio.sleep(4.9)
            assert sent <= 100_000
            assert server.connections == 1
            if window == PLENTY:
                await trio.sleep(0.2)
                assert server.connections == 0
            else:
                await client.listen(0.2)
                assert client.ended == {1: ErrorCodes.CANCEL}


class TestWebSockets:
    async def test_a_pong_never_stands_in_the_middle_of_a_frame(self, autojump_clock: MockClock) -> None:
        app, live = make_shop()
        async with served(app) as server:
            client = await browser(server, window=2_000)
            await client.upgrade(1, ORDERS)
            await client.listen()
            client.closed_windows.add(1)
            await live.publish(ORDER, {"n": 1, **BIG})
            await client.listen()
            for data in (b"first", b"last"):
                await client.say(1, encode(PING, data))
            await client.listen()
            await client.open_window(1)
            await client.listen()
            frames = client.frames(1)
            assert [payload for opcode, payload in frames if opcode != TEXT] == [b"last"]
            behind = frames.index((PONG, b"last"))
            assert json.loads(frames[behind - 1][1])["data"]["n"] == 1

    async def test_the_clients_close_is_answered(self, autojump_clock: MockClock) -> None:
        app, _ = make_shop()
        async with served(app) as server:
            client = await browser(server)
            await client.upgrade(1, ORDERS)
            await client.listen()
            await client.say(1, encode(CLOSE, b"\x03\xe8"))
            await client.listen()
            assert client.frames(1)[-1] == (CLOSE, b"\x03\xe8")
            assert server.followers == 0


async def read(end: ClientEnd, size: int) -> None:
    """Take so many bytes at least; raises where fewer come."""
    while size > 0:
        data = await end.receive_some()
        assert data, "it was cut off"
        size -= len(data)


class TestOutlet:
    """The outlet alone, over a connection of h2 that has one open stream."""

    def opened(self, kernel_bytes: int = KERNEL_BYTES) -> tuple[StreamOutlet, DirectOutlet, trio.Lock, ClientEnd]:
        client = h2.connection.H2Connection()
        client.initiate_connection()
        client.send_headers(1, [(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", "a")])
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        connection.receive_data(client.data_to_send())
        connection.send_headers(1, [(":status", "200")])
        connection.data_to_send()
        end, link = link_pair(kernel_bytes=kernel_bytes)
        below, lock = DirectOutlet(link, Budget(1 << 30)), trio.Lock()
        return StreamOutlet(Budget(1 << 30), connection, 1, below, lock, lambda: None), below, lock, end

    async def test_nothing_is_written_while_another_writes(self, autojump_clock: MockClock) -> None:
        outlet, _, lock, end = self.opened()
        async with trio.open_nursery() as nursery, lock:
            assert outlet.write(b"event")
            assert outlet.pending == 5
            nursery.start_soon(outlet.drained)
            await wait_all_tasks_blocked()
            assert outlet.pending == 5
        assert outlet.empty
        assert (await end.receive_some()).endswith(b"event")

    async def test_what_neither_window_nor_kernel_takes_is_kept_as_it_is(self, autojump_clock: MockClock) -> None:
        outlet, below, _, _ = self.opened(kernel_bytes=1_000)
        assert outlet.write(bytes(1 << 20))
        assert outlet.pending >= (1 << 20) - (16 << 10)
        assert below.pending <= 16 << 10
        assert outlet.budget.held == outlet.pending
        outlet.abort()
        assert outlet.budget.held == 0

    async def test_who_waits_for_a_window_is_let_go_when_the_stream_ends(self, autojump_clock: MockClock) -> None:
        outlet, _, _, _ = self.opened(kernel_bytes=1 << 20)
        assert outlet.write(bytes(1 << 20))
        with trio.fail_after(1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(outlet.drained)
                await wait_all_tasks_blocked()
                assert outlet.waits
                outlet.fail()

    async def test_the_deadline_of_one_stream_is_none_of_what_waits_behind_it(self, autojump_clock: MockClock) -> None:
        outlet, below, _, end = self.opened(kernel_bytes=1_000)
        outlet.until = trio.current_time() + 10
        assert outlet.write(bytes(5_000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outlet.drained)
            await read(end, 5_000)
        await trio.sleep(20)
        assert below.write(bytes(5_000))  # another stream's
        async with trio.open_nursery() as nursery:
            nursery.start_soon(below.drained)
            await read(end, 5_000)
        assert (below.empty, below.closed) == (True, False)

    async def test_a_stream_that_has_ended_is_gone(self, autojump_clock: MockClock) -> None:
        outlet, _, _, _ = self.opened()
        gone = trio.Event()
        outlet.on_gone = lambda _: gone.set()
        outlet.fail()
        assert gone.is_set()
        with pytest.raises(OSError, match="ended"):
            outlet.send(b"event")
        await outlet.drained()
