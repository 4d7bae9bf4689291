"""What an app's life and its Triolet's have to do with each other, and what Quart's own test client finds."""

from __future__ import annotations

import logging

import pytest
import trio
from quart import Blueprint, abort
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from tests.stock import serve_stock
from triolet import Triolet
from triolet.testing.server import serve

# --- the order of things


@pytest.mark.parametrize("first", [True, False])
async def test_what_runs_before_serving_publishes_whenever_it_was_registered(
    first: bool, autojump_clock: MockClock
) -> None:
    app, live = QuartTrio("seeded"), Triolet()

    @live.channel("/news")
    async def news() -> str:
        return "news"

    async def seed() -> None:
        await live.publish("news", "good morning")

    if first:
        app.before_serving(seed)
    live.init_app(app)
    if not first:
        app.before_serving(seed)
    async with serve(app) as server, server.websocket("/news", after=0) as client:
        assert (await client.event())["data"] == "good morning"


async def test_what_runs_after_serving_publishes_whenever_it_was_registered(autojump_clock: MockClock) -> None:
    app, live = QuartTrio("ended"), Triolet()
    said = []

    async def end() -> None:
        said.append(await live.publish("news", "good night"))

    app.after_serving(end)
    live.init_app(app)
    app.after_serving(end)
    async with serve(app):
        pass
    assert [event.offset for event in said] == [1, 2]


# --- guards that are not asked


@pytest.mark.parametrize("stock", [False, True])
@pytest.mark.parametrize("where", ["app", "blueprint"])
async def test_an_app_that_guards_its_websockets_is_told_what_guards_ours(
    where: str, stock: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = make_shop()
    part = Blueprint("part", "part")

    async def only_friends() -> None:
        abort(401)

    if where == "app":
        app.before_websocket(only_friends)
    else:
        part.before_websocket(only_friends)
        app.register_blueprint(part)
    with caplog.at_level(logging.WARNING, "triolet"):
        async with serve_stock(app) if stock else serve(app) as server:
            assert (await server.upgrade(ORDERS)).status == 101  # as it says: it was not asked
    (told,) = [record.getMessage() for record in caplog.records if "before_websocket" in record.getMessage()]
    assert "only_friends" in told
    assert "before_request" in told


@pytest.mark.parametrize("guarded", ["no guard", "no route"])
async def test_an_app_with_nothing_unguarded_is_told_nothing(
    guarded: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_shop()[0] if guarded == "no guard" else QuartTrio("no route")
    if guarded == "no route":
        Triolet(app)
        app.before_websocket(lambda: None)
    with caplog.at_level(logging.WARNING, "triolet"):
        async with serve(app):
            pass
    assert not caplog.records


# --- Quart's own test client


async def test_quarts_test_client_follows_a_channel(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with app.test_app() as running, running.test_client().websocket(ORDERS) as client:
        assert (await client.receive_json())["type"] == "open"
        assert (await client.receive_json())["type"] == "live"
        await live.publish(ORDER, {"state": "paid"})
        assert (await client.receive_json())["data"] == {"state": "paid"}


async def test_quarts_test_client_talks_with_a_handler(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with app.test_app() as running:
        async with running.test_client().websocket("/warehouse") as client:
            assert (await client.receive_json())["type"] == "open"
            for n in range(30):
                await client.send_json({"type": "message", "data": n})
                assert (await client.receive_json())["data"] == {"echo": n}
        async with running.test_client().websocket("/raw") as client:
            await client.send(b"\x00")
            assert await client.receive() == b"\x00"


async def test_quarts_test_client_is_refused_as_any_other(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with app.test_app() as running:
        async with running.test_client().websocket("/orders/secret/events") as client:
            with pytest.raises(Exception, match="403"):
                await client.receive()
        assert (await running.test_client().get("/orders/secret/events")).status_code == 403


async def test_quarts_test_client_leaves_without_having_read(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with app.test_app() as running:
        async with running.test_client().websocket(ORDERS):
            await trio.sleep(1)
            await live.publish_many(ORDER, list(range(100)))
        assert live.service.hub.statistics().followers == 0


async def test_quarts_test_client_polls(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with app.test_app() as running:
        await live.publish(ORDER, 1)
        answer = await running.test_client().get(f"{ORDERS}?after=0")
        assert (await answer.get_json())["events"][0]["data"] == 1


@pytest.mark.parametrize("transport", ["websocket", "poll"])
async def test_quarts_test_client_is_told_when_the_app_is_not_served(
    transport: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = make_shop()
    if transport == "poll":
        assert (await app.test_client().get(ORDERS)).status_code == 503
    else:
        async with app.test_client().websocket(ORDERS) as client:
            with pytest.raises(Exception, match="503"):
                await client.receive()
    assert "app.test_app()" in caplog.text
