"""A channel that ends: the program is told what with, and its follow is over, on each transport."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS
from triolet.client import End, Event, MemoryStore
from triolet.testing import cut

from .stage import WAYS, client_of, options_of, shop, take, told
from .talk import hear, talking

DONE = {"outcome": "done"}
LAST = ("End", DONE)


@pytest.mark.parametrize("way", WAYS)
async def test_the_end_is_the_last_item_and_nobody_comes_back(way: str, autojump_clock: MockClock) -> None:
    dialled: list[float] = []
    async with shop() as (server, live):
        opened = client_of(server, dialled, **options_of(way))
        async with opened as client, client.follow(ORDERS) as events:
            assert told(await take(events, 1)) == ["live"]
            await live.publish(ORDER, 1)
            await live.end(ORDER, DONE)
            assert told(await take(events, 2)) == [1, LAST]
            with pytest.raises(StopAsyncIteration):
                await anext(events)
            assert (events.state, events.reason, events.behind) == ("gone", "ended", 0)
            assert str(events.cursor).endswith(".2")
            over_at = trio.current_time()
            await trio.sleep(600)
            assert max(dialled) <= over_at
            assert server.followers == 0


@pytest.mark.parametrize("way", WAYS)
async def test_who_comes_later_is_told_at_once_from_wherever_it_comes(way: str, autojump_clock: MockClock) -> None:
    async with shop() as (server, live), client_of(server, **options_of(way)) as client:
        await live.publish(ORDER, 1)
        end = await live.end(ORDER, DONE)
        async with client.follow(ORDERS, after=0) as events:
            assert told([item async for item in events]) == [1, LAST]
        for after in (None, end.cursor, 2, -1):
            async with client.follow(ORDERS, after=after) as events:
                assert told([item async for item in events]) == [LAST]


@pytest.mark.parametrize("way", WAYS)
async def test_an_end_is_told_after_the_network_was_away(way: str, autojump_clock: MockClock) -> None:
    async with shop() as (server, live):
        opened = client_of(server, **options_of(way))
        async with opened as client, client.follow(ORDERS) as events:
            await take(events, 1)
            with cut(server.network):
                await live.publish(ORDER, 1)
                await live.end(ORDER, DONE)
            with trio.fail_after(600):
                assert [item for item in told([item async for item in events]) if item != "live"] == [1, LAST]


@pytest.mark.parametrize("way", WAYS)
async def test_a_program_that_keeps_its_place_is_told_once_more(way: str, autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with shop() as (server, live):
        await live.publish(ORDER, 1)
        await live.end(ORDER, DONE)
        for first in ([1], [], []):
            async with client_of(server, store=store, **options_of(way)) as client:
                async with client.follow(ORDERS, after=0) as events:
                    items = [item async for item in events]
                assert told(items) == [*first, LAST]
            assert list(store.cursors.values()) == [f"{items[-1].cursor} {ORDER}"]  # type: ignore[union-attr]  # it is an event


async def test_on_a_shared_socket_the_others_go_on(autojump_clock: MockClock) -> None:
    dialled: list[float] = []
    async with shop() as (server, live):
        opened = client_of(server, dialled, **options_of("socket"))
        async with (
            opened as client,
            client.follow(ORDERS) as one,
            client.follow(ORDERS) as two,
            client.follow("/orders/B/events") as other,
        ):
            for events in (one, two, other):
                await take(events, 1)
            await live.end(ORDER, DONE)
            assert told([item async for item in one]) == told([item async for item in two]) == [LAST]
            await live.publish("orders/B", 2)
            assert told(await take(other, 1)) == [2]
            await live.delete(ORDER)
            async with client.follow(ORDERS, after=0) as again:
                (item,) = [item async for item in again if not isinstance(item, Event)]
                assert isinstance(item, End)
                assert item.data == {"outcome": "deleted"}
            assert len(dialled) == 1


async def test_the_end_of_a_channel_that_the_app_follows_is_told_beside_its_messages(
    autojump_clock: MockClock,
) -> None:
    async with talking() as (server, talk), client_of(server, socket="/talk") as client, client.messages() as messages:
        await messages.ready()
        await client.tell({"follow": "orders/A"})
        await trio.sleep(1)
        await talk.live.publish("orders/A", 1)
        await talk.live.end("orders/A", DONE)
        end = ("orders/A", "end", 2, DONE)
        assert await hear(messages, 3) == [{"hello": 1}, ("orders/A", 1, 1), end]
        await client.tell({"follow": "orders/A", "after": 0})
        assert await hear(messages, 2) == [("orders/A", 1, 1), end]
        await client.tell({"follow": "orders/A"})
        assert await hear(messages, 1) == [end]
        await client.tell(1)
        assert await hear(messages, 1) == [{"echo": 1}]
