"""What is held for a client is counted from when it was made, and every door asks whether there is room."""

from __future__ import annotations

import gc

import pytest
import trio
from h2.settings import SettingCodes
from trio.testing import MockClock

from triolet.http.app_task import Inbox
from triolet.http.bounds import REQUEST_BYTES
from triolet.http.http1 import GuardedHTTP
from triolet.http.http2_outlet import StreamOutlet
from triolet.limits import Limits

from .guarding import Receive, Send, hosted, read_all, read_until
from .test_answers import head_of
from .test_http2 import GET, Client
from .test_websocket import frame, request

SIZE = 1 << 20
BIG = [(name, "/big" if name == ":path" else value) for name, value in GET]
SLOW = [(name, "/slow" if name == ":path" else value) for name, value in GET]
ASK = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_an_answer_over_http_1_counts_whole_until_it_is_taken(autojump_clock: MockClock) -> None:
    async with hosted() as host:
        client = host.connect(kernel_bytes=1_000)
        await client.send_all(ASK % b"/big")
        await trio.testing.wait_all_tasks_blocked()
        assert SIZE < host.budget.held < SIZE + 200_000
        await client.aclose()
        await trio.sleep(3)
        await host.check_empty()


@pytest.mark.parametrize("kernel_bytes", [1_000, 1 << 20])
async def test_answers_over_http_2_count_whole_until_they_are_taken(
    kernel_bytes: int, autojump_clock: MockClock
) -> None:
    async with hosted() as host:
        client = Client(host.connect("h2", kernel_bytes=kernel_bytes))
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        for stream in range(1, 21, 2):
            await client.send(stream, BIG)
        await trio.testing.wait_all_tasks_blocked()
        assert 10 * SIZE < host.budget.held < 10 * (SIZE + 200_000)
        await client.stream.aclose()
        await trio.sleep(3)
        await host.check_empty()


async def test_a_body_counts_until_the_app_has_returned(autojump_clock: MockClock) -> None:
    async with hosted() as host:
        client = host.connect()
        await client.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n")
        for _ in range(8):
            await client.send_all(bytes(100_000))
        await trio.testing.wait_all_tasks_blocked()
        assert 800_000 < host.budget.held < 900_000
        await client.send_all(bytes(100_000))
        await read_until(client, b"900000")
        await trio.testing.wait_all_tasks_blocked()
        assert host.budget.held == 0
        await client.aclose()


@pytest.mark.parametrize("half", [ASK[:12] + b"a" * 5_000, request(b"/echo") + frame(0x01, bytes(5_000))])
async def test_what_is_not_whole_counts(half: bytes, autojump_clock: MockClock) -> None:
    async with hosted() as host:
        client = host.connect()
        await client.send_all(half)
        await trio.testing.wait_all_tasks_blocked()
        assert 5_000 <= host.budget.held % REQUEST_BYTES < 6_000
        await client.aclose()
        await trio.sleep(3)
        await host.check_empty()


class TestDoors:
    """While the budget is nearly spent nobody new is let in, and somebody is asked to make room."""

    async def test_a_request_on_a_connection_is_refused(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            asked = []
            host.budget.on_over = lambda: asked.append(1)
            client = host.connect()
            await client.send_all(ASK % b"/")
            await read_until(client, b"0")
            host.budget.hold(host.budget.near_bytes)
            await client.send_all(ASK % b"/")
            answer = await read_all(client)
            assert head_of(answer) == (b"HTTP/1.1 503 Service Unavailable", b"close")
            assert b"retry-after: " in answer
            assert asked
            host.budget.hold(-host.budget.near_bytes)
            await client.aclose()
            await host.check()

    async def test_an_upgrade_is_refused(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            host.budget.hold(host.budget.near_bytes)
            assert (await host.ask(request(b"/echo"))).startswith(b"HTTP/1.1 503 ")

    async def test_a_stream_of_http_2_is_refused_and_others_go_on(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            client = Client(host.connect("h2"))
            await client.send(1, [(name, "/slow" if name == ":path" else value) for name, value in GET])
            await client.listen()
            host.budget.hold(host.budget.near_bytes)
            await client.send(3, GET)
            await client.listen()
            assert client.status(3) == 503
            host.budget.hold(-host.budget.near_bytes)
            await client.send(5, GET)
            await client.listen(30)
            assert (client.status(1), client.status(5)) == (200, 200)
            await client.stream.aclose()

    async def test_streams_that_come_in_one_turn_are_let_in_by_what_is_counted(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(memory_bytes=REQUEST_BYTES * 1_000)) as host:
            clients = [Client(host.connect("h2")) for _ in range(12)]
            for client in clients:
                for number in range(100):
                    client.h2.send_headers(2 * number + 1, SLOW, end_stream=True)
                await client.flush()
            await trio.testing.wait_all_tasks_blocked()
            assert host.budget.near
            assert host.budget.peak < host.budget.near_bytes + 2 * REQUEST_BYTES
            for client in clients:
                await client.stream.aclose()


class TestGivingUp:
    @pytest.mark.parametrize("alpn", ["", "h2"])
    async def test_a_connection_ends_at_once_with_all_that_it_holds(self, alpn: str, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(write_seconds=1_000)) as host:
            end = host.connect(alpn, kernel_bytes=1_000)
            if alpn:
                await Client(end).send(1, BIG)
            else:
                await end.send_all(ASK % b"/big")
            await trio.testing.wait_all_tasks_blocked()
            (account,) = host.budget.accounts
            assert account.bytes > SIZE
            account.give_up()
            await trio.testing.wait_all_tasks_blocked()
            assert trio.current_time() < 1
            await host.check_empty()

    async def test_an_app_that_goes_on_sending_is_cancelled(self, autojump_clock: MockClock) -> None:
        ended = trio.Event()

        async def app(scope: object, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            try:
                while True:
                    await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
            finally:
                ended.set()

        async with hosted(app) as host:
            client = host.connect(kernel_bytes=1_000)
            await client.send_all(ASK % b"/")
            await trio.testing.wait_all_tasks_blocked()
            (account,) = host.budget.accounts
            account.give_up()
            with trio.fail_after(0.1):
                await ended.wait()
            await host.check_empty()


@pytest.mark.parametrize("leave", ["given up", "resets", "closes"])
async def test_no_stream_waits_for_the_garbage_collector(leave: str, autojump_clock: MockClock) -> None:
    gc.collect()
    gc.disable()
    try:
        async with hosted() as host:
            client = Client(host.connect("h2"))
            client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
            for stream_id in (1, 3, 5):
                await client.send(stream_id, BIG)
            await trio.testing.wait_all_tasks_blocked()
            if leave == "given up":
                host.budget.accounts.copy().pop().give_up()
            elif leave == "resets":
                client.stream.reset()
            else:
                await client.stream.aclose()
            del client
            await trio.sleep(5)
            await host.check_empty()
            parts = (GuardedHTTP, Inbox, StreamOutlet)
            assert not [found for found in gc.get_objects() if isinstance(found, parts)]
    finally:
        gc.enable()
