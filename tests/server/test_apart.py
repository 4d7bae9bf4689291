"""Requests of one connection are apart from each other: one task answers many, and they may be of many users."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any

import pytest
from quart import request
from trio.testing import MockClock
from werkzeug.routing import BaseConverter

from tests.app.warehouse import Warehouse
from tests.server.wire import Wire, get
from tests.shop import ORDERS, make_shop
from triolet.testing.server import serve

POLL = get(ORDERS)
PAGE = get("/page")
ANN = "Authorization: Bearer ann"
PICK = b"POST /orders/A1/pick HTTP/1.1\r\nHost: test\r\nIdempotency-Key: 1\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize("at_once", [True, False])
async def test_what_an_app_sets_for_one_request_is_not_there_for_the_next(
    at_once: bool, autojump_clock: MockClock
) -> None:
    shop = Warehouse()
    user: ContextVar[str | None] = ContextVar("user", default=None)
    seen: list[Any] = []

    @shop.app.before_request
    async def note() -> None:
        seen.append((request.path, user.get()))
        user.set(request.headers.get("authorization"))

    poll = get("/orders/A1/events", ANN)
    requests = [poll, poll, PICK, PAGE.replace(b"\r\n\r\n", f"\r\n{ANN}\r\n\r\n".encode()), poll, PAGE, PICK]
    async with serve(shop.app) as server:
        wire = Wire(server.connect())
        if at_once:
            await wire.end.send_all(b"".join(requests))
        for one in requests:
            assert (await (wire.answer() if at_once else wire.ask(one))).status_line == "HTTP/1.1 200 OK"
    assert len(seen) == len(requests)
    assert [before for _, before in seen] == [None] * len(requests), seen


@pytest.mark.parametrize(("method", "url"), [("GET", "/pages/b"), ("POST", "/pages/b"), ("GET", "/channels/b")])
async def test_an_error_of_the_apps_while_a_url_is_matched_is_answered_and_logged(
    method: str, url: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    app, live = make_shop()

    class Known(BaseConverter):
        def to_python(self, value: str) -> Any:
            return {"a": 1}[value]

    app.url_map.converters["known"] = Known

    @app.route("/pages/<known:number>", methods=["GET", "POST"])
    async def numbered(number: int) -> str:
        return "a page"

    @live.channel("/channels/<known:number>")
    async def channel(number: int) -> str:
        return f"channels/{number}"

    async with serve(app) as server:
        wire = Wire(server.connect())
        assert (await wire.ask(get(url, "Content-Length: 0", method=method))).status_line.startswith("HTTP/1.1 500 ")
        assert (server.worker.crashes, caplog.record_tuples[0][1]) == (0, logging.ERROR)
        assert (await Wire(server.connect()).ask(get("/channels/a"))).status_line == "HTTP/1.1 200 OK"


@pytest.mark.parametrize("first", [b"", POLL, PAGE])
@pytest.mark.parametrize("behind", [POLL, PAGE])
async def test_empty_lines_before_a_request_are_ignored(first: bytes, behind: bytes, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        wire = Wire(server.connect())
        if first:
            await wire.ask(first)
        for lines in (b"\r\n", b"\r\n\r\n"):
            assert (await wire.ask(lines + behind)).status_line == "HTTP/1.1 200 OK"
            assert (await wire.ask(lines, behind)).status_line == "HTTP/1.1 200 OK"
