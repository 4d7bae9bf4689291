"""The chat's own tests. Run them in this folder with ``pytest``: no server, no sleep, and hours take milliseconds."""

from __future__ import annotations

from typing import Any

import app as chat
import pytest
import trio
from app import PASSWORD, app, live
from trio.testing import MockClock

from triolet import Cursor
from triolet.log import MemoryLog
from triolet.testing import TRANSPORTS, Client, LogFault, MemoryServer, ScriptedLog, User, cut, serve

ROOM = "/rooms/garden"
EVENTS = f"{ROOM}/events"


def forget() -> None:
    """What the process has read of the desk: a new one knows none of it."""
    chat.desk.clear()
    chat.read_up_to = Cursor("", 0)


@pytest.fixture(autouse=True)
def a_new_process() -> None:
    forget()


async def enter(server: MemoryServer, name: str, password: str = "") -> User:
    """Somebody who has logged in."""
    user = server.user()
    answer = await user.post("/login", form={"name": name, "password": password})
    assert answer.status == 303, answer.text
    return user


async def say(client: Client, text: str, id: str | None = None) -> Any:
    reply = await client.command(f"{ROOM}/messages", {"text": text}, id=id)
    assert reply["status"] == 200, reply
    return reply


async def texts(who: User) -> list[str]:
    """A room's history, as a newcomer gets it."""
    answer = await who.get(f"{EVENTS}?after=0")
    return [event["data"]["text"] for event in answer.json["events"] if event["event"] == "message"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_message_reaches_the_others_once_whatever_happens_to_the_network(
    transport: str, autojump_clock: MockClock
) -> None:
    async with serve(app, log="memory:") as server:
        ann, bob = await enter(server, "Ann"), await enter(server, "Bob")
        async with bob.client(transport, EVENTS) as page, ann.websocket("/live") as other:
            await page.until("open")
            await say(other, "one", id="8e03978e")
            await page.expect(event="message", data={"who": "Ann", "text": "one", "sent": "8e03978e"})
            with cut(page):
                assert (await say(other, "one", id="8e03978e"))["repeated"]
                await say(other, "two")
            await page.reconnect()
            message = await page.expect(event="message")
            assert message["data"]["text"] == "two"
            await page.nothing_for(60)


async def test_a_newcomer_begins_with_the_newest_and_asks_for_what_was_before(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server:
        ann = await enter(server, "Ann")
        async with ann.websocket("/live") as page:
            for number in range(60):
                await say(page, str(number))
        async with ann.sse(EVENTS, after=-50) as page:
            first = await page.expect(event="message")
            assert first["data"]["text"] == "10"
        assert (await texts(ann))[:10] == [str(number) for number in range(10)]


async def test_who_types_is_seen_by_whoever_is_there_and_kept_nowhere(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server:
        ann, bob = await enter(server, "Ann"), await enter(server, "Bob")
        async with bob.sse(EVENTS) as page:
            await page.until("live")
            assert (await ann.post(f"{ROOM}/typing")).status == 204
            await page.expect("tell", event="typing", data={"who": "Ann"})
        assert (await live.log.head("rooms/garden")).offset == 0
        assert (await server.post(f"{ROOM}/typing")).status == 401


async def test_who_is_in_a_room_is_seen_there(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server:
        ann, mia = await enter(server, "Ann"), await enter(server, "Mia", PASSWORD)
        async with ann.sse(f"{ROOM}/presence", after=0) as page:
            async with mia.sse(EVENTS):
                join = await page.expect(event="join")
                assert (join["data"]["member"], join["data"]["info"]) == ("Mia", {"moderator": True})
            await page.expect(event="leave")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_logout_ends_what_is_open_in_other_tabs_and_nothing_comes_back(
    transport: str, autojump_clock: MockClock
) -> None:
    async with serve(app, log="memory:") as server:
        ann, bob = await enter(server, "Ann"), await enter(server, "Bob")
        async with ann.client(transport, EVENTS) as tab, bob.sse(EVENTS) as other:
            await tab.until("open")
            stolen = server.user(ann.cookies)
            assert (await ann.post("/logout")).status == 303
            async with bob.websocket("/live") as page:
                await say(page, "Ann has gone")
            await other.expect(event="message")
            assert "Ann has gone" not in tab.dialogue()
        for path in (EVENTS, f"{ROOM}/presence"):
            assert (await stolen.get(path)).status == 401, "the cookie of then is worth nothing"
        await enter(server, "Ann")


async def test_what_was_removed_is_gone_for_whoever_comes_later_and_told_to_whoever_has_it(
    autojump_clock: MockClock,
) -> None:
    async with serve(app, log="memory:") as server:
        ann, mia = await enter(server, "Ann"), await enter(server, "Mia", PASSWORD)
        async with ann.sse(EVENTS) as page, mia.websocket("/live") as moderator:
            await page.until("live")
            await say(page, "rude")
            await say(page, "kind")
            said = await page.expect(event="message")
            await page.expect(event="message")
            reply = await moderator.command(f"{ROOM}/removed", said["id"])
            assert reply["status"] == 200
            await page.expect(event="removed", data={"about": said["id"], "by": "Mia"})
            refused = await page.command(f"{ROOM}/removed", said["id"])
            assert refused["status"] == 403
        assert await texts(ann) == ["kind"]
        for transport in TRANSPORTS:
            async with ann.client(transport, EVENTS, after=0) as newcomer:
                await newcomer.expect(event="message")
                await newcomer.expect(event="removed")
                assert "rude" not in newcomer.dialogue()


async def test_a_banned_member_is_out_and_nothing_they_ask_is_done(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server:
        bob, mia = await enter(server, "Bob"), await enter(server, "Mia", PASSWORD)
        async with bob.websocket("/live") as banned, mia.sse(EVENTS) as page:
            await say(banned, "still here")
            await page.command(f"{ROOM}/banned", "Bob")
            await banned.expect("bye", reason="revoked")
            await page.expect(event="message")
            await page.expect(event="banned", data={"about": "Bob", "by": "Mia"})
            for path, data in (("messages", {"text": "and again"}), ("removed", "x.1"), ("banned", "Mia")):
                assert (await bob.post(f"{ROOM}/{path}", json=data, idempotency_key='"1"')).status == 401, path
            await page.nothing_for(60)
        for name in ("Bob", "BOB", " bob "):
            assert (await server.post("/login", form={"name": name})).status == 403


async def test_a_ban_holds_though_a_logout_that_was_asked_before_it_is_stored_after_it(
    autojump_clock: MockClock,
) -> None:
    log = ScriptedLog(MemoryLog())
    async with serve(app, log=log) as server:
        bob, mia = await enter(server, "Bob"), await enter(server, "Mia", PASSWORD)
        with log.having(LogFault("append", nth=1, channel="desk", before=5)):
            async with trio.open_nursery() as nursery, mia.websocket("/live") as page:
                nursery.start_soon(bob.post, "/logout")
                await trio.sleep(1)
                assert (await page.command(f"{ROOM}/banned", "Bob"))["status"] == 200
        assert (await log.head("desk")).offset == 4
        assert (await server.post("/login", form={"name": "Bob"})).status == 403


async def test_who_is_muted_in_a_room_is_told_so_and_talks_in_the_others(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server:
        bob, mia = await enter(server, "Bob"), await enter(server, "Mia", PASSWORD)
        async with bob.websocket("/live") as page, mia.sse(EVENTS) as moderator:
            refused = await page.command(f"{ROOM}/muted", "Mia")
            assert refused["status"] == 403
            await moderator.command(f"{ROOM}/muted", "Bob")
            await moderator.expect(event="muted", data={"about": "Bob", "by": "Mia"})
            refused = await page.command(f"{ROOM}/messages", {"text": "but"})
            assert (refused["status"], refused["data"]["message"]) == (403, "A moderator has muted you in this room.")
            assert (await page.command("/rooms/shed/messages", {"text": "well"}))["status"] == 200
            await moderator.nothing_for(60)
        await bob.post("/logout")
        loud = await enter(server, "BOB")
        async with loud.websocket("/live") as page:
            assert (await page.command(f"{ROOM}/messages", {"text": "BUT"}))["status"] == 403


async def test_a_login_ends_by_itself_and_whoever_had_it_logs_in_again(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server:
        ann = await enter(server, "Ann")
        async with ann.sse(EVENTS) as tab:
            await tab.until("live")
            await trio.sleep(12 * 3600)
            assert (await tab.until("bye"))["reason"] == "expired"
        assert (await ann.get(EVENTS)).status == 401
        assert "Who is there?" in (await ann.get("/")).text
        await enter(server, "Ann")


async def test_what_the_desk_knows_outlives_the_process(tmp_path: Any, autojump_clock: MockClock) -> None:
    log = f"sqlite:///{tmp_path / 'chat.db'}"
    async with serve(app, log=log) as server:
        ann, bob, mia = [await enter(server, *who) for who in (("Ann",), ("Bob",), ("Mia", PASSWORD))]
        async with mia.sse(EVENTS) as page:
            await page.until("open")
            await say(page, "rude")
            said = await page.expect(event="message")
            await page.command(f"{ROOM}/removed", said["id"])
            await page.command(f"{ROOM}/banned", "Bob")
        cookies = [dict(user.cookies) for user in (ann, bob, mia)]
        await ann.post("/logout")
    forget()
    async with serve(app, log=log) as server:
        ann, bob, mia = [server.user(of_then) for of_then in cookies]
        assert [(await user.get(EVENTS)).status for user in (ann, bob, mia)] == [401, 401, 200]
        assert await texts(mia) == []


NAMES = {
    "": 403,
    " ": 403,
    "A" * 24: 303,
    "A" * 25: 403,
    "An\nn": 303,  # as any space
    "An\x00n": 403,
    "Ann\u202e": 403,  # what follows would run backwards
    "\u200bAnn": 403,  # looks as Ann
    "ＡＮＮ": 403,  # the same letters, wide: Ann is here already
    "<b onclick=alert(1)>": 303,  # a name as any other: the page takes it for text
}


@pytest.mark.parametrize(("name", "status"), NAMES.items())
async def test_a_name_is_letters_that_can_be_seen_and_nobody_elses(
    name: str, status: int, autojump_clock: MockClock
) -> None:
    async with serve(app, log="memory:") as server:
        await enter(server, "Ann")
        answer = await server.post("/login", form={"name": name})
        assert answer.status == status
        wrong = {"name": "Mia", "password": "seeds"}
        assert (await server.post("/login", form=wrong)).status == 403


async def test_of_two_who_want_one_name_at_once_one_gets_it(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server:
        answers = []

        async def try_it() -> None:
            answers.append((await server.post("/login", form={"name": "Ann"})).status)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(try_it)
            nursery.start_soon(try_it)
        assert sorted(answers) == [303, 403]


async def test_a_login_that_is_refused_leaves_nothing_in_the_log(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server:
        ann = await enter(server, "Ann")
        before = await live.log.head("desk")
        for _ in range(3):
            assert (await server.post("/login", form={"name": "Ann"})).status == 403
        assert await live.log.head("desk") == before
        await ann.post("/logout")
        await enter(server, "Ann")


async def test_a_name_is_text_in_the_page(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server:
        eve = await enter(server, '"><img src=x id=y>')
        page = await eve.get("/")
        assert "<img" not in page.text
        assert "&lt;img" in page.text
        assert "script" not in page.headers["content-security-policy"], "scripts are the server's own"


TEXTS: dict[str, Any] = {
    "no text": (None, 400, None),
    "a number": ({"text": 1}, 400, None),
    "nothing that is seen": ({"text": " \x07\n"}, 400, None),
    "the longest": ({"text": "é" * 2_000}, 200, "é" * 2_000),
    "longer": ({"text": "é" * 2_001}, 400, None),
    "far longer": ({"text": "x" * (1 << 20)}, 413, None),
    "control characters": ({"text": "a\x00b\x1b[31m\r\nc\x7f\u0085"}, 200, "ab[31m\nc"),
    "fields of an event stream": (
        {"text": "a\n\nevent: triolet.bye\ndata: {}"},
        200,
        "a\n\nevent: triolet.bye\ndata: {}",
    ),
    "script": ({"text": "<script>alert(1)</script>"}, 200, "<script>alert(1)</script>"),
}


@pytest.mark.parametrize("kind", TEXTS)
async def test_a_message_is_some_text_and_comes_as_it_was_said(kind: str, autojump_clock: MockClock) -> None:
    data, status, text = TEXTS[kind]
    async with serve(app, log="memory:") as server:
        ann = await enter(server, "Ann")
        async with ann.sse(EVENTS) as page:
            await page.until("live")
            reply = await page.command(f"{ROOM}/messages", data)
            assert reply["status"] == status
            if text is None:
                return await page.nothing_for(60)
            message = await page.expect(event="message")
            assert message["data"]["text"] == text
            await page.nothing_for(60)


async def test_a_room_that_is_not_there_and_a_stranger_are_refused(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server:
        ann = await enter(server, "Ann")
        assert (await ann.get("/rooms/cellar/events")).status == 404
        assert (await server.get("/rooms/cellar/events")).status == 401
        assert (await server.get(EVENTS)).status == 401
        assert (await server.get("/")).status == 200
