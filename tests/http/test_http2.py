"""HTTP/2 behind the guard, as TLS would bring it: a bad stream ends alone, a flood with GOAWAY."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import pytest
import trio
from h2.config import H2Configuration
from h2.errors import ErrorCodes
from hypercorn.config import Config
from hypercorn.protocol.events import Body
from hypercorn.typing import ConnectionState
from trio.testing import MockClock

from triolet.budget import Budget
from triolet.http.app_task import AppGroup
from triolet.http.connection import GuardedContext
from triolet.http.http2 import GuardedH2
from triolet.limits import Limits
from triolet.sockets.stream import ClientStream
from triolet.testing.network import ClientEnd, link_pair

from .guarding import Host, Receive, Send, hosted
from .test_websocket import closing, frame

GET = [(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", "a")]
POST = [(":method", "POST"), *GET[1:]]


def connect_to(path: str = "/echo", protocol: str = "websocket", version: str = "13") -> list[tuple[str, str]]:
    return [
        (":method", "CONNECT"),
        (":protocol", protocol),
        (":path", path),
        (":scheme", "https"),
        (":authority", "a"),
        ("sec-websocket-version", version),
    ]


class Client:
    """An HTTP/2 client that may say anything: h2 checks nothing of what it sends."""

    def __init__(self, stream: ClientEnd) -> None:
        self.stream = stream
        config = H2Configuration(client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.events: list[Any] = []
        self.ended = False

    async def flush(self, more: bytes = b"") -> None:
        await self.stream.send_all(self.h2.data_to_send() + more)

    async def send(self, stream_id: int, headers: list[tuple[Any, Any]], *, end: bool = True) -> None:
        self.h2.send_headers(stream_id, headers, end_stream=end)
        await self.flush()

    async def listen(self, seconds: float = 1) -> list[Any]:
        """Whatever comes within so many seconds."""
        with trio.move_on_after(seconds):
            while not self.ended:
                await self._receive()
        return self.events

    async def _receive(self) -> None:
        try:
            data = await self.stream.receive_some()
        except trio.BrokenResourceError:
            data = b""
        self.ended = not data
        for event in self.h2.receive_data(data):
            self.events.append(event)
            if isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if not self.ended:
            await self.flush()

    def status(self, stream_id: int) -> int | None:
        for event in self.events:
            if isinstance(event, h2.events.ResponseReceived) and event.stream_id == stream_id:
                return int(dict(event.headers)[b":status"])
        return None

    def body(self, stream_id: int) -> bytes:
        mine = [e for e in self.events if isinstance(e, h2.events.DataReceived) and e.stream_id == stream_id]
        return b"".join(bytes(event.data) for event in mine)

    def goaway(self) -> ErrorCodes | int | None:
        """The error code of the server's GOAWAY."""
        for event in self.events:
            if isinstance(event, h2.events.ConnectionTerminated):
                return event.error_code
        return None


@asynccontextmanager
async def client_of(host: Host) -> AsyncIterator[Client]:
    """A connected client; when it leaves, a bystander is served and nothing is left of it."""
    client = Client(host.connect("h2"))
    await client.flush()
    yield client
    await client.stream.aclose()
    await host.check()


