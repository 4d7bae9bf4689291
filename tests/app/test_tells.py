"""``live.tell``: what is only for now, over all transports and processes; who is passed over, and what bounds it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import DataError, Event, Identity, Limits, Triolet
from triolet.errors import ChannelNameError
from triolet.event import NOW_CHANNEL
from triolet.log import MemoryLog
from triolet.testing.faults import stalled
from triolet.testing.scripted import ScriptedLog, away
from triolet.testing.server import serve

from .processes import processes
from .roads import ROADS, served

HEARING = ["websocket", "sse", "long poll", "follow"]
TYPING = {"who": "ann"}


def make_shared(**options: Any) -> tuple[QuartTrio, Triolet]:
    """A shop whose log other processes know, too."""
    return make_shop(log=ScriptedLog(MemoryLog()), **options)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", HEARING)
async def test_who_is_live_is_told_once_and_stays_where_it_is(
    transport: str, road: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with served(app, road) as server, server.client(transport, ORDERS) as client:
        await client.until("live")
        await trio.sleep(0.1)  # a long poll waits
        cursor = client.cursor
        live.tell(ORDER, TYPING, name="typing", key="ann")
        told = await client.expect("tell", channel=ORDER, event="typing", data=TYPING, key="ann", within=0.5)
        assert client.cursor == cursor
        assert set(told) - {"for"} == {"type", "channel", "event", "data", "key"}
        await client.nothing_for(1)
        event = await live.publish(ORDER, 1)
        await client.expect("event", id=str(event.cursor))


@pytest.mark.parametrize("transport", HEARING)
async def test_it_is_told_over_all_processes_once_each(transport: str, autojump_clock: MockClock) -> None:
    async with (
        processes(2, make_shared) as (one, other),
        one.server.client(transport, ORDERS) as here,
        other.server.client(transport, ORDERS) as there,
    ):
        for client in (here, there):
            await client.until("live")
        await trio.sleep(0.1)
        one.live.tell(ORDER, TYPING)
        for client in (here, there):
            await client.expect("tell", event="message", data=TYPING, within=1)
            await client.nothing_for(1)


async def test_short_polls_and_who_comes_later_are_never_told(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.client("short poll", ORDERS) as polling:
        await polling.until("live")
        live.tell(ORDER, TYPING)
        await polling.nothing_for(10)
        for transport in HEARING:
            async with server.client(transport, ORDERS, after="0") as client:
                await client.nothing_for(1)
        assert await live.channels() == []


async def test_on_an_event_stream_it_has_no_id(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.events(ORDERS) as stream:
        while (block := await stream.block()) is not None and block.get("event") != "triolet.live":
            pass
        live.tell(ORDER, 1, name="typing")
        block = await stream.block()
        assert block is not None
        assert (block["event"], set(block)) == ("triolet.tell", {"event", "data"})
        assert json.loads(block["data"]) == {"type": "tell", "channel": ORDER, "event": "typing", "data": 1}


async def test_a_slow_client_is_passed_over_and_counted(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with (
        serve(app) as server,
        server.client("sse", ORDERS, kernel_bytes=4_000) as slow,
        server.client("sse", ORDERS) as client,
    ):
        for one in (slow, client):
            await one.until("live")
        with stalled(slow):
            await live.publish(ORDER, "x" * 20_000)
            live.tell(ORDER, TYPING)
            await client.expect("event")
            await client.expect("tell")
        await slow.expect("event")
        await slow.nothing_for(1)
        assert live.statistics().counts.tells == {"written": 1, "skipped": 1, "dropped": 0}


async def test_a_filter_is_asked_and_fails_closed(autojump_clock: MockClock) -> None:
    app = QuartTrio("tells")
    live = Triolet(app)
    asked: list[Event] = []

    def allow(event: Event, identity: Identity | None) -> bool:
        asked.append(event)
        if event.key == "raises":
            raise RuntimeError("a bug of the app's")
        return event.key == "yes"

    @live.channel("/orders/<order_id>/events", allow=allow)
    async def events(order_id: str) -> str:
        return f"orders/{order_id}"

    live.socket("/live")
    async with serve(app) as server:
        for transport in HEARING:
            async with server.client(transport, ORDERS) as client:
                await client.until("live")
                await trio.sleep(0.1)
                for key in ("no", "raises", "yes"):
                    live.tell(ORDER, TYPING, name="typing", key=key)
                await client.expect("tell", key="yes", within=0.5)
                await client.nothing_for(1)
        assert {(event.channel, event.name, event.offset) for event in asked} == {(ORDER, "typing", 0)}
        assert live.statistics().counts.allow_failures == 4


async def test_each_named_follow_of_a_channel_is_told(autojump_clock: MockClock) -> None:
    app = QuartTrio("tells")
    live = Triolet(app)

    @live.channel("/a", allow=lambda event, identity: event.key is None)
    async def some() -> str:
        return ORDER

    @live.channel("/b", allow=lambda event, identity: True)
    async def others() -> str:
        return ORDER

    live.socket("/live")
    async with serve(app) as server, server.websocket("/live") as client:
        for url, sub in (("/a", "one"), ("/a", "two"), ("/b", "beside")):
            await client.follow(url, sub=sub)
        await trio.sleep(1)
        live.tell(ORDER, 1)
        live.tell(ORDER, 2, key="b")
        await trio.sleep(1)
        while await _next(client) is not None:
            pass
        told = {
            sub: [message["data"] for message in client.heard_by(sub) if message["type"] == "tell"]
            for sub in ("one", "two", "beside")
        }
        assert told == {"one": [1], "two": [1], "beside": [1, 2]}
        event = await live.publish(ORDER, 3)
        await trio.sleep(1)
        while await _next(client) is not None:
            pass
        for sub in told:
            assert client.heard_by(sub)[-1]["id"] == str(event.cursor)


async def _next(client: Any) -> Any:
    try:
        return await client.next(within=0)
    except AssertionError:
        return None


async def test_nothing_is_told_past_the_bounds(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(tells_per_second=2, tell_bytes=100))
    async with serve(app) as server, server.client("sse", ORDERS) as client:
        await client.until("live")
        for refused in ("x" * 100, float("nan")):
            with pytest.raises(DataError):
                live.tell(ORDER, refused)
        with pytest.raises(DataError):
            live.tell(ORDER, 1, name="triolet.end")
        with pytest.raises(ChannelNameError):
            live.tell(NOW_CHANNEL, 1)
        for n in range(10):
            live.tell(ORDER, n)
        for n in range(4):
            await client.expect("tell", data=n)
        await client.nothing_for(1)
        assert live.statistics().counts.tells["dropped"] == 6
        live.tell(ORDER, "later")  # what was dropped took the place of nothing
        await client.expect("tell", data="later")


async def test_while_the_log_is_away_it_is_told_here_alone_and_never_late(autojump_clock: MockClock) -> None:
    async with (
        processes(2, make_shared) as (one, other),
        one.server.client("sse", ORDERS) as here,
        other.server.client("sse", ORDERS) as there,
    ):
        for client in (here, there):
            await client.until("live")
        with one.log.having(*away()):
            one.live.tell(ORDER, "away")
            await here.expect("tell", data="away", within=0.5)
            await trio.sleep(3)
        one.live.tell(ORDER, "back")
        await here.expect("tell", data="back", within=0.5)
        await there.expect("tell", data="back", within=1)
        await there.nothing_for(1)


async def test_what_was_overrun_is_not_told_late(autojump_clock: MockClock) -> None:
    async with processes(2, make_shared) as (one, other), other.server.client("sse", ORDERS) as there:
        await there.until("live")
        other.log.overrun(1)
        one.live.tell(ORDER, "lost")
        await there.nothing_for(1)
        one.live.tell(ORDER, "heard")
        await there.expect("tell", data="heard")


async def test_the_log_keeps_next_to_nothing_of_it_and_nobody_may_follow_that(autojump_clock: MockClock) -> None:
    keep = Limits(keep_events=10_000).kept(NOW_CHANNEL)
    assert (keep.events, keep.seconds) == (256, 10)
    app, live = make_shop()

    @live.channel("/any/<path:name>")
    async def any_channel(name: str) -> str:
        return name

    async with serve(app) as server:
        assert (await server.get(f"/any/{NOW_CHANNEL}")).status == 404


async def test_a_long_poll_of_many_channels_is_answered_with_what_is_told_in_any(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    many = "/live?follow=/orders/A123/events&follow=/orders/B456/events&wait=20"
    async with serve(app) as server, trio.open_nursery() as nursery:

        async def ask() -> None:
            body = (await server.get(many)).json
            assert [(one["channel"], one["data"]) for one in body["told"]] == [("orders/B456", TYPING)]
            assert (body["events"], trio.current_time()) == ([], 1)

        nursery.start_soon(ask)
        await trio.sleep(1)
        live.tell("orders/B456", TYPING)
