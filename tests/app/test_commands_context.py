"""A command's view is an ordinary Quart view: what holds for its request, also when its client has gone."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from quart import Response, abort, after_this_request, current_app, g, request, session
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import Command, Identity, Triolet
from triolet.testing import serve

from .roads import ROADS, served
from .warehouse import CARRIERS


class Shop:
    """An app that notes what happened to its requests."""

    def __init__(self) -> None:
        self.app = app = QuartTrio("shop")
        app.secret_key = "not a secret"
        self.live = live = Triolet(app)
        self.notes: list[Any] = []

        @app.before_request
        async def before() -> None:
            g.opened = trio.current_time()

        @app.after_request
        async def after(response: Response) -> Response:
            if "g" in request.path:
                self.notes.append("after")
            response.headers["x-shop"] = "ours"
            return response

        @app.teardown_request
        async def teardown(error: BaseException | None) -> None:
            if request.path == "/go":
                self.notes.append(("teardown", g.opened))

        @app.errorhandler(ValueError)
        async def invalid(error: ValueError) -> Any:
            return {"invalid": str(error)}, 400

        @app.errorhandler(404)
        async def absent(error: Exception) -> Any:
            return {"absent": request.path}, 404

        @live.channel("/events")
        async def events() -> str:
            return "orders"

        live.command("/go")(self.go)

        @live.command("/wrong")
        async def wrong(command: Command) -> Any:
            await command.publish("orders", 1)
            raise ValueError(command.id)

        @live.command("/absent")
        async def not_there(command: Command) -> Any:
            abort(404)

    async def go(self, command: Command) -> Any:
        """Look at everything that a view has, before and after its client has gone."""
        session["times"] = session.get("times", 0) + 1

        @after_this_request
        async def mark(response: Any) -> Any:
            self.notes.append("after this")
            return response

        await trio.sleep(float(request.args.get("seconds", 0)))
        assert (await request.get_json()) == command.data
        self.notes.append(("went", request.method, request.path, current_app.name, g.opened, session["times"]))
        return {"times": session["times"]}, 201, {"x-place": "7", "location": "/there"}


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("carrier", ["websocket", "sse"])
async def test_the_requests_context_is_whole_although_its_client_has_gone(
    carrier: str, road: str, autojump_clock: MockClock
) -> None:
    shop = Shop()
    async with served(shop.app, road) as server:
        async with server.client(carrier, "/events") as client:
            with trio.move_on_after(2):
                await client.command("/go?seconds=5", [1])
        del shop.notes[:]
        await trio.sleep(10)
    assert shop.notes == [("went", "POST", "/go", "shop", 0, 1), "after this", "after", ("teardown", 0)]


@pytest.mark.parametrize("road", ROADS)
async def test_a_session_is_read_and_saved(road: str, autojump_clock: MockClock) -> None:
    shop = Shop()
    async with served(shop.app, road) as server:
        first = await server.post("/go", json=1, idempotency_key="1")
        assert (first.status, first.json, first.headers["x-shop"]) == (201, {"times": 1}, "ours")
        cookie = first.headers["set-cookie"].partition(";")[0]
        second = await server.post("/go", json=2, idempotency_key="2", cookie=cookie)
        assert second.json == {"times": 2}
        again = await server.post("/go", json=1, idempotency_key="1")
        assert (again.status, again.json, again.headers.get("set-cookie")) == (201, {"times": 1}, None)
        kept = ("content-type", "content-length", "x-place", "location", "x-shop")
        assert {name: again.headers[name] for name in kept} == {name: first.headers[name] for name in kept}
        async with server.websocket("/events", headers={"cookie": cookie}) as client:
            assert (await client.command("/go", 3))["data"] == {"times": 2}


@pytest.mark.parametrize("carrier", CARRIERS[:2])
async def test_the_apps_error_handlers_answer_and_their_answers_are_kept(
    carrier: str, autojump_clock: MockClock
) -> None:
    shop = Shop()
    async with serve(shop.app) as server, server.client(carrier, "/events") as client:
        for repeated in (False, True):
            reply = await client.command("/wrong", None, "a")
            assert (reply["status"], reply["data"], "repeated" in reply) == (400, {"invalid": "a"}, repeated)
            reply = await client.command("/absent", None, "a")
            assert (reply["status"], reply["data"], "repeated" in reply) == (404, {"absent": "/absent"}, repeated)
        assert (await shop.live.log.head("orders")).offset == 0


async def test_before_request_decides_each_time(autojump_clock: MockClock) -> None:
    shop = Shop()
    banned: list[str] = []

    @shop.app.before_request
    async def look() -> None:
        if banned and request.path == "/go":
            abort(403)

    async with serve(shop.app) as server, server.websocket("/events") as client:
        assert (await client.command("/go", 1, "1"))["status"] == 201
        banned.append("everybody")
        assert (await client.command("/go", 1, "1"))["status"] == 403
        assert (await server.post("/go", json=1, idempotency_key="1")).status == 403
        banned.clear()
        assert (await client.command("/go", 1, "1"))["repeated"]


async def test_a_websockets_request_is_the_commands(autojump_clock: MockClock) -> None:
    shop = Shop()

    @shop.live.command("/look")
    async def look(command: Command) -> Any:
        return {"headers": dict(request.headers), "args": dict(request.args), "url": request.url}

    async with serve(shop.app) as server, server.websocket("/events?a=1", headers={"x-tab": "3"}) as client:
        told = (await client.command("/look?b=%202", {"c": 3}, 'i"d'))["data"]
    headers = {name.lower(): value for name, value in told["headers"].items()}
    assert (told["args"], told["url"]) == ({"b": " 2"}, "http://test/look?b=%202")
    assert (headers["x-tab"], headers["idempotency-key"], headers["content-length"]) == ("3", '"i\\"d"', "8")
    assert headers["content-type"] == "application/json"
    assert not [name for name in headers if name.startswith("sec-websocket") or name in ("upgrade", "connection")]


async def test_a_view_that_is_not_async_publishes_from_its_thread(mock_clock: MockClock) -> None:
    shop = Shop()

    @shop.live.command("/sync")
    def sync(command: Command) -> Any:
        trio.from_thread.run(command.publish, "orders", {"by": request.path})
        return {"done": True}

    async with serve(shop.app) as server, server.sse("/events") as client:
        await client.until("live")
        assert (await client.command("/sync"))["data"] == {"done": True}
        await client.expect("event", data={"by": "/sync"})
        mock_clock.autojump_threshold = 0  # it stands still for as long as a thread works, which no clock waits for


async def test_answers_of_all_kinds_come_through(autojump_clock: MockClock) -> None:
    shop = Shop()
    kinds: dict[str, Any] = {
        "list": ([1, 2], [1, 2]),
        "cookie": (("a", 200, {"set-cookie": "a=b", "x-tray": "9"}), "a"),
        "text": ("é", "é"),
        "none": (("", 204), None),
        "bytes": ((b"\xff", 200, {"content-type": "application/octet-stream"}), "\ufffd"),
        "lines": (("[1,\n2]", 200, {"content-type": "application/problem+json; charset=utf-8"}), [1, 2]),
    }

    @shop.live.command("/kinds/<kind>")
    async def answer(kind: str, command: Command) -> Any:
        return kinds[kind][0]

    async with serve(shop.app) as server, server.websocket("/events") as client:
        for kind, (_, data) in kinds.items():
            for repeated in (False, True):
                reply = await client.command(f"/kinds/{kind}", None, "1")
                assert (reply["data"], reply.get("repeated", False)) == (data, repeated)
            first = await server.post(f"/kinds/{kind}", idempotency_key="2")
            again = await server.post(f"/kinds/{kind}", idempotency_key="2")
            assert (again.status, again.body) == (first.status, first.body)
            for name in ("content-type", "x-tray"):
                assert again.headers.get(name) == first.headers.get(name)
            assert ("set-cookie" in first.headers, "set-cookie" in again.headers) == (kind == "cookie", False)


async def test_quarts_own_test_client_asks_as_any(autojump_clock: MockClock) -> None:
    shop = Shop()
    async with shop.app.test_app() as app:
        client = app.test_client()
        for _ in range(2):
            answer = await client.post("/go", json=[1], headers={"Idempotency-Key": '"1"'})
            assert (answer.status_code, await answer.get_json()) == (201, {"times": 1})
        assert answer.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("testing", [False, True])
async def test_an_error_is_answered_500_in_testing_mode_too(testing: bool, autojump_clock: MockClock) -> None:
    shop = Shop()
    shop.app.testing = testing

    @shop.live.command("/broken")
    async def broken(command: Command) -> Any:
        raise KeyError("secret")

    async with serve(shop.app) as server, server.websocket("/events") as client:
        reply = await client.command("/broken")
        assert reply["status"] == 500
        assert "secret" not in str(reply["data"])


async def test_who_has_expired_or_is_refused_does_nothing(autojump_clock: MockClock) -> None:
    app = QuartTrio("shop")
    live, done = Triolet(app), []

    @live.identify
    async def who(token: str | None) -> Identity | None:
        if token == "bad":
            abort(401)
        return None if token is None else Identity(token)

    @live.command("/go")
    async def go(command: Command) -> Any:
        done.append(command.identity)
        return {}

    async with serve(app) as server:
        assert (await server.post("/go", idempotency_key="1", authorization="Bearer bad")).status == 401
        assert done == []
        assert (await server.post("/go", idempotency_key="1", authorization="Bearer ann")).status == 200
        assert done == [Identity("ann")]
