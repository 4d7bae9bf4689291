"""``live.identity()`` in a view, and what a socket's handler has in place of Quart's request and session."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from quart import abort, request, session, websocket
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import ConfigError, Connection, Identity, Triolet
from triolet.testing.server import serve

from .roads import ROADS, served

ANN = {"authorization": "Bearer ann"}


def make_app() -> tuple[QuartTrio, Triolet, list[str | None]]:
    app = QuartTrio("orders")
    app.secret_key = "not a secret"
    live = Triolet(app)
    asked: list[str | None] = []

    @live.identify
    async def identity_of(token: str | None) -> Identity | None:
        asked.append(token)
        if token == "blocked":
            abort(403)
        return None if token is None else Identity(token)

    async def name() -> str | None:
        identity = await live.identity()
        return None if identity is None else identity.subject

    @app.get("/me")
    async def me() -> dict[str, Any]:
        return {"me": await name(), "again": await name()}

    async def member(room_id: str) -> str | None:
        return await name()

    @live.channel("/rooms/<room_id>", member=member)
    async def room(room_id: str) -> str:
        if await name() is None:
            abort(401)
        return f"rooms/{room_id}"

    return app, live, asked


@pytest.mark.parametrize("road", ROADS)
async def test_any_view_knows_who_asks(road: str, autojump_clock: MockClock) -> None:
    app, _, asked = make_app()
    async with served(app, road) as server:
        assert (await server.get("/me", **ANN)).json == {"me": "ann", "again": "ann"}
        assert (await server.get("/me")).json == {"me": None, "again": None}
        assert (await server.get("/me", authorization="Bearer blocked")).status == 403
    assert asked == ["ann", None, "blocked"]


@pytest.mark.parametrize("road", ROADS)
async def test_a_channels_view_and_its_member_know_it_too(road: str, autojump_clock: MockClock) -> None:
    app, live, asked = make_app()
    async with served(app, road) as server, server.websocket("/rooms/1", headers=ANN) as client:
        await client.until("live")
        assert list((await live.presence("rooms/1").roster()).members) == ["ann"]
        assert (await server.get("/rooms/1")).status == 401
    assert asked == ["ann", None]


async def test_an_app_that_asks_nobody_knows_nobody(autojump_clock: MockClock) -> None:
    app = QuartTrio("orders")
    live = Triolet(app)

    @app.get("/me")
    async def me() -> dict[str, Any]:
        return {"me": await live.identity()}

    async with serve(app) as server:
        assert (await server.get("/me", **ANN)).json == {"me": None}


async def test_outside_of_a_request_it_says_so() -> None:
    with pytest.raises(ConfigError, match=r"conn\.identity"):
        await Triolet(QuartTrio("orders")).identity()


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("what", ["session", "request", "websocket"])
async def test_a_handler_that_reads_what_is_not_there_is_told_what_is(
    what: str, road: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    app = QuartTrio("orders")
    app.secret_key = "not a secret"
    live = Triolet(app)
    read: dict[str, Callable[[], Any]] = {
        "session": lambda: session["user"],
        "request": lambda: request.path,
        "websocket": lambda: websocket.path,
    }

    @live.socket("/live")
    async def handle(conn: Connection) -> None:
        read[what]()

    async with served(app, road) as server, server.websocket("/live") as client:
        assert (await client.ended())[0] == 1011
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "conn.request.session" in line.getMessage()
    assert "test_identity.py" in line.getMessage()


@pytest.mark.parametrize(
    ("kind", "text"), [(RuntimeError, "Not within reach"), (RuntimeError, "no context"), (ValueError, "bad")]
)
async def test_an_error_of_its_own_stays_what_it_is(
    kind: type[Exception], text: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    app = QuartTrio("orders")
    live = Triolet(app)

    @live.socket("/live")
    async def handle(conn: Connection) -> None:
        raise kind(text)

    async with serve(app) as server, server.websocket("/live") as client:
        await client.ended()
    assert f"{kind.__name__} at test_identity.py" in caplog.text
    assert "conn.request" not in caplog.text
