"""HTTP/2 in a process that is late: what its clients have sent in time, and lies there, counts."""

from __future__ import annotations

import h2.events
import pytest
from h2.settings import SettingCodes
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet.limits import Limits

from .guarding import hosted
from .test_http2 import GET, POST, Client, client_of, connect_to
from .test_http2_frames import BIG
from .test_websocket import frame as message


def send_now(client: Client) -> None:
    """Put what a client has to say into the server's kernel, without letting the server run."""
    client.stream.connection.client.send(client.h2.data_to_send())


@pytest.mark.parametrize("seconds", [6, 200])
async def test_a_request_that_came_while_it_stood_still_is_answered(seconds: float, autojump_clock: MockClock) -> None:
    async with hosted() as host:
        client = Client(host.connect("h2"))
        await wait_all_tasks_blocked()
        client.h2.send_headers(1, GET, end_stream=True)
        send_now(client)
        autojump_clock.jump(seconds)
        await client.listen(0.5)
        assert client.body(1) == b"0"
        client.h2.send_headers(3, POST)
        client.h2.send_data(3, b"x", end_stream=True)
        send_now(client)
        autojump_clock.jump(200)
        await client.listen(0.5)
        assert client.body(3) == b"1"
        await client.stream.aclose()


@pytest.mark.parametrize("others", [0, 200])
async def test_a_window_that_opened_meanwhile_opened_in_time(others: int, autojump_clock: MockClock) -> None:
    async with hosted(limits=Limits(write_seconds=30)) as host, client_of(host) as client:
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        client.h2.send_headers(1, BIG, end_stream=True)
        await client.flush()
        await client.send(3, POST, end=False)
        await client.listen()
        for _ in range(others):
            client.h2.send_data(3, b"x")
        client.h2.increment_flow_control_window(2_000_000, 1)
        client.h2.increment_flow_control_window(2_000_000)
        send_now(client)
        autojump_clock.jump(40)
        await client.listen(5)
        assert not [e for e in client.events if isinstance(e, h2.events.StreamReset)]
        assert client.body(1) == bytes(1 << 20)
        client.h2.reset_stream(3)
        await client.flush()


@pytest.mark.parametrize("others", [0, 200])
async def test_a_message_that_was_finished_meanwhile_is_one(others: int, autojump_clock: MockClock) -> None:
    async with hosted(limits=Limits(message_seconds=10)) as host, client_of(host) as client:
        await client.send(1, connect_to(), end=False)
        await client.send(3, POST, end=False)
        await client.listen()
        whole = message(0x81, b"hello, world")
        client.h2.send_data(1, whole[:5])
        await client.flush()
        await wait_all_tasks_blocked()
        for _ in range(others):
            client.h2.send_data(3, b"x")
        for byte in whole[5:]:
            client.h2.send_data(1, bytes([byte]))
        send_now(client)
        autojump_clock.jump(40)
        await client.listen(1)
        assert client.body(1).endswith(b"\x81\x0chello, world")
        client.h2.reset_stream(3)
        await client.flush()


async def test_a_client_that_opens_it_later_was_too_slow(autojump_clock: MockClock) -> None:
    async with hosted(limits=Limits(write_seconds=30)) as host, client_of(host) as client:
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        await client.send(1, BIG)
        await client.listen(29)
        assert not [event for event in client.events if isinstance(event, h2.events.StreamReset)]
        await client.flush(b"".join(b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + bytes(8) for _ in range(50)))
        await client.listen(1.5)
        assert [event.stream_id for event in client.events if isinstance(event, h2.events.StreamReset)] == [1]
