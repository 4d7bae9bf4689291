"""What is said of a member is more than an event may hold: the client is refused, and nothing of it is left."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import trio
from quart import request
from quart_trio import QuartTrio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet import Limits, Member, Triolet
from triolet.connection import Connection
from triolet.errors import DataError
from triolet.hub import Follower, Subscription
from triolet.sockets.buffered_outlet import BufferedOutlet
from triolet.testing.http import RefusedError
from triolet.testing.server import MemoryServer, serve
from triolet.wire.codec import SSE

EVENT_BYTES = 1_000
ROOM = "/rooms/1/events"


def make_rooms() -> tuple[QuartTrio, Triolet, list[str]]:
    """Rooms where a client is present with as much to be said of it as it asks for."""
    app = QuartTrio("rooms")
    live = Triolet(app, limits=Limits(event_bytes=EVENT_BYTES))
    refused: list[str] = []

    @live.channel("/rooms/<room>/events", member=lambda room: Member("ada", "x" * int(request.args["size"])))
    async def events(room: str) -> str:
        return f"rooms/{room}"

    @live.socket("/lobby")
    async def lobby(conn: Any) -> None:
        await conn.follow("rooms/1", member="ada")
        async for size in conn:
            try:
                await conn.follow("rooms/1", member=Member("ada", "x" * size))
            except DataError as error:
                refused.append(str(error))
            await conn.send(len(conn.followers))

    return app, live, refused


async def ask(server: MemoryServer, way: str, size: int) -> int:
    """The status of a request that asks for a member of this size."""
    match way:
        case "websocket":
            return (await server.upgrade(f"{ROOM}?size={size}")).status
        case "sse":
            return (await server.get(f"{ROOM}?size={size}", accept="text/event-stream")).status
        case "long poll":
            return (await server.get(f"{ROOM}?size={size}&wait=5")).status
        case _:
            return (await server.get(f"{ROOM}?size={size}")).status


async def taken(batch: Any) -> None:
    """A client that takes everything."""


def alive(kind: type[Any]) -> int:
    """How many objects of a kind there are in the process."""
    gc.collect()
    return sum(1 for thing in gc.get_objects() if type(thing) is kind)


@pytest.mark.parametrize("way", ["websocket", "sse", "long poll", "short poll"])
@pytest.mark.parametrize("size", [EVENT_BYTES, EVENT_BYTES - 10, 20 * EVENT_BYTES])
async def test_a_member_too_large_is_answered_500_and_nothing_is_left(
    way: str, size: int, autojump_clock: MockClock
) -> None:
    app, live, _ = make_rooms()
    before = alive(Follower), alive(Connection)
    async with serve(app) as server:
        assert [await ask(server, way, size) for _ in range(50)] == [500] * 50
        await wait_all_tasks_blocked()
        assert (server.followers, len(live.connections())) == (0, 0)
        assert (alive(Follower), alive(Connection)) == before
        await trio.sleep(20)
        assert (await live.presence("rooms/1").roster()).sessions == ()


async def test_a_follow_by_url_of_a_member_too_large_is_refused_and_the_socket_goes_on(
    autojump_clock: MockClock,
) -> None:
    app, live, _ = make_rooms()
    async with serve(app) as server, server.websocket("/lobby") as client:
        await client.until("live")
        for room in range(2, 10):
            with pytest.raises(RefusedError):
                await client.follow(f"/rooms/{room}/events?size={EVENT_BYTES}")
        assert (server.followers, alive(Follower)) == (1, 1)
        assert (await live.presence("rooms/1").roster()).members == ("ada",)


async def test_a_handler_is_told_of_a_member_too_large_and_what_it_follows_stays(autojump_clock: MockClock) -> None:
    app, live, refused = make_rooms()
    async with serve(app) as server, server.websocket("/lobby") as client:
        await client.until("live")
        await client.say(type="message", data=EVENT_BYTES)
        assert (await client.until("message"))["data"] == 1
        assert len(refused) == 1
        assert "event_bytes" in refused[0]
        assert (server.followers, alive(Follower)) == (1, 1)
        assert (await live.presence("rooms/1").roster()).members == ("ada",)


async def test_a_join_that_fails_leaves_no_follower(autojump_clock: MockClock) -> None:
    app, live, _ = make_rooms()
    async with serve(app):
        large = Subscription("rooms/1", member=Member("ada", "x" * EVENT_BYTES))
        outlet = BufferedOutlet(live.service.server.budget, taken, lambda: None)
        conn = Connection(live.service.context, outlet, SSE)
        with pytest.raises(DataError):
            await conn.subscriptions.add(large)
        assert (live.statistics().hub.followers, conn.followers, conn.subscriptions.behind) == (0, {}, {})
        conn.detach()  # as admission does
        del conn, outlet
        assert (alive(Follower), alive(Connection)) == (0, 0)


async def test_a_member_as_large_as_may_be_is_present(autojump_clock: MockClock) -> None:
    app, live, _ = make_rooms()
    async with serve(app) as server, server.events(f"{ROOM}?size={EVENT_BYTES - 200}") as stream:
        await stream.own("live")
        await wait_all_tasks_blocked()
        assert (await live.presence("rooms/1").roster()).members == ("ada",)
