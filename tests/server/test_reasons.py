"""Every answer has its phrase behind the status, on every road: some clients count one without as failed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from quart import Response, websocket
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.middleware import stand_before
from tests.peer import UPGRADE
from tests.server.wire import Wire, get
from tests.shop import ORDERS, make_shop
from triolet.testing.server import MemoryServer, serve

ROADS = ["direct", "behind a page", "asgi"]

ANSWERS: dict[str, tuple[bytes, str]] = {
    "a poll": (get(ORDERS), "200 OK"),
    "a refused poll": (get("/orders/secret/events"), "403 Forbidden"),
    "a poll of nothing": (get("/orders/absent/events"), "404 Not Found"),
    "a poll from nowhere": (get(f"{ORDERS}?after=a.b.c"), "400 Bad Request"),
    "a socket's URL": (get("/live"), "426 Upgrade Required"),
    "a stream": (get(ORDERS, "Accept: text/event-stream"), "200 OK"),
    "a WebSocket": (UPGRADE.format(path=ORDERS).encode(), "101 Switching Protocols"),
    "a refused WebSocket": (UPGRADE.format(path="/orders/secret/events").encode(), "403 Forbidden"),
    "a WebSocket of the app's": (UPGRADE.format(path="/own").encode(), "101 Switching Protocols"),
    "a page": (get("/page"), "200 OK"),
    "no page": (get("/nowhere"), "404 Not Found"),
    "a page's own status": (get("/own/422"), "422 Unprocessable Content"),
    "a redirect": (get("/orders//A123/events"), "308 Permanent Redirect"),
    "a form that is none": (get(ORDERS, "Content-Length: 0", method="PUT"), "405 Method Not Allowed"),
    "no request": (b"nonsense\r\n\r\n", "400 Bad Request"),
    "a head without end": (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, "431 Request Header Fields Too Large"),
    "another WebSocket": (UPGRADE.format(path=ORDERS).replace("13", "12").encode(), "426 Upgrade Required"),
}


def with_pages() -> QuartTrio:
    app, _ = make_shop()

    @app.websocket("/own")
    async def own() -> None:
        await websocket.accept()

    @app.get("/own/<int:status>")
    async def answer(status: int) -> Response:
        return Response("", status)

    return app


@asynccontextmanager
async def connected(road: str) -> AsyncIterator[tuple[MemoryServer, Wire]]:
    app = with_pages()
    if road == "asgi":
        stand_before(app)
    async with serve(app) as server:
        wire = Wire(server.connect())
        if road == "behind a page":
            await wire.ask(get("/page"))
        yield server, wire
        wire.end.reset()


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("what", ANSWERS)
async def test_an_answer_has_its_phrase(what: str, road: str, autojump_clock: MockClock) -> None:
    request, status = ANSWERS[what]
    async with connected(road) as (_, wire):
        assert (await wire.ask(request, head_only=True)).status_line == f"HTTP/1.1 {status}"


@pytest.mark.parametrize("road", ROADS)
async def test_what_is_not_modified_says_so(road: str, autojump_clock: MockClock) -> None:
    async with connected(road) as (_, wire):
        tag = (await wire.ask(get(ORDERS))).headers["etag"]
        answer = await wire.ask(get(ORDERS, f"If-None-Match: {tag}"))
        assert answer.status_line == "HTTP/1.1 304 Not Modified"


@pytest.mark.parametrize("road", ROADS)
async def test_what_is_to_be_gone_on_with_says_so(road: str, autojump_clock: MockClock) -> None:
    async with connected(road) as (_, wire):
        answer = await wire.ask(get("/page", "Expect: 100-continue", "Content-Length: 2", method="POST"))
        assert answer.status_line == "HTTP/1.1 100 Continue"


async def test_a_server_that_is_full_says_so(autojump_clock: MockClock) -> None:
    async with connected("direct") as (server, wire):
        budget = server.worker.budget
        budget.hold(budget.ceiling)
        answer = await wire.ask(get(ORDERS))
        budget.hold(-budget.ceiling)
        assert answer.status_line == "HTTP/1.1 503 Service Unavailable"
