"""A URL is matched once, to find its view, and Quart is given the match: its requests look as they always did."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from quart import Blueprint, Response, abort, g, request, session
from quart.sessions import SecureCookieSession, SessionInterface
from quart_trio import QuartTrio
from trio.testing import MockClock, wait_all_tasks_blocked
from werkzeug.routing import MapAdapter

from triolet import Command, Triolet
from triolet.app import views
from triolet.testing.clients import TRANSPORTS

from .roads import ROADS, ask, served

everywhere = [pytest.mark.parametrize("road", ROADS), pytest.mark.parametrize("transport", TRANSPORTS)]


def on_every_road(test: Any) -> Any:
    for mark in everywhere:
        test = mark(test)
    return test


def welcome(transport: str) -> int:
    return 101 if transport == "websocket" else 200


@on_every_road
async def test_a_view_sees_its_rule_its_values_and_its_blueprints(
    transport: str, road: str, autojump_clock: MockClock
) -> None:
    app, live = QuartTrio("app"), Triolet()
    outer, inner = Blueprint("outer", "outer", url_prefix="/<shop>"), Blueprint("inner", "inner")
    seen: list[Any] = []

    @inner.before_request
    async def before() -> None:
        seen.append((request.endpoint, request.view_args, request.routing_exception))

    @inner.url_value_preprocessor
    def take_shop(endpoint: str | None, values: dict[str, Any] | None) -> None:
        assert values is not None
        g.shop = values.pop("shop")

    @live.channel("/orders/<int:number>", blueprint=inner, defaults={"kind": "all"})
    async def orders(number: int, kind: str) -> str:
        seen.append((str(request.url_rule), request.blueprints, request.view_args))
        return f"{g.shop}/{kind}/{number}"

    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    live.init_app(app)
    async with served(app, road) as server:
        assert (await ask(server, transport, "/tea/orders/7?x=1")).status == welcome(transport)
    assert seen[:2] == [
        ("outer.inner.orders", {"number": 7, "kind": "all"}, None),
        ("/<shop>/orders/<int:number>", ["outer.inner", "outer"], {"number": 7, "kind": "all"}),
    ]


@on_every_road
async def test_what_runs_before_a_view_may_change_what_it_is_given(
    transport: str, road: str, autojump_clock: MockClock
) -> None:
    app = QuartTrio("app")
    app.secret_key = "secret"
    live = Triolet(app)
    followed: list[str] = []

    @app.before_request
    async def change() -> None:
        assert request.view_args is not None
        request.view_args["name"] = request.view_args["name"].upper()
        session["visits"] = 1

    @app.errorhandler(403)
    async def forbidden(_: Exception) -> Response:
        return Response(b"by hand", status=402)

    @app.after_request
    async def sign(response: Response) -> Response:
        response.headers["x-signed"] = str(request.url_rule)
        return response

    @live.channel("/<name>")
    async def channel(name: str) -> str:
        followed.append(name)
        return abort(403) if name == "NO" else name

    async with served(app, road) as server:
        answer = await ask(server, transport, "/tea")
        assert (answer.status, answer.headers["x-signed"]) == (welcome(transport), "/<name>")
        assert answer.headers["set-cookie"].startswith("session=")
        assert (await ask(server, transport, "/no")).status == 402
    assert set(followed) == {"TEA", "NO"}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_session_is_opened_before_the_match_is_known_and_its_view_has_it(
    transport: str, autojump_clock: MockClock
) -> None:
    app = QuartTrio("app")
    live = Triolet(app)
    rules: list[Any] = []

    class Sessions(SessionInterface):
        async def open_session(self, app: Any, request: Any) -> SecureCookieSession:
            rules.append(request.url_rule)
            return SecureCookieSession()

        async def save_session(self, app: Any, session: Any, response: Any) -> None:
            rules.append(str(request.url_rule))

    app.session_interface = Sessions()  # type: ignore[assignment]  # Quart types the attribute as its own default

    @live.channel("/<name>")
    async def channel(name: str) -> str:
        return name

    async with served(app, "direct") as server:
        assert (await ask(server, transport, "/tea")).status == welcome(transport)
    assert rules[:2] == [None, "/<name>"]


@pytest.fixture
def matched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were matched so far."""
    paths: list[str] = []
    match = MapAdapter.match

    def counted(self: MapAdapter, *arguments: Any, **options: Any) -> Any:
        paths.append(self.path_info)
        return match(self, *arguments, **options)

    monkeypatch.setattr(MapAdapter, "match", counted)
    return paths


