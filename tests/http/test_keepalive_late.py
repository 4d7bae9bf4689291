"""A process that is late: a client's answer to a ping that has come, and lies there whole, counts on each path."""

from __future__ import annotations

import h2.events
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet.limits import Limits

from .guarding import hosted
from .test_http2 import POST, Client, client_of, connect_to
from .test_http2_late import send_now
from .test_keepalive import PONG
from .test_websocket import frame, opened

LIMITS = Limits(beat_seconds=10, silence_seconds=25)
LATE = pytest.mark.parametrize("late", [0.01, 60])


@LATE
async def test_a_websockets_pong(late: float, autojump_clock: MockClock) -> None:
    async with hosted(limits=LIMITS) as host:
        client = await opened(host, b"/deaf")
        await trio.sleep(24.9)
        client.connection.client.send(frame(PONG))
        autojump_clock.jump(0.1 + late)
        await wait_all_tasks_blocked()
        assert host.running == 1


@LATE
@pytest.mark.parametrize("others", [0, 200])
async def test_a_pong_over_http_2_behind_other_streams(late: float, others: int, autojump_clock: MockClock) -> None:
    async with hosted(limits=LIMITS) as host, client_of(host) as client:
        await client.send(1, connect_to("/deaf"), end=False)
        await client.send(3, POST, end=False)
        await client.listen(0)
        for seconds in (8, 8, 8, 0.9):  # the connection is heard, and the WebSocket is not
            await trio.sleep(seconds)
            client.h2.send_data(3, b"x")
            await client.flush()
            await wait_all_tasks_blocked()
        for _ in range(others):
            client.h2.send_data(3, b"x")
        client.h2.send_data(1, frame(PONG))
        send_now(client)
        autojump_clock.jump(0.1 + late)
        await client.listen(1)
        assert b"silent" not in client.body(1)
        assert 1 not in [event.stream_id for event in client.events if isinstance(event, h2.events.StreamEnded)]


@LATE
async def test_an_acknowledged_ping_of_http_2(late: float, autojump_clock: MockClock) -> None:
    async with hosted(limits=LIMITS) as host:
        client = Client(host.connect("h2"))
        await client.send(1, connect_to("/deaf"), end=False)
        await trio.sleep(24.9)
        client.h2.ping(b"12345678")
        send_now(client)
        autojump_clock.jump(0.1 + late)
        await wait_all_tasks_blocked()
        assert host.running == 1


@pytest.mark.parametrize("alpn", ["", "h2"])
async def test_a_process_that_is_always_late_finds_who_is_silent(alpn: str, autojump_clock: MockClock) -> None:
    async with hosted(limits=LIMITS) as host:
        if alpn:
            await Client(host.connect(alpn)).send(1, connect_to("/deaf"), end=False)
        else:
            await opened(host, b"/deaf")
        for _ in range(40):
            await trio.sleep(3)
            autojump_clock.jump(12)
        await wait_all_tasks_blocked()
        assert host.running == 0
