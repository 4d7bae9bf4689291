"""Clients that may not see every event, on every transport, over the whole server."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.filtering import Sees, sees
from tests.middleware import stand_before
from triolet import Draft, Event, Limits, Triolet, policies
from triolet.log import MemoryLog
from triolet.testing.client_websocket import WebSocketClient
from triolet.testing.clients import Client
from triolet.testing.faults import stalled
from triolet.testing.server import MemoryServer, serve

CHANNEL = "orders"
WAYS = (
    *("websocket", "websocket deflated", "follow", "sse", "long poll", "short poll"),
    *("websocket behind middleware", "sse behind middleware", "long poll behind middleware"),
)
LIMITS = Limits(page_events=3, window_events=5, beat_seconds=5, poll_seconds=2, wait_seconds=7)


def for_it(event: Event) -> bool:
    return bool(event.data["seen"])


@asynccontextmanager
async def served(
    way: str = "", limits: Limits = LIMITS, sight: Sees | None = None
) -> AsyncIterator[tuple[MemoryServer, Triolet]]:
    """``/some`` shows what :func:`for_it` allows of the channel that ``/all`` shows."""
    app = QuartTrio("filtered")
    live = Triolet(app, log=MemoryLog(limits, epoch="e"), limits=limits, deflate="deflated" in way)

    @live.channel("/all")
    async def everything() -> str:
        return CHANNEL

    @live.channel("/some", policy=sight or Sees(for_it))
    async def something() -> str:
        return CHANNEL

    live.socket("/live")
    if "middleware" in way:
        stand_before(app)
    with sees():
        async with serve(app, grace=5) as server:
            yield server, live


def client_of(server: MemoryServer, way: str, path: str = "/some", **options: Any) -> Client:
    transport = way.removesuffix(" behind middleware").removesuffix(" deflated")
    if "deflated" in way:
        return WebSocketClient(server, path, deflate=True, **options)
    return server.client(transport, path, **options)


async def publish(live: Triolet, seen: list[bool], first: int = 1) -> None:
    await live.publish_many(CHANNEL, [Draft.of({"n": first + n, "seen": one}) for n, one in enumerate(seen)])


def numbers(client: Client) -> list[int]:
    return [event["data"]["n"] for event in client.events]


def offset(cursor: str) -> int:
    return int(cursor.rpartition(".")[2])


async def take(client: Client, seconds: float) -> None:
    """Take what comes in so many seconds. The place never goes back."""
    with trio.move_on_after(seconds):
        while True:
            before = client.cursor
            if await client.next(within=1_000) is None:
                return
            assert before is None or offset(client.cursor or "0") >= offset(before), client.dialogue()


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.lists(st.booleans(), min_size=1, max_size=8)),
        st.tuples(st.sampled_from(["wait", "take", "stall"]), st.sampled_from([0.1, 1.0, 6.0])),
        st.tuples(st.just("cut"), st.none()),
    ),
    max_size=12,
)


async def play(way: str, acts: list[Any], oldest: bool) -> None:
    wanted: list[int] = []
    count = 0
    async with served(way) as (server, live), AsyncExitStack() as stack:
        if oldest:
            await publish(live, [True, False] * 4)
            wanted, count = [1, 3, 5, 7], 8
        start: dict[str, Any] = {"after": 0} if oldest else {}
        one = await stack.enter_async_context(client_of(server, way, **start))
        other = await stack.enter_async_context(client_of(server, way, "/all", **start))
        await take(one, 0.05)
        for act, how in acts:
            if act == "publish":
                wanted += [count + n for n, seen in enumerate(how, 1) if seen]
                await publish(live, how, count + 1)
                count += len(how)
            elif act == "wait":
                await trio.sleep(how)
            elif act == "take":
                await take(one, how)
            elif act == "stall" and one.closed is None:
                with stalled(one):
                    await take(one, how)
            elif act == "cut":
                one.cut()
                await one.reconnect()
        await take(one, 30)
        await take(other, 30)
        assert numbers(one) == wanted, one.dialogue()
        assert numbers(other) == list(range(1, count + 1)), other.dialogue()
        opens = [message.get("filtered") for message in one.heard if message["type"] == "open"]
        assert set(opens) == {True}
        assert not [message for message in other.heard if "filtered" in message]


@pytest.mark.parametrize("way", WAYS)
def test_each_hears_what_it_may_once_and_in_order_through_every_cut_and_the_others_hear_all(way: str) -> None:
    @settings(max_examples=15)
    @given(ACTS, st.booleans())
    def held(acts: list[Any], oldest: bool) -> None:
        trio.run(play, way, acts, oldest, clock=MockClock(autojump_threshold=0))

    held()


@pytest.mark.parametrize("way", WAYS)
async def test_one_that_is_sent_nothing_is_moved_on_and_comes_back_behind_it(
    way: str, autojump_clock: MockClock
) -> None:
    asked: list[int] = []

    def nothing(event: Event) -> bool:
        asked.append(event.offset)
        return False

    async with served(way, sight=Sees(nothing)) as (server, live), client_of(server, way, after=0) as client:
        for n in range(40):
            await publish(live, [True], n + 1)
            await take(client, 1)
        assert client.events == []
        await take(client, 10)  # a beat, or the end of a poll
        assert client.cursor == "e.40", client.dialogue()
        before = len(asked)
        client.cut()
        await client.reconnect()
        await take(client, 10)
        assert (len(asked), client.cursor) == (before, "e.40")
        if "poll" not in way:  # however far the channel moved on, there was never silence
            assert before == 40
            times = [message["time"] for message in client.heard if message["type"] == "beat"]
            assert len(times) >= 8


@pytest.mark.parametrize("way", WAYS)
async def test_one_that_comes_back_to_pages_of_which_none_is_for_it_becomes_live(
    way: str, autojump_clock: MockClock
) -> None:
    async with served(way) as (server, live):
        await publish(live, [False] * 12)
        async with client_of(server, way, after=0) as client:
            message = await client.until("live", within=1)
            assert (message["cursor"], client.events) == ("e.12", [])


async def test_an_event_stream_that_saw_only_its_open_is_moved_by_its_beat(autojump_clock: MockClock) -> None:
    async with served() as (server, live), server.events("/some") as stream:
        await publish(live, [False] * 1_000)
        block = await stream.block()
        while block is not None and block.get("event") != "triolet.beat":
            block = await stream.block()
        assert block is not None
        assert block["id"] == "e.1000"


@pytest.mark.parametrize("kind", ["latest", "skip", "disconnect"])
async def test_policies_hold_for_it(kind: str, autojump_clock: MockClock) -> None:
    policy = {
        "latest": policies.latest(events=5),
        "skip": policies.skip(events=5),
        "disconnect": policies.disconnect(events=5),
    }[kind]
    async with served(sight=Sees(for_it, policy)) as (server, live), client_of(server, "sse") as client:
        await client.until("live")
        with stalled(client):
            for n in range(100):
                draft = Draft.of({"seen": n % 2 == 0, "n": n, "fill": "x" * 4_000}, key=f"k{n % 4}")
                await live.publish_many(CHANNEL, [draft])
                await trio.sleep(0.01)
        if kind == "disconnect":
            assert (await client.until("bye"))["code"] == 4410
            return
        await take(client, 20)
        seen = numbers(client)
        assert seen == sorted({n for n in seen if n % 2 == 0})
        (gap,) = [message for message in client.heard if message["type"] == "gap"]
        left_out = {n for n in range(100) if n % 2 == 0} - set(seen)
        assert left_out
        if kind == "latest":
            assert seen[-2:] == [96, 98]  # of k0 and k2; k1 and k3 are others'
            assert gap["missed"] == len(left_out)
        else:
            assert gap["missed"] == offset(gap["to"]) - offset(gap["from"]) > len(left_out)


# --- polls


async def test_a_long_poll_gives_no_sign_of_what_is_for_others(autojump_clock: MockClock) -> None:
    async with served() as (server, live), trio.open_nursery() as nursery:

        async def publish_later() -> None:
            for n in range(3):
                await trio.sleep(1)
                await publish(live, [False, n == 2])

        nursery.start_soon(publish_later)
        answer = await server.get("/some?after=0&wait=5")
        assert trio.current_time() == pytest.approx(3)
        assert [event["data"]["seen"] for event in answer.json["events"]] == [True]
        assert (answer.json["cursor"], answer.json["filtered"]) == ("e.6", True)
        await publish(live, [False])
        answer = await server.get("/some?after=e.6&wait=5")
        assert trio.current_time() == pytest.approx(8)
        assert (answer.json["events"], answer.json["cursor"], answer.json["live"]) == ([], "e.7", True)
        assert "filtered" not in (await server.get("/all?after=0")).json


async def test_a_tag_is_of_what_the_client_was_given(autojump_clock: MockClock) -> None:
    shown: set[int] = {2}
    sight = Sees(lambda event: event.offset in shown)
    async with served(sight=sight) as (server, live):
        await publish(live, [True] * 3)
        first = await server.get("/some?after=e.0")
        assert [event["id"] for event in first.json["events"]] == ["e.2"]
        assert first.headers["cache-control"] == "private, no-cache"
        tag = {"If-None-Match": first.headers["etag"]}
        assert (await server.get("/some?after=e.0", **tag)).status == 304
        shown.add(3)  # somebody else asks, through the same cache
        other = await server.get("/some?after=e.0", **tag)
        assert other.status == 200
        assert [event["id"] for event in other.json["events"]] == ["e.2", "e.3"]
        shown.clear()
        none = await server.get("/some?after=e.0", **tag)
        assert (none.status, none.json["events"], none.json["cursor"]) == (200, [], "e.3")
        whole = await server.get("/all?after=e.0")
        assert whole.headers["cache-control"] == "no-cache"
        assert re.fullmatch(r'"e\.0-e\.3-[0-9a-f]{16}"', whole.headers["etag"])


async def test_nothing_new_is_not_modified_also_where_there_was_something_for_others(
    autojump_clock: MockClock,
) -> None:
    async with served() as (server, live):
        await publish(live, [True, False])
        answer = await server.get("/some?after=e.2")
        tag = {"If-None-Match": answer.headers["etag"]}
        assert (await server.get("/some?after=e.2", **tag)).status == 304
        await publish(live, [False], 3)
        moved = await server.get("/some?after=e.2", **tag)
        assert (moved.status, moved.json["events"], moved.json["cursor"]) == (200, [], "e.3")


async def test_one_whose_function_fails_is_sent_nothing_and_goes_on(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(event: Event) -> bool:
        return json.loads(event.json)["right"] is True  # there is none

    async with served(sight=Sees(fails)) as (server, live), client_of(server, "websocket") as client:
        await client.until("live")
        for n in range(5):
            await publish(live, [True], n)
        await client.nothing_for(30)
        assert (client.events, client.closed, client.cursor) == ([], None, "e.5")
        assert live.statistics().counts.allow_failures == 5
    assert [record.levelname for record in caplog.records if "allow=" in record.getMessage()] == ["ERROR"]