async def test_a_view_that_is_asked_straight_on_a_socket_is_matched_once(
    matched: list[str], autojump_clock: MockClock
) -> None:
    app = QuartTrio("app")
    live = Triolet(app)

    @live.channel("/<name>")
    async def channel(name: str) -> str:
        return name

    async with served(app, "direct") as server:
        for transport in ("websocket", "sse"):
            assert (await ask(server, transport, "/tea")).status == welcome(transport)
    assert matched == ["/tea", "/tea"]


@pytest.mark.parametrize("road", ROADS)
async def test_a_command_is_matched_once_and_its_view_sees_rule_and_values(
    road: str, matched: list[str], autojump_clock: MockClock
) -> None:
    app = QuartTrio("app")
    live = Triolet(app)
    live.socket("/live")

    @live.command("/cups/<int:number>/fill")
    async def fill(number: int, command: Command) -> list[Any]:
        return [number, str(request.url_rule), request.view_args]

    expected = [7, "/cups/<int:number>/fill", {"number": 7}]
    async with served(app, road) as server:
        posted = await server.post("/cups/7/fill", json=1, idempotency_key='"a"')
        assert (posted.status, posted.json) == (200, expected)
        async with server.websocket("/live") as client:
            await client.say(type="command", url="/cups/7/fill", id="b", data=1)
            assert (await client.until("reply"))["data"] == expected
    assert matched.count("/cups/7/fill") == 2


@on_every_road
async def test_a_url_that_is_redirected_or_added_later_is_found_as_ever(
    transport: str, road: str, autojump_clock: MockClock
) -> None:
    app = QuartTrio("app")
    live = Triolet(app)

    @live.channel("/tea/")
    async def tea() -> str:
        return "tea"

    async with served(app, road) as server:
        assert (await ask(server, transport, "/tea/")).status == welcome(transport)
        assert (await ask(server, transport, "/tea")).status == (404 if transport == "websocket" else 308)
        assert (await ask(server, transport, "/milk")).status == 404
        live.channel("/milk")(tea)
        assert (await ask(server, transport, "/milk")).status == welcome(transport)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_app_that_makes_its_own_contexts_is_asked_for_them(transport: str, autojump_clock: MockClock) -> None:
    made: list[str] = []

    class Own(QuartTrio):
        def request_context(self, request: Any) -> Any:
            made.append(request.path)
            return super().request_context(request)

    app = Own("app")
    live = Triolet(app)

    @live.channel("/<name>")
    async def channel(name: str) -> str:
        return name

    async with served(app, "direct") as server:
        assert (await ask(server, transport, "/tea")).status == welcome(transport)
    assert made[:1] == ["/tea"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_context_that_hooks_into_the_match_is_asked_to_match(transport: str, autojump_clock: MockClock) -> None:
    class Own(QuartTrio):
        def request_context(self, request: Any) -> Any:
            context: Any = super().request_context(request)
            quarts = type(context)  # its name is another in another version

            class Hooked(quarts):  # type: ignore[misc, valid-type]  # a base that is known only when it runs
                def match_request(self) -> None:
                    super().match_request()
                    if request.view_args:
                        request.view_args["name"] += " of the hook"

            context.__class__ = Hooked
            return context

    app = Own("app")
    live = Triolet(app)
    names: list[str] = []

    @live.channel("/<name>")
    async def channel(name: str) -> str:
        names.append(name)
        return "tea"

    async with served(app, "direct") as server:
        assert (await ask(server, transport, "/tea")).status == welcome(transport)
    assert set(names) == {"tea of the hook"}


@pytest.mark.parametrize("origin", ["http://evil.example", None], ids=["refused before its view", "let in"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_request_is_freed_without_the_garbage_collector(
    transport: str, origin: str | None, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Any]] = []
    as_request = views.as_request

    def noted(app: Any, scope: Any) -> Any:
        found = as_request(app, scope)
        made.append(weakref.ref(found))
        return found

    monkeypatch.setattr(views, "as_request", noted)
    app, live = QuartTrio("app"), Triolet()

    @live.channel("/<name>")
    async def channel(name: str) -> str:
        return name

    live.init_app(app)
    async with served(app, "direct") as server:
        gc.disable()
        try:
            headers = {} if origin is None else {"Origin": origin, "Cookie": "a=b"}
            status = (await ask(server, transport, "/tea", headers)).status
            await wait_all_tasks_blocked()
            assert status == (welcome(transport) if origin is None else 403)
            assert made
            assert [one() for one in made] == [None] * len(made)
        finally:
            gc.enable()
