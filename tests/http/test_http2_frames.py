"""What a client's frames cost: everything but what is known to be content."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from triolet.http.bounds import HTTP2_FRAMES_AT_ONCE
from triolet.http.http2_frames import PREFACE_BYTES, Frames, Spending, TooMuchError
from triolet.limits import Limits

from .guarding import Receive, Send, hosted
from .test_http2 import GET, POST, Client, client_of, connect_to
from .test_websocket import frame as message


def frame(kind: int, payload: bytes = b"", stream: int = 0, flags: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


ONE = (1).to_bytes(4, "big")
BIG = [(name, "/big" if name == ":path" else value) for name, value in GET]
SLOW = [(name, "/slow" if name == ":path" else value) for name, value in GET]

FLOODS = {
    "WINDOW_UPDATE of the connection": frame(8, ONE),
    "WINDOW_UPDATE of a stream": frame(8, ONE, 1),
    "WINDOW_UPDATE of a stream that has ended": frame(8, ONE, 3),
    "PING": frame(6, bytes(8)),
    "PING ACK": frame(6, bytes(8), flags=1),
    "SETTINGS": frame(4, b"\x00\x03\x00\x00\x00\x64"),
    "empty SETTINGS": frame(4),
    "SETTINGS of the window": frame(4, b"\x00\x04\x00\x00\xff\xff"),
    "SETTINGS ACK": frame(4, flags=1),
    "PRIORITY": frame(2, b"\x00\x00\x00\x00\x10", 1),
    "RST_STREAM of a stream that has ended": frame(3, bytes(4), 3),
    "empty DATA": frame(0, b"", 5),
    "padded, empty DATA": frame(0, b"\x07" + bytes(7), 5, flags=8),
    "ALTSVC": frame(10, b"\x00\x00", 1),
    "a type that nobody knows": frame(0x2A),
    "a type that nobody knows, on a stream": frame(0xEE, b"?", 1),
}


class TestFloods:
    @pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
    async def test_of_any_frame_that_is_no_content_end_the_connection(
        self, flood: bytes, autojump_clock: MockClock
    ) -> None:
        async with hosted() as host, client_of(host) as client:
            await client.send(1, SLOW)
            await client.send(3, GET)
            await client.send(5, POST, end=False)
            await client.listen()
            await client.flush(flood * 1_500)
            await client.listen()
            assert client.goaway() is not None or client.ended

    @pytest.mark.parametrize("stream", [1, 3], ids=["half-closed", "answered"])
    async def test_of_empty_data_on_a_stream_that_has_ended_end_the_connection(
        self, stream: int, autojump_clock: MockClock
    ) -> None:
        async with hosted() as host, client_of(host) as client:
            await client.send(1, SLOW)
            await client.send(3, GET)
            await client.listen()
            await client.flush(frame(0, b"", stream) * 1_500)
            await client.listen()
            assert client.goaway() is not None or client.ended

    @pytest.mark.parametrize("wrong", [(":path", "no path"), (":method", "G/T"), (":authority", "a b")])
    async def test_of_requests_that_are_none_end_the_connection(
        self, wrong: tuple[str, str], autojump_clock: MockClock
    ) -> None:
        request = [(name, wrong[1] if name == wrong[0] else value) for name, value in GET]
        async with hosted() as host, client_of(host) as client:
            with suppress(trio.BrokenResourceError, ProtocolError):
                for stream in range(1, 2 * HTTP2_FRAMES_AT_ONCE + 200, 2):
                    await client.send(stream, request)
            await client.listen()
            assert client.goaway() == ErrorCodes.ENHANCE_YOUR_CALM

    async def test_of_requests_for_which_there_is_no_memory_end_the_connection(self, autojump_clock: MockClock) -> None:
        async with hosted() as host, client_of(host) as client:
            host.budget.hold(host.budget.near_bytes)
            with suppress(trio.BrokenResourceError, ProtocolError):
                for stream in range(1, 2 * HTTP2_FRAMES_AT_ONCE + 200, 2):
                    await client.send(stream, GET)
            await client.listen()
            host.budget.hold(-host.budget.near_bytes)
            assert client.goaway() == ErrorCodes.ENHANCE_YOUR_CALM

    async def test_of_windows_given_back_byte_by_byte_end_the_connection(self, autojump_clock: MockClock) -> None:
        async with hosted() as host, client_of(host) as client:
            client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
            for stream in range(1, 41, 2):
                await client.send(stream, BIG)
            await client.listen()
            for stream in range(1, 41, 2):
                for _ in range(100):
                    client.h2.increment_flow_control_window(1, stream)
            await client.flush()
            await client.listen()
            assert client.goaway() == ErrorCodes.ENHANCE_YOUR_CALM

    async def test_others_have_their_turn_within_one_read(self, autojump_clock: MockClock) -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with hosted() as host, client_of(host) as client:
            await client.listen()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(others)
                before = turns
                await client.flush(FLOODS["PING ACK"] * 900)
                with trio.CancelScope(deadline=trio.current_time() + 0.5):
                    while turns < before + 100:
                        await trio.lowlevel.checkpoint()
                assert turns >= before + 100
                nursery.cancel_scope.cancel()

    async def test_a_head_in_endless_parts_ends_with_goaway(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(header_bytes=4_000)) as host, client_of(host) as client:
            await client.flush(frame(1, bytes(1_000), 1) + frame(9, bytes(1_000), 1) * 5)
            await client.listen()
            assert client.goaway() == ErrorCodes.ENHANCE_YOUR_CALM

    async def test_a_frame_that_is_too_large_is_refused_by_its_head(self, autojump_clock: MockClock) -> None:
        async with hosted() as host, client_of(host) as client:
            await client.flush(b"\x00\x40\x01\x00\x00\x00\x00\x00\x01")
            await client.listen()
            assert client.goaway() == ErrorCodes.FRAME_SIZE_ERROR


CRUMBS = {
    "one byte": frame(0, b"x", 1),
    "one byte, padded": frame(0, b"\xff" + b"x" + bytes(255), 1, flags=8),
}


class TestCrumbs:
    """A body's bytes are content in proportion: of frames that bring nearly none only so many are read in a second."""

    @pytest.mark.parametrize("crumb", CRUMBS.values(), ids=CRUMBS)
    @pytest.mark.parametrize("what", [POST, connect_to("/echo")], ids=["body", "message"])
    async def test_are_read_at_the_pace_of_messages_and_all_of_them(
        self, what: list[tuple[str, str]], crumb: bytes, autojump_clock: MockClock
    ) -> None:
        taken: list[float] = []

        async def app(scope: dict[str, object], receive: Receive, send: Send) -> None:
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.accept"})
            while (said := await receive()).get("more_body", said["type"] == "websocket.receive"):
                taken.append(trio.current_time())
            if scope["type"] == "http":
                await plain(scope, receive, send)

        async with hosted(app, Limits(messages_per_second=50)) as host:
            client = Client(host.connect("h2"))
            await client.send(1, what, end=False)
            await client.listen()
            began = trio.current_time()
            if what is POST:
                await client.flush(crumb * 300 + frame(0, b"x", 1, flags=1))
            else:
                whole = message(0x82, b"x" * 294)
                for byte in whole[:-1]:
                    await client.flush(crumb[: crumb.index(b"x")] + bytes([byte]) + crumb[crumb.index(b"x") + 1 :])
                await client.flush(crumb)
            while not taken or (what is POST and client.status(1) is None):
                await client.listen(0.1)
            # 100 at once, and 50 a second; 302 of a message.
            assert trio.current_time() - began == pytest.approx(4, abs=0.3)
            assert client.goaway() is None
            await client.stream.aclose()

    async def test_that_nobody_wants_are_slowed_down_too(self, autojump_clock: MockClock) -> None:
        async with hosted(plain, Limits(messages_per_second=50)) as host, client_of(host) as client:
            client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})  # so the answer has no end
            await client.send(1, POST, end=False)
            await client.listen()
            await client.flush(CRUMBS["one byte"] * 300)
            await client.send(3, GET)
            await client.listen(3.5)
            assert client.status(3) is None
            await client.listen(1)
            assert client.status(3) == 200

    @pytest.mark.parametrize("size", [1_024, 16_000])
    async def test_are_no_frames_that_bring_much(self, size: int, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(messages_per_second=1)) as host, client_of(host) as client:
            await client.send(1, POST, end=False)
            for _ in range(60_000 // size):
                client.h2.send_data(1, bytes(size))
            client.h2.send_data(1, b"", end_stream=True)
            await client.flush()
            await client.listen(0.1)
            assert client.body(1) == b"%d" % (60_000 // size * size)

    async def test_are_no_whole_messages(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(messages_per_second=50)) as host, client_of(host) as client:
            for stream in range(1, 21, 2):
                await client.send(stream, connect_to(), end=False)
            await client.listen()
            for _ in range(90):
                for stream in range(1, 21, 2):
                    client.h2.send_data(stream, message(0x81, b"x"))
            await client.flush()
            await client.listen(0.1)
            assert all(client.body(stream) == b"\x81\x01x" * 90 for stream in range(1, 21, 2))

    async def test_that_are_slowed_down_are_no_silence(self, autojump_clock: MockClock) -> None:
        limits = Limits(messages_per_second=2, beat_seconds=1, silence_seconds=4)
        async with hosted(limits=limits) as host, client_of(host) as client:
            await client.send(1, POST, end=False)
            await client.listen(0.1)
            await client.flush(CRUMBS["one byte"] * 40)
            await client.listen(30)
            client.h2.send_data(1, b"", end_stream=True)
            await client.flush()
            await client.listen(1)
            assert client.body(1) == b"40"


class TestMemory:
    async def test_crumbs_that_no_app_takes_are_held_as_their_bytes(self, autojump_clock: MockClock) -> None:
        taken: list[bytes] = []

        async def late(scope: object, receive: Receive, send: Send) -> None:
            await trio.sleep(30)
            more = True
            while more:
                message = await receive()
                taken.append(message["body"])
                more = message["more_body"]
            await plain(scope, receive, send)

        async with hosted(late, Limits(messages_per_second=1e6, inbox_messages=8)) as host, client_of(host) as client:
            await client.send(1, POST, end=False)
            await client.listen()
            before = host.budget.held
            await client.flush(
                b"".join(frame(0, bytes([n % 251]), 1) for n in range(20_000)) + frame(0, b"", 1, flags=1)
            )
            await client.listen(20)
            assert host.budget.held - before == 20_000
            await client.listen(20)
            assert client.body(1) == b"ok"
        assert b"".join(taken) == bytes(n % 251 for n in range(20_000))
        assert len(taken) <= 10

    async def test_settings_that_nobody_knows_leave_nothing(self, autojump_clock: MockClock) -> None:
        async with hosted() as host, client_of(host) as client:
            for first in range(0x100, 0xF000, 2_500):
                await client.flush(frame(4, b"".join(struct.pack(">HI", first + n, 1) for n in range(2_500))))
            await client.listen()
            (server,) = host.context.served
            connection: Any = server._guarded.connection
            assert len(connection.remote_settings) < 10
            assert client.goaway() is None
            del server, connection


class TestContent:
    """What HTTP is for is free, however much there is of it."""

    async def test_3000_requests(self, autojump_clock: MockClock) -> None:
        async with hosted(plain) as host, client_of(host) as client:
            host.config.keep_alive_max_requests = 10_000
            for stream in range(1, 6_001, 2):
                await client.send(stream, GET)
                if stream % 100 == 99:
                    await client.listen(0.01)
            await client.listen()
            assert client.goaway() is None
            assert client.status(5_999) == 200

    async def test_a_body_in_3000_frames(self, autojump_clock: MockClock) -> None:
        async with hosted() as host, client_of(host) as client:
            await client.send(1, POST, end=False)
            for number in range(3_000):
                client.h2.send_data(1, b"0123456789")
                if number % 100 == 99:
                    await client.flush()
                    await client.listen(0.01)
            client.h2.send_data(1, b"", end_stream=True)
            await client.flush()
            await client.listen()
            assert (client.body(1), client.goaway()) == (b"30000", None)

    async def test_messages_that_are_answered_and_whose_windows_are_given_back_at_once(
        self, autojump_clock: MockClock
    ) -> None:
        async with hosted() as host, client_of(host) as client:
            await client.send(1, connect_to(), end=False)
            await client.listen()
            for _ in range(60):
                for _ in range(50):
                    client.h2.send_data(1, message(0x81, b"hello"))
                await client.flush()
                await client.listen(0.1)
                await client.flush((frame(8, ONE, 1) + frame(8, ONE)) * 50)
            await client.listen()
            assert client.goaway() is None
            assert client.body(1).count(b"hello") == 3_000

    async def test_a_large_answer_whose_window_is_given_back_in_small_parts(self, autojump_clock: MockClock) -> None:
        async with hosted() as host, client_of(host) as client:
            for stream in range(1, 17, 2):
                await client.send(stream, BIG)
                for _ in range(120):
                    with suppress(StreamClosedError):  # all of it is there
                        client.h2.increment_flow_control_window(4_096, stream)
                    client.h2.increment_flow_control_window(4_096)
                    await client.flush()
                    await client.listen(0.001)
            await client.listen()
            assert client.goaway() is None


async def plain(scope: object, receive: object, send: object) -> None:
    """The shortest answer."""
    await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"ok"})  # type: ignore[operator]


