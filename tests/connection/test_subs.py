"""Subscriptions that a client gives names: many of one channel on one socket, each from its own cursor."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
import trio
from quart import request
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import Limits, Triolet
from triolet.testing.faults import slow_reader, stalled
from triolet.testing.network import ClientEnd
from triolet.testing.server import WebSocketClient, serve

UPGRADE = (
    b"GET /live HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def masked(said: dict[str, Any]) -> bytes:
    """A text frame of a client's, under the mask of zeros."""
    data = json.dumps(said).encode()
    return bytes((0x81, 0x80 | len(data))) + bytes(4) + data


async def read_past(end: ClientEnd, mark: bytes) -> bytes:
    """Read until a mark has come, and the frame that it is in."""
    data = b""
    with trio.fail_after(60):
        while mark not in data:
            data += await end.receive_some()
    return data


def texts(data: bytes) -> list[str]:
    """The texts of the frames of a server, none of which is long."""
    found = []
    while data:
        size, start = (data[1], 2) if data[1] < 126 else (int.from_bytes(data[2:4]), 4)
        found.append(data[start : start + size].decode())
        data = data[start + size :]
    return found


async def until_live(client: WebSocketClient, *subs: str) -> None:
    """Take messages until each of these has been told that it is up to date."""
    waiting = set(subs)
    async for message in client:
        if message["type"] == "live":
            waiting -= set(message.get("for", ()))
        if not waiting:
            return
    raise AssertionError(f"no live for {waiting}")


async def rest(client: WebSocketClient) -> None:
    """Take all that has come, and what comes in a moment."""
    await trio.sleep(1)
    while client._waiting:
        await client.next()


def offsets(client: WebSocketClient, sub: str) -> list[int]:
    """The offsets of the events that were taken for a subscription."""
    return [int(each["id"].partition(".")[2]) for each in client.heard_by(sub) if each["type"] == "event"]


def wire(client: WebSocketClient) -> list[dict[str, Any]]:
    """A list to which all that comes is added as it is on the wire, brackets too."""
    came: list[dict[str, Any]] = []
    take = client._order.take

    def noting(message: dict[str, Any]) -> list[str] | None:
        came.append(message)
        return take(message)

    client._order.take = noting  # type: ignore[method-assign]  # what comes is seen nowhere else before it is judged
    return came


def kinds(came: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in came]


