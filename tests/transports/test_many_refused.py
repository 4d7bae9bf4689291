"""Many channels over one stream or one poll: what is refused, how views are asked, and what is left."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from quart import request
from trio.testing import MockClock

from triolet import Event, Limits
from triolet.bounds import FOLLOW_URL_CHARACTERS
from triolet.testing.http import RefusedError
from triolet.testing.server import MemoryServer, serve
from triolet.wire.many_codec import ManyCodec

from .many import SECRET, WAYS, A, B, C, asked, shop

# --- what is refused


@pytest.mark.parametrize("transport", WAYS)
async def test_one_that_is_refused_refuses_only_itself(transport: str, autojump_clock: MockClock) -> None:
    app, live = shop()
    urls = [SECRET, A, "/orders/absent/events", "/page", "/nowhere", "/warehouse"]
    async with serve(app) as server, server.client(transport, "/live", follow=urls) as client:
        refused = [(await client.until("refused"))["url"] for _ in range(5)]
        assert refused == [url for url in urls if url != A]
        await live.publish("orders/A", 1)
        assert (await client.until("event"))["data"] == 1
        assert live.statistics().counts.follows_refused >= 5


@pytest.mark.parametrize("transport", WAYS)
@pytest.mark.parametrize(
    ("urls", "status"),
    [
        ([SECRET], 403),
        ([SECRET, "/orders/absent/events"], 403),
        (["/orders/absent/events", SECRET], 404),
        (["/nowhere"], 404),
        ([SECRET, "/orders/broken/events"], 500),
    ],
)
async def test_where_all_are_refused_the_request_is(
    transport: str, urls: list[str], status: int, autojump_clock: MockClock
) -> None:
    app, _live = shop()
    async with serve(app) as server:
        with pytest.raises(RefusedError) as refusal:
            async with server.client(transport, "/live", follow=urls):
                pass
        assert refusal.value.status == status
        await trio.sleep(5)
        assert (server.connections, server.followers) == (0, 0)


async def ask(server: MemoryServer, url: str, **headers: str) -> tuple[int, Any]:
    answers = [await server.get(url, accept=accept, **headers) for accept in ("text/event-stream", "*/*")]
    said = {(answer.status, answer.body) for answer in answers}
    assert len(said) == 1, said
    return answers[0].status, answers[0].json


@pytest.mark.parametrize(
    ("url", "status", "error"),
    [
        (asked(A, after="now"), 400, "cursor"),
        (asked(A, after="e.5"), 400, "cursor"),
        (asked(A, format="plain"), 400, "format"),
        (asked(A, after="-5"), 400, "cursor"),
        (asked(f"{A}?after=now", B), 400, "cursor"),
        (asked(A, "orders/B/events"), 400, "follow"),
        (asked(A, "http://test/orders/B/events"), 400, "follow"),
        (asked(A, "/orders/%C3%A4/events"), 400, "follow"),
        (asked(A, "/" + "x" * FOLLOW_URL_CHARACTERS), 400, "follow"),
        (asked(A, ""), 400, "follow"),
        (asked(*[f"/orders/{n}/events" for n in range(5)]), 400, "follows"),
        ("/live", 426, "upgrade"),
        ("/live?after=5", 426, "upgrade"),
        (f"/warehouse?follow={A}", 426, "upgrade"),
        (f"/raw?follow={A}", 426, "upgrade"),
    ],
)
async def test_what_cannot_be_is_refused_with_the_reason(
    url: str, status: int, error: str, autojump_clock: MockClock
) -> None:
    app, _live = shop(Limits(follows=4))
    async with serve(app) as server:
        answered, body = await ask(server, url)
        assert (answered, body["error"]) == (status, error)


async def test_a_wait_that_is_none_is_refused(autojump_clock: MockClock) -> None:
    app, _live = shop()
    async with serve(app) as server:
        answer = await server.get(asked(A, wait="soon"))
        assert (answer.status, answer.json["error"]) == (400, "wait")


async def test_a_url_that_stands_there_twice_is_followed_once(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.sse("/live", follow=[A, B, A]) as client:
        for _ in range(2):
            await client.until("live")
        await live.publish("orders/A", 1)
        await client.until("event")
        await client.nothing_for(5)
        assert server.followers == 2


@pytest.mark.parametrize("transport", WAYS)
async def test_another_url_of_the_same_channel_is_refused_as_a_repeat(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live = shop()
    other = f"{A}?after=0"
    async with serve(app) as server, server.client(transport, "/live", follow=[A, other]) as client:
        assert (await client.until("refused")) == {"type": "refused", "url": other, "reason": "repeat"}
        await live.publish("orders/A", 1)
        assert (await client.until("event"))["data"] == 1


async def test_a_channels_own_url_has_no_follow(autojump_clock: MockClock) -> None:
    app, _live = shop()
    async with serve(app) as server:
        assert (await server.get(f"{A}?follow={B}")).json["channel"] == "orders/A"


# --- the views


async def test_each_view_is_asked_as_the_request_that_it_is(autojump_clock: MockClock) -> None:
    app, live = shop()
    seen: list[tuple[str, str, str | None]] = []

    @live.channel("/mine")
    async def mine() -> str:
        seen.append((request.method, request.full_path, request.headers.get("x-who")))
        return "mine"

    async with serve(app) as server:
        await server.get(f"/live?follow=/mine%3Fpart=2%26x=1&follow={A}", x_who="ann")
    assert seen == [("GET", "/mine?part=2&x=1", "ann")]


async def test_slow_views_are_asked_together_and_told_of_in_order(autojump_clock: MockClock) -> None:
    app, live = shop()

    @live.channel("/slow/<int:seconds>")
    async def slow(seconds: int) -> str:
        await trio.sleep(seconds)
        return f"slow/{seconds}"

    async with serve(app) as server:
        body = (await server.get(asked("/slow/5", "/slow/1", "/slow/3"))).json
        assert [one["channel"] for one in body["follows"]] == ["slow/5", "slow/1", "slow/3"]
        assert trio.current_time() == 5


async def test_views_that_take_too_long_are_answered_for(autojump_clock: MockClock) -> None:
    app, live = shop(Limits(write_seconds=10))

    @live.channel("/slow")
    async def slow() -> str:
        await trio.sleep(60)
        return "slow"

    async with serve(app) as server:
        assert (await server.get(asked(A, "/slow"))).status == 503
        assert trio.current_time() == 10


async def test_a_client_that_goes_leaves_nothing(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server:
        for _ in range(3):
            async with server.sse("/live", follow=[A, B, C]) as client:
                await client.until("live")
                assert server.followers == 3
            async with server.long_poll("/live", follow=[A, B, C]) as client:
                await client.until("live")
        await trio.sleep(30)
        assert (server.connections, server.followers) == (0, 0)
        assert live.statistics().hub.followers == 0


async def test_one_that_is_explained_says_all_that_it_follows(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.sse("/live", follow=[A, B]) as client:
        for _ in range(2):
            await client.until("live")
        (conn,) = live.connections()
        assert conn.transport == "sse"
        assert [follower.channel for follower in conn.followers] == ["orders/A", "orders/B"]
        assert "follows 2 channels" in str(live.explain(conn.id))


async def test_an_event_is_encoded_once_for_all_streams(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    encode = ManyCodec.event

    def counted(codec: ManyCodec, event: Event) -> bytes:
        made.append(str(event.cursor))
        return encode(codec, event)

    monkeypatch.setattr(ManyCodec, "event", counted)
    app, live = shop()
    async with serve(app) as server, trio.open_nursery() as nursery:

        async def listen() -> None:
            async with server.sse("/live", follow=[A, B]) as client:
                for _ in range(2):
                    await client.until("event")

        for _ in range(20):
            nursery.start_soon(listen)
        await trio.sleep(1)
        await live.publish("orders/A", 1)
        await live.publish("orders/B", 1)
    assert made == ["e.1", "e.1"]
