"""A socket's own subprotocols, agreed on as RFC 6455 says (sections 1.9, 4.1 and 4.2.2)."""

from __future__ import annotations

from typing import Any

import pytest
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import ConfigError, Connection, Triolet

from .roads import ROADS, served

OWN = ["ocpp2.0.1", "ocpp1.6"]


def make_app() -> QuartTrio:
    app = QuartTrio("chargers")
    live = Triolet(app)

    @live.socket("/raw", raw=True, subprotocols=OWN)
    async def raw(conn: Connection) -> None:
        await conn.send(f"{conn.subprotocol}")
        async for message in conn:
            await conn.send(message)

    @live.socket("/json", subprotocols=OWN)
    async def json(conn: Connection) -> None:
        await conn.send({"agreed": conn.subprotocol})
        async for message in conn:
            await conn.send(message)

    @live.channel("/news")
    async def news() -> str:
        return "news"

    return app


AGREED = [
    ("/raw", "ocpp1.6", "ocpp1.6"),
    ("/raw", "ocpp1.6, ocpp2.0.1", "ocpp1.6"),
    ("/raw", "ocpp2.0.1, ocpp1.6", "ocpp2.0.1"),
    ("/raw", "soap, ocpp1.6", "ocpp1.6"),
    ("/raw", "soap", None),
    ("/raw", "OCPP1.6", None),
    ("/raw", "triolet.1", None),
    ("/raw", None, None),
    ("/json", "triolet.1, ocpp1.6", "triolet.1"),
    ("/json", "ocpp1.6, triolet.1", "ocpp1.6"),
    ("/json", "ocpp2.0.1", "ocpp2.0.1"),
    ("/json", "soap", None),
    ("/news", "ocpp1.6, triolet.1", "triolet.1"),
    ("/news", "ocpp1.6", None),
]


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize(("path", "offered", "agreed"), AGREED)
async def test_the_first_that_is_known_of_what_a_client_offers_is_agreed_on(
    path: str, offered: str | None, agreed: str | None, road: str, autojump_clock: MockClock
) -> None:
    async with served(make_app(), road) as server:
        headers = {} if offered is None else {"sec-websocket-protocol": offered}
        answer = await server.upgrade(path, headers)
        assert answer.status == 101
        assert answer.headers.get("sec-websocket-protocol") == agreed


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize(("offered", "agreed"), [(("soap", "ocpp1.6"), "ocpp1.6"), ((), None)])
async def test_a_handler_knows_what_was_agreed_on(
    offered: tuple[str, ...], agreed: str | None, road: str, autojump_clock: MockClock
) -> None:
    async with served(make_app(), road) as server, server.websocket("/json", subprotocols=offered) as client:
        assert (await client.until("message"))["data"] == {"agreed": agreed}


NO_NAMES = ["ocpp1.6", [""], ["a b"], ["a,b"], ["é"], ["a\r\nb"], [b"ocpp1.6"], [None], 7, ["triolet.1"], ["Triolet.2"]]


@pytest.mark.parametrize("names", NO_NAMES)
@pytest.mark.parametrize("raw", [False, True])
def test_what_cannot_be_a_subprotocol_of_the_apps_own_is_said_at_once(raw: bool, names: Any) -> None:
    live = Triolet(QuartTrio("chargers"))
    with pytest.raises(ConfigError, match="subprotocol"):
        live.socket("/raw", raw=raw, subprotocols=names)
