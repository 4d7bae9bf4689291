"""Behind Hypercorn's ProxyFixMiddleware, which copies each scope deeply, all is served as to the proxy's client."""

from __future__ import annotations

from typing import Any

import pytest
from hypercorn.middleware import ProxyFixMiddleware
from quart import request, websocket
from trio.testing import MockClock

from triolet import Limits
from triolet.testing.clients import TRANSPORTS
from triolet.testing.server import serve

from ..shop import make_shop

FORWARDED = {"X-Forwarded-For": "203.0.113.77", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example"}
PROXYS_CLIENT = ("203.0.113.77", "https", "shop.example")


def shop_behind_proxy() -> tuple[Any, Any, list[tuple[str | None, str, str]]]:
    """The shop, and what its views see of who asks."""
    app, live = make_shop()
    seen: list[tuple[str | None, str, str]] = []

    def look(asked: Any) -> None:
        seen.append((asked.remote_addr, asked.scheme, asked.host))

    @live.channel("/watched")
    async def watched() -> str:
        look(request)
        return "watched"

    @app.get("/who")
    async def who() -> str:
        look(request)
        return "you"

    @app.websocket("/own")
    async def own() -> None:
        look(websocket)
        while True:
            await websocket.send(await websocket.receive())

    app.asgi_app = ProxyFixMiddleware(app.asgi_app, mode="legacy", trusted_hops=1)  # type: ignore[method-assign]  # how middleware is put in
    return app, live, seen


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_of_a_proxy_hears_events_over_every_transport(transport: str, autojump_clock: MockClock) -> None:
    app, live, seen = shop_behind_proxy()
    async with serve(app) as server:
        await live.publish("watched", 1)
        async with server.client(transport, "/watched", headers=FORWARDED) as client:
            await client.until("live")
            await live.publish("watched", 2)
            await client.expect(data=2)
        assert server.worker.crashes == 0
    assert set(seen) == {PROXYS_CLIENT} or transport == "follow"


async def test_a_page_is_asked_for_by_the_proxys_client(autojump_clock: MockClock) -> None:
    app, _, seen = shop_behind_proxy()
    async with serve(app) as server:
        assert (await server.request("GET", "/who", FORWARDED)).body == b"you"
    assert seen == [PROXYS_CLIENT]


async def test_a_socket_of_the_apps_talks_to_the_proxys_client(autojump_clock: MockClock) -> None:
    app, _, _ = shop_behind_proxy()
    async with serve(app) as server, server.websocket("/warehouse", headers=FORWARDED) as client:
        await client.say(type="message", data=1)
        assert (await client.until("message"))["data"] == {"echo": 1}


async def test_quarts_own_websocket_is_read_on_behind_a_proxy(autojump_clock: MockClock) -> None:
    """Quart wants to hear of ``wss`` there, not of ``https``: that is between the proxy, the middleware and Quart."""
    app, _, seen = shop_behind_proxy()
    async with (
        serve(app, limits=Limits(inbox_messages=4)) as server,
        server.websocket("/own", headers={**FORWARDED, "X-Forwarded-Proto": "wss"}) as client,
    ):
        for n in range(20):  # more than may wait: each is found used up in the inbox itself, not in a copy
            await client.say(n=n)
            answer = await client.next()
            assert answer is not None
            assert answer["data"] == f'{{"n": {n}}}'
        assert server.worker.crashes == 0
    assert seen == [("203.0.113.77", "wss", "shop.example")]


async def test_the_proxys_own_pages_need_no_listed_origin(autojump_clock: MockClock) -> None:
    app, live, _ = shop_behind_proxy()
    page = {**FORWARDED, "Origin": "https://shop.example"}
    async with serve(app) as server, server.websocket("/watched", headers=page) as client:
        await client.until("live")
        await live.publish("watched", 1)
        await client.expect(data=1)
        assert (await server.upgrade("/watched", {**FORWARDED, "Origin": "https://elsewhere.example"})).status == 403