class TestStreams:
    async def test_requests_share_a_connection(self, autojump_clock: MockClock) -> None:
        async with hosted() as host, client_of(host) as client:
            await client.send(1, GET)
            await client.send(3, POST, end=False)
            client.h2.send_data(3, b"hello", end_stream=True)
            await client.flush()
            await client.listen()
            assert (client.body(1), client.body(3)) == (b"0", b"5")
            assert not any(name == b"server" for event in client.events for name, _ in getattr(event, "headers", ()))

    async def test_a_big_answer_arrives_whole(self, autojump_clock: MockClock) -> None:
        async with hosted() as host, client_of(host) as client:
            await client.send(1, [(name, "/big" if name == ":path" else value) for name, value in GET])
            await client.listen()
            assert client.body(1) == bytes(1 << 20)

    @pytest.mark.parametrize(
        "changed",
        [
            {":path": "/\u00e9".encode()},
            {":path": "/a b"},
            {":path": "/a#b"},
            {":path": "http://a/"},
            {":path": "*a"},
            {":method": "\u00e9".encode()},
            {":method": "G T"},
            {":method": "CONNECT"},
            {":authority": "\u00e9".encode()},
            {":authority": "a b"},
        ],
    )
    async def test_what_http_1_could_not_say_is_refused_and_others_go_on(
        self, changed: dict[str, Any], autojump_clock: MockClock
    ) -> None:
        async with hosted() as host, client_of(host) as client:
            await client.send(1, [(name, changed.get(name, value)) for name, value in GET])
            await client.send(3, GET)
            await client.listen()
            assert client.goaway() is not None or (client.status(1), client.body(3)) == (400, b"0")

    @pytest.mark.parametrize(
        "headers",
        [
            [(":method", "CONNECT"), (":authority", "a:443")],
            [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", "a")],
            connect_to(protocol="connect-udp"),
            connect_to(version="8"),
            [(":protocol", "websocket"), *GET],
        ],
    )
    async def test_a_tunnel_to_anything_else_is_refused(
        self, headers: list[tuple[str, str]], autojump_clock: MockClock
    ) -> None:
        async with hosted() as host, client_of(host) as client:
            await client.send(1, headers, end=False)
            await client.send(3, GET)
            await client.listen()
            assert client.goaway() is not None or (client.status(1), client.body(3)) == (400, b"0")

    async def test_data_after_the_answer_ends_its_stream_alone(self, autojump_clock: MockClock) -> None:
        async with hosted() as host, client_of(host) as client:
            await client.send(1, [(name, "/nowhere" if name == ":path" else value) for name, value in POST], end=False)
            await client.listen()
            for _ in range(3):
                client.h2.send_data(1, b"late")
                await client.flush()
            await client.send(3, GET)
            await client.listen()
            assert (client.status(1), client.body(3), client.goaway()) == (404, b"0", None)
            assert any(isinstance(event, h2.events.StreamReset) for event in client.events)

    async def test_a_body_over_the_bound_is_413(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(body_bytes=50_000)) as host, client_of(host) as client:
            await client.send(1, POST, end=False)
            for _ in range(4):
                client.h2.send_data(1, bytes(16_000))
            await client.flush()
            await client.send(3, GET)
            await client.listen()
            assert (client.status(1), client.body(3)) == (413, b"0")

    async def test_bodies_of_all_streams_count_together(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(body_bytes=50_000)) as host, client_of(host) as client:
            for stream_id in (1, 3, 5, 7):
                await client.send(stream_id, POST, end=False)
                client.h2.send_data(stream_id, bytes(16_000))
                await client.flush()
            await client.listen()
            assert [client.status(stream_id) for stream_id in (1, 3, 5, 7)] == [None, None, None, 413]

    async def test_a_stream_whose_client_takes_nothing_is_reset(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(write_seconds=30)) as host, client_of(host) as client:
            client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
            await client.send(1, [(name, "/big" if name == ":path" else value) for name, value in GET])
            await client.send(3, [(name, "/slow" if name == ":path" else value) for name, value in GET])
            await client.listen(32)
            (reset,) = [event for event in client.events if isinstance(event, h2.events.StreamReset)]
            assert (reset.stream_id, reset.error_code, client.goaway()) == (1, ErrorCodes.CANCEL, None)

    async def test_a_client_that_reads_nothing_at_all_is_given_up(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(write_seconds=30)) as host:
            client = Client(host.connect("h2", kernel_bytes=20_000))
            client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 30})
            client.h2.increment_flow_control_window(1 << 30)
            await client.send(1, [(name, "/big" if name == ":path" else value) for name, value in GET])
            await trio.sleep(40)
            await host.check()


