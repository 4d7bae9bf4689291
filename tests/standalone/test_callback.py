"""A callback says who may: what it is asked, what it can say, and what becomes of what it does not say."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from quart import Response
from trio.testing import MockClock

from triolet.testing import STREAMS, TRANSPORTS, MemoryServer, RefusedError

from .made import KEY, Backend, bearer, made, post

OPEN = [transport for transport in TRANSPORTS if transport in STREAMS]
JSON = "application/json"
EVENTS = "/orders/A1/events"

FILE = """
socket = "/live"
[limits]
callbacks = 2
callback_seconds = 3
callback_bytes = 60_000
[callback]
url = "http://backend.example/may?key=hidden"

[[channels]]
url = "/orders/<order_id>/events"
channel = "orders/{order_id}"
follow = "callback"
publish = { callback = "http://backend.example/may" }
presence = "/orders/<order_id>/presence"
recheck = 10

[[channels]]
url = "/once/<path:name>"
follow = "callback"
"""


def counted(server: MemoryServer) -> dict[str, int]:
    """What came of the callbacks, without what did not."""
    counts = server.app.extensions["triolet"].statistics().counts.callbacks
    return {outcome: number for outcome, number in counts.items() if number}


async def test_a_callback_is_asked_with_the_clients_headers(tmp_path: Path, autojump_clock: MockClock) -> None:
    backend = Backend()
    async with made(tmp_path, FILE, backend) as server:
        sent = {"cookie": "session=1", "authorization": "Bearer x", "user-agent": "me", "x-forwarded-for": "10.0.0.1"}
        assert (await server.get(f"{EVENTS}?after=0", **sent)).status == 200
        body, headers = backend.asked[0]
        assert body == {
            "action": "follow",
            "channel": "orders/A1",
            "url": f"{EVENTS}?after=0",
            "values": {"order_id": "A1"},
            "subject": None,
            "remote": body["remote"],
        }
        assert body["remote"].startswith("198.")
        assert {name: headers.get(name) for name in sent} == {**sent, "x-forwarded-for": None}
        assert (headers["host"], headers["content-type"]) == ("backend.example", "application/json")


async def test_a_cookie_that_a_callback_sets_is_no_other_clients(tmp_path: Path, autojump_clock: MockClock) -> None:
    backend = Backend()
    backend.says = ('{"allow": true}', 200, {"content-type": JSON, "set-cookie": "session=ann; Path=/"})
    async with made(tmp_path, FILE, backend) as server:
        await server.get(EVENTS, cookie="session=ann")
        await server.get(EVENTS)
        await server.get(EVENTS, cookie="session=bob")
        assert [headers.get("cookie") for _, headers in backend.asked] == ["session=ann", None, "session=bob"]


async def test_a_pages_token_reaches_the_callback_as_any_other(tmp_path: Path, autojump_clock: MockClock) -> None:
    backend = Backend()
    async with made(tmp_path, FILE, backend) as server:
        async with server.websocket(EVENTS, subprotocols=("triolet.1", "triolet.token.abc")) as client:
            await client.until("live")
        assert backend.asked[0][1]["authorization"] == "Bearer abc"
        assert "sec-websocket-protocol" not in backend.asked[0][1]
        assert (await server.get(EVENTS, cookie="a=\xe9")).status == 200
        assert "cookie" not in backend.asked[-1][1], "what is no ASCII is left out"


async def test_a_file_says_which_headers_are_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setenv("TOKEN_KEY", KEY)
    backend = Backend()
    text = FILE.replace(
        "[callback]", '[jwt]\nkeys = "env:TOKEN_KEY"\naudience = "*"\n[callback]\nheaders = ["X-Tenant"]'
    )
    async with made(tmp_path, text, backend) as server:
        await server.get(EVENTS, **{"x-tenant": "t1", "cookie": "c=1", **bearer("ann")})
        assert backend.last["subject"] == "ann"
        assert backend.asked[0][1]["x-tenant"] == "t1"
        assert not {"cookie", "authorization"} & backend.asked[0][1].keys()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_callback_names_another_channel_and_who_it_is(
    transport: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    backend = Backend()
    backend.says = {"allow": True, "channel": "tenant/7/A1", "subject": "ann", "data": {"desk": 4}, "more": 1}
    async with made(tmp_path, FILE, backend) as server, server.client(transport, EVENTS) as client:
        await client.until("open")
        backend.says = {"allow": True, "channel": "tenant/7/A1", "data": "by the callback"}
        assert (await post(server, EVENTS, "by the client")).json == {"published": "tenant/7/A1"}
        assert (backend.last["action"], backend.last["data"]) == ("publish", "by the client")
        await client.expect(data="by the callback")
        backend.says = {"allow": True, "channel": "tenant/7/A1"}
        there = (await server.get("/orders/A1/presence?snapshot=1")).json["snapshot"]["data"]
        assert [(one["member"], one["info"]) for one in there] == [("ann", {"desk": 4})]


async def late() -> Response:
    await trio.sleep(30)
    return Response('{"allow": true}', content_type="application/json")


async def huge() -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(1 << 14):
            yield b" " * (1 << 16)

    return Response(chunks(), content_type="application/json")


async def trickling() -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            await trio.sleep(1)
            yield b" "

    return Response(chunks(), content_type="application/json")


def page(body: str, status: int = 200, content_type: str = "text/html", **headers: str) -> Response:
    return Response(body, status=status, content_type=content_type, headers=headers)


WEATHER: dict[str, tuple[Any, str, int]] = {
    "no": ({"allow": False}, "no", 403),
    "forbidden": (page("", 403), "no", 403),
    "not there": (page("", 404), "no", 403),
    "a login page": (page("<html>log in", 200), "unclear", 403),
    "a redirect": (page("", 302, location="http://backend.example/may"), "unclear", 403),
    "a redirect with a yes": (page('{"allow": true}', 307, "application/json", location="/may"), "unclear", 403),
    "yes, but as a page": (page('{"allow": true}'), "unclear", 403),
    "created": (page('{"allow": true}', 201, "application/json"), "unclear", 403),
    "nothing": (page("", 204), "unclear", 403),
    "no JSON": (page("yes", 200, "application/json"), "unclear", 403),
    "no object": ([True], "unclear", 403),
    "no word on it": ({}, "unclear", 403),
    "not quite true": ({"allow": 1}, "unclear", 403),
    "a channel that is none": ({"allow": True, "channel": 5}, "unclear", 403),
    "a channel with a control character": ({"allow": True, "channel": "a\0"}, "unclear", 403),
    "a channel of Triolet's own": ({"allow": True, "channel": "triolet.runs"}, "unclear", 403),
    "no and yes": (page('{"allow": false, "allow": true}', 200, "application/json"), "unclear", 403),
    "an expiry that is none": ({"allow": True, "expires_in": -1}, "unclear", 403),
    "nested deep": (
        page('{"allow": true, "data": ' + "[" * 25_000 + "]" * 25_000 + "}", 200, "application/json"),
        "unclear",
        403,
    ),
    "a gigabyte": (huge, "unclear", 403),
    "an error": (page("", 500), "away", 503),
    "a proxy's error": (page("", 502), "away", 503),
    "too many": (page("", 429), "away", 503),
    "nobody": (None, "away", 503),
    "30 s": (late, "late", 503),
    "a byte a second": (trickling, "late", 503),
}


@pytest.mark.parametrize("weather", WEATHER)
async def test_what_is_no_clear_yes_is_a_no(
    weather: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    says, outcome, status = WEATHER[weather]
    backend = Backend()
    backend.says, backend.away = says, says is None
    async with made(tmp_path, FILE, backend) as server:
        with caplog.at_level(logging.WARNING, "triolet"):
            began = trio.current_time()
            for _ in range(2):
                answer = await server.get(EVENTS)
                assert answer.status == status
            assert trio.current_time() - began <= 2 * 3.1
        assert counted(server) == {outcome: 2}
        told = [record for record in caplog.records if "gives no yes or no" in record.getMessage()]
        assert len(told) == (outcome != "no"), "once, until it is well again"
        assert "hidden" not in caplog.text
        for transport in TRANSPORTS:
            with pytest.raises(RefusedError):
                async with server.client(transport, EVENTS) as client:
                    await client.until("open")
        assert (await post(server, EVENTS, 1)).status == status
        backend.says, backend.away = {"allow": True}, False
        assert (await server.get(EVENTS)).status == 200
        assert server.connections <= 1


async def test_so_many_callbacks_are_asked_at_once_and_the_others_have_their_time(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    backend = Backend()

    async def slow() -> Response:
        await trio.sleep(2)
        return page('{"allow": true}', 200, "application/json")

    backend.says = slow
    answers: list[int] = []
    async with made(tmp_path, FILE, backend) as server:

        async def ask(number: int) -> None:
            answers.append((await server.get(f"/once/{number}")).status)

        async with trio.open_nursery() as nursery:
            for number in range(7):
                nursery.start_soon(ask, number)
        assert backend.most == 2
        # The first two are done after 2 s; the next two begin then, and have a second left.
        assert sorted(answers) == [200] * 2 + [503] * 5
        assert counted(server) == {"yes": 2, "late": 5}


# --- who is in already


@pytest.mark.parametrize("transport", OPEN)
@pytest.mark.parametrize("weather", ["no", "a login page", "nobody", "an error", "30 s"])
async def test_who_is_in_stays_until_the_callback_says_no(
    weather: str, transport: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    says, _, status = WEATHER[weather]
    backend = Backend()
    async with made(tmp_path, FILE, backend) as server, server.client(transport, EVENTS) as client:
        await client.until("live")
        backend.says = says
        if says is None:
            backend.leave()
        if status == 403:
            began = trio.current_time()
            bye = await client.until("bye", within=20)
            assert (bye["code"], bye["reason"]) == (4403, "refused")
            assert trio.current_time() - began <= 10
            return
        await trio.sleep(60)
        assert server.app.extensions["triolet"].statistics().counts.rechecks["failed"] >= 4
        backend.says, backend.away = {"allow": True}, False
        await post(server, EVENTS, "still there")
        await client.expect(data="still there")


@pytest.mark.parametrize("weather", ["yes", "no", "nobody"])
@pytest.mark.parametrize("followed", ["by itself", "on a socket", "among many"])
async def test_a_yes_that_expires_is_asked_for_again_in_time(
    weather: str, followed: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    backend = Backend()
    backend.says = {"allow": True, "expires_in": 20}
    async with made(tmp_path, FILE, backend) as server:
        ways: dict[str, Callable[[], Any]] = {
            "by itself": lambda: server.sse("/once/a"),
            "on a socket": lambda: server.websocket("/live"),
            "among many": lambda: server.sse("/live", follow=["/once/a"]),
        }
        async with ways[followed]() as client:
            if followed == "on a socket":
                await client.follow("/once/a")
            await client.until("live")
            asked = len(backend.asked)
            await trio.sleep(100)
            assert len(backend.asked) - asked >= 5, "within 20 s each time"
            if weather == "yes":
                return
            backend.says = {"allow": False}
            if weather == "nobody":
                backend.leave()
            gone = trio.current_time()
            ended = await client.until("refused" if followed == "on a socket" else "bye", within=60)
            assert trio.current_time() - gone <= 20
            assert ended.get("code", 4403) == 4403


async def test_a_yes_that_expires_is_not_remembered_of_who_has_gone(tmp_path: Path, autojump_clock: MockClock) -> None:
    backend = Backend()
    backend.says = {"allow": True, "expires_in": 20}
    text = FILE.replace("[limits]", "[limits]\nfollows = 3")
    async with made(tmp_path, text, backend) as server:
        (doors,) = {hook.__self__ for hook in server.app.before_serving_funcs if hasattr(hook, "__self__")}
        async with server.websocket("/live") as client:
            for number in range(9):
                await client.follow(f"/once/{number}")
                await client.say(type="unfollow", url=f"/once/{number}", channel=f"once/{number}")
            (until,) = doors._access._until.values()
            assert len(until) == 3
            del until
        await server.get("/once/a")
        await trio.sleep(5)
        gc.collect()  # what asks again about a follow stands in a circle with it
        assert not doors._access._until


async def test_data_of_every_depth_that_a_client_may_send_is_asked_about(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    backend = Backend()
    async with made(tmp_path, FILE, backend) as server:
        for depth, status in ((31, 200), (32, 200), (33, 400)):
            data: Any = 1
            for _ in range(depth):
                data = [data]
            assert (await post(server, EVENTS, data, id=str(depth))).status == status
        assert backend.last["data"] != 1


async def test_an_answer_that_says_what_no_event_can_be_is_no_yes(tmp_path: Path, autojump_clock: MockClock) -> None:
    backend = Backend()
    async with made(tmp_path, FILE, backend) as server:
        for number, data in enumerate(
            ["NaN", "1e999", '"\\ud800"', '{"a":1,"a":2}', "[" * 40 + "]" * 40, "1,2", "1 2"]
        ):
            backend.says = Response(f'{{"allow":true,"data":{data}}}', content_type=JSON)
            assert (await post(server, EVENTS, 1, id=str(number))).status == 403
        assert counted(server) == {"unclear": 7}
        assert (await server.get(f"{EVENTS}?after=0")).status == 403
