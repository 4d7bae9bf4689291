"""Who leaves a follow, and what that is to the others."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.shop import ORDER

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
