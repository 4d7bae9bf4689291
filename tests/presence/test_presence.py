"""Presence through a server: who follows a channel, over each transport, and what others hear of it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from quart import request
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import Cursor, Limits, Member, Triolet
from triolet.bounds import POLLED_PRESENCE_SECONDS
from triolet.errors import ChannelNameError, DataError
from triolet.testing.server import MemoryServer, WebSocketClient, serve

ROOM = "/rooms/1/events"
HERE = "/rooms/1/presence"


def make_rooms(limits: Limits | None = None) -> tuple[QuartTrio, Triolet]:
    """Rooms in which whoever says a name is present under it."""
    app = QuartTrio("rooms")
    live = Triolet(app, limits=limits)

    def who(room: str) -> Member | str | None:
        name = request.args.get("as")
        return Member(name, {"color": "red"}) if name == "ada" else name

    @live.channel("/rooms/<room>/events", member=who)
    async def events(room: str) -> str:
        return f"rooms/{room}"

    @live.channel("/rooms/<room>/presence")
    async def presence(room: str) -> str:
        return live.presence(f"rooms/{room}").channel

    @app.get("/rooms/<room>/members")
    async def members(room: str) -> dict[str, Any]:
        roster = await live.presence(f"rooms/{room}").roster()
        return {"members": roster.members, "cursor": str(roster.cursor), "sessions": len(roster.sessions)}

    @live.socket("/lobby")
    async def lobby(conn: Any) -> None:
        await conn.follow("rooms/1", member="host")
        async for _ in conn:
            conn.unfollow("rooms/1")

    return app, live


async def members(server: MemoryServer) -> list[str]:
    found: list[str] = (await server.get("/rooms/1/members")).json["members"]
    return found


async def told(client: WebSocketClient) -> tuple[str, str, Any]:
    """The next join or leave: which, whose, and what else it says."""
    event = await client.event()
    data = event["data"]
    return event["event"], data["member"], data.get("info" if event["event"] == "join" else "reason")


async def test_who_follows_is_present_from_then_until_it_goes(autojump_clock: MockClock) -> None:
    app, _ = make_rooms()
    async with serve(app) as server, server.websocket(HERE) as watcher:
        await watcher.until("live")
        async with server.websocket(f"{ROOM}?as=ada") as client:
            await client.until("live")
            assert await told(watcher) == ("join", "ada", {"color": "red"})
            assert await members(server) == ["ada"]
        assert await told(watcher) == ("leave", "ada", "left")
        assert await members(server) == []


async def test_an_event_stream_is_present_too(autojump_clock: MockClock) -> None:
    app, _ = make_rooms()
    async with serve(app) as server, server.websocket(HERE) as watcher:
        await watcher.until("live")
        async with server.events(f"{ROOM}?as=bob") as stream:
            await stream.own("live")
            assert await told(watcher) == ("join", "bob", None)
        assert await told(watcher) == ("leave", "bob", "left")


async def test_who_polls_is_present_while_it_does_and_a_little_longer(autojump_clock: MockClock) -> None:
    app, _ = make_rooms()
    async with serve(app) as server:
        for _ in range(5):
            await server.get(f"{ROOM}?as=bob&wait=25")
            await server.get(f"{ROOM}?as=bob")
            await trio.sleep(5)
            assert await members(server) == ["bob"]
        last = trio.current_time()
        joined = (await server.get(f"{HERE}?after=0")).json
        assert [event["event"] for event in joined["events"]] == ["join"]
        left = (await server.get(f"{HERE}?after={joined['cursor']}&wait=25")).json
        assert [event["event"] for event in left["events"]] == ["leave"]
        assert trio.current_time() - last <= POLLED_PRESENCE_SECONDS + 5
        assert await members(server) == []


async def test_a_member_with_two_tabs_is_one_member_with_two_sessions(autojump_clock: MockClock) -> None:
    app, _ = make_rooms()
    async with serve(app) as server, server.events(f"{ROOM}?as=ada") as one, server.events(f"{ROOM}?as=ada") as other:
        await one.own("live")
        await other.own("live")
        await trio.testing.wait_all_tasks_blocked()
        answer = (await server.get("/rooms/1/members")).json
        assert (answer["members"], answer["sessions"]) == (["ada"], 2)


async def test_who_has_no_name_is_not_present(autojump_clock: MockClock) -> None:
    app, _ = make_rooms()
    async with serve(app) as server, server.events(ROOM) as stream:
        await stream.own("live")
        assert await members(server) == []


async def test_who_is_refused_is_not_present(autojump_clock: MockClock) -> None:
    app, live = make_rooms()

    @live.channel("/secret", member=lambda: "mallory")
    async def secret() -> tuple[str, int]:
        return "no", 403

    async with serve(app) as server:
        assert (await server.get("/secret")).status == 403
        assert (await live.presence("rooms/1").roster()).members == ()


async def test_a_follow_by_url_and_an_unfollow_are_a_join_and_a_leave(autojump_clock: MockClock) -> None:
    app, _ = make_rooms()
    async with serve(app) as server, server.websocket(HERE) as watcher, server.websocket("/lobby") as client:
        await watcher.until("live")
        assert await told(watcher) == ("join", "host", None)
        await client.until("live")
        await client.say(type="follow", url="/rooms/2/events?as=bob")
        await client.until("live")
        assert (await server.get("/rooms/2/members")).json["members"] == ["bob"]
        await client.say(type="unfollow", channel="rooms/2")
        await client.say(type="message", data=None)
        assert await told(watcher) == ("leave", "host", "left")
        assert (await server.get("/rooms/2/members")).json["members"] == []


async def test_a_page_that_follows_after_the_rosters_cursor_misses_nobody(autojump_clock: MockClock) -> None:
    app, _ = make_rooms()
    async with serve(app) as server, server.events(f"{ROOM}?as=ada") as ada:
        await ada.own("live")
        cursor = (await server.get("/rooms/1/members")).json["cursor"]
        async with server.events(f"{ROOM}?as=bob") as bob:
            await bob.own("live")
            answer = (await server.get(f"{HERE}?after={cursor}&wait=5")).json
            assert [event["data"]["member"] for event in answer["events"]] == ["bob"]


async def test_a_server_that_drains_leaves_nobody_present(autojump_clock: MockClock) -> None:
    app, live = make_rooms()
    log = live._apps._open_log()
    live._apps._log = log
    async with serve(app) as server, server.websocket(f"{ROOM}?as=ada") as client:
        await client.until("live")
        assert await members(server) == ["ada"]
        server.stop.set()
        await server.ended.wait()
    async with log.open():
        page = await log.read(live.presence("rooms/1").channel, Cursor("", 0), limit=10, max_bytes=1 << 20)
        assert [event.name for event in page.events] == ["join", "leave"]


def test_a_member_is_named_by_a_text() -> None:
    for wrong in ("", "x" * 129, 7):
        with pytest.raises(DataError):
            Member(wrong)  # type: ignore[arg-type]  # that is the point


def test_a_channel_that_cannot_be_has_no_presence() -> None:
    _, live = make_rooms()
    with pytest.raises(ChannelNameError):
        live.presence("x" * 250)


def test_what_is_said_of_a_member_is_json() -> None:
    for wrong in (object(), {"name": "\ud800"}):
        with pytest.raises(DataError):
            Member("ada", wrong)
    with pytest.raises(DataError):
        Member("\ud800")


async def test_a_name_too_long_for_presence_is_no_channel_where_there_are_members(autojump_clock: MockClock) -> None:
    app, _ = make_rooms()
    room = "x" * 240
    async with serve(app) as server:
        assert (await server.get(f"/rooms/{room}/events?as=bob&wait=0")).status == 404
        assert (await server.get(f"/rooms/{room}/events?wait=0")).status == 200
        async with server.websocket("/lobby") as client:
            await client.until("live")
            await client.say(type="follow", url=f"/rooms/{room}/events?as=bob")
            await client.until("refused")
        async with server.events(f"{ROOM}?as=bob") as stream:
            await stream.own("live")
            assert await members(server) == ["bob"]


async def test_a_route_whose_member_is_none_fails_alone(autojump_clock: MockClock) -> None:
    app, live = make_rooms()

    @live.channel("/numbered", member=lambda: 7)
    async def numbered() -> str:
        return "rooms/1"

    async with serve(app) as server:
        assert (await server.get("/numbered?wait=0")).status == 500
        await trio.sleep(20)
        assert await members(server) == []


async def test_nobody_publishes_in_the_name_of_presence(autojump_clock: MockClock) -> None:
    app, live = make_rooms()
    async with serve(app):
        for channel in ("triolet.processes", live.presence("rooms/1").channel):
            with pytest.raises(ChannelNameError, match="own"):
                await live.publish(channel, [7])
