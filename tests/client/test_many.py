"""Follows of one client share an event stream or a poll where there is no WebSocket, as a server really answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from triolet import Limits, Triolet
from triolet.client import Client, ClientError, Events
from triolet.client.bounds import CLIENT_GATHER_SECONDS, CLIENT_ITEMS
from triolet.testing import MemoryServer

from .stage import client_of, data, shop, take, told

TRANSPORTS = ("sse", "long-poll", "poll")


@asynccontextmanager
async def following(client: Client, *names: str, **options: Any) -> AsyncIterator[list[Events]]:
    """Follow some orders, all at one moment."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(client.follow(f"/orders/{name}/events", **options)) for name in names]


@asynccontextmanager
async def shared(
    transport: str, dialled: list[float], limits: Limits | None = None, socket: str = "/live"
) -> AsyncIterator[tuple[MemoryServer, Triolet, Client]]:
    """A client whose follows have no WebSocket, of a served shop."""
    async with (
        shop(limits) as (server, live),
        client_of(server, dialled, transports=[transport], socket=socket) as client,
    ):
        yield server, live, client


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_eight_follows_are_one_connection(transport: str, autojump_clock: MockClock) -> None:
    dialled: list[float] = []
    async with shared(transport, dialled) as (_, live, client), following(client, *"abcdefgh", after=0) as eight:
        for events in eight:
            assert told(await take(events, 1)) == ["live"]
        for number, name in enumerate("abcdefgh"):
            await live.publish(f"orders/{name}", number)
        assert [await data(events, 1) for events in eight] == [[number] for number in range(8)]
        assert len(dialled) == 1


async def test_nothing_is_lost_or_repeated_while_others_come_and_go(autojump_clock: MockClock) -> None:
    states: list[str] = []
    dialled: list[float] = []
    async with shared("sse", dialled) as (_, live, client), trio.open_nursery() as nursery:

        async def publish() -> None:
            for number in range(200):
                await live.publish("orders/a", number)
                await trio.sleep(0.01)

        async def come_and_go() -> None:
            for name in "bcdef":
                async with following(client, name):
                    await trio.sleep(0.13)

        async with client.follow("/orders/a/events", after=0, on_state=lambda one: states.append(one.state)) as events:
            nursery.start_soon(publish)
            nursery.start_soon(come_and_go)
            items = told(await take(events, 201))
    assert [item for item in items if item != "live"] == list(range(200))
    assert items.count("live") == 1
    assert states == ["behind", "live"]
    assert len(dialled) > 5


async def test_follows_of_one_turn_are_asked_for_at_once(autojump_clock: MockClock) -> None:
    dialled: list[float] = []
    async with shared("sse", dialled) as (server, _, client), following(client, "a") as (first,):
        await take(first, 1)
        async with following(client, *"bcdefghijk") as ten:
            for events in ten:
                await take(events, 1)
            assert len(dialled) == 2
            assert server.followers == 11
        await trio.sleep(2 * CLIENT_GATHER_SECONDS)
        assert (server.followers, len(dialled)) == (1, 3)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_refusal_is_told_to_its_own_follow(transport: str, autojump_clock: MockClock) -> None:
    dialled: list[float] = []
    async with shared(transport, dialled) as (_, live, client), following(client, "a", after=0) as (first,):
        await take(first, 1)
        for name, status in (("secret", 403), ("absent", 404)):
            async with following(client, name) as (events,):
                with pytest.raises(ClientError) as caught:
                    await take(events, 1)
                assert (caught.value.kind, caught.value.status) == ("refused", status)
        await live.publish("orders/a", 1)
        assert told(await take(first, 1)) == [1]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("socket", ["/warehouse", "/nowhere"])
async def test_where_the_socket_takes_none_each_has_its_own(
    socket: str, transport: str, autojump_clock: MockClock
) -> None:
    async with shared(transport, [], socket=socket) as (_, live, client), following(client, "a", "b", after=0) as two:
        for name in "ab":
            await live.publish(f"orders/{name}", name)
        assert [await data(events, 1) for events in two] == [["a"], ["b"]]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_more_than_the_server_takes_share_several(transport: str, autojump_clock: MockClock) -> None:
    dialled: list[float] = []
    async with (
        shared(transport, dialled, Limits(follows=3)) as (_, live, client),
        following(client, *"abcdefgh", after=0) as eight,
    ):
        for number, name in enumerate("abcdefgh"):
            await live.publish(f"orders/{name}", number)
        assert [await data(events, 1) for events in eight] == [[number] for number in range(8)]
    assert len(dialled) < 8


async def test_a_slow_program_does_not_hold_up_the_others(autojump_clock: MockClock) -> None:
    async with shared("sse", []) as (_, live, client), following(client, "slow", "fast", after=0) as (slow, fast):
        await take(fast, 1)
        for number in range(3 * CLIENT_ITEMS):
            await live.publish("orders/slow", number)
        await live.publish("orders/fast", "now")
        assert told(await take(fast, 1)) == ["now"]
        assert await data(slow, 3 * CLIENT_ITEMS) == list(range(3 * CLIENT_ITEMS))


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_two_of_one_channel_each_get_everything(transport: str, autojump_clock: MockClock) -> None:
    async with shared(transport, []) as (_, live, client):
        await live.publish("orders/a", 1)
        urls = ("/orders/a/events", "/orders/a/events", "/orders/a/events?x=1")
        async with AsyncExitStack() as stack:
            three = [await stack.enter_async_context(client.follow(url, after=0)) for url in urls]
            await live.publish("orders/a", 2)
            assert [await data(events, 2) for events in three] == 3 * [[1, 2]]


async def test_a_full_channel_keeps_no_other_from_its_turn_in_a_poll(autojump_clock: MockClock) -> None:
    async with shared("poll", [], Limits(page_events=4)) as (_, live, client):
        for number in range(40):
            await live.publish("orders/full", number)
        await live.publish("orders/other", "here")
        async with following(client, "full", "other", after=0) as (full, other):
            assert await data(other, 1) == ["here"]
            assert full.state == "behind"
            assert await data(full, 40) == list(range(40))
