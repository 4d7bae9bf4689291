"""HTTP/2 has one reader for all streams of a client: it waits for nothing that only its reading can end."""

from __future__ import annotations

import h2.events
import pytest
import trio
from h2.settings import SettingCodes
from quart import request, websocket
from quart_trio import QuartTrio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet.limits import Limits

from .guarding import demo_app, hosted
from .test_http2 import GET, POST, Client, client_of, connect_to
from .test_http2_frames import BIG
from .test_websocket import closing, frame

TAKE = [(name, "/take" if name == ":path" else value) for name, value in POST]
TEXT, CLOSE, PING = 0x81, 0x88, 0x89
PONG = b"\x8a\x04mine"


def app_with_a_late_route(begin: trio.Event) -> QuartTrio:
    """One whose WebSocket takes nothing before it is told to, and then all."""
    app = demo_app()

    @app.websocket("/late")
    async def late() -> None:
        await websocket.accept()
        await begin.wait()
        while True:
            await websocket.receive()

    return app


@pytest.mark.parametrize(
    ("behind", "answer"),
    [
        (frame(PING, b"mine"), PONG),
        (frame(CLOSE, b"\x03\xe8"), closing(1000)),
        (frame(0x83, b""), closing(1002, b"protocol error")),
    ],
    ids=["ping", "close", "broken"],
)
async def test_an_answer_behind_what_the_app_was_late_to_take_holds_up_nobody(
    behind: bytes, answer: bytes, autojump_clock: MockClock
) -> None:
    begin = trio.Event()
    app = app_with_a_late_route(begin)
    async with hosted(app, Limits(inbox_messages=1)) as host, client_of(host) as client:
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        await client.send(1, connect_to("/late"), end=False)
        await client.listen()
        client.h2.send_data(1, frame(TEXT, b"one") + frame(TEXT, b"two") + behind)
        await client.flush()
        await wait_all_tasks_blocked()
        begin.set()
        await wait_all_tasks_blocked()
        client.h2.send_data(1, frame(TEXT, b"three"))
        client.h2.send_headers(3, GET, end_stream=True)
        client.h2.increment_flow_control_window(100, 3)
        await client.flush()
        await client.listen(0.5)
        assert client.body(3) == b"0"
        client.h2.increment_flow_control_window(100, 1)
        await client.flush()
        await client.listen(0.5)
        assert client.body(1) == answer
        assert not [event for event in client.events if isinstance(event, h2.events.StreamReset) and event.error_code]


async def test_a_pong_comes_as_soon_as_the_window_opens_though_the_app_says_nothing(
    autojump_clock: MockClock,
) -> None:
    async with hosted() as host, client_of(host) as client:
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        await client.send(1, connect_to("/deaf"), end=False)
        await client.listen()
        client.h2.send_data(1, frame(PING, b"gone") + frame(PING, b"mine"))
        await client.flush()
        await client.listen()
        client.h2.increment_flow_control_window(100, 1)
        await client.flush()
        await client.listen(0.5)
        assert client.body(1).endswith(PONG)


@pytest.mark.parametrize("pings", [1, 100])
async def test_a_client_that_sends_before_it_reads_is_read(pings: int, autojump_clock: MockClock) -> None:
    app, taken = demo_app(), []

    @app.post("/take")
    async def take() -> str:
        taken.append(len(await request.get_data()))
        return "taken"

    async with hosted(app) as host:
        client = Client(host.connect("h2", kernel_bytes=1_000))
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2_000_000})
        client.h2.increment_flow_control_window(2_000_000)
        client.h2.send_headers(1, BIG, end_stream=True)
        client.h2.send_headers(3, TAKE)
        await client.flush()
        await wait_all_tasks_blocked()
        for _ in range(pings):
            client.h2.ping(b"answer!!")
        client.h2.send_data(3, bytes(10_000), end_stream=True)
        await client.flush()
        await wait_all_tasks_blocked()
        assert taken == [10_000]
        await client.listen(20)
        assert (client.body(1), client.body(3)) == (bytes(1 << 20), b"taken")
        answers = [event for event in client.events if isinstance(event, h2.events.PingAckReceived)]
        assert len(answers) == pings
        await client.stream.aclose()


async def test_but_not_one_that_takes_none_of_many_answers(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triolet.http.http2.HTTP2_UNSENT_BYTES", 1_000)
    async with hosted() as host:
        client = Client(host.connect("h2", kernel_bytes=1_000))
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2_000_000})
        client.h2.increment_flow_control_window(2_000_000)
        client.h2.send_headers(1, BIG, end_stream=True)
        await client.flush()
        await wait_all_tasks_blocked()
        for _ in range(500):
            client.h2.ping(b"answer!!")
        with trio.move_on_after(5) as waiting:
            await client.flush()
        assert waiting.cancelled_caught
        await client.stream.aclose()


async def test_a_window_that_never_opens_for_a_pong_ends_its_stream_alone(autojump_clock: MockClock) -> None:
    async with hosted(limits=Limits(write_seconds=5)) as host, client_of(host) as client:
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        await client.send(1, connect_to("/deaf"), end=False)
        client.h2.send_data(1, frame(PING, b"mine"))
        await client.flush()
        await client.listen(6)
        assert [event.stream_id for event in client.events if isinstance(event, h2.events.StreamReset)] == [1]
        assert not client.ended
