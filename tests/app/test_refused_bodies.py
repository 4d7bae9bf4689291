"""Who is answered before all of its body has come hears why, however slow its line; who else still sends gains no time
by it. On each path of HTTP/1.1."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.http.guarding import hosted
from tests.paths.memory import served
from triolet import Limits
from triolet.bounds import FINISH_SECONDS
from triolet.server.forwarded import Forwarded
from triolet.testing import ClientEnd

from .warehouse import PICK, Warehouse

EVENTS = "/orders/A1/events"
GOODBYE = 2
HEADER = 5
LIMITS = Limits(message_bytes=1_000, body_bytes=1_000, goodbye_seconds=GOODBYE, header_seconds=HEADER)
NOTICED = 2
"""Seconds until a client that sends once a second has noticed that it was closed."""
PROXY = "198.51.100.9"

on_each_path = pytest.mark.parametrize("path", ["http1", "tls", "middleware"])
of_each_kind = pytest.mark.parametrize("url", [PICK, "/orders"])


@asynccontextmanager
async def refused(path: str, url: str) -> AsyncIterator[ClientEnd]:
    """A client that was served once, and has sent the head of a request whose body is too large."""
    async with served(Warehouse(LIMITS).app, path) as server:
        end = server.connect()
        await end.send_all(b"HEAD /none HTTP/1.1\r\nhost: test\r\n\r\n")
        assert (await end.receive_some()).startswith(b"HTTP/1.1 404")
        head = f'POST {url} HTTP/1.1\r\nhost: test\r\nidempotency-key: "1"\r\ncontent-length: 1000000\r\n\r\n'
        await end.send_all(head.encode())
        yield end


async def send_until_refused(end: ClientEnd, piece: bytes = bytes(100)) -> float:
    """Send on, a little each second, until the server takes no more; returns how long that was."""
    began = trio.current_time()
    try:
        while trio.current_time() < began + 10 * FINISH_SECONDS:
            await end.send_all(piece)
            await trio.sleep(1)
    except trio.BrokenResourceError:
        pass
    return trio.current_time() - began


@on_each_path
@of_each_kind
async def test_what_is_still_on_its_way_is_read(path: str, url: str, autojump_clock: MockClock) -> None:
    async with refused(path, url) as end:
        for _ in range(5 * GOODBYE):
            await trio.sleep(1)
            await end.send_all(bytes(100_000))
        assert (await end.receive_some()).startswith(b"HTTP/1.1 4")


@on_each_path
@of_each_kind
async def test_but_not_for_ever(path: str, url: str, autojump_clock: MockClock) -> None:
    async with refused(path, url) as end:
        assert await send_until_refused(end) == pytest.approx(FINISH_SECONDS, abs=NOTICED)


@on_each_path
@of_each_kind
async def test_who_sends_nothing_more_is_not_waited_for(path: str, url: str, autojump_clock: MockClock) -> None:
    async with refused(path, url) as end:
        await trio.sleep(GOODBYE + 1)
        assert await send_until_refused(end) <= NOTICED


@pytest.mark.parametrize("path", ["http1", "tls"])
async def test_of_what_has_come_nothing_is_held_meanwhile(path: str, autojump_clock: MockClock) -> None:
    async with served(Warehouse(LIMITS).app, path) as server:
        end = server.connect()
        head = f'POST {PICK} HTTP/1.1\r\nhost: test\r\nidempotency-key: "1"\r\ncontent-length: 900\r\n\r\n'
        await end.send_all(head.encode() + bytes(800))
        assert (await end.receive_some()).startswith(b"HTTP/1.1 408")
        await end.send_all(bytes(1))
        await trio.sleep(GOODBYE - 1)
        assert (server.connections, server.worker.budget.held) == (1, 0)


async def test_an_app_that_goes_on_behind_its_answer_has_as_long_as_ever(autojump_clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
        await trio.sleep(1_000)

    async with hosted(app, LIMITS) as host:
        end = host.connect()
        await end.send_all(b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1000\r\n\r\n" + bytes(800))
        assert (await end.receive_some()).startswith(b"HTTP/1.1 403")
        for _ in range(2 * GOODBYE):
            await end.send_all(bytes(1))
            await trio.sleep(1)
        assert (host.running, host.budget.held) == (1, 0)


@on_each_path
async def test_a_head_that_trickles_behind_an_answer_gains_no_time(path: str, autojump_clock: MockClock) -> None:
    async with served(Warehouse(LIMITS).app, path) as server:
        end = server.connect()
        await end.send_all(b"HEAD /none HTTP/1.1\r\nhost: test\r\n\r\n")
        assert (await end.receive_some()).startswith(b"HTTP/1.1 404")
        await end.send_all(b"GET / HTTP/1.1\r\nx: ")
        assert await send_until_refused(end, b"x") <= HEADER + GOODBYE + NOTICED


@on_each_path
@pytest.mark.parametrize("url", [EVENTS, "/orders"])
async def test_nor_does_who_has_had_its_last_answer(path: str, url: str, autojump_clock: MockClock) -> None:
    async with served(Warehouse(LIMITS).app, path) as server:
        end = server.connect()
        await end.send_all(f"GET {url} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n".encode())
        assert (await end.receive_some()).startswith(b"HTTP/1.1 ")
        assert await send_until_refused(end) <= GOODBYE + NOTICED


@on_each_path
async def test_nor_does_one_client_too_many_of_an_address_behind_a_proxy(path: str, autojump_clock: MockClock) -> None:
    limits = Limits(connections_per_address=1, goodbye_seconds=GOODBYE)
    head = f"GET {EVENTS} HTTP/1.1\r\nhost: test\r\naccept: text/event-stream\r\nx-forwarded-for: 203.0.113.7\r\n\r\n"
    async with served(Warehouse(limits).app, path, forwarded=Forwarded.parse(PROXY)) as server:
        first, second = server.connect(address=PROXY), server.connect(address=PROXY)
        await first.send_all(head.encode())
        assert (await first.receive_some()).startswith(b"HTTP/1.1 200")
        await second.send_all(head.encode())
        assert (await second.receive_some()).startswith(b"HTTP/1.1 503")
        assert await send_until_refused(second) <= GOODBYE + NOTICED
