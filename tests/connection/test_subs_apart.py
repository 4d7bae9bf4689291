"""Subscriptions of one channel that cannot be merged, or stand beside one without a name; how each is taken away."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
from quart import abort, request
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.paths.memory import IN_MEMORY, served
from tests.paths.stock import serve_stock
from triolet import Connection, Event, Identity, Limits, Triolet, policies
from triolet.closing import REVOKED
from triolet.counters import Metrics
from triolet.hub import Policy, Step
from triolet.hub.filter import Filter
from triolet.testing.faults import stalled
from triolet.testing.server import WebSocketClient, serve

from .test_subs import kinds, offsets, rest, until_live, wire

EVENTS = "/orders/7/events"
CHANNEL = "orders/7"
ANN = {"authorization": "Bearer ann"}


class Orders:
    """An app with several URLs for one channel."""

    def __init__(
        self, limits: Limits | None = None, policy: Policy | None = None, recheck: float | None = None
    ) -> None:
        self.app = QuartTrio("orders")
        self.live = live = Triolet(self.app, limits=limits)
        self.no: set[str] = set()

        @live.identify
        async def identity_of(token: str | None) -> Identity | None:
            return None if token is None else Identity(token)

        @live.channel("/orders/<order_id>/events", recheck=recheck, member=lambda order_id: request.args.get("as"))
        async def events(order_id: str) -> str:
            if request.args.get("as") in self.no:
                abort(403)
            return f"orders/{order_id}"

        @live.channel("/orders/<order_id>/other", policy=policy)
        async def other(order_id: str) -> str:
            return f"orders/{order_id}"

        @live.channel("/orders/<order_id>/even", allow=is_even)
        async def even(order_id: str) -> str:
            return f"orders/{order_id}"

        @live.channel("/orders/<order_id>/third", allow=lambda event, _: event.offset % 3 == 0)
        async def third(order_id: str) -> str:
            return f"orders/{order_id}"

        @live.socket("/live")
        async def handler(conn: Connection) -> None:
            async for message in conn:
                if message == "unfollow":
                    conn.unfollow(CHANNEL)
                else:
                    await conn.follow(CHANNEL, message)


def is_even(event: Event, _: Identity | None) -> bool:
    return event.offset % 2 == 0


def plain(client: WebSocketClient) -> list[int]:
    return [int(each["id"].partition(".")[2]) for each in client.events if "for" not in each]


async def test_one_under_another_policy_stays_in_brackets(autojump_clock: MockClock) -> None:
    orders = Orders(policy=policies.disconnect(seconds=5))
    async with serve(orders.app) as server, server.websocket("/live") as client:
        await client.follow(EVENTS, 0, sub="a")
        await until_live(client, "a")
        await client.follow("/orders/7/other", 0, sub="b")
        await until_live(client, "b")
        assert client.heard[-1]["subs"] == ["a"]
        assert server.followers == 2
        came = wire(client)
        for n in range(3):
            await orders.live.publish(CHANNEL, n)
            await trio.sleep(60)  # far longer than its policy lets it be behind
        await rest(client)
        assert offsets(client, "a") == offsets(client, "b") == [1, 2, 3]
        assert kinds(came).count("event") == 6
        assert kinds(came).count("for") == 3
        assert "live" not in kinds(came)
        await client.say(type="unfollow", sub="a")
        await trio.sleep(1)
        for n in range(3):
            await orders.live.publish(CHANNEL, n)
            await trio.sleep(1)
        await rest(client)
        assert offsets(client, "b") == [1, 2, 3, 4, 5, 6]
        assert kinds(came).count("for") == 4  # then it was told that the way is its own


async def test_those_of_one_filter_are_merged_and_of_another_stay_apart(autojump_clock: MockClock) -> None:
    orders = Orders()
    async with serve(orders.app) as server, server.websocket("/live") as client:
        subs = {"a": "even", "b": "third", "c": "even", "d": "events"}
        await orders.live.publish_many(CHANNEL, range(6))
        for sub, end in subs.items():
            await client.follow(f"/orders/7/{end}", 0, sub=sub)
            await until_live(client, sub)
        assert server.followers == 3
        for n in range(6):
            await orders.live.publish(CHANNEL, n)
        await rest(client)
        assert offsets(client, "a") == offsets(client, "c") == [2, 4, 6, 8, 10, 12]
        assert offsets(client, "b") == [3, 6, 9, 12]
        assert offsets(client, "d") == [*range(1, 13)]


async def test_the_same_filter_for_two_clients_is_not_the_same() -> None:
    """It cannot come to that on one connection; so it is asked below it."""
    filters = [Filter(partial(is_even, _=identity), Metrics()) for identity in (None, Identity("ann"), None)]
    assert filters[0].asks_as(filters[2])
    assert not filters[0].asks_as(filters[1])
    assert not filters[0].asks_as(Filter(lambda event: True, Metrics()))


@pytest.mark.parametrize("first", ["plain", "named"])
async def test_beside_one_without_a_name_they_stay_in_brackets(first: str, autojump_clock: MockClock) -> None:
    orders = Orders()
    async with serve(orders.app) as server, server.websocket("/live") as client:
        await orders.live.publish_many(CHANNEL, range(4))

        async def follow_plain() -> None:
            await client.say(type="message", data="1")
            await client.pick(lambda said: said["type"] == "live" and "for" not in said, "live")

        async def follow_named() -> None:
            await client.follow(EVENTS, 2, sub="a")
            await until_live(client, "a")

        for follow in (follow_plain, follow_named) if first == "plain" else (follow_named, follow_plain):
            await follow()
        for n in range(3):
            await orders.live.publish(CHANNEL, n)
            await trio.sleep(n)
        await rest(client)
        assert sorted(plain(client)) == [2, 3, 4, 5, 6, 7]
        assert sorted(offsets(client, "a")) == [3, 4, 5, 6, 7]
        beat = await client.until("beat")
        assert [place.partition(".")[2] for place in beat["cursors"].values()] == ["7"]
        await client.say(type="message", data="unfollow")
        await trio.sleep(1)
        assert server.followers == 1
        came = wire(client)
        for n in range(3):
            await orders.live.publish(CHANNEL, n)
            await trio.sleep(1)
        await rest(client)
        assert offsets(client, "a")[-3:] == [8, 9, 10]
        assert kinds(came) == ["for", "event", "live", "event", "event"]


async def test_one_without_a_name_that_comes_while_they_are_slow(autojump_clock: MockClock) -> None:
    orders = Orders(Limits(page_events=5))
    async with serve(orders.app) as server, server.websocket("/live", kernel_bytes=2_000) as client:
        await orders.live.publish(CHANNEL, 0)
        for sub in "ab":
            await client.follow(EVENTS, sub=sub)
            await until_live(client, sub)
        await client.say(type="message", data="0")
        with stalled(client):
            for n in range(40):
                await orders.live.publish(CHANNEL, [n, "x" * 200])
                await trio.sleep(0.1)
        await rest(client)
        await orders.live.publish(CHANNEL, "live")
        await rest(client)
        assert plain(client) == [*range(1, 43)]
        assert offsets(client, "a") == offsets(client, "b") == [*range(2, 43)]


async def test_a_beat_names_the_place_of_the_live_one_or_of_the_only_one(autojump_clock: MockClock) -> None:
    asked: list[str] = []

    def never(lag: Any) -> Step:
        asked.append("asked")
        return Step.CATCH_UP

    orders = Orders(Limits(beat_seconds=20), policy=never)
    async with serve(orders.app) as server, server.websocket("/live") as client:
        await orders.live.publish_many(CHANNEL, range(4))
        await client.follow("/orders/7/even", 0, sub="a")
        await until_live(client, "a")
        beat = await client.until("beat")
        assert beat["cursors"][CHANNEL].endswith(".4")
        await client.follow("/orders/7/other", 0, sub="b")
        await until_live(client, "b")
        await orders.live.publish(CHANNEL, 4)
        assert (await client.until("beat"))["cursors"][CHANNEL].endswith(".5")
        (seen,) = orders.live.connections()
        assert [(each.channel, each.state, each.events_behind) for each in seen.followers] == [
            (CHANNEL, "live", 0),
            (CHANNEL, "behind", 0),
        ]


async def test_a_filtered_one_beside_a_live_one_is_told_its_place_and_comes_back_to_it(
    autojump_clock: MockClock,
) -> None:
    orders = Orders(Limits(beat_seconds=20, keep_events=5))
    async with serve(orders.app) as server, server.websocket("/live") as client:
        await orders.live.publish_many(CHANNEL, range(4))
        await client.follow(EVENTS, 0, sub="a")
        await until_live(client, "a")
        await client.follow("/orders/7/third", 0, sub="b")
        await until_live(client, "b")
        await orders.live.publish(CHANNEL, 4)
        beat = await client.until("beat")
        assert ends(beat["cursors"]) == {CHANNEL: "5"}
        assert ends(beat["places"]) == {"b": "5"}
        place = beat["places"]["b"]
        await client.say(type="unfollow", sub="a")
        await client.until("beat")  # the way is its own, but nobody has told it so
        assert ends((await client.until("beat"))["places"]) == {"b": "5"}
        async with server.websocket("/live") as again:
            await again.follow("/orders/7/third", place, sub="b")
            await until_live(again, "b")
            assert kinds(wire(again)).count("gap") == 0


async def test_a_filtered_one_is_told_its_place_however_busy_its_socket_is(autojump_clock: MockClock) -> None:
    orders = Orders(Limits(beat_seconds=20))
    async with serve(orders.app) as server, server.websocket("/live") as client, trio.open_nursery() as nursery:

        async def publish() -> None:
            while True:
                await orders.live.publish("orders/8", "busy")
                await trio.sleep(1)

        await orders.live.publish_many(CHANNEL, range(4))
        await client.follow("/orders/8/events", sub="busy")
        await client.follow("/orders/7/even", sub="quiet")
        await until_live(client, "quiet")
        nursery.start_soon(publish)
        await beats(client, 40)
        for offset in (5, 7, 9):
            assert await beats(client, 100) == []  # what it is sent tells where it is
            await orders.live.publish(CHANNEL, "not for it")
            (beat,) = await beats(client, 20.1)
            assert ends(beat["cursors"])[CHANNEL] == str(offset)
            assert await beats(client, 100) == []
            await orders.live.publish(CHANNEL, "for it")
        await orders.live.publish_many(CHANNEL, ["not for it", "for it", "not for it"])
        (beat,) = await beats(client, 30)  # the last event that it was sent is not where it is
        assert ends(beat["cursors"])[CHANNEL] == "13"
        assert await beats(client, 100) == []
        nursery.cancel_scope.cancel()


async def test_a_client_that_gives_no_names_is_sent_beats_as_ever(autojump_clock: MockClock) -> None:
    orders = Orders(Limits(beat_seconds=20))
    async with serve(orders.app) as server, server.websocket("/live") as client:
        await orders.live.publish_many(CHANNEL, range(4))
        await client.follow(EVENTS, 0)
        await client.follow("/orders/8/even", 0)
        assert set(await client.until("beat")) == {"type", "time", "cursors"}
        await client.follow("/orders/7/third", 0, sub="b")
        await until_live(client, "b")
        assert ends((await client.until("beat"))["places"]) == {"b": "4"}


async def beats(client: WebSocketClient, seconds: float) -> list[Any]:
    """The beats that come in so many seconds."""
    before = len(client.heard)
    with trio.move_on_after(seconds):
        while await client.next() is not None:
            pass
    return [message for message in client.heard[before:] if message["type"] == "beat"]


def ends(cursors: dict[str, str]) -> dict[str, str]:
    """Their offsets."""
    return {name: cursor.partition(".")[2] for name, cursor in cursors.items()}


async def test_those_that_are_merged_are_one_position_for_operators(autojump_clock: MockClock) -> None:
    orders = Orders()
    async with serve(orders.app) as server, server.websocket("/live") as client:
        for sub in "abc":
            await client.follow(EVENTS, sub=sub)
            await until_live(client, sub)
        held = orders.live.service.statistics().held
        assert (held.things["followers"], held.things["polls"]) == (1, 0)


async def test_a_lag_is_of_its_subscription(autojump_clock: MockClock) -> None:
    orders = Orders(policy=policies.block(events=2, seconds=1_000))
    async with serve(orders.app) as server, server.websocket("/live", kernel_bytes=2_000) as client:
        await client.follow("/orders/7/other", sub="a")
        await until_live(client, "a")
        async with trio.open_nursery() as nursery:
            with stalled(client):
                nursery.start_soon(publish, orders, 20)
                await trio.sleep(5)
        await rest(client)
        lag = next(message for message in client.heard if message["type"] == "lag")
        assert (lag["sub"], lag["for"]) == ("a", ["a"])
        assert offsets(client, "a") == [*range(1, 21)]


async def publish(orders: Orders, number: int) -> None:
    for n in range(number):
        await orders.live.publish(CHANNEL, [n, "x" * 600])
        await trio.sleep(0.01)


# --- how each is taken away


@pytest.mark.parametrize("named", [{"channel": CHANNEL}, {"url": EVENTS}, {"subject": "ann", "channel": CHANNEL}])
@pytest.mark.parametrize("path", ["http1", "middleware"])
async def test_a_revocation_ends_each_that_it_speaks_of(
    named: dict[str, str], path: str, autojump_clock: MockClock
) -> None:
    orders = Orders()
    async with served(orders.app, path) as server, server.websocket("/live", headers=ANN) as client:
        await client.follow("/orders/8/events", sub="else")
        for sub, url in (("a", EVENTS), ("b", f"{EVENTS}?as=ann"), ("c", "/orders/7/other")):
            await client.follow(url, sub=sub)
            await until_live(client, sub)
        await rest(client)
        assert server.followers == 2
        await orders.live.revoke(**named)
        await orders.live.publish(CHANNEL, "secret")
        await rest(client)
        refused = {(m["sub"], m["url"], m["channel"]) for m in client.heard if m["type"] == "refused"}
        both = {("a", EVENTS, CHANNEL), ("b", f"{EVENTS}?as=ann", CHANNEL)}
        assert refused == (both if "url" in named else both | {("c", "/orders/7/other", CHANNEL)})
        assert [message["for"] for message in client.events] == ([["c"]] if "url" in named else [])
        assert server.followers == (2 if "url" in named else 1)
        await client.follow(EVENTS, sub="a")
        await until_live(client, "a")


async def test_what_is_followed_anew_under_a_name_is_not_what_was_revoked(autojump_clock: MockClock) -> None:
    orders = Orders()
    async with serve(orders.app) as server, server.websocket("/live", headers=ANN) as client:
        await client.follow(EVENTS, sub="a")
        (conn,) = orders.live.service.context.registry.open.values()
        (former,) = conn.subscriptions.followings.by_key.values()
        await client.follow(EVENTS, sub="a")
        conn.subscriptions.refuse(former, REVOKED)
        del conn, former
        await until_live(client, "a")
        await orders.live.publish(CHANNEL, 1)
        await client.expect(data=1, for_=["a"])


async def test_a_no_at_a_recheck_ends_that_one_subscription(autojump_clock: MockClock) -> None:
    orders = Orders(recheck=10)
    async with serve(orders.app) as server, server.websocket("/live") as client:
        for sub, member in (("a", "ann"), ("b", "ben"), ("c", "ann")):
            await client.follow(f"{EVENTS}?as={member}", sub=sub)
            await until_live(client, sub)
        assert server.followers == 1
        orders.no.add("ben")
        assert (await client.until("refused"))["sub"] == "b"
        await orders.live.publish(CHANNEL, 1)
        await client.expect(data=1, for_=["a", "c"])
        assert (await orders.live.presence(CHANNEL).roster()).members == ("ann",)
        await client.say(type="unfollow", sub="a")
        await trio.sleep(30)
        before = orders.live.service.statistics().counts.rechecks["yes"]
        await trio.sleep(100)
        after = orders.live.service.statistics().counts.rechecks["yes"]
        assert 9 <= after - before <= 13  # of "c" alone
        await client.say(type="unfollow", sub="c")
        await trio.sleep(1)
        assert (await orders.live.presence(CHANNEL).roster()).members == ()


@pytest.mark.parametrize("path", IN_MEMORY)
async def test_over_every_road(path: str, autojump_clock: MockClock) -> None:
    orders = Orders(Limits(page_events=5))
    reach = serve_stock(orders.app) if path == "hypercorn" else served(orders.app, path)
    async with reach as server, server.websocket("/live") as client:
        await orders.live.publish_many(CHANNEL, range(12))
        await client.follow(EVENTS, 10, sub="a")
        await until_live(client, "a")
        await client.follow(EVENTS, 0, sub="b")
        await until_live(client, "b")
        await client.follow("/orders/7/third", 0, sub="c")
        await until_live(client, "c")
        for n in range(6):
            await orders.live.publish(CHANNEL, n)
        await rest(client)
        assert offsets(client, "a") == [*range(11, 19)]
        assert offsets(client, "b") == [*range(1, 19)]
        assert offsets(client, "c") == [3, 6, 9, 12, 15, 18]
        await client.say(type="unfollow", sub="a")
        await orders.live.publish(CHANNEL, "more")
        await client.expect(data="more")
        if path == "hypercorn":  # it does not drain
            return
        server.stop.set()
        bye = await client.until("bye")
        assert bye["code"] == 1012
        assert (await client.ended())[0] == 1012
