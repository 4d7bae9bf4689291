"""Who may follow and publish, over each transport: anyone, a token, its claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from triolet.testing import STREAMS, TRANSPORTS, RefusedError

from .made import KEY, bearer, made, post

OPEN = [transport for transport in TRANSPORTS if transport in STREAMS]

FILE = """
socket = "/live"
origins = ["https://shop.example"]
[jwt]
keys = "env:TOKEN_KEY"
audience = "*"

[[channels]]
url = "/news"
follow = "anyone"

[[channels]]
url = "/orders/<order_id>/events"
channel = "orders/{order_id}"
follow = { claim = "orders", is = "{order_id}" }
publish = { claim = "sub", is = "desk" }
presence = "/orders/<order_id>/presence"
keep = { events = 2 }

[[channels]]
url = "/topics/<path:topic>"
channel = "topics/{topic}"
follow = { claim = ["mercure", "subscribe"] }
publish = { claim = ["mercure", "publish"] }

[[channels]]
url = "/staff"
follow = "token"
publish = "token"
format = "plain"
policy = { latest = { events = 1 } }
"""


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_KEY", KEY)


MERCURE: dict[str, Any] = {"mercure": {"subscribe": ["topics/books/*", "topics/a"], "publish": "topics/books/1"}}
ASKED: list[tuple[str, dict[str, Any], int]] = [
    ("/news", {}, 200),
    ("/nothing", {}, 404),
    ("/orders/A1/events", {}, 401),
    ("/orders/A1/events", {"orders": "A1"}, 200),
    ("/orders/A1/events", {"orders": ["A0", "A1"]}, 200),
    ("/orders/A1/events", {"orders": ["A2", 1, None, {"A1": "A1"}]}, 403),
    ("/orders/A1/events", {"orders": "*"}, 403),
    ("/orders/A1/events", {"sub": "ann"}, 403),
    ("/orders/A1/presence", {"orders": ["A1"]}, 200),
    ("/orders/A1/presence", {"orders": ["A2"]}, 403),
    ("/topics/books/1", MERCURE, 200),
    ("/topics/books/1/a/b", MERCURE, 200),
    ("/topics/a", MERCURE, 200),
    ("/topics/ab", MERCURE, 403),
    ("/topics/books", {"mercure": {"subscribe": "*"}}, 200),
    ("/topics/books", {"mercure": ["subscribe"]}, 403),
    ("/topics/books", {"mercure": {"subscribe": ["", 5, None]}}, 403),
    ("/staff?format=triolet", {"any": 1}, 200),
    ("/staff", {}, 401),
]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_token_says_what_its_client_may_follow(
    transport: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with made(tmp_path, FILE) as server:
        for url, claims, status in ASKED:
            headers = bearer(**claims) if claims else {}
            if status == 200:
                async with server.client(transport, url, headers=headers) as client:
                    await client.until("open")
                continue
            with pytest.raises(RefusedError) as refused:
                async with server.client(transport, url, headers=headers) as client:
                    await client.until("open")
            assert refused.value.status == status, url


async def test_a_follow_on_a_socket_is_asked_about_as_any_other(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with made(tmp_path, FILE) as server, server.websocket("/live", headers=bearer(orders=["A1"])) as client:
        await client.follow("/orders/A1/events")
        await client.say(type="follow", url="/orders/A2/events")
        assert (await client.until("refused"))["url"] == "/orders/A2/events"


PUBLISHED: list[tuple[str, dict[str, Any], int]] = [
    ("/news", {"sub": "desk"}, 405),
    ("/orders/A1/events", {"sub": "desk"}, 200),
    ("/orders/A1/events", {"orders": ["A1"]}, 403),
    ("/orders/A1/events", {}, 401),
    ("/orders/A1/presence", {"sub": "desk"}, 405),
    ("/topics/books/1", MERCURE, 200),
    ("/topics/books/2", MERCURE, 403),
    ("/staff?name=note&key=k", {"any": 1}, 200),
    ("/staff?name=triolet.open", {"any": 1}, 400),
]


@pytest.mark.parametrize(("url", "claims", "status"), PUBLISHED)
async def test_a_token_says_what_its_client_may_publish(
    url: str, claims: dict[str, Any], status: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with made(tmp_path, FILE) as server:
        answer = await post(server, url, {"n": 1}, **(bearer(**claims) if claims else {}))
        assert answer.status == status
        if status == 401:
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_is_published_is_heard_and_takes_effect_once(
    transport: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    headers = bearer("desk", orders=["A1"])
    async with made(tmp_path, FILE) as server:
        async with server.client(transport, "/orders/A1/events", headers=headers) as client:
            await client.until("open")
            for _ in range(2):
                said = await client.command("/orders/A1/events?name=status&key=k", {"state": "paid"}, id="one")
                assert (said["status"], said["data"]) == (200, {"published": "orders/A1"})
            await client.expect(event="status", data={"state": "paid"})
            await client.nothing_for(30)
        for number in range(3):
            await post(server, "/orders/A1/events", number, id=f"more {number}", **headers)
        kept = (await server.get("/orders/A1/events?after=0", **headers)).json
        assert [event["data"] for event in kept["events"]] == [1, 2], "keep says two"


async def test_who_follows_is_told_to_those_who_may_follow(tmp_path: Path, autojump_clock: MockClock) -> None:
    ann, bob = (bearer(name, orders=["A1"]) for name in ("ann", "bob"))
    async with made(tmp_path, FILE) as server, server.sse("/orders/A1/events", headers=ann) as client:
        await client.until("live")
        await trio.sleep(1)
        async with server.sse("/orders/A1/presence?snapshot=1", headers=bob) as watcher:
            there = (await watcher.until("snapshot"))["data"]
            assert [(one["member"], one["info"]) for one in there] == [("ann", None)]
            async with server.websocket("/live", headers=bob) as other:
                await other.follow("/orders/A1/events")
                joined = await watcher.until("event")
                assert (joined["event"], joined["data"]["member"]) == ("join", "bob")


async def test_a_connection_ends_with_its_token(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with made(tmp_path, FILE) as server, server.sse("/topics/a", headers=bearer(seconds=60, **MERCURE)) as client:
        await client.until("expiring", within=100)
        bye = await client.until("bye", within=100)
        assert (bye["code"], bye["reason"]) == (4401, "expired")


@pytest.mark.parametrize(("origin", "status"), [("https://shop.example", 200), ("https://evil.example", 403)])
async def test_pages_of_listed_origins_may_ask(
    origin: str, status: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with made(tmp_path, FILE) as server:
        followed = await server.get("/news", origin=origin)
        posted = await post(server, "/staff", 1, origin=origin, **bearer())
        assert posted.status == status
        for answer in (followed, posted):
            assert answer.headers.get("access-control-allow-origin") == (origin if status == 200 else None)
        preflight = {"origin": origin, "access-control-request-method": "POST"}
        answer = await server.request("OPTIONS", "/orders/A1/events", preflight)
        assert (answer.headers.get("access-control-allow-origin") == origin) is (status == 200)


async def test_a_files_own_form_and_policy_hold(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with made(tmp_path, FILE) as server:
        for number in range(5):
            await post(server, "/staff?key=k", number, id=str(number), **bearer())
        async with server.client("plain sse", "/staff?after=0", headers=bearer()) as client:
            assert (await client.until("gap"))["reason"] == "conflated"
            await client.expect(data=4)


async def test_without_keys_a_token_is_nobodys(tmp_path: Path, autojump_clock: MockClock) -> None:
    text = '[[channels]]\nurl = "/a"\nfollow = "anyone"\npublish = "anyone"\n'
    async with made(tmp_path, text) as server:
        assert (await server.get("/a", authorization="Bearer nonsense")).status == 200
        assert (await post(server, "/a", 1)).status == 200
