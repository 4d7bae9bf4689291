"""A crash is one connection's own, wherever the app raises."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

import pytest
import trio
from quart import Response, has_request_context, request, websocket
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.peer import PING, PONG, TEXT, UPGRADE, peer
from tests.shop import ORDER, ORDERS, make_shop
from triolet import Connection, Triolet
from triolet.server.isolation import isolated
from triolet.testing.server import serve

GET = "GET {path} HTTP/1.1\r\nHost: test\r\n{more}\r\n"
SSE = "Accept: text/event-stream\r\n"


def fragile_shop() -> Any:
    """An app that raises in every place there is."""
    app, live = make_shop()
    add_fragile_pages(app)
    add_fragile_sockets(live)
    return app, live


def add_fragile_pages(app: QuartTrio) -> None:
    @app.get("/crash/view")
    async def view() -> str:
        raise RuntimeError

    @app.get("/crash/group")
    async def group() -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(view)
        return ""

    @app.get("/crash/body")
    async def body() -> Any:
        async def parts() -> AsyncIterator[bytes]:
            yield b"begun"
            raise RuntimeError

        return parts()

    @app.get("/crash/headers")
    async def headers() -> Any:
        return Response("", headers={"x-é": "ü\u20ac"})

    @app.websocket("/crash/websocket")
    async def own() -> None:
        await websocket.accept()
        raise RuntimeError

    @app.websocket("/crash/early")
    async def early() -> None:
        raise RuntimeError

    @app.teardown_request
    async def teardown(_: BaseException | None) -> None:
        if has_request_context() and request.path.startswith("/crash/teardown"):
            raise RuntimeError


def add_fragile_sockets(live: Triolet) -> None:
    @live.channel("/crash/channel")
    async def channel() -> str:
        raise RuntimeError

    @live.channel("/crash/header-of-a-channel")
    async def header() -> Any:
        return Response("", 403, headers={"x-é": "ü\u20ac"})

    @live.socket("/crash/handler")
    async def handler(conn: Connection) -> None:
        raise RuntimeError

    @live.socket("/crash/handlers-group")
    async def handlers_group(conn: Connection) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handler, conn)
            nursery.start_soon(handler, conn)

    @live.socket("/crash/send")
    async def send(conn: Connection) -> None:
        await conn.send(object())


CRASHES = [
    *[("http", f"/crash/{place}") for place in ("view", "group", "body", "headers", "channel", "teardown")],
    *[("sse", f"/crash/{place}") for place in ("channel", "header-of-a-channel")],
    *[("websocket", f"/crash/{place}") for place in ("websocket", "early", "channel", "header-of-a-channel")],
    *[("websocket", f"/crash/{place}") for place in ("handler", "handlers-group", "send", "teardown")],
]


@pytest.mark.parametrize(("how", "path"), CRASHES)
async def test_an_app_that_raises_costs_one_connection(how: str, path: str, autojump_clock: MockClock) -> None:
    app, live = fragile_shop()
    async with serve(app) as server, server.websocket(ORDERS) as bystander:
        await bystander.until("live")
        stream = server.connect()
        request = UPGRADE.format(path=path) if how == "websocket" else GET.format(path=path, more=SSE * (how == "sse"))
        await stream.send_all(request.encode())
        with trio.move_on_after(10):
            try:
                while await stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass
        stream.reset()
        await trio.sleep(5)
        assert server.connections == 1
        await live.publish(ORDER, path)
        assert (await bystander.event())["data"] == path
        assert not server.worker.failed


async def test_a_crash_of_ours_is_counted_and_costs_one_connection(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app, _live = make_shop()
    async with serve(app) as server, peer(server, "/raw") as bystander:

        async def broken(*_: object) -> None:
            raise ZeroDivisionError("secret")

        with monkeypatch.context() as patch:
            patch.setattr(server.worker._front, "serve", broken)
            stream = server.connect()
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
        assert server.worker.crashes == 1
        assert "ZeroDivisionError" in caplog.text
        assert "secret" not in caplog.text
        await bystander.send(TEXT, "still here")
        assert await bystander.frame() == (TEXT, b"still here")
        await bystander.send(PING, b"?")
        assert await bystander.frame() == (PONG, b"?")


class TestIsolation:
    async def test_a_crash_is_counted_and_logged_in_one_line_without_payload(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def serve() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                await trio.sleep_forever()

        async def fail() -> None:
            raise ValueError("secret\nline")

        crashes: list[None] = []
        with caplog.at_level(logging.INFO, "triolet"):
            await isolated(serve, lambda: crashes.append(None))
        (record,) = caplog.records
        assert len(crashes) == 1
        assert "ValueError at test_isolation.py:" in record.getMessage()
        assert "secret" not in record.getMessage()

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    async def test_what_is_no_crash_passes(self, error: type[BaseException]) -> None:
        async def serve() -> None:
            raise error

        with pytest.raises(BaseException) as raised:
            await isolated(serve, lambda: pytest.fail("counted"))
        assert raised.errisinstance(error) or raised.group_contains(error)

    @pytest.mark.parametrize("error", [import_module("asyncio").CancelledError, GeneratorExit, BaseException])
    @pytest.mark.parametrize("grouped", [False, True])
    async def test_what_is_no_exception_but_a_librarys_own_is_a_crash(
        self, error: type[BaseException], grouped: bool
    ) -> None:
        async def serve() -> None:
            raise BaseExceptionGroup("of a nursery", [error(), ValueError()]) if grouped else error()

        crashes: list[None] = []
        await isolated(serve, lambda: crashes.append(None))
        assert len(crashes) == 1

    async def test_a_crash_that_comes_with_a_cancellation_is_counted_and_that_passes(self) -> None:
        async def fail() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise BaseException

        async def serve() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                await trio.sleep_forever()

        crashes: list[None] = []
        with trio.CancelScope() as scope:
            scope.cancel()
            await isolated(serve, lambda: crashes.append(None))
        assert scope.cancelled_caught
        assert len(crashes) == 1

    async def test_a_cancellation_passes(self) -> None:
        with trio.move_on_after(0) as scope:
            await isolated(trio.sleep_forever, lambda: pytest.fail("counted"))
        assert scope.cancelled_caught
