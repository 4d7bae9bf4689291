"""A client tells its server how far the program has applied a channel, for those who operate it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS
from triolet import ConfigError, Triolet
from triolet.client import MemoryStore

from .stage import client_of, options_of, shop, take, told

WEBSOCKETS = ("websocket", "socket", "websockets")


def acknowledged(live: Triolet) -> tuple[int, float]:
    """How many events were, and the sum of their ages."""
    seen = live.statistics().counts.acknowledged
    return seen.count, round(seen.sum, 3)


@pytest.mark.parametrize("way", WEBSOCKETS)
async def test_what_was_taken_is_told_once_in_a_while_and_the_newest_alone(way: str, autojump_clock: MockClock) -> None:
    async with (
        shop() as (server, live),
        client_of(server, acknowledge=5, **options_of(way)) as client,
        client.follow(ORDERS) as events,
    ):
        assert told(await take(events, 1)) == ["live"]
        await trio.sleep(10)
        assert acknowledged(live) == (0, 0)  # that it is up to date is no event
        for number in range(3):
            await live.publish(ORDER, number)
        assert told(await take(events, 3)) == [0, 1, 2]
        await trio.sleep(10)
        assert acknowledged(live) == (1, 5)  # the second, for with the third it is not done
        with trio.move_on_after(1):
            await anext(events)
        await trio.sleep(10)
        assert acknowledged(live)[0] == 2


async def test_what_the_program_says_is_done_is_told_where_it_says_so(autojump_clock: MockClock) -> None:
    opened = {"acknowledge": 0.5, "store": MemoryStore(), **options_of("websocket")}
    async with (
        shop() as (server, live),
        client_of(server, **opened) as client,
        client.follow(ORDERS, auto_commit=False) as events,
    ):
        await take(events, 1)
        for number in range(10):
            await live.publish(ORDER, number)
        await take(events, 10)
        await trio.sleep(5)
        assert acknowledged(live)[0] == 0
        await events.commit()
        await trio.sleep(5)
        assert acknowledged(live)[0] == 1


@pytest.mark.parametrize("way", ["sse", "long-poll", "poll"])
async def test_over_other_transports_nobody_is_told(way: str, autojump_clock: MockClock) -> None:
    async with (
        shop() as (server, live),
        client_of(server, acknowledge=1, **options_of(way)) as client,
        client.follow(ORDERS, after=0) as events,
    ):
        await live.publish(ORDER, 1)
        await take(events, 2)
        await trio.sleep(10)
        assert acknowledged(live)[0] == 0


async def test_without_the_option_nobody_is_told(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), client_of(server) as client, client.follow(ORDERS, after=0) as events:
        await live.publish(ORDER, 1)
        await take(events, 2)
        await trio.sleep(100)
        assert acknowledged(live)[0] == 0
    with pytest.raises(ConfigError, match="acknowledge=0"):
        async with client_of(server, acknowledge=0):
            pass
