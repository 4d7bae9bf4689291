"""An app below a prefix: whether the proxy passes the prefix on or takes it off, its pages and follows are found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from quart import request, url_for, websocket
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.stock import serve_stock
from triolet import Triolet
from triolet.testing.clients import TRANSPORTS
from triolet.testing.http import RefusedError
from triolet.testing.server import MemoryServer, serve

from .roads import ask


def make_app() -> tuple[QuartTrio, Triolet]:
    app = QuartTrio("below")
    live = Triolet(app)
    live.socket("/live")

    @live.channel("/orders/<order_id>/events")
    async def order_events(order_id: str) -> str:
        return f"orders/{order_id}"

    @live.channel("/livestock")
    async def livestock() -> str:
        return "livestock"

    @app.get("/where")
    async def where() -> dict[str, str]:
        return {"path": request.path, "root": request.root_path, "url": url_for("order_events", order_id="A")}

    @app.websocket("/own")
    async def own() -> None:
        await websocket.send(websocket.path)

    return app, live


@asynccontextmanager
async def below(app: QuartTrio, root: str, road: str) -> AsyncIterator[MemoryServer]:
    """Serve an app below a root path: told to the server, or by middleware."""
    if road == "direct":
        async with serve(app, root_path=root) as server:
            yield server
        return
    inner = app.asgi_app

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        at: Any = scope if scope["type"] == "lifespan" else {**scope, "root_path": root}
        await inner(at, receive, send)

    app.asgi_app = mounted  # type: ignore[method-assign]  # how ASGI middleware is put in
    async with serve(app) if road == "asgi" else serve_stock(app) as server:
        yield server


ROADS = ["direct", "asgi", "stock"]


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("prefix", ["", "/live"])
@pytest.mark.parametrize("path", ["/orders/A/events", "/livestock"])
async def test_a_channel_is_found_with_the_prefix_and_without(
    path: str, prefix: str, transport: str, road: str, autojump_clock: MockClock
) -> None:
    app, _ = make_app()
    async with below(app, "/live", road) as server:
        answer = await ask(server, transport, prefix + path)
        assert answer.status == (101 if transport == "websocket" else 200)
        assert (await ask(server, transport, f"{prefix}/none")).status == 404


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("prefix", ["", "/live"])
async def test_a_client_follows_by_a_url_of_either_form(prefix: str, road: str, autojump_clock: MockClock) -> None:
    app, live = make_app()
    async with below(app, "/live", road) as server, server.websocket(f"{prefix}/live") as client:
        assert (await client.follow("/live/orders/A/events"))["channel"] == "orders/A"
        assert (await client.follow("/orders/B/events"))["channel"] == "orders/B"
        assert (await client.follow("/livestock?after=0"))["channel"] == "livestock"
        with pytest.raises(RefusedError):
            await client.follow("/live/none")
        await live.publish("orders/A", 1)
        assert (await client.event())["data"] == 1


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("root", ["/live", "/live/", "live", "/a/b"])
@pytest.mark.parametrize("passed_on", [False, True])
async def test_urls_that_the_app_makes_are_below_the_prefix(
    passed_on: bool, root: str, road: str, autojump_clock: MockClock
) -> None:
    app, _ = make_app()
    prefix = "/" + root.strip("/")
    async with below(app, root, road) as server:
        answer = await server.get(f"{prefix}/where" if passed_on else "/where")
        assert answer.json == {"path": "/where", "root": prefix, "url": f"{prefix}/orders/A/events"}
        assert (await server.get(f"{prefix if passed_on else ''}/triolet/triolet.js")).status == 200


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("prefix", ["", "/live"])
async def test_an_apps_own_websocket_is_found_there_too(prefix: str, road: str, autojump_clock: MockClock) -> None:
    app, _ = make_app()
    async with below(app, "/live", road) as server:
        assert (await server.upgrade(f"{prefix}/own")).status == 101


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("path", ["/live", "/live/live"])
async def test_a_page_that_is_called_like_the_prefix_is_found(path: str, road: str, autojump_clock: MockClock) -> None:
    app, _ = make_app()
    async with below(app, "/live", road) as server:
        assert (await server.upgrade(path)).status == 101


@pytest.mark.parametrize("root", ["", "/"])
async def test_no_prefix_changes_nothing(root: str, autojump_clock: MockClock) -> None:
    app, _ = make_app()
    async with serve(app, root_path=root) as server:
        answer = await server.get("/where")
        assert answer.json == {"path": "/where", "root": "", "url": "/orders/A/events"}
        assert (await server.get("/live/where")).status == 404