class TestFrames:
    @given(st.lists(st.binary(max_size=40)), st.integers(1, 30))
    def test_come_whole_however_they_are_read(self, payloads: list[bytes], step: int) -> None:
        whole = [frame(4, b""), *[frame(0, payload, 1) for payload in payloads]]
        data = bytes(PREFACE_BYTES) + b"".join(whole)
        frames = Frames(16_384, 16_384)
        found = [piece for at in range(0, len(data), step) for piece in frames.split(data[at : at + step])]
        assert b"".join(found) == data
        assert found[len(found) - len(whole) :] == whole
        assert frames.held == 0

    def test_that_are_not_whole_are_held(self) -> None:
        frames = Frames(16_384, 16_384)
        assert len(list(frames.split(bytes(PREFACE_BYTES) + frame(4, b"") + frame(1, bytes(100), 1) + bytes(5)))) == 3
        assert frames.held == 100 + 9 + 5

    @pytest.mark.parametrize("flags", [0, 0x80])
    def test_of_settings_bring_the_last_of_each_that_is_known_and_no_other(self, flags: int) -> None:
        said = [(0x100 + n, n) for n in range(2_000)] + [(4, 1), (0xFFFF, 0), (4, 2), (8, 1), (3, 7)]
        whole = frame(4, b"".join(struct.pack(">HI", *one) for one in said), flags=flags)
        kept = b"".join(struct.pack(">HI", *one) for one in [(4, 2), (8, 1), (3, 7)])
        assert list(Frames(16_384, 16_384).split(bytes(PREFACE_BYTES) + whole))[1:] == [frame(4, kept, flags=flags)]

    @pytest.mark.parametrize("whole", [frame(4), frame(4, flags=1), frame(4, bytes(5)), frame(4, bytes(6), flags=1)])
    def test_of_settings_that_are_none_are_left_to_h2(self, whole: bytes) -> None:
        assert list(Frames(16_384, 16_384).split(bytes(PREFACE_BYTES) + whole))[1:] == [whole]

    def test_that_do_not_begin_with_settings_are_refused(self) -> None:
        with pytest.raises(TooMuchError):
            list(Frames(16_384, 16_384).split(bytes(PREFACE_BYTES) + frame(1, bytes(10), 1)))


class TestSpending:
    def test_content_earns_what_is_given_back_for_it(self) -> None:
        spending = Spending()
        for _ in range(10_000):
            spending.earn(100, True)
            spending.give_back(0, 100, 0)
            spending.give_back(0, 100, 0)
        assert not affords(lambda: spending.give_back(0, 100, 0), HTTP2_FRAMES_AT_ONCE + 2)

    def test_content_that_a_window_has_cut_earns_nothing(self) -> None:
        spending = Spending()

        def crumb() -> None:
            spending.earn(1, False)
            spending.give_back(0, 100, 0)

        assert not affords(crumb, HTTP2_FRAMES_AT_ONCE + 2)

    def test_many_that_wait_for_one_window_cost_more(self) -> None:
        spending = Spending()
        assert not affords(lambda: spending.give_back(0, 1 << 20, 100), 50)


def affords(pay: Callable[[], None], times: int) -> bool:
    try:
        for _ in range(times):
            pay()
    except TooMuchError:
        return False
    return True
