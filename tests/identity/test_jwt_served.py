"""An app whose clients come with a JWT, on each transport."""

from __future__ import annotations

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.app.roads import ask
from triolet import JWT, Connection, Triolet
from triolet.clock import wall_time
from triolet.identity.bounds import JWKS_RETRY_SECONDS
from triolet.testing.server import serve

from .issuer import OTHER_EDWARDS, token
from .test_jwt_url import Host


def make_app(jwt: JWT) -> QuartTrio:
    app = QuartTrio("orders")
    live = Triolet(app)
    live.identify(jwt)

    @live.channel("/orders/events")
    async def events() -> str:
        return "orders"

    @live.socket("/live")
    async def handle(conn: Connection) -> None:
        identity = conn.identity
        await conn.send(None if identity is None else [identity.subject, identity.session, identity.claims["role"]])

    return app


@pytest.mark.parametrize("transport", ["websocket", "sse", "long poll", "short poll"])
async def test_a_token_lets_its_client_in_and_a_bad_one_does_not(transport: str, autojump_clock: MockClock) -> None:
    host = Host("one")
    async with serve(make_app(host.jwt())) as server:

        async def status(text: str) -> int:
            return (await ask(server, transport, "/orders/events", {"authorization": f"Bearer {text}"})).status

        good = host.answer
        host.go_away()
        assert await status(token(head={"kid": "one"})) == 503
        host.answer = good
        await trio.sleep(JWKS_RETRY_SECONDS)
        assert await status(token(head={"kid": "one"})) == (101 if transport == "websocket" else 200)
        for bad in (token(key=OTHER_EDWARDS, head={"kid": "one"}), token(head={"kid": "two"}), token(aud="mail"), "x"):
            assert await status(bad) == 401
        assert len(host.asked) == 2


async def test_a_handler_sees_what_the_token_says(autojump_clock: MockClock) -> None:
    text = token(head={"kid": "one"}, role="packer", exp=wall_time() + 600)
    async with (
        serve(make_app(Host("one").jwt())) as server,
        server.websocket("/live", headers={"authorization": f"Bearer {text}"}) as client,
    ):
        assert (await client.until("message"))["data"] == ["ada", "s1", "packer"]
