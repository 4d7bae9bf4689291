"""A client follows a channel, over each transport, whatever the network does."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS

from .stage import WAYS, client_of, options_of, shop, take, told


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_gets_what_it_missed_and_what_comes(way: str, autojump_clock: MockClock) -> None:
    async with shop() as (server, live):
        for number in range(3):
            await live.publish(ORDER, number)
        async with client_of(server, **options_of(way)) as client, client.follow(ORDERS, after=0) as events:
            assert told(await take(events, 4)) == [0, 1, 2, "live"]
            await live.publish(ORDER, "now")
            assert told(await take(events, 1)) == ["now"]
            assert (events.channel, events.state, events.behind) == (ORDER, "live", 0)
            assert str(events.cursor).endswith(".4")
