"""The extension in an app: factories, blueprints, and everything of Quart's that stands around a view."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from quart import Blueprint, Quart, Response, abort, jsonify, make_response, redirect, request, session
from quart_trio import QuartTrio
from trio.testing import MockClock, wait_all_tasks_blocked

import triolet
from tests.shop import ORDER, ORDERS, make_shop
from triolet import ConfigError, Connection, Limits, Triolet
from triolet.testing.clients import TRANSPORTS
from triolet.testing.server import serve

from .roads import ROADS, ask, served

STATIC = Path(triolet.__file__).parent / "static"

WELCOME = {"websocket": 101, "sse": 200, "long poll": 200, "short poll": 200}

# --- apps


async def test_one_triolet_serves_the_apps_of_a_factory_each_with_a_log_of_its_own(autojump_clock: MockClock) -> None:
    live = Triolet()

    @live.channel("/news")
    async def news() -> str:
        return "news"

    def create_app(name: str) -> QuartTrio:
        app = QuartTrio(name)
        live.init_app(app)

        @app.post("/news")
        async def publish() -> str:
            return str((await live.publish("news", name)).cursor)

        return app

    async with serve(create_app("one")) as one, serve(create_app("two")) as two:
        async with one.websocket("/news") as here, two.websocket("/news") as there:
            await here.until("live")
            await there.until("live")
            await two.post("/news")
            await one.post("/news")
            assert (await here.event())["data"] == "one"
            assert (await there.event())["data"] == "two"
        with pytest.raises(ConfigError, match="app_context"):
            await live.publish("news", 1)
        async with one.app.app_context():
            await live.publish("news", 1)


async def test_routes_may_come_before_and_after_the_app(autojump_clock: MockClock) -> None:
    live = Triolet()

    @live.channel("/before")
    async def before() -> str:
        return "before"

    app = QuartTrio("late")
    live.init_app(app)

    @live.channel("/after")
    async def after() -> str:
        return "after"

    async with serve(app) as server:
        for path in ("/before", "/after"):
            assert (await server.get(path)).json["channel"] == path[1:]
            assert (await server.upgrade(path)).status == 101


@pytest.mark.parametrize(
    ("name", "value"),
    [("limits", {"connections": 5}), ("limits", Limits), ("log", 5), ("log", None), ("log", b"memory:")],
)
def test_a_setting_of_another_kind_is_refused_at_once(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{name}= is a"):
        Triolet(**{name: value})


def test_an_app_that_cannot_be_served_is_refused_with_advice() -> None:
    live = Triolet()
    with pytest.raises(ConfigError, match="QuartTrio"):
        live.init_app(Quart("asyncio's"))  # type: ignore[arg-type]  # refused: that is the test
    app = QuartTrio("twice")
    live.init_app(app)
    with pytest.raises(ConfigError, match="already"):
        Triolet(app)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_channel_lives_in_a_blueprint_within_a_blueprint(transport: str, autojump_clock: MockClock) -> None:
    app, live = QuartTrio("nested"), Triolet()
    inner, outer = Blueprint("inner", "inner"), Blueprint("outer", "outer", url_prefix="/shop")

    @live.channel("/orders/<int:order_id>", blueprint=inner)
    async def orders(order_id: int) -> str:
        return f"orders/{order_id}"

    outer.register_blueprint(inner, url_prefix="/in")
    live.init_app(app)
    app.register_blueprint(outer)
    app.register_blueprint(outer, name="again", url_prefix="/again")
    async with serve(app) as server:
        for path in ("/shop/in/orders/7", "/again/in/orders/7"):
            await live.publish("orders/7", path)
            async with server.client(transport, path, after=0) as client:
                assert (await client.until("event"))["data"] == "/shop/in/orders/7"
        assert (await ask(server, transport, "/shop/in/orders/seven")).status == 404


async def test_a_socket_lives_in_a_blueprint(autojump_clock: MockClock) -> None:
    app = QuartTrio("sockets")
    live = Triolet(app)
    desk = Blueprint("desk", "desk", url_prefix="/desk")

    @live.socket("/<name>", blueprint=desk)
    async def talk(conn: Connection, name: str) -> None:
        await conn.send(name)

    app.register_blueprint(desk)
    async with serve(app) as server, server.websocket("/desk/ada") as client:
        assert (await client.until("message"))["data"] == "ada"


async def test_the_apps_own_routes_and_websockets_stay_its_own(autojump_clock: MockClock) -> None:
    from quart import websocket

    app, _ = make_shop()

    @app.websocket("/own")
    async def own() -> None:
        await websocket.send(await websocket.receive())

    async with serve(app) as server:
        assert (await server.get("/page")).body == b"a page"
        async with server.websocket("/own") as client:
            await client.send("as it is")
            await client.expect("text", data="as it is")


@pytest.mark.parametrize("road", ROADS)
async def test_a_browser_that_has_the_script_of_this_version_is_told_so(road: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with served(app, road) as server:
        first = await server.get("/triolet/line.js")
        assert first.headers["cache-control"] == "no-cache"  # asked for each time: none is left of an older version
        tag = first.headers["etag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):  # a proxy that compresses makes a tag weak
            again = await server.request("GET", "/triolet/line.js", {"if-none-match": known})
            assert (again.status, again.body) == (304, b"")
            assert (again.headers["etag"], again.headers["cache-control"]) == (tag, "no-cache")
        assert (await server.request("HEAD", "/triolet/line.js", {"if-none-match": tag})).status == 304
        for known in ('"of another version"', tag[:-2] + '"', "nonsense"):
            other = await server.request("GET", "/triolet/line.js", {"if-none-match": known})
            assert (other.status, other.body, other.headers["etag"]) == (200, first.body, tag)
        assert (await server.get("/triolet/track.js")).headers["etag"] != tag


async def test_the_script_is_served_and_nothing_else(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        script = await server.get("/triolet/triolet.js")
        assert (script.status, script.headers["content-type"].split(";")[0]) == (200, "text/javascript")
        for path in ("/triolet/", "/triolet/../extension.py", "/triolet/%2e%2e/extension.py", "/triolet/x.js"):
            assert (await server.get(path)).status in (400, 404)
        for packed in ("package.json", "README.md", "LICENSE", "types/triolet.d.ts"):
            assert (STATIC / packed).is_file()
            assert (await server.get(f"/triolet/{packed}")).status == 404


# --- around a view


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_before_request_guards_every_transport(transport: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()

    @app.before_request
    async def only_friends() -> Any:
        if request.headers.get("x-friend") != "yes":
            abort(401)

    async with serve(app) as server:
        assert (await ask(server, transport, ORDERS)).status == 401
        assert (await ask(server, transport, ORDERS, {"x-friend": "yes"})).status == WELCOME[transport]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_session_is_read_and_renewed_on_every_transport(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    app.secret_key = "a key"

    @live.channel("/counted")
    async def counted() -> str:
        session["visits"] = session.get("visits", 0) + 1
        return f"visit/{session['visits']}"

    async with serve(app) as server:
        first = await ask(server, transport, "/counted")
        cookie = first.headers["set-cookie"].split(";")[0]
        await live.publish("visit/2", "welcome back")
        path = "/counted?after=0"
        if transport == "websocket":
            async with server.websocket(path, headers={"cookie": cookie}) as client:
                assert (await client.event())["data"] == "welcome back"
        elif transport == "sse":
            async with server.events(path, headers={"cookie": cookie}) as stream:
                assert (await stream.event() or {})["data"] == "welcome back"
        else:
            answer = await server.request("GET", path, {"cookie": cookie})
            assert answer.json["events"][0]["data"] == "welcome back"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_headers_of_after_request_are_on_every_answer(transport: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()

    @app.after_request
    async def mark(response: Response) -> Response:
        response.headers["x-shop"] = "ours"
        response.set_cookie("seen", "yes")
        return response

    async with serve(app) as server:
        for path in (ORDERS, "/orders/secret/events"):
            answer = await ask(server, transport, path)
            assert answer.headers["x-shop"] == "ours"
            assert answer.headers["set-cookie"].startswith("seen=yes")


async def test_a_header_that_cannot_be_sent_is_a_failed_upgrade_and_leaves_nothing(autojump_clock: MockClock) -> None:
    app, _ = make_shop()

    @app.after_request
    async def mark(response: Response) -> Response:
        response.headers["x-bell"] = "\x07"
        return response

    async with serve(app) as server:
        assert (await server.upgrade(ORDERS)).status == 500
        await wait_all_tasks_blocked()
        assert (server.connections, server.followers) == (0, 0)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_error_handler_writes_the_refusal(transport: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()

    @app.errorhandler(403)
    async def refused(_: Exception) -> Any:
        return jsonify(sorry=True), 418

    async with serve(app) as server:
        answer = await ask(server, transport, "/orders/secret/events")
        assert answer.status == 418
        if transport != "sse":
            assert answer.json == {"sorry": True}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_view_may_answer_for_itself(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.channel("/moved")
    async def moved() -> Any:
        return redirect("/page")

    @live.channel("/gone")
    async def gone() -> Any:
        return await make_response("gone", 410)

    async with serve(app) as server:
        answer = await ask(server, transport, "/moved")
        assert (answer.status, answer.headers["location"]) == (302, "/page")
        assert (await ask(server, transport, "/gone")).status == 410


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_view_that_fails_is_answered_500_and_no_other_notices(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()

    @live.channel("/nothing")
    async def nothing() -> None:
        return None

    async with serve(app) as server, server.websocket(ORDERS) as other:
        await other.until("live")
        for path in ("/orders/broken/events", "/nothing"):
            answer = await ask(server, transport, path)
            assert answer.status == 500
            assert b"bug" not in answer.body
        await live.publish(ORDER, 1)
        assert (await other.event())["data"] == 1


@pytest.mark.parametrize("transport", ["websocket", "short poll"])
async def test_forbidden_and_absent_look_alike_where_the_app_says_so(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.channel("/private/<name>")
    async def private(name: str) -> str:
        abort(404)

    async with serve(app) as server:
        forbidden = await ask(server, transport, "/private/there")
        absent = await ask(server, transport, "/private/not-there")
        assert (forbidden.status, forbidden.body) == (absent.status, absent.body)
        assert forbidden.headers.keys() == absent.headers.keys()


async def test_a_handler_has_its_apps_context_and_may_publish(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.socket("/till")
    async def till(conn: Connection) -> None:
        async for amount in conn:
            await live.publish(ORDER, {"paid": amount})

    async with serve(app) as server, server.websocket(ORDERS) as customer, server.websocket("/till") as clerk:
        await customer.until("live")
        await clerk.say(type="message", data=12)
        assert (await customer.event())["data"] == {"paid": 12}
