"""Many channels on one socket, by their URLs: the app's view decides about each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from quart import abort, request, session
from trio.testing import MockClock

from tests.peer import peer
from tests.shop import ORDER, ORDERS, make_shop
from triolet import ConfigError, Connection, ConnectionEnded, CursorError, Limits
from triolet.errors import ChannelNameError
from triolet.testing.server import WebSocketClient, serve


async def follow(client: WebSocketClient, order: str, **options: Any) -> list[dict[str, Any]]:
    """Follow an order's events; everything up to ``live``."""
    await client.say(type="follow", url=f"/orders/{order}/events", **options)
    heard = []
    async for message in client:
        heard.append(message)
        if message["type"] in ("live", "refused"):
            break
    return heard


async def test_a_socket_greets_and_opens_each_channel_under_the_url_it_was_asked_by(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        assert await client.next() == {"type": "open", "channel": None, "cursor": None}
        for order in ("A1", "A2"):
            opened, caught_up = await follow(client, order)
            assert (opened["type"], opened["url"]) == ("open", f"/orders/{order}/events")
            assert opened["channel"] == caught_up["channel"] == f"orders/{order}"
            assert opened["cursor"] == caught_up["cursor"]
        await live.publish("orders/A2", "second")
        await live.publish("orders/A1", "first")
        assert [(await client.event())["data"] for _ in range(2)] == ["second", "first"]


async def test_a_follow_goes_on_from_the_cursor_in_its_url_unless_it_has_one_of_its_own(
    autojump_clock: MockClock,
) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        await live.publish_many("orders/A1", [0, 1, 2, 3])
        for options, first in (({}, 2), ({"after": 3}, 3)):
            await client.say(type="follow", url="/orders/A1/events?after=2", **options)
            assert (await client.event())["data"] == first


async def test_a_follow_from_no_cursor_in_its_url_is_refused_and_the_others_go_on(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        await client.next()
        await follow(client, "A0")
        await client.say(type="follow", url="/orders/A1/events?after=a.b.c")
        assert await client.next() == {"type": "refused", "url": "/orders/A1/events?after=a.b.c"}
        await follow(client, "A2")
        assert server.followers == 2


@pytest.mark.parametrize("bare", [True, False])
async def test_a_follow_goes_on_from_its_cursor(bare: bool, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        events = await live.publish_many("orders/A1", [0, 1, 2, 3])
        await client.next()
        heard = await follow(client, "A1", after=2 if bare else str(events[1].cursor))
        assert [message["type"] for message in heard] == ["open", "event", "event", "live"]
        assert [message["data"] for message in heard[1:3]] == [2, 3]
        assert heard[0]["cursor"] == str(events[1].cursor)


async def test_a_channel_that_is_unfollowed_is_heard_no_more(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        await client.next()
        await follow(client, "A1")
        await follow(client, "A2")
        await client.say(type="unfollow", channel="orders/A1")
        await client.say(type="unfollow", channel="orders/never-followed")
        await trio.sleep(1)
        assert server.followers == 1
        await live.publish("orders/A1", "unheard")
        await live.publish("orders/A2", "heard")
        assert (await client.event())["data"] == "heard"


async def test_a_channel_that_is_followed_again_opens_again_from_the_new_cursor(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        await client.next()
        await live.publish_many("orders/A1", [0, 1])
        assert len(await follow(client, "A1")) == 2
        heard = await follow(client, "A1", after=0)
        assert [message.get("data") for message in heard] == [None, 0, 1, None]
        assert server.followers == 1
        await live.publish("orders/A1", 2)
        await client.expect(data=2)


REFUSED = {
    "forbidden": "/orders/secret/events",
    "absent": "/orders/absent/events",
    "broken": "/orders/broken/events",
    "no route": "/nowhere",
    "another view": "/page",
    "a socket": "/warehouse",
    "another method": "/triolet/triolet.js",
    "another server": "http://test/orders/A1/events",
    "another host": "//test/orders/A1/events",
    "no path": "orders/A1/events",
    "empty": "",
    "a line break": "/orders/A1\r\n/events",
    "not ASCII": "/orders/é/events",
    "a broken escape": "/orders/%zz/ev%ents",
}


@pytest.mark.parametrize("why", REFUSED)
async def test_every_refusal_looks_the_same(why: str, autojump_clock: MockClock) -> None:
    app, _live = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        await client.next()
        await client.say(type="follow", url=REFUSED[why])
        assert await client.next() == {"type": "refused", "url": REFUSED[why]}
        await follow(client, "A1")
        assert server.followers == 1


async def test_a_url_too_long_is_a_bad_message(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        await client.say(type="follow", url="/orders/" + "x" * 3_000)
        assert await client.ended() == (1008, "bad message")


async def test_a_view_whose_answer_has_no_end_is_not_read(autojump_clock: MockClock) -> None:
    app, _ = make_shop()

    @app.get("/endless")
    async def endless() -> Any:
        async def parts() -> AsyncIterator[bytes]:
            while True:
                await trio.lowlevel.checkpoint()
                yield b"x"

        return parts()

    async with serve(app) as server, server.websocket("/live") as client:
        await client.next()
        await client.say(type="follow", url="/endless")
        assert await client.next() == {"type": "refused", "url": "/endless"}


async def test_a_client_that_is_refused_a_hundred_times_at_once_is_told_a_hundred_times(
    autojump_clock: MockClock,
) -> None:
    app, _ = make_shop()
    async with serve(app) as server, peer(server, "/live") as client:
        await client.message()
        for n in range(100):
            await client.say(type="follow", url=f"/nowhere/{n}")
        urls = {(await client.message())["url"] for _ in range(100)}
        assert urls == {f"/nowhere/{n}" for n in range(100)}


async def test_a_client_may_follow_so_many_channels_and_no_more(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(follows=5))
    async with serve(app) as server, server.websocket("/live") as client:
        await client.next()
        for n in range(5):
            await follow(client, f"A{n}")
        await follow(client, "A3")
        await client.say(type="unfollow", channel="orders/A0")
        await follow(client, "A5")
        assert server.followers == 5
        for name in ({}, {"sub": "s1"}):
            await client.say(type="follow", url="/orders/A6/events", **name)
            told = {"type": "refused", "url": "/orders/A6/events", "reason": "follows", **name}
            assert await client.next() == told
        await client.say(type="unfollow", channel="orders/A1")
        await follow(client, "A6")
        assert server.followers == 5


async def test_a_client_that_follows_all_at_once_gets_no_more_than_its_bound(autojump_clock: MockClock) -> None:
    app, _live = make_shop(Limits(follows=5))
    counted: list[int] = []

    @app.before_request
    async def slow() -> None:
        await trio.sleep(1)

    async with serve(app) as server, peer(server, "/live") as client, trio.open_nursery() as nursery:
        await client.message()
        for n in range(3):
            await client.say(type="follow", url=f"/orders/A{n}/events")
        await trio.sleep(2)
        for n in range(3, 8):
            await client.say(type="follow", url=f"/orders/A{n}/events")

        async def count() -> None:
            while True:
                counted.append(server.followers)
                await trio.sleep(0.01)

        nursery.start_soon(count)
        told: list[Any] = []
        while len(told) < 8:
            message = await client.message()
            told += [message.get("reason")] if message["type"] in ("open", "refused") else []
        assert (told.count("follows"), server.followers) == (3, 5)
        assert max(counted) <= 5
        nursery.cancel_scope.cancel()


async def test_a_follow_is_a_request_with_the_connections_own_identity(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    app.secret_key = "a key"
    seen: list[tuple[str, str | None, str | None]] = []

    @app.get("/sign-in")
    async def sign_in() -> str:
        session["who"] = "ada"
        return ""

    @live.channel("/mine")
    async def mine() -> str:
        seen.append((request.path, session.get("who"), request.args.get("part")))
        return f"of/{session['who']}" if "who" in session else abort(403)

    async with serve(app) as server:
        cookie = (await server.get("/sign-in")).headers["set-cookie"].split(";")[0]
        async with server.websocket("/live", headers={"cookie": cookie}) as client:
            await client.next()
            await client.say(type="follow", url="/mine?part=2")
            await client.expect("open", channel="of/ada")
        async with server.websocket("/live") as stranger:
            await stranger.next()
            await stranger.say(type="follow", url="/mine")
            await stranger.expect("refused")
    assert seen == [("/mine", "ada", "2"), ("/mine", None, None)]


async def test_a_slow_view_holds_up_nothing_else_on_its_connection(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.channel("/slow")
    async def slow() -> str:
        await trio.sleep(5)
        return "slow"

    async with serve(app) as server, server.websocket("/live") as client:
        await client.next()
        await client.say(type="follow", url="/slow")
        await follow(client, "A1")
        assert trio.current_time() == 0
        assert (await client.until("open"))["channel"] == "slow"
        assert trio.current_time() == 5


async def test_a_client_that_goes_while_its_follow_is_decided_leaves_nothing(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.channel("/slow")
    async def slow() -> str:
        await trio.sleep(5)
        return "slow"

    async with serve(app) as server:
        async with peer(server, "/live") as client:
            await client.say(type="follow", url="/slow")
            await trio.sleep(1)
        await trio.sleep(10)
        assert (server.connections, server.followers) == (0, 0)


async def test_a_view_whose_channel_cannot_be_called_so_refuses(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.channel("/ill")
    async def ill() -> str:
        return "a\nb"

    async with serve(app) as server, server.websocket("/live") as client:
        await client.next()
        await client.say(type="follow", url="/ill")
        await client.expect("refused")


async def test_a_handler_follows_without_asking(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(follows=2))
    raised: list[type[Exception]] = []

    @live.socket("/desk/<name>")
    async def desk(conn: Connection, name: str) -> None:
        await conn.follow(f"tasks/{name}")
        await conn.follow(ORDER, after=-2)
        for call in (("third", None), (ORDER, "x.y"), ("", None)):
            try:
                await conn.follow(*call)
            except Exception as error:
                raised.append(type(error))
        conn.unfollow(ORDER)
        conn.unfollow("never followed")
        await trio.sleep_forever()

    async with serve(app) as server, server.websocket("/desk/ada") as client:
        await client.until("live")
        await live.publish("tasks/ada", "sort")
        assert (await client.event())["data"] == "sort"
        await trio.testing.wait_all_tasks_blocked()
        assert raised == [ConfigError, CursorError, ChannelNameError]
        assert server.followers == 1


async def test_following_and_sending_on_a_connection_that_has_ended_says_so(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    outside: list[Connection] = []

    @live.socket("/handed-out")
    async def handed_out(conn: Connection) -> None:
        outside.append(conn)

    async with serve(app) as server, server.websocket("/handed-out") as client:
        await client.ended()
        with pytest.raises(ConnectionEnded):
            await outside[0].follow("tasks")
        with pytest.raises(ConnectionEnded):
            await outside[0].send(1)
        assert server.followers == 0
        outside.clear()


async def test_a_channels_own_url_is_followed_at_once(autojump_clock: MockClock) -> None:
    app, _live = make_shop()
    async with serve(app) as server, server.websocket(ORDERS) as client:
        assert "url" not in await client.expect("open", channel=ORDER)
        await client.expect("live")


@pytest.mark.parametrize("after", [-2, "-2"])
async def test_a_client_follows_from_the_newest_few(after: int | str, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        events = await live.publish_many("orders/A1", [0, 1, 2, 3])
        await client.next()
        heard = await follow(client, "A1", after=after)
        assert [message.get("data") for message in heard] == [None, 2, 3, None]
        assert heard[0]["cursor"] == str(events[1].cursor)


@pytest.mark.parametrize(("follows", "kernel_bytes"), [(3, 64), (60, 2_000)])
async def test_a_socket_that_follows_more_than_its_kernel_takes_words_for_is_told_of_each_once(
    follows: int, kernel_bytes: int, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(follows=60))
    async with serve(app) as server, server.websocket("/live", kernel_bytes=kernel_bytes) as client:
        for number in range(follows):
            await client.say(type="follow", url=f"/orders/A{number}/events")
        heard: list[dict[str, Any]] = []
        with trio.move_on_after(19):
            async for message in client:
                heard.append(message)
        told = [message["channel"] for message in heard if message["type"] == "live"]
        assert sorted(told) == sorted(f"orders/A{number}" for number in range(follows))
        await live.publish("orders/A1", "still there")
        assert (await client.event())["data"] == "still there"
