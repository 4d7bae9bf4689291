"""What an app tells its clients for now reaches the program, on each transport."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS
from triolet.client import Event, Events, Messages, Tell

from .stage import WAYS, client_of, options_of, shop, take, told
from .talk import talking


@pytest.mark.parametrize("way", [way for way in WAYS if way != "poll"])
async def test_what_is_only_for_now_is_told_to_who_is_live(way: str, autojump_clock: MockClock) -> None:
    heard: list[Tell] = []

    def show(events: Events, tell: Tell) -> None:
        heard.append(tell)

    async with shop() as (server, live):
        opened = client_of(server, **options_of(way))
        async with opened as client, client.follow(ORDERS, on_tell=show) as events:
            live.tell(ORDER, 0)
            assert told(await take(events, 1)) == ["live"]
            await trio.sleep(1)
            heard.clear()
            live.tell(ORDER, {"who": "ann"}, name="typing", key="ann")
            await trio.sleep(1)
            live.tell(ORDER, 2)
            await trio.sleep(1)
            assert heard == [Tell(ORDER, "typing", {"who": "ann"}, "ann"), Tell(ORDER, "message", 2)]
            await live.publish(ORDER, 1)
            (item,) = await take(events, 1)
            assert isinstance(item, Event)
            assert item.offset == 1


async def test_what_is_told_in_a_channel_of_the_apps_is_heard_beside_its_messages(autojump_clock: MockClock) -> None:
    heard: list[Tell] = []

    def show(whose: Events | Messages, tell: Tell) -> None:
        heard.append(tell)

    async with talking() as (server, talk):
        opened = client_of(server, socket="/talk")
        async with (
            opened as client,
            client.messages(on_tell=show) as messages,
            client.follow("/orders/A/events", on_tell=show),
        ):
            await messages.ready()
            await client.tell({"follow": "orders/A"})
            await trio.sleep(1)
            talk.live.tell("orders/A", 1, name="typing")
            await trio.sleep(1)
            assert heard == [Tell("orders/A", "typing", 1)] * 2
