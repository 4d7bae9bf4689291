"""What becomes of one follow of a socket is its own affair: who has left, is refused, or is one too many."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS
from triolet import Limits
from triolet.client import ClientError

from .stage import client_of, data, options_of, shop, take


@pytest.mark.parametrize("together", [True, False])
async def test_who_follows_a_url_is_not_held_up_by_one_of_it_that_left_before_its_answer(
    together: bool, autojump_clock: MockClock
) -> None:
    async with shop() as (server, live), client_of(server, **options_of("socket")) as client:

        @live.channel("/slowly")
        async def slowly() -> str:
            await trio.sleep(1)
            return ORDER

        async with trio.open_nursery() as nursery:
            if together:

                async def follow() -> None:
                    async with client.follow("/slowly") as events:
                        await take(events, 1)
                        await live.publish(ORDER, "now")
                        assert await data(events, 1) == ["now"]

                nursery.start_soon(follow)
            with trio.move_on_after(0.5):
                async with client.follow("/slowly") as left:
                    await take(left, 1)
            if not together:
                async with client.follow("/slowly") as events:
                    await take(events, 1)


async def test_what_is_more_than_one_socket_carries_has_a_connection_of_its_own(autojump_clock: MockClock) -> None:
    dialled: list[float] = []
    async with (
        shop(Limits(follows=5)) as (server, live),
        client_of(server, dialled, **options_of("socket")) as client,
        AsyncExitStack() as stack,
    ):
        follows = [await stack.enter_async_context(client.follow(f"/orders/A{n}/events")) for n in range(8)]
        for number, events in enumerate(follows):
            await take(events, 1)
            await live.publish(f"orders/A{number}", number)
            assert await data(events, 1) == [number]
        assert len(dialled) == 1 + 3


async def test_a_url_that_cannot_be_is_refused_and_what_shares_the_socket_goes_on(autojump_clock: MockClock) -> None:
    async with (
        shop() as (server, live),
        client_of(server, **options_of("socket")) as client,
        client.follow(ORDERS) as events,
        client.follow(f"{ORDERS}?after=now") as bad,
    ):
        with pytest.raises(ClientError) as refused:
            await take(bad, 1)
        assert refused.value.kind == "refused"
        await take(events, 1)
        await live.publish(ORDER, "now")
        assert await data(events, 1) == ["now"]
