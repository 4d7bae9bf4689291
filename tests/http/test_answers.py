"""Every answer says what its status means, and whether the connection goes on after it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from triolet.limits import Limits
from triolet.sockets.server_state import CONTENT_FOLLOWS

from .guarding import Receive, Send, demo_app, hosted, read_all, read_until
from .test_websocket import request

PHRASES = {
    200: "OK",
    201: "Created",
    204: "No Content",
    302: "Found",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    413: "Content Too Large",
    418: "I'm a Teapot",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
"""RFC 9110 section 15, of the statuses below."""

GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"


def head_of(answer: bytes) -> tuple[bytes, bytes | None]:
    """The status line, and what it says about the connection."""
    head = answer.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    said = [line.partition(b":")[2].strip() for line in head if line.startswith(b"connection:")]
    return answer.partition(b"\r\n")[0], said[0] if said else None


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request(b"/nowhere"), 404),
        (request(b"/"), 400),
        (GET % b"/" + request(b"/nowhere"), 404),
        (GET % b"/" + request(b"/no"), 403),
        (GET % b"/" + request(b"/abort"), 401),
        (b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n1", 404),
        (b"POST /nowhere HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", 404),
        (b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
        (b"GET /nowhere HTTP/1.0\r\nHost: a\r\n\r\n", 404),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
    ],
)
async def test_an_answer_after_which_we_close_says_so(asked: bytes, status: int, autojump_clock: MockClock) -> None:
    app = demo_app()

    @app.websocket("/no")
    async def no() -> None:
        """It returns without a word: a close before the accept."""

    @app.websocket("/abort")
    async def abort_it() -> None:
        from quart import abort

        abort(401)

    async with hosted(app) as host:
        answers = await host.ask(asked)
        *before, last = answers.split(b"HTTP/1.1 ")[1:]
        line, said = head_of(b"HTTP/1.1 " + last)
        assert said == b"close", answers
        assert line.startswith(b"HTTP/1.1 "), answers
        assert all(b"close" not in answer.lower() for answer in before)
        if b"/no " not in asked:
            assert line == b"HTTP/1.1 %d %b" % (status, PHRASES[status].encode())


async def test_an_answer_after_which_we_go_on_does_not_say_close(autojump_clock: MockClock) -> None:
    async with hosted() as host:
        client = host.connect()
        for asked in (GET % b"/", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", GET % b"/"):
            await client.send_all(asked)
            answer = await read_until(client, b"2" if b"POST" in asked else b"0")
            assert head_of(answer) == (b"HTTP/1.1 200 OK", None)
        await client.aclose()


async def test_the_answer_of_a_server_that_drains_says_close(autojump_clock: MockClock) -> None:
    async with hosted() as host:
        client = host.connect()
        await client.send_all(GET % b"/slow")
        await trio.testing.wait_all_tasks_blocked()
        await host.context.terminated.set()
        assert head_of(await read_all(client)) == (b"HTTP/1.1 200 OK", b"close")


async def test_the_last_answer_that_a_connection_gives_says_close(autojump_clock: MockClock) -> None:
    async with hosted() as host:
        host.config.keep_alive_max_requests = 2
        answers = (await host.ask((GET % b"/") * 3)).split(b"HTTP/1.1 ")[1:]
        assert b"close" in answers[-1].lower()
        assert all(b"close" not in answer.lower() for answer in answers[:-1])


@pytest.mark.parametrize("status", [200, 201, 204, 302, 304, 404, 409, 418, 429, 500, 503])
async def test_every_status_has_its_phrase(status: int, autojump_clock: MockClock) -> None:
    async def app(scope: object, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with hosted(app) as host:
        answer = await host.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert head_of(answer)[0] == b"HTTP/1.1 %d %b" % (status, PHRASES[status].encode())


async def test_an_open_websocket_and_a_continue_have_their_phrases(autojump_clock: MockClock) -> None:
    async with hosted() as host:
        client = host.connect()
        await client.send_all(request(b"/brief"))
        assert (await client.receive_some()).startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        await client.aclose()
        client = host.connect()
        await client.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.receive_some()).startswith(b"HTTP/1.1 100 Continue\r\n")
        await client.aclose()


async def test_the_head_of_an_answer_arrives_before_its_content_is_there(autojump_clock: MockClock) -> None:
    async def app(scope: object, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y" * 1_000)]})
        await trio.sleep(10)
        await send({"type": "http.response.body", "body": b"late"})

    async with hosted(app, Limits(write_seconds=5)) as host:
        client = host.connect(kernel_bytes=100)
        await client.send_all(GET % b"/")
        with trio.fail_after(1):
            await read_until(client, b"\r\n\r\n")
        await client.aclose()


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_a_head_whose_content_is_said_to_follow_leaves_with_it(method: bytes, autojump_clock: MockClock) -> None:
    async def app(scope: object, receive: Receive, send: Send) -> None:
        head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]}
        await send({**head, CONTENT_FOLLOWS: True})
        await trio.sleep(10)
        await send({"type": "http.response.body", "body": b"after"})

    async with hosted(app) as host:
        client = host.connect()
        await client.send_all(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
        with trio.move_on_after(5) as early:
            await client.receive_some()
        assert early.cancelled_caught
        answer = await client.receive_some()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\n" + (b"after" if method == b"GET" else b""))
        await client.aclose()
        await host.check_empty()
