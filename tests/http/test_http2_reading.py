"""HTTP/2 has one reader for all streams of a client: it waits for nothing that only its reading can end."""

from __future__ import annotations

import h2.events
import pytest
import trio
from h2.settings import SettingCodes
from quart import websocket
from quart_trio import QuartTrio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet.limits import Limits

from .guarding import demo_app, hosted
from .test_http2 import GET, client_of, connect_to
from .test_websocket import closing, frame

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
