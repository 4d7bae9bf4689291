"""Commands of a client: once, whatever the network does, over whichever way is open."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.app.warehouse import ORDER, PICK, Warehouse
from triolet import ConfigError, DataError
from triolet.client import Client, Event, Unanswered
from triolet.client.bounds import CLIENT_ITEMS
from triolet.testing import cut, half_open, serve

from .stage import WAYS, client_of, options_of, take

FOLLOW = "/orders/A1/events"


@pytest.mark.parametrize("way", WAYS)
async def test_a_command_is_answered_and_its_event_comes(way: str, autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with serve(shop.app) as server, client_of(server, token="ann", **options_of(way)) as client:
        async with client.follow(FOLLOW) as events:
            await take(events, 1)
            reply = await client.send(PICK, {"bin": 7})
            assert (reply.status, reply.data, reply.repeated) == (200, {"picked": "A1", "times": 1}, False)
            (event,) = await take(events, 1)
            assert isinstance(event, Event)
            assert event.data == {"state": "picked"}
        assert [(order, data, subject) for order, _, data, subject in shop.done] == [("A1", {"bin": 7}, "ann")]


@pytest.mark.parametrize("way", ["websocket", "socket", "websockets", "sse"])
@pytest.mark.parametrize("fault", [cut, half_open])
async def test_a_command_whose_answer_is_lost_takes_effect_once(
    way: str, fault: object, autojump_clock: MockClock
) -> None:
    shop = Warehouse()
    async with serve(shop.app) as server, client_of(server, token="ann", **options_of(way)) as client:
        async with client.follow(FOLLOW) as events, trio.open_nursery() as nursery:
            await take(events, 1)
            replies = []

            async def pick(number: int) -> None:
                replies.append(await client.send(f"{PICK}?seconds=2", number, timeout=900))

            for number in range(10):
                nursery.start_soon(pick, number)
            await trio.sleep(1)
            with (cut if fault is cut else half_open)(server.network):
                await trio.sleep(70)
        assert sorted(data for _, _, data, _ in shop.done) == list(range(10))
        assert [reply.status for reply in replies] == [200] * 10


async def test_a_refusal_of_the_apps_is_an_answer(autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with serve(shop.app) as server, client_of(server, token="ann") as client:
        assert (await client.send("/orders/secret/pick")).status == 403
        assert (await client.send("/nothing/here")).status == 404


async def test_a_command_in_the_loop_is_answered_though_the_loop_does_not_take(autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with serve(shop.app) as server, client_of(server, token="ann", transports=["websocket"]) as client:
        for number in range(4 * CLIENT_ITEMS):
            await shop.live.publish(ORDER, number)
        async with client.follow(FOLLOW, after=0) as events:
            await take(events, 1)
            await trio.sleep(5)  # by now its reader waits for this loop
            assert (await client.send(PICK, timeout=30)).status == 200
            await take(events, 3 * CLIENT_ITEMS)
        assert len(shop.done) == 1


async def test_without_an_answer_it_says_whether_it_was_sent(autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with serve(shop.app) as server, client_of(server, token="ann") as client:
        with half_open(server.network), pytest.raises(Unanswered) as caught:
            await client.send(PICK, id="mine", timeout=5)
        assert (caught.value.id, caught.value.sent) == ("mine", True)
        assert "may have happened" in str(caught.value)
        assert (await client.send(PICK, id="mine")).status == 200
        assert len(shop.done) == 1


async def test_a_client_that_is_closed_leaves_no_command_waiting(autojump_clock: MockClock) -> None:
    shop = Warehouse()
    caught = []

    async def ask(client: Client) -> None:
        with pytest.raises(Unanswered, match="closed"):
            await client.send(f"{PICK}?seconds=50")
        caught.append(True)

    async with serve(shop.app) as server, trio.open_nursery() as nursery:
        async with client_of(server) as client:
            nursery.start_soon(ask, client)
            await trio.sleep(1)
        with pytest.raises(Unanswered, match="never sent"):
            await client.send(PICK)
        await trio.sleep(60)  # the app does what it began
    assert caught


async def test_what_cannot_be_asked_is_said_at_once(autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with serve(shop.app) as server, client_of(server) as client:
        with pytest.raises(DataError):
            await client.send(PICK, float("nan"))
        for options in ({"id": "ö"}, {"id": ""}, {"timeout": 0}):
            with pytest.raises(ConfigError):
                await client.send(PICK, **options)
        with pytest.raises(ConfigError, match="another client"):
            await client.send("https://other.test/pick")


@pytest.mark.parametrize("way", ["websocket", "socket", "websockets"])
async def test_a_command_that_no_message_may_hold_goes_by_post_and_ends_no_follow(
    way: str, autojump_clock: MockClock
) -> None:
    shop = Warehouse()
    async with (
        serve(shop.app) as server,
        client_of(server, token="ann", **options_of(way)) as client,
        client.follow(FOLLOW) as events,
    ):
        await take(events, 1)
        reply = await client.send(PICK, "x" * (2 << 20), timeout=60)
        assert reply.status == 413
        reply = await client.send(PICK, "x" * (1 << 19), timeout=60)
        assert (reply.status, len(shop.done[0][2])) == (200, 1 << 19)
        assert events.state == "live"
