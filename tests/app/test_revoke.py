"""``live.revoke``: what ends, over all transports and roads, and what is told."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from quart import abort
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import ConfigError, Connection, DataError, Identity, Triolet
from triolet.errors import ChannelNameError
from triolet.testing.server import serve

from .roads import ROADS, served

ANN = {"authorization": "Bearer ann.1"}
BEN = {"authorization": "Bearer ben.1"}
EVENTS = "/orders/7/events"


def make_app(**route: Any) -> tuple[QuartTrio, Triolet]:
    app = QuartTrio("orders")
    app.secret_key = "not a secret"
    live = Triolet(app)

    @live.identify
    async def identity_of(token: str | None) -> Identity | None:
        await trio.lowlevel.checkpoint()
        if token is None:
            return None
        subject, _, session = token.partition(".")
        return Identity(subject, session or None)

    @live.channel("/orders/<order_id>/events", **route)
    async def events(order_id: str) -> str:
        await trio.lowlevel.checkpoint()
        if order_id == "none":
            abort(404)
        return f"orders/{order_id}"

    @live.socket("/live")
    async def handle(conn: Connection) -> None:
        async for message in conn:
            await conn.follow(message)

    return app, live


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("named", [{"subject": "ann"}, {"session": "1"}, {"channel": "orders/7"}, {"url": EVENTS}])
async def test_a_websocket_of_one_channel_ends(named: Any, road: str, autojump_clock: MockClock) -> None:
    app, live = make_app()
    async with served(app, road) as server, server.websocket(EVENTS, headers=ANN) as client:
        await client.until("live")
        assert await live.revoke(**named)
        await live.publish("orders/7", "secret")
        assert (await client.until("bye"))["code"] == 4403
        assert (await client.ended())[0] == 4403
        assert live.service.statistics().counts.revoked["connections"] == 1


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("named", [{"subject": "ann"}, {"session": "1"}, {"channel": "orders/7"}, {"url": EVENTS}])
async def test_an_event_stream_ends(named: Any, road: str, autojump_clock: MockClock) -> None:
    app, live = make_app()
    async with served(app, road) as server, server.events(EVENTS, headers=ANN) as stream:
        await stream.until("triolet.live")
        assert await live.revoke(**named)
        await live.publish("orders/7", "secret")
        heard = [event async for event in stream]
        print(heard)
