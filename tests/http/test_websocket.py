"""Quart's own WebSocket routes behind the guard, on both pairs of Quart and Quart-Trio."""

from __future__ import annotations

import struct
from typing import Any

import pytest
import trio
from quart import websocket
from trio.testing import MockClock

from triolet.http.app_task import Inbox
from triolet.limits import Limits
from triolet.testing.network import KERNEL_BYTES, ClientEnd

from .guarding import Host, Receive, Send, demo_app, hosted, read_all, read_until, send_until_full

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


def request(path: bytes = b"/echo", *more: bytes, version: bytes = b"13", key: bytes = KEY) -> bytes:
    lines = [
        b"GET %s HTTP/1.1" % path,
        b"Host: a",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: " + version,
        b"Sec-WebSocket-Key: " + key,
        *more,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def frame(first: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, 0x80 | size)) + bytes(4) + payload
    if size < 65_536:
        return struct.pack("!BBH", first, 254, size) + bytes(4) + payload
    return struct.pack("!BBQ", first, 255, size) + bytes(4) + payload


def closing(code: int, reason: bytes = b"") -> bytes:
    return bytes((0x88, len(reason) + 2)) + struct.pack("!H", code) + reason


async def opened(host: Host, path: bytes = b"/echo", *more: bytes, kernel_bytes: int = KERNEL_BYTES) -> ClientEnd:
    """Open a WebSocket, and return the client's end behind the handshake."""
    client = host.connect(kernel_bytes=kernel_bytes)
    await client.send_all(request(path, *more))
    head = await read_until(client, b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101"), head
    return client


class TestHandshake:
    @pytest.mark.parametrize(
        "header",
        [
            b"Sec-WebSocket-Protocol: gr\xc3\xbc\xc3\x9fe",
            b"Sec-WebSocket-Extensions: \xff\xfe",
            b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=abc",
            b"Sec-WebSocket-Extensions: permessage-deflate",
            b"Connection: \xe9, Upgrade",
            b"X-Other: \xe9",
        ],
    )
    async def test_strange_headers_are_no_matter(self, header: bytes, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            client = host.connect()
            await client.send_all(request(b"/echo", header))
            head = await read_until(client, b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101")
            assert b"extensions" not in head.lower()
            await client.send_all(frame(0x81, b"hi"))
            assert await read_until(client, b"hi") == b"\x81\x02hi"
            await client.aclose()
            await host.check()

    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (request(b"/echo", b"Content-Length: 5") + b"hello", 400),
            (request(b"/echo", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
            (request(b"/echo", b"Sec-WebSocket-Key: " + KEY), 400),
            (request(key=b"short"), 400),
            (request(version=b"8"), 426),
            (request().replace(b"GET", b"POST"), 400),
            (request().replace(b"Connection: Upgrade\r\n", b""), 400),
            (request(b"/nowhere"), 404),
        ],
    )
    async def test_a_bad_handshake_is_refused(self, data: bytes, status: int, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            answer = await host.ask(data)
            assert answer.startswith(b"HTTP/1.1 %d" % status)
            assert (b"sec-websocket-version: 13" in answer.lower()) == (status == 426)
            await host.check()

    async def test_an_eager_frame_waits_for_the_acceptance(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            client = host.connect()
            await client.send_all(request() + frame(0x81, b"hi"))
            assert (await read_until(client, b"hi")).endswith(b"\r\n\r\n\x81\x02hi")
            await client.aclose()
            await host.check()

    async def test_eager_bytes_to_an_app_that_refuses_are_thrown_away(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            answer = await host.ask(request(b"/nowhere") + bytes(200_000))
            assert answer.startswith(b"HTTP/1.1 404")
            await host.check()

    async def test_an_app_that_accepts_with_what_cannot_be_sent_is_answered_for(
        self, autojump_clock: MockClock
    ) -> None:
        async def app(scope: object, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept", "headers": [(b"x", b"a\r\nb: c")]})

        async with hosted(app) as host:
            assert (await host.ask(request())).startswith(b"HTTP/1.1 500")
            await host.check_empty()


class TestClosings:
    @pytest.mark.parametrize(
        ("data", "code", "reason"),
        [
            (b"\x81\x02hi", 1002, b"protocol error"),
            (frame(0xC1, b"hi"), 1002, b"protocol error"),
            (frame(0x80, b"hi"), 1002, b"protocol error"),
            (frame(0x88, b"\x03"), 1002, b"protocol error"),
            (bytes(100), 1002, b"protocol error"),
            (frame(0x81, b"\xff\xff"), 1007, b"not UTF-8"),
            (frame(0x82, bytes(2_000)), 1009, b"message too big"),
            (b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(100_000), 1009, b"message too big"),
            (frame(0x02) + frame(0x00) * 200, 1008, b"bad message"),
            (frame(0x89) * 1_000, 1008, b"too much at once"),
        ],
    )
    async def test_a_broken_rule_is_answered_with_its_code(
        self, data: bytes, code: int, reason: bytes, autojump_clock: MockClock
    ) -> None:
        async with hosted(limits=Limits(message_bytes=1_000)) as host:
            client = await opened(host)
            await client.send_all(data)
            assert (await read_all(client)).endswith(closing(code, reason))
            await client.aclose()
            await host.check()

    async def test_the_close_arrives_though_the_client_sends_on(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(message_bytes=1_000)) as host:
            client = await opened(host)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_until_full, client, b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(10_000))
                assert await read_all(client) == closing(1009, b"message too big")
                client.reset()
            await host.check()
            assert trio.current_time() < 20

    async def test_the_clients_close_is_answered_and_the_app_told(self, autojump_clock: MockClock) -> None:
        told = []

        async def app(scope: object, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            told.append(await receive())

        async with hosted(app) as host:
            client = await opened(host)
            await client.send_all(frame(0x88, struct.pack("!H", 4_001) + b"bye"))
            assert await read_all(client) == closing(4_001)
            await client.aclose()
            await host.check_empty()
            assert told == [{"type": "websocket.disconnect", "code": 4_001}]

    async def test_a_client_that_vanishes_is_told_as_1006(self, autojump_clock: MockClock) -> None:
        told = []

        async def app(scope: object, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            told.append(await receive())
            told.append(await receive())

        async with hosted(app) as host:
            client = await opened(host)
            client.reset()
            await host.check_empty()
            assert told == [{"type": "websocket.disconnect", "code": 1006}] * 2

    async def test_an_app_that_fails_closes_as_1011(self, autojump_clock: MockClock) -> None:
        async def app(scope: object, receive: object, send: Send) -> None:
            await send({"type": "websocket.accept"})
            raise KeyError("secret")

        async with hosted(app) as host:
            client = await opened(host)
            assert await read_all(client) == closing(1011, b"internal error")
            await client.aclose()
            await host.check_empty()

    async def test_an_app_that_closes_is_rid_of_a_client_that_does_not(self, autojump_clock: MockClock) -> None:
        async def app(scope: object, receive: object, send: Send) -> None:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 4_000, "reason": "done"})
            await send({"type": "websocket.send", "text": "late"})
            await send({"type": "websocket.close"})
            await trio.sleep_forever()

        async with hosted(app) as host:
            client = await opened(host)
            await client.send_all(frame(0x81, b"and I?") * 20)
            assert await read_all(client) == closing(4_000, b"done")
            await trio.sleep(20)
            await host.check_empty()

    async def test_a_route_that_returns_with_unread_messages_leaves_nothing(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            client = await opened(host, b"/brief")
            await client.send_all(frame(0x81, b"unread") * 50)
            assert await read_all(client) == closing(1_000)
            await client.aclose()
            await host.check()


class TestMessages:
    async def test_an_empty_binary_message_comes_back_empty(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            client = await opened(host)
            await client.send_all(frame(0x82))
            assert await read_until(client, b"\x00") == b"\x82\x00"
            await client.aclose()
            await host.check()

    async def test_fragments_and_pings_come_back_in_order(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            client = await opened(host)
            await client.send_all(frame(0x01, b"to") + frame(0x89, b"?") + frame(0x80, b"gether"))
            assert await read_until(client, b"gether") == b"\x8a\x01?\x81\x08together"
            await client.aclose()
            await host.check()

    async def test_a_thousand_messages_come_back_each_once_and_in_order(self, autojump_clock: MockClock) -> None:
        sent = [b"%04d" % number for number in range(1_000)]
        async with hosted() as host:
            client = await opened(host)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send_all, b"".join(frame(0x81, text) for text in sent))
                answer = await read_until(client, sent[-1])
            assert answer == b"".join(b"\x81\x04" + text for text in sent)
            await client.aclose()
            await host.check()

    async def test_others_have_their_turn_between_messages_of_many_fragments(
        self, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        in_a_row: list[int] = [0]
        put = Inbox.__call__

        async def counted(inbox: Inbox, message: Any) -> None:
            in_a_row[-1] += message["type"] == "websocket.receive"
            await put(inbox, message)

        async def others() -> None:
            while True:
                in_a_row.append(0)
                await trio.lowlevel.checkpoint()

        message = frame(0x01) + frame(0x00) * 126 + frame(0x80)
        monkeypatch.setattr(Inbox, "__call__", counted)
        async with hosted() as host, trio.open_nursery() as nursery:
            client = await opened(host)
            nursery.start_soon(others)
            await client.send_all(message * 15)
            while sum(in_a_row) < 15:
                await trio.lowlevel.checkpoint()
            assert max(in_a_row) <= 2
            nursery.cancel_scope.cancel()
            await client.aclose()

    async def test_a_message_that_is_never_finished_is_not_waited_for(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(message_seconds=10)) as host:
            client = await opened(host)
            await client.send_all(frame(0x81, b"whole") + frame(0x01, b"half"))
            assert (await read_all(client)).endswith(closing(1008, b"bad message"))
            assert trio.current_time() == pytest.approx(10)
            await client.aclose()
            await host.check()

    async def test_one_that_came_while_the_process_stood_still_is_not_out_of_time(
        self, autojump_clock: MockClock
    ) -> None:
        sent = frame(0x82, bytes(500_000))  # more than is read at once
        async with hosted(limits=Limits(message_seconds=10)) as host:
            client = await opened(host, kernel_bytes=1 << 20)
            await client.send_all(sent[:100])
            await trio.testing.wait_all_tasks_blocked()
            assert client.connection.client.send(sent[100:]) == len(sent) - 100
            autojump_clock.jump(11)
            answer = b""
            while len(answer) < 500_000:
                more = await client.receive_some()
                assert more, answer
                answer += more
            await client.aclose()


class TestClientsThatDoNotBehave:
    async def test_a_client_that_floods_a_deaf_route_parks_little(self, autojump_clock: MockClock) -> None:
        limits = Limits(inbox_bytes=1 << 20, message_bytes=1 << 20)
        async with hosted(limits=limits) as host:
            client = await opened(host, b"/deaf")
            sent = await send_until_full(client, frame(0x82, bytes(100_000)))
            assert sent < 2 << 20
            client.reset()
            await trio.sleep(15)
            await host.check()

    async def test_a_client_that_floods_it_with_tiny_messages_parks_few(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            client = await opened(host, b"/deaf")
            assert await send_until_full(client, frame(0x81, b"x") * 10) < 300_000
            client.reset()
            await trio.sleep(15)
            await host.check()

    async def test_a_deaf_route_ends_when_its_client_does(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            client = await opened(host, b"/deaf")
            await client.send_all(frame(0x81, b"unread") * 50)
            await trio.testing.wait_all_tasks_blocked()
            await client.aclose()
            await trio.testing.wait_all_tasks_blocked()
            assert host.links[0].closed
            await trio.sleep(2.1)
            await host.check()

    async def test_a_client_that_does_not_read_is_given_up(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(write_seconds=30)) as host:
            await opened(host, b"/chatty")
            await trio.sleep(33)
            await host.check()

    async def test_a_client_that_pings_and_does_not_read_is_given_up(self, autojump_clock: MockClock) -> None:
        limits = Limits(write_seconds=30, control_per_second=1_000)
        async with hosted(limits=limits) as host:
            client = await opened(host, kernel_bytes=4_000)
            await send_until_full(client, frame(0x89, bytes(125)), 40)
            await host.check()

    async def test_a_route_may_give_up_on_a_send_and_go_on(self, autojump_clock: MockClock) -> None:
        app = demo_app()
        outcomes = []

        @app.websocket("/impatient")
        async def impatient() -> None:
            for text in ("a" * 3_000, "b" * 3_000, "c" * 3_000):
                with trio.move_on_after(1) as patience:
                    await websocket.send(text)
                outcomes.append(patience.cancelled_caught)
            await websocket.receive()
            await websocket.send("end")

        async with hosted(app) as host:
            client = await opened(host, b"/impatient", kernel_bytes=4_000)
            await trio.sleep(5)
            assert outcomes == [False, True, True]
            await client.send_all(frame(0x81, b"go on"))
            answer = await read_until(client, b"end")
            assert b"c" not in answer
            assert answer == b"\x81\x7e\x0b\xb8" + b"a" * 3_000 + b"\x81\x7e\x0b\xb8" + b"b" * 3_000 + b"\x81\x03end"
            await client.aclose()
            await host.check()
