"""A page of a listed origin reads what it asks for, as its browser wants to hear it (Fetch standard, section 3.2)."""

from __future__ import annotations

import pytest
from quart import Response, abort, request
from trio.testing import MockClock

from tests.shop import ORDERS, make_shop
from triolet.log import MemoryLog
from triolet.testing.scripted import ScriptedLog, unreadable
from triolet.testing.server import Answer

from .roads import ROADS, ask, served

LISTED = "https://shop.example"
READING = ["sse", "long poll", "short poll"]
"""A WebSocket's answer is not the page's to read."""
ALLOWED = {
    "access-control-allow-origin": LISTED,
    "access-control-allow-credentials": "true",
}
PREFLIGHT = {
    "origin": LISTED,
    "access-control-request-method": "GET",
    "access-control-request-headers": "last-event-id, x-tab",
}


def varies(answer: Answer) -> set[str]:
    return {field.strip().lower() for field in answer.headers.get("vary", "").split(",")}


def tells(answer: Answer) -> dict[str, str]:
    """What an answer says on the matter."""
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def check_allowed(answer: Answer) -> None:
    """Check that a page of the listed origin can read an answer, and that no cache gives it to another."""
    assert ALLOWED.items() <= answer.headers.items()
    exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert exposed >= {"etag", "retry-after"}
    assert "origin" in varies(answer)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", READING)
