"""Users of a served app: what their requests and clients share are their cookies, as in one browser."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
import trio
from quart import Response, abort, redirect, request, session
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import Command, Triolet
from triolet.testing import TRANSPORTS, RefusedError, serve
from triolet.testing.cookies import Cookies

EVERY = [*TRANSPORTS, "plain sse", "follow"]


def make_app() -> QuartTrio:
    """An app with a login by its session."""
    app = QuartTrio("club")
    app.secret_key = "secret"
    live = Triolet(app)
    live.socket("/live")

    @app.post("/login")
    async def login() -> Any:
        session["name"] = (await request.form)["name"]
        return redirect("/", 303)

    @app.post("/logout")
    async def logout() -> Any:
        session.clear()
        return "", 204

    @app.post("/fields")
    async def fields() -> Any:
        return {"type": request.content_type, "fields": list((await request.form).items(multi=True))}

    @app.get("/cookie")
    async def cookie() -> Any:
        return request.headers.get("cookie", "")

    @app.post("/deep/set")
    async def set_cookies() -> Response:
        answer = Response("")
        for field in request.args.getlist("cookie"):
            answer.headers.add("Set-Cookie", field)
        return answer

    @live.channel("/events")
    async def events() -> str:
        if "name" not in session:
            abort(401)
        session["seen"] = True
        return "club"

    @live.command("/say")
    async def say(command: Command) -> Any:
        return {"by": session.get("name")}

    return app


async def test_a_form_is_sent_as_a_page_sends_it(autojump_clock: MockClock) -> None:
    async with serve(make_app()) as server:
        told = (await server.post("/fields", form={"a": "1 & ü", "b": ["2", "3"]})).json
        assert told["type"] == "application/x-www-form-urlencoded"
        assert told["fields"] == [["a", "1 & ü"], ["b", "2"], ["b", "3"]]
        assert (await server.request("POST", "/fields", form={})).json["fields"] == []


@pytest.mark.parametrize("bodies", [{"body": b"x", "form": {}}, {"json": 0, "form": {}}, {"body": b"x", "json": 0}])
async def test_a_request_has_one_body(bodies: Any, autojump_clock: MockClock) -> None:
    async with serve(make_app()) as server:
        with pytest.raises(TypeError, match="a request has one body: bytes, json= or form="):
            await server.post("/fields", **bodies)


@pytest.mark.parametrize("transport", EVERY)
async def test_who_has_logged_in_comes_in_on_every_transport_and_nobody_else_does(
    transport: str, autojump_clock: MockClock
) -> None:
    async with serve(make_app()) as server:
        ann, bob = server.user(), server.user()
        assert (await ann.post("/login", form={"name": "Ann"})).status == 303
        await bob.post("/login", form={"name": "Bob"})
        async with ann.client(transport, "/events") as anns, bob.client(transport, "/events") as bobs:
            assert (await anns.command("/say"))["data"] == {"by": "Ann"}
            assert (await bobs.command("/say"))["data"] == {"by": "Bob"}
        await ann.post("/logout")
        assert "session" not in ann.cookies
        for who in (ann, server.user(), server):
            with pytest.raises(RefusedError):
                async with who.client(transport, "/events"):
                    pass
        async with bob.client(transport, "/events") as bobs:
            bobs.cut()
            await bobs.reconnect()
            await bobs.expect("live")


@pytest.mark.parametrize("transport", [*TRANSPORTS, "plain sse"])
async def test_what_a_clients_answer_sets_its_user_has(transport: str, autojump_clock: MockClock) -> None:
    app = make_app()

    @app.after_request
    async def mark(answer: Response) -> Response:
        answer.set_cookie("mark", request.path)
        return answer

    async with serve(app) as server:
        ann = server.user()
        with pytest.raises(RefusedError):
            async with ann.client(transport, "/events"):
                pass
        assert ann.cookies["mark"] == "/events"


async def test_cookies_go_where_they_are_for_and_as_long_as_they_last(autojump_clock: MockClock) -> None:
    async with serve(make_app()) as server:
        ann = server.user()
        cookies = ["a=1; Path=/", "b=2; Path=/; Max-Age=60; Secure; HttpOnly", "c=3", "d=4; Path=/cook", "no cookie"]
        await ann.post(f"/deep/set?{urlencode({'cookie': cookies}, doseq=True)}")
        assert sorted(ann.cookies) == ["a", "b", "c", "d"]
        assert (await ann.get("/cookie")).text == "a=1; b=2"
        assert (await ann.get("/cookie", cookie="z=26")).text == "z=26"
        await trio.sleep(60)
        assert (await ann.get("/cookie")).text == "a=1"
        over = "a=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
        await ann.post(f"/deep/set?{urlencode({'cookie': over})}")
        assert (await ann.get("/cookie")).text == ""
        ann.cookies["c"] = "5"
        assert (await ann.get("/cookie")).text == "c=5"
        assert (await server.user(ann.cookies).get("/cookie")).text == "d=4; c=5"
        del ann.cookies["c"], ann.cookies["d"]
        assert (await server.get("/cookie")).text == (await ann.get("/cookie")).text == ""
        with pytest.raises(KeyError):
            del ann.cookies["c"]


def test_the_closest_path_goes_first() -> None:
    cookies = Cookies({})
    cookies.take("/a/b/c", [(b"set-cookie", b"x=root; Path=/"), (b"Set-Cookie", b"x=near; Path=/a/"), (b"x", b"y=1")])
    assert cookies.sent_to("/a/b?c") == {"cookie": "x=near; x=root"}
    assert cookies.sent_to("/ab") == {"cookie": "x=root"}
    assert repr(cookies) == "<Cookies x>"


async def test_a_users_connections_end_with_the_server_and_with_them(autojump_clock: MockClock) -> None:
    async with serve(make_app()) as server:
        ann = server.user()
        await ann.post("/login", form={"name": "Ann"})
        async with ann.sse("/events") as page:
            await page.until("live")
            ann.vanish()
            assert await page.next() is None
        ann.connect()  # and goes with the block
