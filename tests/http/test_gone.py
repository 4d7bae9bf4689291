"""A client that leaves takes with it all that was held for it, wherever it was in its conversation."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from tests.leaks import let_go_of_the_log
from triolet.http.connection import GuardedServer
from triolet.limits import Limits
from triolet.testing.network import ClientEnd

from .guarding import Host, Receive, Send, hosted, read_all
from .test_http2 import GET, POST, Client, connect_to
from .test_websocket import request

Leave = Callable[[ClientEnd], Awaitable[None]]


async def close(client: ClientEnd) -> None:
    await client.aclose()


async def reset(client: ClientEnd) -> None:
    client.reset()


async def end(client: ClientEnd) -> None:
    await client.send_eof()


LEAVES = pytest.mark.parametrize("leave", [close, reset, end])

HEAD = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
BODY = b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"


@asynccontextmanager
async def left_by_all() -> AsyncIterator[Host]:
    """A host; in the end no connection of anybody is held: not in a set, not by a task, not by another object."""
    async with hosted() as host:
        yield host
        await trio.sleep(40)
        await host.check_empty()
        let_go_of_the_log()
        gc.collect()
        assert not [found for found in gc.get_objects() if isinstance(found, GuardedServer)]


@LEAVES
@pytest.mark.parametrize(
    "asked",
    [
        b"",
        HEAD[:10],
        HEAD % b"/",
        HEAD % b"/slow",
        HEAD % b"/big",
        HEAD % b"/endless",
        BODY,
        BODY + b"12345",
        BODY + b"1234567890",
        (HEAD % b"/") * 3,
        HEAD % b"/slow" + HEAD % b"/",
        HEAD % b"/slow" + HEAD[:10],
        HEAD % b"/" + HEAD[:10],
        BODY + b"12345678901234567890",
        request(b"/echo"),
        request(b"/deaf"),
        request(b"/chatty"),
        request(b"/nowhere"),
        b"garbage\r\n\r\n",
    ],
)
async def test_of_a_client_of_http_1_nothing_stays(asked: bytes, leave: Leave, autojump_clock: MockClock) -> None:
    async with left_by_all() as host:
        for alpn in ("", "http/1.1"):
            silent, listener = host.connect(alpn), host.connect(alpn)
            for client in (silent, listener):
                if asked:
                    await client.send_all(asked)
            with trio.move_on_after(0.5):
                await listener.receive_some(1)
            for client in (silent, listener):
                await leave(client)


@LEAVES
@pytest.mark.parametrize("path", ["/", "/slow", "/big", "/nowhere"])
async def test_of_a_client_of_http_2_nothing_stays(path: str, leave: Leave, autojump_clock: MockClock) -> None:
    def at(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(name, path if name == ":path" else value) for name, value in headers]

    async with left_by_all() as host:
        for listens in (0.0, 0.5):
            client = Client(host.connect("h2"))
            await client.send(1, at(GET))
            await client.send(3, at(POST), end=False)
            await client.send(5, connect_to(), end=False)
            if listens:
                await client.listen(listens)
            await leave(client.stream)


async def test_one_that_goes_while_the_app_works_is_not_put_back(autojump_clock: MockClock) -> None:
    async with hosted() as host:
        client = host.connect()
        await client.send_all(HEAD % b"/slow")
        await trio.testing.wait_all_tasks_blocked()
        assert len(host.context.served) == 1
        await client.aclose()
        await trio.sleep(3)
        assert host.context.served == set() == host.context.idle


async def test_a_request_that_was_begun_while_another_is_answered_has_no_longer_than_any(
    autojump_clock: MockClock,
) -> None:
    async def app(scope: object, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok", "more_body": True})
        await trio.sleep(1)
        await send({"type": "http.response.body", "body": b""})

    async with hosted(app, limits=Limits(header_seconds=5)) as host:
        host.config.keep_alive_timeout = 150
        client = host.connect()
        await client.send_all(HEAD % b"/")
        await trio.sleep(0.5)
        await client.send_all(b"GET / HT")
        with trio.fail_after(7):
            assert (await read_all(client)).endswith(b"ok")
        await client.aclose()