@pytest.mark.parametrize("cookie", [{}, {"cookie": "session=abc"}])
async def test_a_listed_page_may_read_what_it_follows(
    cookie: dict[str, str], transport: str, road: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop(origins=[LISTED])
    async with served(app, road) as server:
        answer = await ask(server, transport, ORDERS, {"origin": LISTED, **cookie})
        assert answer.status == 200
        check_allowed(answer)
        assert varies(answer) == {"accept", "last-event-id", "origin"}


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", READING)
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/orders/secret/events", 403),
        ("/orders/absent/events", 404),
        ("/orders/broken/events", 500),
        (f"{ORDERS}?after=none", 400),
        ("/warehouse", 426),
    ],
)
async def test_a_listed_page_may_read_why_it_is_refused(
    path: str, status: int, transport: str, road: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop(origins=[LISTED])
    async with served(app, road) as server:
        answer = await ask(server, transport, path, {"origin": LISTED, "cookie": "a=b"})
        assert answer.status == status
        check_allowed(answer)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", READING)
async def test_a_listed_page_may_read_that_the_log_is_away(
    transport: str, road: str, autojump_clock: MockClock
) -> None:
    log = ScriptedLog(MemoryLog())
    app, _ = make_shop(log=log, origins=[LISTED])
    async with served(app, road) as server:
        with log.having(unreadable()):
            answer = await ask(server, transport, f"{ORDERS}?after=1", {"origin": LISTED})
        assert answer.status == 503
        check_allowed(answer)


@pytest.mark.parametrize("road", ROADS)
async def test_a_listed_page_may_read_that_nothing_is_new(road: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop(origins=[LISTED])
    async with served(app, road) as server:
        first = await server.get(f"{ORDERS}?after=0", origin=LISTED)
        again = await server.get(f"{ORDERS}?after=0", origin=LISTED, if_none_match=first.headers["etag"])
        assert again.status == 304
        check_allowed(again)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", READING)
@pytest.mark.parametrize(
    "headers", [{}, {"origin": "http://evil.example"}, {"origin": "http://test"}, {"origin": "null"}]
)
async def test_others_are_told_nothing_and_no_cache_mixes_them_up(
    headers: dict[str, str], transport: str, road: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop(origins=[LISTED])
    async with served(app, road) as server:
        for cookie in ({}, {"cookie": "a=b"}):
            answer = await ask(server, transport, ORDERS, {**headers, **cookie})
            assert answer.status in (200, 403)
            assert tells(answer) == {}
            assert "origin" in varies(answer)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("path", [ORDERS, "/warehouse", "/live", "/orders/secret/events", "/triolet/triolet.js"])
async def test_a_listed_pages_browser_may_ask_first_whatever_the_apps_guards_say(
    path: str, road: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop(origins=[LISTED])

    @app.before_request
    async def log_in_first() -> None:
        if "session" not in request.cookies:
            abort(401)

    async with served(app, road) as server:
        answer = await server.request("OPTIONS", path, PREFLIGHT)
        assert answer.status == 204
        assert ALLOWED.items() <= answer.headers.items()
        named = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
        assert named >= {"last-event-id", "authorization", "content-type", "idempotency-key", "x-tab"}
        assert "GET" in answer.headers["access-control-allow-methods"]
        assert int(answer.headers["access-control-max-age"]) > 0
        assert "origin" in varies(answer)
        assert (await server.get(ORDERS, origin=LISTED)).status == 401


async def test_what_a_preflight_asks_for_is_bounded_and_cannot_split_the_head(autojump_clock: MockClock) -> None:
    app, _ = make_shop(origins=[LISTED])
    names = ", ".join(["x" * 65, "a b", "a:b", "é", *(f"x-{number}" for number in range(1_000))])
    async with served(app, "direct") as server:
        asked = {**PREFLIGHT, "access-control-request-headers": names}
        named = (await server.request("OPTIONS", ORDERS, asked)).headers["access-control-allow-headers"].split(", ")
        assert "x-1" in named
        assert len(named) < 50
        assert not {"x" * 65, "a b", "a:b", "é"} & set(named)


@pytest.mark.parametrize("origin", ["http://evil.example", "http://test", "null"])
async def test_another_pages_browser_is_answered_by_the_app_alone(origin: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop(origins=[LISTED])
    async with served(app, "direct") as server:
        answer = await server.request("OPTIONS", ORDERS, {**PREFLIGHT, "origin": origin})
        assert (answer.status, tells(answer)) == (200, {})


@pytest.mark.parametrize(("path", "method"), [("/page", "GET"), (ORDERS, "POST"), ("/none", "GET")])
async def test_what_is_not_triolets_is_the_apps_to_allow(path: str, method: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop(origins=[LISTED])
    async with served(app, "direct") as server:
        answer = await server.request("OPTIONS", path, {**PREFLIGHT, "access-control-request-method": method})
        assert tells(answer) == {}
        assert tells(await server.request(method, path, {"origin": LISTED})) == {}


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize(("name", "status"), [("triolet.js", 200), ("line.js", 200), ("none.js", 404)])
async def test_a_listed_page_imports_the_script(name: str, status: int, road: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop(origins=[LISTED])
    async with served(app, road) as server:
        answer = await server.get(f"/triolet/{name}", origin=LISTED)
        assert answer.status == status
        check_allowed(answer)
        if status == 200:
            known = await server.get(f"/triolet/{name}", origin=LISTED, if_none_match=answer.headers["etag"])
            assert known.status == 304
            check_allowed(known)
        other = await server.get(f"/triolet/{name}", origin="http://evil.example")
        assert (tells(other), varies(other)) == ({}, {"origin"})


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", READING)
async def test_an_apps_own_word_stands_where_triolet_has_none(
    transport: str, road: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop(origins=[LISTED])

    @app.after_request
    async def allow(response: Response) -> Response:
        response.headers["Access-Control-Allow-Origin"] = "https://friend.example"
        response.headers["Vary"] = "Cookie"
        return response

    async with served(app, road) as server:
        friend = await ask(server, transport, ORDERS, {"origin": "https://friend.example"})
        assert tells(friend) == {"access-control-allow-origin": "https://friend.example"}
        listed = await ask(server, transport, ORDERS, {"origin": LISTED})
        check_allowed(listed)
        assert varies(listed) >= {"cookie", "origin"}


@pytest.mark.parametrize("transport", READING)
async def test_any_page_reads_without_its_visitors_cookies_where_that_is_listed(
    transport: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop(origins=["*", LISTED])
    async with served(app, "direct") as server:
        stranger = await ask(server, transport, ORDERS, {"origin": "http://else.example"})
        assert stranger.status == 200
        assert stranger.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in stranger.headers
        for rights in ({"cookie": "a=b"}, {"authorization": "Basic YTpi"}):
            assert (await ask(server, transport, ORDERS, {"origin": "http://else.example", **rights})).status == 403
        check_allowed(await ask(server, transport, ORDERS, {"origin": LISTED, "cookie": "a=b"}))


async def test_any_page_opens_a_websocket_without_its_visitors_cookies_where_that_is_listed(
    autojump_clock: MockClock,
) -> None:
    app, _ = make_shop(origins=["*"])
    async with served(app, "direct") as server:
        assert (await server.upgrade("/live", {"origin": "http://else.example"})).status == 101
        assert (await server.upgrade("/live", {"origin": "http://else.example", "cookie": "a=b"})).status == 403


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize(
    ("path", "to"), [("/board", "/board/"), ("/board//", "/board/"), ("/orders//A/events", "/orders/A/events")]
)
async def test_a_listed_page_is_redirected_to_what_it_follows(
    path: str, to: str, road: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop(origins=[LISTED])

    @live.channel("/board/")
    async def board() -> str:
        return "board"

    @app.get("/shelf/")
    async def shelf() -> str:
        return "the app's"

    async with served(app, road) as server:
        for headers in ({}, {"accept": "text/event-stream"}):
            answer = await server.request("GET", path, {"origin": LISTED, **headers})
            assert (answer.status, answer.headers["location"]) == (308, f"http://test{to}")
            check_allowed(answer)
        assert (await server.request("OPTIONS", path, PREFLIGHT)).status == 204
        assert tells(await server.get(path, origin="http://evil.example")) == {}
        assert tells(await server.get("/shelf", origin=LISTED)) == {}