async def test_what_a_named_subscription_is_told_stands_in_its_bracket(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        await client.next()
        came = wire(client)
        first, second = await live.publish_many(ORDER, [1, 2])
        await client.follow(ORDERS, first.cursor, sub="s1")
        await until_live(client, "s1")
        assert came == [
            {"type": "for", "subs": ["s1"], "next": 3},
            {"type": "open", "channel": ORDER, "cursor": str(first.cursor), "url": ORDERS, "sub": "s1"},
            {**came[2], "type": "event", "id": str(second.cursor)},
            {"type": "live", "channel": ORDER, "cursor": str(second.cursor), "subs": ["s1"]},
        ]
        await live.publish(ORDER, 3)
        await client.expect(data=3, for_=["s1"])
        assert len(came) == 5


async def test_two_of_one_channel_get_everything_from_where_each_stands(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        events = await live.publish_many(ORDER, range(10))
        await client.follow(ORDERS, events[7].cursor, sub="s1")
        await until_live(client, "s1")
        assert server.followers == 1
        await client.follow(ORDERS, events[2].cursor, sub="s2")
        await until_live(client, "s2")
        assert server.followers == 1  # at the same place one follower serves both
        came = wire(client)
        await live.publish(ORDER, 10)
        await client.expect(data=10, for_=["s1", "s2"])
        assert kinds(came) == ["event"]  # written once
        first = events[0].offset
        assert offsets(client, "s1") == [*range(first + 8, first + 11)]
        assert offsets(client, "s2") == [*range(first + 3, first + 11)]


@pytest.mark.parametrize("wait", [0, 0.01])
async def test_two_under_load_each_hear_everything_once(wait: float, autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(page_events=7))
    async with serve(app) as server, server.websocket("/live") as client:
        events = await live.publish_many(ORDER, range(100))
        first = events[0].offset

        async def publish() -> None:
            for n in range(100):
                await live.publish(ORDER, n)
                await trio.sleep(wait)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish)
            for sub, at in (("a", 90), ("b", 3), ("c", 50), ("d", 3)):
                await client.follow(ORDERS, events[at].cursor, sub=sub)
        await rest(client)
        for sub, at in (("a", 90), ("b", 3), ("c", 50), ("d", 3)):
            assert offsets(client, sub) == [*range(first + at + 1, first + 200)]
        assert server.followers == 1


async def test_a_slow_client_falls_behind_and_catches_up_with_all(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(page_events=5))
    async with serve(app) as server, server.websocket("/live", kernel_bytes=2_000) as client:
        head = (await live.publish(ORDER, 0)).offset
        for sub, after in (("a", head), ("b", None), ("c", head - 1)):
            await client.follow(ORDERS, after, sub=sub)
        await until_live(client, "c")
        came = wire(client)
        with stalled(client):
            for n in range(40):
                await live.publish(ORDER, [n, "x" * 200])
                await trio.sleep(0.1)
        await until_live(client, "a", "b", "c")
        assert {"type": "for", "subs": ["a", "b", "c"], "next": 5} in came
        await live.publish(ORDER, "live")
        await client.expect(data="live", for_=["a", "b", "c"])
        for sub in "ab":
            assert offsets(client, sub) == [*range(head + 1, head + 42)]
        assert offsets(client, "c") == [*range(head, head + 42)]
        assert server.followers == 1


async def test_one_that_comes_while_the_live_one_is_slow_is_in_none_of_its_brackets(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(page_events=5))
    async with serve(app) as server, server.websocket("/live", kernel_bytes=2_000) as client:
        head = (await live.publish(ORDER, 0)).offset
        await client.follow(ORDERS, sub="a")
        await until_live(client, "a")
        with slow_reader(client, bytes_per_second=3_000):
            for n in range(60):
                await live.publish(ORDER, [n, "x" * 200])
                await trio.sleep(0.02)
                if n == 20:
                    await client.say(type="follow", url=ORDERS, after=head - 1, sub="b")
            await trio.sleep(30)
        await rest(client)
        await live.publish(ORDER, "live")
        await client.expect(data="live", for_=["a", "b"])
        assert offsets(client, "a") == [*range(head + 1, head + 62)]
        assert offsets(client, "b") == [*range(head, head + 62)]


async def test_each_leaves_for_itself(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        for sub in ("a", "b"):
            await client.follow(ORDERS, sub=sub)
            await until_live(client, sub)
        await client.say(type="unfollow", sub="a")
        await client.say(type="unfollow", sub="never")
        await trio.sleep(1)
        await live.publish(ORDER, 1)
        await client.expect(data=1, for_=["b"])
        assert server.followers == 1
        await client.say(type="unfollow", channel="", sub="b")  # as those say it who know older servers
        await trio.sleep(1)
        assert server.followers == 0
        await live.publish(ORDER, 2)
        await client.nothing_for(1)


async def test_a_name_may_be_that_of_a_channel(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        await client.follow("/orders/A1/events", sub=ORDER)
        await client.follow(ORDERS)
        await client.say(type="unfollow", channel=ORDER)
        await trio.sleep(1)
        assert server.followers == 1
        await live.publish("orders/A1", 1)
        await client.expect(data=1, for_=[ORDER])


async def test_a_name_that_is_used_again_is_followed_anew(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        event = await live.publish(ORDER, 0)
        for sub in ("a", "b"):
            await client.follow(ORDERS, sub=sub)
            await until_live(client, sub)
        await client.follow(ORDERS, 0, sub="b")
        await live.publish(ORDER, 1)
        await rest(client)
        assert offsets(client, "a") == [event.offset + 1]
        assert offsets(client, "b") == [event.offset, event.offset + 1]
        await client.follow("/orders/A1/events", sub="b")
        await until_live(client, "b")
        await live.publish(ORDER, 2)
        await client.expect(data=2, for_=["a"])
        assert server.followers == 2


@pytest.mark.parametrize("sub", ["", "x" * 65, "a\nb", "ä", "a\n", 1])
@pytest.mark.parametrize("kind", ["follow", "unfollow"])
async def test_a_name_that_cannot_be_is_a_bad_message(kind: str, sub: Any, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        await client.say(type=kind, url=ORDERS, channel=ORDER, sub=sub)
        assert (await client.ended())[0] == 1008


async def test_to_unfollow_nothing_is_a_bad_message(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        await client.say(type="unfollow")
        assert (await client.ended())[0] == 1008


async def test_a_refusal_names_the_subscription(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        await client.next()
        for url in ("/orders/secret/events", "/nowhere"):
            await client.say(type="follow", url=url, sub="s1")
            assert await client.next() == {"type": "refused", "url": url, "sub": "s1"}


async def test_a_refusal_of_a_name_ends_what_had_it_before(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        await client.follow(ORDERS, sub="s1")
        await client.say(type="follow", url="/nowhere", sub="s1")
        await client.until("refused")
        assert server.followers == 0


async def test_who_names_nothing_is_told_what_it_always_was(autojump_clock: MockClock) -> None:
    """Byte for byte, also while another on the same server gives names."""
    app, live = make_shop()
    async with serve(app) as server, server.websocket("/live") as other:
        for sub in "ab":
            await other.follow(ORDERS, sub=sub)
        head = (await live.publish(ORDER, 0)).cursor
        end = server.connect()
        await end.send_all(UPGRADE)
        _, _, greeting = (await read_past(end, b'"cursor":null}')).partition(b"\r\n\r\n")
        follow, unfollow = {"type": "follow", "url": ORDERS}, {"type": "unfollow", "channel": ORDER}
        for said in (follow, unfollow, {"type": "follow", "url": "/no"}):
            await end.send_all(masked(said))
            await trio.sleep(1)
            await live.publish(ORDER, 1)
            await trio.sleep(1)
        told = texts(greeting + await read_past(end, b"refused"))
        told = [text for text in told if text and '"beat"' not in text]  # nor a ping: they come at drawn moments
        epoch = head.epoch
        assert told == [
            '{"type":"open","channel":null,"cursor":null}',
            f'{{"type":"open","channel":"{ORDER}","cursor":"{head}","url":"{ORDERS}"}}',
            f'{{"type":"live","channel":"{ORDER}","cursor":"{head}"}}',
            f'{{"type":"event","channel":"{ORDER}","id":"{epoch}.{head.offset + 1}","event":"message","data":1,'
            f'"time":1750000001000}}',
            '{"type":"refused","url":"/no"}',
        ]


async def test_follows_are_bounded_by_subscriptions(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(follows=3))
    async with serve(app) as server, server.websocket("/live") as client:
        for sub in ("a", "b", "c", "a"):
            await client.follow(ORDERS, sub=sub)
            await until_live(client, sub)
        assert server.followers == 1
        await client.say(type="follow", url=ORDERS, sub="d")
        await client.expect("refused", sub="d", reason="follows")
        await client.say(type="unfollow", sub="b")
        await client.follow(ORDERS, sub="d")
        await until_live(client, "d")


# --- before it is confirmed


class Rooms:
    """An app whose view takes its time, and in which who says a name is present under it."""

    def __init__(self, **options: Any) -> None:
        self.app = QuartTrio("rooms")
        self.live = Triolet(self.app, **options)
        self.go = trio.Event()
        self.asked = 0

        @self.live.channel("/rooms/<room>", member=lambda room: request.args.get("as"))
        async def room(room: str) -> str:
            self.asked += 1
            if "wait" in request.args:
                await self.go.wait()
            return f"rooms/{room}"

        self.live.socket("/live")

    async def sessions(self) -> list[str]:
        await trio.sleep(1)
        return sorted(self.live_sessions(await self.live.presence("rooms/1").roster()))

    @staticmethod
    def live_sessions(roster: Any) -> list[str]:
        return [member.id if hasattr(member, "id") else member for member in roster.members]


async def test_who_leaves_before_it_is_confirmed_has_left(autojump_clock: MockClock) -> None:
    rooms = Rooms()
    async with serve(rooms.app) as server, server.websocket("/live") as client:
        await client.next()
        await client.say(type="follow", url="/rooms/1?wait=1&as=ann", sub="a")
        await client.say(type="follow", url="/rooms/1?wait=1&as=ben", sub="b")
        await trio.sleep(1)
        assert rooms.asked == 2
        await client.say(type="unfollow", sub="a")
        await trio.sleep(1)
        rooms.go.set()
        await until_live(client, "b")
        assert await rooms.sessions() == ["ben"]
        assert server.followers == 1
        await client.nothing_for(5)
        assert not [message for message in client.heard if message.get("sub") == "a"]


async def test_to_leave_in_the_moment_in_which_it_is_decided_leaves(autojump_clock: MockClock) -> None:
    """In every order of the two: the view answers, and the client leaves, at the same virtual moment."""
    rooms = Rooms()
    async with serve(rooms.app) as server:
        for _ in range(20):
            rooms.go = trio.Event()
            async with server.websocket("/live") as client:
                await client.say(type="follow", url="/rooms/1?wait=1&as=ann", sub="a")
                await trio.sleep(1)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(partial(client.say, type="unfollow", sub="a"))
                    await trio.lowlevel.checkpoint()
                    rooms.go.set()
                await trio.sleep(1)
                assert server.followers == 0
                assert await rooms.sessions() == []


async def test_one_asked_for_anew_before_it_is_confirmed_is_followed_once(autojump_clock: MockClock) -> None:
    rooms = Rooms()
    async with serve(rooms.app) as server, server.websocket("/live") as client:
        await client.say(type="follow", url="/rooms/1?wait=1&as=ann", sub="a")
        await trio.sleep(1)
        await client.say(type="follow", url="/rooms/2", sub="a")
        await until_live(client, "a")
        rooms.go.set()
        assert await rooms.sessions() == []
        await rooms.live.publish("rooms/1", 1)
        await rooms.live.publish("rooms/2", 2)
        await client.expect(data=2, for_=["a"])
        assert server.followers == 1


async def test_a_member_is_present_until_the_last_of_its_subscriptions_leaves(autojump_clock: MockClock) -> None:
    rooms = Rooms()
    async with serve(rooms.app) as server, server.websocket("/live") as client:
        for sub, member in (("a", "ann"), ("b", "ann"), ("c", "cy")):
            await client.follow(f"/rooms/1?as={member}", sub=sub)
            await until_live(client, sub)
        assert server.followers == 1
        for sub, left in (("a", ["ann", "cy"]), ("c", ["ann"]), ("b", [])):
            await client.say(type="unfollow", sub=sub)
            assert await rooms.sessions() == left
