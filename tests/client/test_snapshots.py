"""A program that asks for a channel's state is given it first, and in place of a gap, on each transport."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import Cursor, Limits, Reducer, Triolet
from triolet import Event as Published
from triolet.client import Event, MemoryStore, Snapshot
from triolet.client.heard import read
from triolet.client.track import Track
from triolet.event import encode_json
from triolet.testing import MemoryServer, cut, serve

from .stage import WAYS, client_of, options_of, take, told

CART, CARTS = "carts/7", "/carts/7/events"


def add(total: int, event: Published) -> int:
    return total + int(event.data)


@asynccontextmanager
async def summing(limits: Limits | None = None) -> AsyncIterator[tuple[MemoryServer, Triolet]]:
    """A served app, of whose channels the state is their sum."""
    app = QuartTrio("carts")
    live = Triolet(app, limits=limits)

    @live.channel("/carts/<cart_id>/events", snapshot=Reducer(add, initial=0, name="sums", channels="carts/*"))
    async def cart_events(cart_id: str) -> str:
        return f"carts/{cart_id}"

    live.socket("/live")
    async with serve(app) as server:
        yield server, live


@pytest.mark.parametrize("way", WAYS)
async def test_the_state_comes_first_and_the_events_after_it(way: str, autojump_clock: MockClock) -> None:
    async with summing() as (server, live), client_of(server, **options_of(way)) as client:
        await live.publish_many(CART, [1, 2, 3])
        async with client.follow(CARTS, snapshot=True) as events:
            assert events.cursor is None
            state, up_to_date = await take(events, 2)
            assert isinstance(state, Snapshot)
            assert (state.data, state.missed, state.cursor.offset) == (6, 0, 3)
            assert told([up_to_date]) == ["live"]
            await live.publish(CART, 4)
            assert told(await take(events, 1)) == [4]
        assert events.url == CARTS
        assert str(events.cursor).endswith(".4")
        async with client.follow(CARTS) as events:
            assert told(await take(events, 1)) == ["live"], "who does not ask is given no state"


@pytest.mark.parametrize("way", WAYS)
async def test_who_comes_back_in_time_is_given_events_and_else_the_state(way: str, autojump_clock: MockClock) -> None:
    async with summing(Limits(keep_events=5)) as (server, live):
        opened = client_of(server, **options_of(way))
        async with opened as client, client.follow(CARTS, snapshot=True) as events:
            assert told(await take(events, 2)) == [("Snapshot", 0), "live"]
            with cut(server.network):
                await live.publish_many(CART, [1, 2])
            heard: list[Any] = []
            while 2 not in heard:
                heard += told(await take(events, 1))
            assert [item for item in heard if item != "live"] == [1, 2]
            with cut(server.network):
                await live.publish_many(CART, [10] * 20)
                await trio.sleep(1)
            (state,) = [item for item in await take(events, 2) if isinstance(item, Snapshot)]
            assert (state.data, state.missed, state.cursor) == (50, 17, events.cursor)
            await live.publish(CART, 5)
            assert 5 in told(await take(events, 2))


@pytest.mark.parametrize("way", WAYS)
async def test_behind_a_state_that_is_older_than_what_is_kept_there_is_a_gap(
    way: str, autojump_clock: MockClock
) -> None:
    app = QuartTrio("old")
    live = Triolet(app, limits=Limits(keep_events=2))
    live.socket("/live")

    def state(channel: str) -> tuple[str, Cursor]:
        return "old", first.cursor

    @live.channel("/carts/<cart_id>/events", snapshot=state)
    async def cart_events(cart_id: str) -> str:
        return f"carts/{cart_id}"

    async with serve(app) as server:
        first = await live.publish(CART, 1)
        await live.publish_many(CART, [2, 3, 4, 5])
        opened = client_of(server, **options_of(way))
        async with opened as client, client.follow(CARTS, snapshot=True) as events:
            assert told(await take(events, 5)) == [("Snapshot", "old"), "gap expired", 4, 5, "live"]


@pytest.mark.parametrize("way", ["websocket", "socket", "sse", "poll"])
async def test_a_state_that_was_not_done_with_comes_again(way: str, autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with summing() as (server, live):
        await live.publish_many(CART, [1, 2])
        for _ in range(2):
            opened = client_of(server, store=store, **options_of(way))
            async with opened as client, client.follow(CARTS, snapshot=True) as events:
                assert told(await take(events, 1)) == [("Snapshot", 3)]
            assert store.cursors == {}
        async with client_of(server, store=store, **options_of(way)) as client:
            async with client.follow(CARTS, snapshot=True) as events:
                assert told(await take(events, 2)) == [("Snapshot", 3), "live"]
            await live.publish(CART, 4)
            async with client.follow(CARTS, snapshot=True, auto_commit=False) as events:
                assert told(await take(events, 1)) == [4]
                await events.commit()
            async with client.follow(CARTS, snapshot=True) as events:
                assert told(await take(events, 1)) == ["live"]


async def test_two_of_a_socket_are_given_what_each_has_asked_for(autojump_clock: MockClock) -> None:
    async with summing() as (server, live):
        await live.publish_many(CART, [1, 2])
        opened = client_of(server, **options_of("socket"))
        async with opened as client, client.follow(CARTS, snapshot=True) as one, client.follow(CARTS, after=0) as other:
            assert told(await take(one, 2)) == [("Snapshot", 3), "live"]
            assert told(await take(other, 3)) == [1, 2, "live"]
            await live.publish(CART, 3)
            assert told(await take(one, 1)) == told(await take(other, 1)) == [3]


def test_who_is_cut_off_before_the_state_knows_no_place_and_one_given_conflated_events_expects_no_hole() -> None:
    faults: list[Any] = []
    track = Track("/c", None, faults.append)

    def say(**message: Any) -> list[Any]:
        return track.take(read(encode_json(message)))

    assert say(type="open", channel="c", cursor=None) == []
    assert (track.cursor, track.began, track.state) == (None, None, "behind")
    say(type="open", channel="c", cursor=None)
    (state,) = say(type="snapshot", channel="c", cursor="e.4", data=[1], missed=None)
    assert (state.data, state.missed, track.began) == ([1], None, None)
    say(type="gap", channel="c", **{"from": "e.4", "to": "e.9"}, missed=2, reason="conflated")
    (event,) = say(type="event", channel="c", id="e.7", event="x", data=1, time=0)
    assert isinstance(event, Event)
    say(type="snapshot", channel="c", cursor="e.2", data=[2])
    with pytest.raises(Exception, match="missing"):
        say(type="event", channel="c", id="e.5", event="x", data=1, time=0)
    assert [fault.kind for fault in faults] == ["hole"]
