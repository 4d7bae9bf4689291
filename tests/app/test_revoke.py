"""``live.revoke``: what ends, over all transports and roads, and what is told."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from quart import abort
from quart_trio import QuartTrio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet import ConfigError, Connection, DataError, Identity, Triolet
from triolet.errors import ChannelNameError, NotServingError
from triolet.testing.faults import stalled
from triolet.testing.http import Answer
from triolet.testing.server import MemoryServer, serve

from .roads import ROADS, served

ANN = {"authorization": "Bearer ann.1"}
BEN = {"authorization": "Bearer ben.2"}
EVENTS = "/orders/7/events"
SUBJECT, SESSION, CHANNEL, URL = {"subject": "ann"}, {"session": "1"}, {"channel": "orders/7"}, {"url": EVENTS}
PATTERNS = {"channels": ["rooms/*", "orders/*"]}
EACH: list[dict[str, Any]] = [
    SUBJECT,
    SESSION,
    CHANNEL,
    URL,
    {"channels": "orders/*"},
    {**SUBJECT, **SESSION},
    {**SUBJECT, **CHANNEL, **URL, **PATTERNS},
]
OTHERS: list[dict[str, Any]] = [
    {"subject": "an"},
    {"session": "11"},
    {"channel": "orders/8"},
    {"url": "/orders/7/event"},
    {**SUBJECT, "session": "2"},
    {"subject": "ben", **SESSION},
    {**SUBJECT, "channel": "orders/8"},
    {**CHANNEL, "url": "/orders/8/events"},
    {"channels": "rders/*"},
    {"channels": ["orders", "orders/8", "rooms/*"]},
    {**CHANNEL, "channels": "rooms/*"},
    {"subject": "ben", **PATTERNS},
    {"subject": "ann.1"},
]
"""What speaks of somebody or something else; none may be taken for the tuple because of a text that it is a part of."""


def make_app() -> tuple[QuartTrio, Triolet]:
    app = QuartTrio("orders")
    app.secret_key = "not a secret"
    live = Triolet(app)

    @live.identify
    async def identity_of(token: str | None) -> Identity | None:
        if token is None:
            return None
        subject, _, session = token.partition(".")
        return Identity(subject, session or None)

    @live.channel("/orders/<order_id>/events")
    async def events(order_id: str) -> str:
        return f"orders/{order_id}"

    @live.channel("/rooms/<room_id>", member=lambda room_id: "ann")
    async def room(room_id: str) -> str:
        return f"rooms/{room_id}"

    @live.socket("/live")
    async def handle(conn: Connection) -> None:
        async for message in conn:
            await conn.follow(message)

    @app.post("/logout")
    async def logout() -> Any:
        identity = await live.identity()
        if identity is None:
            abort(401)
        await live.revoke(session=identity.session)
        return "", 204

    return app, live


def revoked(live: Triolet) -> tuple[int, int, int]:
    counted = live.service.statistics().counts.revoked
    return counted["connections"], counted["subscriptions"], counted["polls"]


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", ["websocket", "sse"])
@pytest.mark.parametrize("named", EACH)
async def test_a_stream_of_one_channel_ends_and_hears_no_event_more(
    named: dict[str, Any], transport: str, road: str, autojump_clock: MockClock
) -> None:
    app, live = make_app()
    async with served(app, road) as server, server.client(transport, EVENTS, headers=ANN) as client:
        await client.until("live")
        assert await live.revoke(**named)
        await live.publish("orders/7", "secret")
        bye = await client.until("bye")
        assert (bye["code"], bye["reason"], bye["retry"]) == (4403, "revoked", None)
        assert not [message for message in client.heard if message["type"] == "event"]
        assert revoked(live) == (1, 0, 0)


@pytest.mark.parametrize("transport", ["websocket", "sse", "long poll"])
@pytest.mark.parametrize("named", OTHERS)
async def test_what_speaks_of_somebody_else_ends_nothing(
    named: dict[str, Any], transport: str, autojump_clock: MockClock
) -> None:
    app, live = make_app()
    async with serve(app) as server:
        if transport == "long poll":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_expect_event, server)
                await wait_all_tasks_blocked()
                await live.revoke(**named)
                await live.publish("orders/7", "news")
        else:
            async with server.client(transport, EVENTS, headers=ANN) as client:
                await client.until("live")
                await live.revoke(**named)
                await live.publish("orders/7", "news")
                assert (await client.until("event"))["data"] == "news"
        assert revoked(live) == (0, 0, 0)


async def _expect_event(server: MemoryServer) -> None:
    answer = await server.request("GET", f"{EVENTS}?wait=20", ANN)
    assert [event["data"] for event in answer.json["events"]] == ["news"]


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("named", EACH)
async def test_a_poll_that_waits_is_answered_at_once(
    named: dict[str, Any], road: str, autojump_clock: MockClock
) -> None:
    app, live = make_app()
    answers: list[Answer] = []

    async def poll() -> None:
        answers.append(await server.request("GET", f"{EVENTS}?wait=20", ANN))
        answered.append(trio.current_time())

    answered: list[float] = []
    async with served(app, road) as server, trio.open_nursery() as nursery:
        nursery.start_soon(poll)
        await trio.sleep(3)
        asked = trio.current_time()
        await live.revoke(**named)
        await live.publish("orders/7", "secret")
        await trio.sleep(3)
        assert answered == [asked]
        assert answers[0].status == 403
        assert answers[0].json["error"] == "revoked"
        assert b"secret" not in answers[0].body
        assert revoked(live) == (0, 0, 1)


@pytest.mark.parametrize("road", ROADS)
async def test_a_socket_loses_the_one_channel_that_was_revoked(road: str, autojump_clock: MockClock) -> None:
    app, live = make_app()
    async with served(app, road) as server, server.websocket("/live", headers=ANN) as client:
        await client.follow(EVENTS)
        await client.follow("/orders/8/events?after=0")
        await client.say(type="message", data="tasks")
        await client.pick(lambda message: message.get("channel") == "tasks" and message["type"] == "live", "live")
        for named, url, channel in (
            ({**SUBJECT, **URL}, EVENTS, "orders/7"),
            ({"channel": "orders/8"}, "/orders/8/events?after=0", "orders/8"),
            ({"channel": "tasks"}, None, "tasks"),
        ):
            await wait_all_tasks_blocked()
            await live.revoke(**named)
            await live.publish(channel, "secret")
            assert await client.until("refused") == {"type": "refused", "url": url, "channel": channel}
        assert not [message for message in client.heard if message["type"] == "event"]
        await client.follow(EVENTS)  # it may come back where the view lets it
        await live.publish("orders/7", "news")
        assert (await client.event())["data"] == "news"
        assert revoked(live) == (0, 3, 0)
        (seen,) = live.connections()
        assert "the app took a channel from it in orders/7: revoked" in str(live.explain(seen.id))


@pytest.mark.parametrize("road", ROADS)
async def test_somebody_is_put_out_of_all_channels_of_a_room_at_once(road: str, autojump_clock: MockClock) -> None:
    app, live = make_app()
    room = ["rooms/7", "rooms/7/typing", "rooms/7/votes"]
    async with (
        served(app, road) as server,
        server.websocket("/live", headers=ANN) as ann,
        server.websocket("/live", headers=BEN) as ben,
    ):
        for client in (ann, ben):
            for channel in (*room, "rooms/71"):
                await client.say(type="message", data=channel)
                await client.until("live", channel=channel)
        await live.revoke(subject="ann", channels=["rooms/7", "rooms/7/*"])
        for channel in (*room, "rooms/71"):
            await live.publish(channel, channel)
        refused = [await ann.until("refused") for _ in room]
        assert refused == [{"type": "refused", "url": None, "channel": channel} for channel in room]
        assert (await ann.event())["data"] == "rooms/71"
        assert [(await ben.event())["data"] for _ in range(4)] == [*room, "rooms/71"]
        assert revoked(live) == (0, 3, 0)


async def test_a_channel_that_is_named_is_no_pattern(autojump_clock: MockClock) -> None:
    app, live = make_app()
    async with serve(app) as server, server.websocket(EVENTS, headers=ANN) as client:
        await client.until("live")
        await live.revoke(channel="orders/*")  # a user's own word, say
        await live.publish("orders/7", "news")
        assert (await client.event())["data"] == "news"


async def test_a_channels_own_websocket_that_follows_more_loses_its_own_channel(autojump_clock: MockClock) -> None:
    app, live = make_app()
    async with serve(app) as server, server.websocket(EVENTS, headers=ANN) as client:
        await client.until("live")
        await client.follow("/orders/8/events")
        await live.revoke(channel="orders/7")
        assert await client.until("refused") == {"type": "refused", "url": None, "channel": "orders/7"}
        await live.publish("orders/8", "news")
        assert (await client.event())["data"] == "news"


@pytest.mark.parametrize("path", ["/orders/ä%25/events", "/orders/%C3%A4%25/events"])
async def test_a_url_is_known_as_it_is_written_and_as_it_is_read(path: str, autojump_clock: MockClock) -> None:
    app, live = make_app()
    async with serve(app) as server, server.websocket("/live", headers=ANN) as client:
        await client.follow("/orders/%C3%A4%2525/events?after=0")
        await live.revoke(url="/orders/%C3%A4%2525/events")
        assert (await client.until("refused"))["channel"] == "orders/ä%25"
        await client.follow("/orders/%C3%A4%2525/events?after=0")
        await live.revoke(url="/orders/ä%25/events")
        await client.until("refused")


async def test_below_another_path_a_url_is_the_apps_own(autojump_clock: MockClock) -> None:
    app, live = make_app()
    async with (
        serve(app, root_path="/shop") as server,
        server.websocket("/shop/orders/7/events", headers=ANN) as own,
        server.websocket("/shop/live", headers=ANN) as client,
    ):
        await own.until("live")
        for url in (EVENTS, "/shop" + EVENTS):
            await client.follow(url)
            await live.revoke(url=EVENTS)
            assert (await client.until("refused"))["url"] == url
        assert (await own.until("bye"))["reason"] == "revoked"


async def test_a_member_leaves(autojump_clock: MockClock) -> None:
    app, live = make_app()
    async with serve(app) as server, server.websocket("/rooms/1", headers=ANN) as client:
        await client.until("live")
        await trio.sleep(1)
        assert list((await live.presence("rooms/1").roster()).members) == ["ann"]
        await live.revoke(subject="ann")
        await client.until("bye")
        await trio.sleep(1)
        assert list((await live.presence("rooms/1").roster()).members) == []


async def test_who_ended_is_told_to_the_operator(autojump_clock: MockClock) -> None:
    app, live = make_app()
    async with serve(app) as server, server.websocket(EVENTS, headers=ANN) as client:
        await client.until("live")
        (seen,) = live.connections()
        await live.revoke(subject="ann")
        await client.until("bye")
        await wait_all_tasks_blocked()
        assert "The app has revoked what it was let in with (live.revoke)." in live.explain(seen.id).sentences
    _, exposed = live.service.exposition()
    assert b'triolet_revoked_total{what="connections"} 1.0' in exposed


async def test_a_logout_view_ends_its_own_session_only(autojump_clock: MockClock) -> None:
    app, live = make_app()
    async with (
        serve(app) as server,
        server.sse(EVENTS, headers=ANN) as ann,
        server.sse(EVENTS, headers={"authorization": "Bearer ann.2"}) as elsewhere,
    ):
        await ann.until("live")
        await elsewhere.until("live")
        assert (await server.request("POST", "/logout", ANN)).status == 204
        await ann.until("bye")
        await live.publish("orders/7", "news")
        assert (await elsewhere.until("event"))["data"] == "news"


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_client_whose_kernel_is_full_of_events_is_reset(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_app()
    async with serve(app) as server, server.client(transport, EVENTS, headers=ANN, kernel_bytes=4_000) as client:
        await client.until("live")
        with stalled(client):
            for _ in range(20):
                await live.publish("orders/7", "x" * 1_000)
            await wait_all_tasks_blocked()
            assert live.service.statistics().stalled == 1
            await live.revoke(subject="ann")
            assert live.service.statistics().held.bytes["unsent"] == 0
        await wait_all_tasks_blocked()
        assert client.closed == "reset: reset by the peer"


@pytest.mark.parametrize(
    ("named", "error"),
    [
        ({}, ConfigError),
        ({"subject": ""}, DataError),
        ({"subject": "x" * 256}, DataError),
        ({"session": "a\nb"}, DataError),
        ({"channel": "a\nb"}, ChannelNameError),
        ({"subject": "ann", "channels": []}, DataError),
        ({"channels": ["orders"] * 65}, DataError),
        ({"channels": ""}, ChannelNameError),
        ({"channels": ["orders/*", 7]}, ChannelNameError),
        ({"channels": 7}, DataError),
        ({"url": "orders"}, DataError),
        ({"url": "/orders?after=1"}, DataError),
        ({"url": "/" + "x" * 2_048}, DataError),
        ({"url": b"/orders"}, DataError),
    ],
)
async def test_what_nobody_can_have_is_refused(named: Any, error: type[Exception], autojump_clock: MockClock) -> None:
    app, live = make_app()
    async with serve(app):
        with pytest.raises(error):
            await live.revoke(**named)


async def test_before_the_app_is_served_nothing_can_be_revoked() -> None:
    _, live = make_app()
    with pytest.raises(NotServingError):
        await live.revoke(subject="ann")
