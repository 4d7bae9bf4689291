"""``@live.identify``: the app says who a client is, once a connection or poll, before any view of Triolet's."""

from __future__ import annotations

from typing import Any

import pytest
from quart import abort, session
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import BadToken, ConfigError, Connection, Identity, Triolet

from .roads import ROADS, ask, served

TRANSPORTS = ["websocket", "sse", "long poll", "short poll"]


def make_app(asked: list[Any] | None = None) -> QuartTrio:
    app = QuartTrio("orders")
    app.secret_key = "not a secret"
    live = Triolet(app)
    log = [] if asked is None else asked

    @live.identify
    async def identity_of(token: str | None) -> Identity | None:
        log.append(token)
        if token == "bad":
            raise BadToken("signature")
        if token == "away":
            raise BadToken("keys_away")
        if token == "blocked":
            abort(403)
        if token == "old":
            return Identity("ann", expires_at=1.0)
        return None if token is None else Identity(token, claims={"role": "packer"})

    @live.channel("/orders/<order_id>/events", member=lambda order_id: None)
    async def events(order_id: str) -> str:
        log.append("view")
        return f"orders/{order_id}"

    @live.socket("/live")
    async def handle(conn: Connection) -> None:
        identity, asked_with = conn.identity, conn.request
        assert asked_with is not None
        await conn.send(
            {
                "subject": None if identity is None else identity.subject,
                "url": asked_with.url,
                "args": dict(asked_with.args),
                "cookie": asked_with.cookies.get("theme"),
                "session": dict(asked_with.session),
                "host": asked_with.headers["host"],
            }
        )
        async for _ in conn:
            pass

    @app.before_request
    async def visit() -> None:
        session["visits"] = session.get("visits", 0) + 1

    return app


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_it_is_asked_once_and_before_the_view(transport: str, road: str, autojump_clock: MockClock) -> None:
    asked: list[Any] = []
    async with served(make_app(asked), road) as server:
        answer = await ask(server, transport, "/orders/7/events", {"authorization": "Bearer ann"})
        assert answer.status == (101 if transport == "websocket" else 200)
    assert asked[:2] == ["ann", "view"]
    assert asked.count("ann") == asked.count("view")


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("token", "status"), [("bad", 401), ("away", 503), ("blocked", 403), ("old", 401)])
async def test_what_is_no_good_is_refused_before_the_view(
    token: str, status: int, transport: str, road: str, autojump_clock: MockClock
) -> None:
    asked: list[Any] = []
    async with served(make_app(asked), road) as server:
        answer = await ask(server, transport, "/orders/7/events", {"authorization": f"Bearer {token}"})
        assert answer.status == status
        assert token.encode() not in answer.body
        if status == 401:
            assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token"')
    assert "view" not in asked


@pytest.mark.parametrize("road", ROADS)
async def test_a_browsers_websocket_brings_its_token_as_a_subprotocol(road: str, autojump_clock: MockClock) -> None:
    asked: list[Any] = []
    async with served(make_app(asked), road) as server:
        offered = {"sec-websocket-protocol": "triolet.1, triolet.token.ann.b-c_d"}
        answer = await server.upgrade("/orders/7/events", offered)
        assert (answer.status, answer.headers["sec-websocket-protocol"]) == (101, "triolet.1")
    assert asked == ["ann.b-c_d", "view"]


@pytest.mark.parametrize("road", ROADS)
async def test_a_handler_knows_the_client_and_the_request(road: str, autojump_clock: MockClock) -> None:
    async with served(make_app(), road) as server:
        headers = [("authorization", "Bearer ann"), ("cookie", "theme=dark")]
        async with server.websocket("/live?a=1&b=%20x", headers=dict(headers)) as client:
            told = (await client.until("message"))["data"]
    assert told.pop("host")
    assert told == {
        "subject": "ann",
        "url": "/live?a=1&b=%20x",
        "args": {"a": "1", "b": " x"},
        "cookie": "dark",
        "session": {"visits": 1},
    }


@pytest.mark.parametrize("road", ROADS)
async def test_a_follow_on_a_socket_is_asked_with_the_connections_identity(
    road: str, autojump_clock: MockClock
) -> None:
    asked: list[Any] = []
    async with (
        served(make_app(asked), road) as server,
        server.websocket("/live", headers={"authorization": "Bearer ann"}) as client,
    ):
        await client.until("message")
        await client.follow("/orders/7/events")
        await client.until("live")
    assert asked == ["ann", "view"]


async def test_an_answer_that_is_no_identity_is_the_apps_fault(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    app = QuartTrio("orders")
    live = Triolet(app)
    live.identify(lambda token: token)

    @live.channel("/events")
    async def events() -> str:
        return "orders"

    async with served(app, "direct") as server:
        answer = await ask(server, "short poll", "/events", {"authorization": "Bearer secret"})
    assert answer.status == 500
    assert "live.identify returns an Identity or None, not str" in caplog.text
    assert "secret" not in caplog.text


def test_one_function_says_who_a_client_is() -> None:
    live = Triolet(QuartTrio("orders"))
    with pytest.raises(ConfigError, match="a function of the token"):
        live.identify("ann")  # type: ignore[type-var]  # the mistake is meant
    live.identify(lambda token: None)
    with pytest.raises(ConfigError, match="already"):
        live.identify(lambda token: None)
