"""What a view answers that is no channel's name, its client gets as from a page of Quart's, on every road."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Any

import pytest
from markupsafe import Markup
from quart import Blueprint, Response, abort, g, make_response, redirect, url_for
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse
from trio.testing import MockClock

from triolet import Command, Connection, Triolet
from triolet.testing.clients import TRANSPORTS
from triolet.testing.http import RefusedError
from triolet.testing.server import Answer, MemoryServer, serve

from .roads import ROADS, ask, served


async def pieces() -> AsyncIterator[bytes]:
    yield b"in "
    yield b"pieces"


async def response() -> Any:
    return Response("no", status=418, headers={"x-shop": "ours"})


async def two_cookies() -> Any:
    made = await make_response(b"no", 401)
    made.set_cookie("a", "1")
    made.set_cookie("b", "2")
    return made


async def a_tuple() -> Any:
    return "news", 203, {"x-shop": "ours"}


async def nothing() -> Any:
    return None


async def some_bytes() -> Any:
    return b"news"


async def a_dict() -> Any:
    return {"a": 1}


async def a_generator() -> Any:
    return pieces()


async def much() -> Any:
    return b"x" * 5_000_000


async def elsewhere() -> Any:
    return redirect("/elsewhere")


async def aborted_elsewhere() -> Any:
    gone: Any = redirect("/elsewhere")
    abort(gone)


async def no_content() -> Any:
    return Response(status=204)  # at which an EventSource stops


async def of_trio() -> Any:
    return TrioResponse(status=403)


async def aborted() -> Any:
    abort(Response("no", status=403))


async def odd_status() -> Any:
    status: Any = "499 Odd"
    return Response("no", status=status)


async def described() -> Any:
    abort(403, description="news")


async def failed() -> Any:
    raise ValueError("news")


VIEWS = [
    response, two_cookies, a_tuple, nothing, some_bytes, a_dict, a_generator, much, elsewhere, aborted_elsewhere,
    no_content, of_trio, aborted, odd_status, described, failed,
]  # fmt: skip
HOPS = {"connection", "content-length", "date", "server", "transfer-encoding", "vary"}


def make_app(*, handlers: bool = False) -> tuple[QuartTrio, Triolet]:
    """Each view as a channel's, and as a page's."""
    app = QuartTrio("answers")
    live = Triolet(app)
    live.socket("/live")
    for view in VIEWS:
        live.channel(f"/channel/{view.__name__}", endpoint=f"channel {view.__name__}")(view)
        app.add_url_rule(f"/page/{view.__name__}", f"page {view.__name__}", view)
    if handlers:
        for error in (401, 403, 404, ValueError):

            @app.errorhandler(error)
            async def a_channels_name(_: Any) -> str:
                return "news"

    return app, live


def head(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in HOPS}


async def whole(server: MemoryServer, transport: str, path: str) -> Answer:
    """Ask, and read the answer to its end."""
    if transport == "sse":
        return await server.request("GET", path, {"accept": "text/event-stream"})
    return await ask(server, transport, path)


@pytest.mark.parametrize("handlers", [False, True])
@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("view", [view.__name__ for view in VIEWS])
async def test_what_names_no_channel_is_answered_as_by_a_page(
    view: str, road: str, handlers: bool, autojump_clock: MockClock
) -> None:
    app, _ = make_app(handlers=handlers)
    async with served(app, road) as server:
        page = await server.get(f"/page/{view}")
        for transport in TRANSPORTS:
            answer = await whole(server, transport, f"/channel/{view}")
            assert (answer.status, answer.body, head(answer)) == (page.status, page.body, head(page))
        async with server.websocket("/live") as client:
            with pytest.raises(RefusedError):
                await client.follow(f"/channel/{view}")
        assert (await server.request("HEAD", f"/channel/{view}")).status == page.status


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_refusal_whose_body_trio_cannot_read_keeps_its_status(
    transport: str, road: str, autojump_clock: MockClock
) -> None:
    app, live = make_app()

    @live.channel("/empty")
    async def empty() -> Any:
        return Response(status=403, headers={"x-shop": "ours"})

    async with served(app, road) as server:
        answer = await whole(server, transport, "/empty")
        assert (answer.status, answer.headers["x-shop"]) == (403, "ours")


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_yes_that_something_after_the_view_replaces_is_an_error_that_is_told(
    transport: str, road: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    app, live = make_app()

    @live.channel("/news")
    async def news() -> str:
        return "news"

    @app.after_request
    async def replace(_: Response) -> Any:
        return await make_response(b"another")

    async with served(app, road) as server:
        assert (await whole(server, transport, "/news")).status == 500
    assert "after_request" in caplog.text


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_refusal_after_the_view_is_a_refusal(transport: str, road: str, autojump_clock: MockClock) -> None:
    app, live = make_app()

    @live.channel("/news")
    async def news() -> str:
        return "news"

    @app.after_request
    async def refuse(_: Response) -> Any:
        return await make_response(b"no", 403)

    async with served(app, road) as server:
        answer = await whole(server, transport, "/news")
        assert (answer.status, answer.body) == (403, b"no")


class Name(StrEnum):
    NEWS = "news"


@pytest.mark.parametrize("name", [Markup("news"), Name.NEWS, type("Text", (str,), {})("news")])
async def test_a_text_of_any_class_names_a_channel_and_an_event(name: str, autojump_clock: MockClock) -> None:
    app, live = make_app()

    @live.channel("/news")
    async def news() -> str:
        return name

    @live.socket("/desk")
    async def desk(conn: Connection) -> None:
        await conn.follow(name, after=0, member="ada")
        async for _ in conn:
            pass

    async with serve(app) as server, server.websocket("/news") as socket, server.sse("/news") as stream:
        for client in (socket, stream):
            await client.until("live")
        await live.publish(name, 1, name=name, key=name, dedupe=name)
        for client in (socket, stream):
            event = await client.until("event")
            assert (event["event"], event["data"]) == ("news", 1)
        async with server.websocket("/desk") as client:
            assert (await client.until("event"))["key"] == "news"
            assert (await live.presence(name).roster()).members
        assert (await server.get("/news?after=0")).json["channel"] == "news"


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_routes_of_nested_blueprints_are_routes(transport: str, road: str, autojump_clock: MockClock) -> None:
    app, live, made = QuartTrio("nested"), Triolet(), []
    inner, outer = Blueprint("inner", "inner", url_prefix="/inner"), Blueprint("outer", "outer", url_prefix="/outer")

    @inner.url_value_preprocessor
    def take(_: str | None, values: dict[str, Any] | None) -> None:
        g.language = (values or {}).pop("language", None)

    @inner.url_defaults
    def give(_: str, values: dict[str, Any]) -> None:
        values.setdefault("language", g.get("language"))

    @live.channel("/<language>/news/<int:number>", blueprint=inner)
    async def news(number: int) -> str:
        made.append(url_for(".news", number=number))
        return f"news/{g.language}/{number}"

    @live.socket("/<language>/desk", blueprint=inner)
    async def desk(conn: Connection) -> None:
        await conn.send("welcome")

    outer.register_blueprint(inner, url_prefix="/deep")
    live.init_app(app)
    app.register_blueprint(outer)
    app.register_blueprint(outer, name="again", url_prefix="/again")
    async with served(app, road) as server:
        for base in ("/outer/deep/de", "/again/deep/de"):
            assert (await ask(server, transport, f"{base}/news/7")).status in (101, 200)
            assert (await ask(server, transport, f"{base}/news/x")).status == 404
            assert made[-1].endswith("/deep/de/news/7")
            async with server.websocket(f"{base}/desk") as client:
                assert (await client.until("message"))["data"] == "welcome"


@pytest.mark.parametrize("road", ROADS)
async def test_a_view_that_answers_nothing_is_named_and_told_what_it_may_return(
    road: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    app = QuartTrio("orders")
    live = Triolet(app)

    @live.channel("/orders/<order_id>/events")
    async def order_events(order_id: str) -> Any:
        assert order_id

    @live.channel("/number")
    def number() -> Any:
        return 7

    @live.command("/orders/<order_id>/pick")
    def pick(order_id: str, command: Command) -> Any:
        assert order_id

    async with served(app, road) as server:
        for path in ("/orders/7/events", "/number"):
            assert (await server.get(path)).status == 500
        assert (await server.post("/orders/7/pick", b"1", idempotency_key="1")).status == 500
    said = [record.getMessage() for record in caplog.records if "the view " in record.getMessage()]
    one, two, three = [view.__code__.co_firstlineno for view in (order_events, number, pick)]
    told = "returned neither its name, as text, nor a response that refuses: The response value "
    assert said[0].startswith(f"the view order_events (test_answers.py:{one}) of a channel {told}")
    assert said[1].startswith(f"the view number (test_answers.py:{two}) of a channel {told}")
    assert f": the view pick (test_answers.py:{three}) of a command returned no response ({{}} is one" in said[2]
    assert len(said) == 3
