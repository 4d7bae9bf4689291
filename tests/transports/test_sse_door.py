"""Event streams that the door answers: nobody can tell them from those behind Hypercorn, but that they end alone."""

from __future__ import annotations

import email.utils

import pytest
import trio
from quart import Response, redirect, request
from trio.testing import MockClock

from tests.middleware import stand_before
from tests.server.wire import through_hypercorn
from tests.shop import ORDER, ORDERS, make_shop
from triolet import Limits
from triolet.closing import FLOOD
from triolet.testing.network import ClientEnd
from triolet.testing.server import MemoryServer, serve

ASK = f"GET {ORDERS} HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n"
PAGE = b"GET /page HTTP/1.1\r\nHost: test\r\n\r\n"
STATUS = b"HTTP/1.1 %d "


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What reaches Hypercorn."""
    return through_hypercorn(monkeypatch)


async def ask(server: MemoryServer, more: str = "", *, request: str = ASK) -> ClientEnd:
    stream = server.connect()
    await stream.send_all(f"{request}{more}\r\n".encode())
    return stream


async def hear(stream: ClientEnd, until: bytes) -> bytes:
    found = b""
    while until not in found:
        data = await stream.receive_some()
        assert data, f"ended after {found!r}"
        found += data
    return found


async def rest(stream: ClientEnd) -> bytes:
    found = b""
    while data := await stream.receive_some():
        found += data
    return found


async def test_a_stream_is_answered_by_the_door_as_hypercorn_would(
    behind: list[bytes], autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        straight = await hear(await ask(server), b"triolet.live")
        assert behind == []
    app, _ = make_shop()
    stand_before(app)
    async with serve(app) as server:
        through = await hear(await ask(server, "Connection: close\r\n"), b"triolet.live")
        assert len(behind) == 1

    def fields(answer: bytes) -> set[bytes]:
        return {line.lower() for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:] if b"ate: " not in line}

    def blocks(answer: bytes) -> list[bytes]:
        lines = [line for line in answer.split(b"\r\n") if line.startswith((b"retry", b"id"))]
        return [line.rpartition(b".")[2] for line in lines]  # without the log's epoch

    assert fields(straight) == fields(through)
    assert blocks(straight) == blocks(through)


async def test_a_stream_has_a_date(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, server.events(ORDERS) as stream:
        assert email.utils.parsedate_to_datetime(stream.headers["date"]).year >= 2024


@pytest.mark.parametrize(
    "asked",
    [
        ASK.replace("GET", "HEAD"),
        ASK.replace("HTTP/1.1", "HTTP/1.0"),
        f"{ASK}Content-Length: 3\r\n",
        f"{ASK}Expect: 100-continue\r\n",
        f"{ASK}Upgrade: h2c\r\n",
        ASK.replace(ORDERS, "/page"),
    ],
)
async def test_what_is_not_just_an_event_stream_is_hypercorns(
    asked: str, behind: list[bytes], autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        answer = await hear(await ask(server, request=asked), b"\r\n\r\n")
        assert answer.startswith((STATUS % 200, STATUS % 100)), answer
        assert len(behind) == 1


async def test_middleware_sees_event_streams(behind: list[bytes], autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    seen = []
    inner = app.asgi_app

    async def middleware(scope: object, receive: object, send: object) -> None:
        seen.append(scope["type"])  # type: ignore[index]  # ASGI's dict
        await inner(scope, receive, send)  # type: ignore[arg-type]  # passed on

    app.asgi_app = middleware  # type: ignore[method-assign]  # how ASGI middleware is put in
    async with serve(app) as server:
        await hear(await ask(server), b"triolet.live")
        assert (len(behind), seen.count("http")) == (1, 1)


@pytest.mark.parametrize("how", ["reset", "end"])
async def test_a_client_that_goes_is_gone_at_once(how: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        stream = await ask(server)
        await hear(stream, b"triolet.live")
        assert (server.connections, server.followers) == (1, 1)
        if how == "reset":
            stream.reset()
        else:
            await stream.send_eof()
        await trio.testing.wait_all_tasks_blocked()
        assert (server.connections, server.followers) == (0, 0)
        assert trio.current_time() == 0


async def test_what_comes_behind_the_request_is_not_answered_and_ends_with_the_stream(
    autojump_clock: MockClock,
) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        stream = await ask(server, f"\r\n{PAGE.decode()[:-2]}")
        await hear(stream, b"triolet.live")
        await stream.send_all(PAGE)
        await live.publish(ORDER, 1)
        await hear(stream, b"data: 1\n")
        server.stop.set()
        end = await rest(stream)
        assert b"a page" not in end
        assert end.endswith(b"\r\n0\r\n\r\n")


async def test_a_client_that_sends_on_and_on_is_given_up(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        stream = await ask(server)
        await hear(stream, b"triolet.live")
        for _ in range(5):
            await stream.send_all(b"x" * 16_000)
        assert b'"code":%d' % FLOOD.code in await rest(stream)


async def test_a_refusal_leaves_the_connection_to_be_used_on(behind: list[bytes], autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        stream = await ask(server, request=ASK.replace("A123", "secret"))
        answer = await hear(stream, b"</p>")
        assert answer.startswith(STATUS % 403)
        assert b"connection" not in answer.lower()
        await stream.send_all(PAGE)
        assert b"a page" in await hear(stream, b"a page")
        assert behind == [PAGE]


async def test_a_request_behind_a_refused_one_is_answered(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        stream = await ask(server, f"\r\n{PAGE.decode()[:-2]}", request=ASK.replace("A123", "absent"))
        answer = await hear(stream, b"a page")
        assert answer.startswith(STATUS % 404)


async def test_a_refusal_closes_where_the_client_asks_for_it(behind: list[bytes], autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        stream = await ask(server, "Connection: close\r\n", request=ASK.replace("A123", "secret"))
        answer = await rest(stream)
        assert answer.startswith(STATUS % 403)
        assert b"connection: close" in answer.lower()
        assert behind == []


async def test_cookies_and_redirects_are_the_views(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.channel("/moved/<where>")
    async def moved(where: str) -> object:
        if where == "away":
            return redirect("/elsewhere")
        if where == "odd":
            return Response("no", 409, {"x-why": request.headers["x-why"]})
        return ORDER

    @app.after_request
    async def cookie(response: Response) -> Response:
        response.set_cookie("seen", "yes")
        return response

    async with serve(app) as server:
        accept = {"accept": "text/event-stream"}
        away = await server.request("GET", "/moved/away", accept)
        assert (away.status, away.headers["location"]) == (302, "/elsewhere")
        odd = await server.request("GET", "/moved/odd", {**accept, "x-why": "because"})
        assert (odd.status, odd.headers["x-why"], odd.body) == (409, "because", b"no")
        wrong = await server.request("GET", "/moved/x?after=no", accept)
        assert (wrong.status, wrong.json["error"]) == (400, "cursor")
        async with server.events("/moved/x") as stream:
            cookies = [stream.headers["set-cookie"], *(a.headers["set-cookie"] for a in (away, odd, wrong))]
            assert all(cookie.startswith("seen=yes") for cookie in cookies)


async def test_a_page_of_another_origin_is_refused_where_it_brings_a_cookie(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        evil = {"accept": "text/event-stream", "origin": "http://evil.example"}
        assert (await server.request("GET", ORDERS, {**evil, "cookie": "session=1"})).status == 403
        async with server.events(ORDERS, headers=evil) as stream:
            assert stream.status == 200


async def test_a_view_that_takes_too_long_is_unavailable(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(write_seconds=30))

    @live.channel("/slow")
    async def slow() -> str:
        await trio.sleep_forever()
        raise AssertionError

    async with serve(app) as server:
        answer = await server.request("GET", "/slow", {"accept": "text/event-stream"})
        assert (answer.status, trio.current_time()) == (503, 30)


async def test_a_header_of_the_apps_that_cannot_be_sent_is_a_failed_request(autojump_clock: MockClock) -> None:
    app, _ = make_shop()

    @app.after_request
    async def broken(response: Response) -> Response:
        response.headers["bad name"] = "x"
        return response

    async with serve(app) as server:
        assert (await server.get(ORDERS, accept="text/event-stream")).status == 500
        assert (server.followers, server.worker.crashes) == (0, 0)


async def test_a_stream_that_begins_while_the_server_drains_says_bye(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.channel("/slow")
    async def slow() -> str:
        await trio.sleep(1)
        return ORDER

    async with serve(app) as server:
        stream = await ask(server, request=ASK.replace(ORDERS, "/slow"))
        await trio.sleep(0.5)
        server.stop.set()
        end = await rest(stream)
        assert b"triolet.bye" in end
        assert b'"code":1012' in end
        assert end.endswith(b"\r\n0\r\n\r\n")


async def test_before_request_functions_run_once_for_a_stream(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    ran = []

    @app.before_request
    async def note() -> None:
        ran.append(request.path)

    async with serve(app) as server, server.events(ORDERS) as stream:
        await stream.own("live")
        assert ran == [ORDERS]
