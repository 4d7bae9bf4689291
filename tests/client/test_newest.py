"""A client that has no cursor asks for the newest so many events, and what comes after them."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS
from triolet import Limits
from triolet.client import MemoryStore
from triolet.testing import cut

from .stage import WAYS, client_of, options_of, shop, take, told


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_gets_the_newest_so_many_and_what_comes(way: str, autojump_clock: MockClock) -> None:
    async with shop() as (server, live), client_of(server, **options_of(way)) as client:
        await live.publish_many(ORDER, list(range(10)))
        async with client.follow(ORDERS, after=-3) as events:
            assert told(await take(events, 4)) == [7, 8, 9, "live"]
            await live.publish(ORDER, "now")
            assert told(await take(events, 1)) == ["now"]
            with cut(server.network):
                await live.publish(ORDER, "meanwhile")
            assert "meanwhile" in told(await take(events, 2))


@pytest.mark.parametrize("way", WAYS)
async def test_where_fewer_are_kept_it_gets_these_and_no_gap(way: str, autojump_clock: MockClock) -> None:
    async with shop(Limits(keep_events=2)) as (server, live), client_of(server, **options_of(way)) as client:
        async with client.follow(ORDERS, after="-5") as events:
            assert told(await take(events, 1)) == ["live"]
        await live.publish_many(ORDER, list(range(6)))
        async with client.follow(ORDERS, after="-5") as events:
            assert told(await take(events, 3)) == [4, 5, "live"]


@pytest.mark.parametrize("way", WAYS)
async def test_more_than_a_page_come_one_page_after_the_other(way: str, autojump_clock: MockClock) -> None:
    limits = Limits(page_events=3, window_events=4)
    async with shop(limits) as (server, live), client_of(server, **options_of(way)) as client:
        await live.publish_many(ORDER, list(range(20)))
        async with client.follow(ORDERS, after=-8) as events:
            heard = told(await take(events, 9))
        assert [item for item in heard if item != "live"] == list(range(12, 20))


async def test_a_long_poll_for_the_newest_of_nothing_waits_for_the_first(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), trio.open_nursery() as nursery:

        async def publish() -> None:
            await trio.sleep(5)
            await live.publish(ORDER, "first")

        nursery.start_soon(publish)
        answer = await server.get(f"{ORDERS}?after=-3&wait=20")
        assert [event["data"] for event in answer.json["events"]] == ["first"]


@pytest.mark.parametrize("text", ["-0", "-", "--1", "-1,5", "-1234567890123456789", "-x"])
async def test_what_is_no_number_is_no_cursor(text: str, autojump_clock: MockClock) -> None:
    async with shop() as (server, _):
        answer = await server.get(f"{ORDERS}?after={text}")
        assert (answer.status, answer.json["error"]) == (400, "cursor")


async def test_a_last_event_id_is_never_a_number_of_events(autojump_clock: MockClock) -> None:
    async with shop() as (server, live):
        await live.publish_many(ORDER, [1, 2, 3])
        answer = await server.get(ORDERS, last_event_id="-2")
        assert answer.json["gap"]["reason"] == "epoch"


@pytest.mark.parametrize("way", WAYS)
async def test_a_program_with_a_store_begins_with_the_newest_and_goes_on_from_there(
    way: str, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with shop() as (server, live):
        await live.publish_many(ORDER, list(range(5)))

        async def one_life(after: int, count: int) -> list[object]:
            heard: list[object] = []
            async with (
                client_of(server, store=store, **options_of(way)) as client,
                client.follow(ORDERS, after=after) as events,
            ):
                with trio.move_on_after(3):
                    while len(heard) < count:
                        heard += told(await take(events, 1))
            return heard

        with cut(server.network):
            assert await one_life(-2, 1) == []
        assert await one_life(-2, 1) == [3]
        await live.publish(ORDER, 5)
        assert await one_life(-1, 3) == [3, 4, 5], "the one that was in hand, and what came"