class TestFloods:
    @pytest.mark.parametrize(
        "flood",
        [
            b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + bytes(8),  # PING
            b"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + b"\x00\x03\x00\x00\x00\x64",  # SETTINGS
            b"\x00\x00\x05\x02\x00\x00\x00\x00\x09" + b"\x00\x00\x00\x00\x10",  # PRIORITY
            b"\x00\x00\x00\x2a\x00\x00\x00\x00\x00",  # a type that nobody knows
        ],
    )
    async def test_a_flood_of_frames_ends_with_goaway(self, flood: bytes, autojump_clock: MockClock) -> None:
        async with hosted() as host, client_of(host) as client:
            await client.flush(flood * 900)
            await client.send(1, GET)
            await client.listen()
            assert (client.status(1), client.goaway()) == (200, None)
            await client.flush(flood * 900)
            await client.listen()
            assert client.goaway() == ErrorCodes.ENHANCE_YOUR_CALM

    async def test_priorities_of_streams_that_never_come_cost_nothing(self, autojump_clock: MockClock) -> None:
        async with hosted() as host, client_of(host) as client:
            for number in range(900):
                stream_id = (2 * number + 11).to_bytes(4, "big")
                await client.flush(b"\x00\x00\x05\x02\x00" + stream_id + b"\x00\x00\x00\x00\x10")
            await client.send(1, GET)
            await client.listen()
            assert client.body(1) == b"0"

    async def test_rapid_resets_end_with_goaway(self, autojump_clock: MockClock) -> None:
        async with hosted() as host, client_of(host) as client:
            for number in range(1_000):
                client.h2.send_headers(2 * number + 1, GET)
                client.h2.reset_stream(2 * number + 1)
            await client.flush()
            await client.listen()
            assert client.goaway() == ErrorCodes.ENHANCE_YOUR_CALM

    async def test_empty_data_frames_end_with_goaway(self, autojump_clock: MockClock) -> None:
        async with hosted() as host, client_of(host) as client:
            await client.send(1, POST, end=False)
            await client.flush(b"\x00\x00\x00\x00\x00\x00\x00\x00\x01" * 2_000)
            await client.listen()
            assert client.goaway() == ErrorCodes.ENHANCE_YOUR_CALM

    async def test_endless_continuation_ends_with_goaway(self, autojump_clock: MockClock) -> None:
        async with hosted() as host, client_of(host) as client:
            await client.flush(
                b"\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82" + b"\x00\x00\x00\x09\x00\x00\x00\x00\x01" * 200
            )
            await client.listen()
            assert client.goaway() is not None

    async def test_headers_over_the_bound_end_with_goaway(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(header_bytes=4_000)) as host, client_of(host) as client:
            await client.send(1, [*GET, ("x", "a" * 5_000)])
            await client.listen()
            assert client.goaway() is not None

    @pytest.mark.parametrize(
        "garbage",
        [
            bytes(100),
            b"\xff" * 100,
            b"\x00\x00\x05\x00\x00\x00\x00\x00\x63hello",
            b"\x00\x00\x04\x08\x00\x00\x00\x00\x00" + bytes(4),
            b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\xff\xff\xff",
            b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\xff\xff\xff\xff",
            b"\x00\x00\x05\x01\x05\x00\x00\x00\x01\xff\xff\xff\xff\xff",
        ],
    )
    async def test_garbage_ends_with_goaway(self, garbage: bytes, autojump_clock: MockClock) -> None:
        async with hosted() as host, client_of(host) as client:
            await client.flush(garbage)
            await client.listen(10)
            assert client.ended

    @pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"", b"PRI * HTTP/2.0\r\n"])
    async def test_what_is_no_http_2_at_all_is_ended(self, data: bytes, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            await host.ask(data, "h2")
            assert trio.current_time() < 10
            await host.check()


class TestWebSockets:
    async def test_messages_come_back(self, autojump_clock: MockClock) -> None:
        async with hosted() as host, client_of(host) as client:
            await client.send(1, connect_to(), end=False)
            client.h2.send_data(1, frame(0x81, b"eager"))
            await client.flush()
            await client.listen()
            client.h2.send_data(1, frame(0x82, b"\x00") + frame(0x89, b"?"))
            await client.flush()
            await client.listen()
            assert client.status(1) == 200
            assert client.body(1) == b"\x81\x05eager\x8a\x01?\x82\x01\x00"

    @pytest.mark.parametrize(
        ("data", "code", "reason"),
        [
            (b"garbage, and not masked", 1002, b"protocol error"),
            (b"\xff" * 50, 1002, b"protocol error"),
            (frame(0x81, b"\xff"), 1007, b"not UTF-8"),
            (frame(0x82, bytes(2_000)), 1009, b"message too big"),
        ],
    )
    async def test_garbage_closes_its_stream_alone(
        self, data: bytes, code: int, reason: bytes, autojump_clock: MockClock
    ) -> None:
        async with hosted(limits=Limits(message_bytes=1_000)) as host, client_of(host) as client:
            await client.send(1, connect_to(), end=False)
            await client.listen()
            client.h2.send_data(1, data)
            await client.flush()
            await client.send(3, GET)
            await client.listen()
            assert client.body(1) == closing(code, reason)
            assert (client.body(3), client.goaway()) == (b"0", None)

    async def test_a_flood_is_told_so_although_its_client_does_not_read_now(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            client = Client(host.connect("h2", kernel_bytes=4_000))
            await client.send(1, connect_to(), end=False)
            await client.listen()
            for _ in range(60):
                client.h2.send_data(1, frame(0x89, bytes(125)))
                await client.flush()
            await trio.sleep(1)
            await client.listen()
            assert client.body(1).endswith(closing(1008, b"too much at once"))
            assert client.goaway() is None
            await client.stream.aclose()

    async def test_a_flood_of_messages_is_slowed_down_and_other_streams_are_not(
        self, autojump_clock: MockClock
    ) -> None:
        async with hosted(limits=Limits(messages_per_second=100)) as host, client_of(host) as client:
            await client.send(1, connect_to(), end=False)
            await client.listen()
            for _ in range(350):
                client.h2.send_data(1, frame(0x81, b"x"))
            await client.send(3, GET)
            await client.listen(0.5)
            assert client.body(3) == b"0"
            assert 200 <= client.body(1).count(b"\x81\x01x") < 300
            await client.listen(2)
            assert client.body(1) == b"\x81\x01x" * 350

    async def test_what_a_deaf_route_leaves_is_held_back_and_others_go_on(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(inbox_bytes=100_000)) as host, client_of(host) as client:
            await client.send(1, connect_to("/deaf"), end=False)
            sent = 0
            for _ in range(100):
                await client.listen(0.1)
                while client.h2.local_flow_control_window(1) > 10_100:
                    client.h2.send_data(1, frame(0x82, bytes(10_000)))
                    sent += 10_000
                await client.flush()
            assert 100_000 <= sent < 300_000
            await client.send(3, GET)
            await client.listen()
            assert client.body(3) == b"0"
            client.h2.reset_stream(1)
            await client.flush()
            await trio.sleep(3)

    async def test_a_slow_route_gets_everything_in_the_end(self, autojump_clock: MockClock) -> None:
        got = []

        async def app(scope: object, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                got.append(message["text"])
                await trio.sleep(0.1)

        limits = Limits(inbox_messages=4)
        async with hosted(app, limits) as host:
            client = Client(host.connect("h2"))
            await client.send(1, connect_to(), end=False)
            await client.listen()
            for number in range(50):
                client.h2.send_data(1, frame(0x81, b"%d" % number))
            await client.flush()
            await client.listen(10)
            assert got == [str(number) for number in range(50)]
            await client.stream.aclose()
            await host.check_empty()

    async def test_a_client_that_vanishes_leaves_nothing(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            client = Client(host.connect("h2"))
            for stream_id in (1, 3, 5):
                await client.send(stream_id, connect_to(), end=False)
            await client.listen()
            client.stream.reset()
            await host.check()


async def test_an_app_that_only_sends_to_a_stream_that_is_gone_lets_others_run() -> None:
    async def send(_: object) -> None:
        raise AssertionError("nothing goes out")

    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        group = AppGroup(nursery, Limits(), lambda: None, Budget(1 << 30))
        stream = ClientStream(link_pair()[1], Budget(1 << 30))
        surroundings = (Config(), GuardedContext(), group, ConnectionState({}), True, None, None)
        protocol = GuardedH2(None, *surroundings, send, limits=Limits(), below=stream, lock=trio.Lock())
        nursery.start_soon(others)
        for _ in range(100):
            await protocol.stream_send(Body(1, b"x"))
        assert turns > 50
        nursery.cancel_scope.cancel()
