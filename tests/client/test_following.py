"""A client follows a channel, over each transport, whatever the network does."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS
from triolet import ConfigError, Limits
from triolet.client import ClientError, Event, Gap, open_client
from triolet.client.bounds import CLIENT_ITEMS
from triolet.client.choice import Choice
from triolet.client.credentials import Credentials
from triolet.testing import ClientEnd, cut, half_open, stalled
from triolet.wire.address import Base

from .stage import BASE, WAYS, client_of, data, options_of, shop, take, told


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


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", [cut, half_open, stalled])
async def test_nothing_is_lost_or_repeated_whatever_the_network_does(
    way: str, fault: Any, autojump_clock: MockClock
) -> None:
    opened = options_of(way)
    async with (
        shop() as (server, live),
        client_of(server, **opened) as client,
        client.follow(ORDERS, after=0) as events,
    ):
        heard: list[Any] = []
        for turn in range(4):
            with fault(server.network):
                for number in range(3):
                    await live.publish(ORDER, [turn, number])
                await trio.sleep(90 if turn == 2 else 0.5)
            while len(heard) < 3 * (turn + 1):
                heard += [item.data for item in await take(events, 1) if isinstance(item, Event)]
        assert heard == [[turn, number] for turn in range(4) for number in range(3)]


@pytest.mark.parametrize("query", ["", "?format=plain"])
async def test_of_a_plain_route_the_full_form_is_asked_for(query: str, autojump_clock: MockClock) -> None:
    async with shop(Limits(keep_events=2)) as (server, live), client_of(server, **options_of("sse")) as client:

        @live.channel("/answers", format="plain")
        async def answers() -> str:
            return ORDER

        first, *_ = await live.publish_many(ORDER, [1, 2, 3, 4])
        async with client.follow(f"/answers{query}", after=first.cursor) as events:
            assert told(await take(events, 4)) == ["gap expired", 3, 4, "live"]


@pytest.mark.parametrize("way", WAYS)
async def test_leaving_is_unfollowing(way: str, autojump_clock: MockClock) -> None:
    async with shop() as (server, _), client_of(server, **options_of(way)) as client:
        with trio.move_on_after(5):
            async with client.follow(ORDERS) as events:
                await take(events, 1)
                await trio.sleep_forever()
        await trio.sleep(30)
        assert server.followers == 0


@pytest.mark.parametrize("way", ["websocket", "socket", "sse"])
async def test_a_program_that_is_slow_is_waited_for(way: str, autojump_clock: MockClock) -> None:
    async with shop() as (server, live):
        for number in range(1_000):
            await live.publish(ORDER, number)
        async with client_of(server, **options_of(way)) as client, client.follow(ORDERS, after=0) as events:
            for number in range(1_000):
                (item,) = await take(events, 1)
                assert isinstance(item, Event)
                assert item.data == number
                if number % 100 == 50:
                    await trio.sleep(20)
                    assert events.behind >= min(CLIENT_ITEMS - 2, 999 - number)


async def test_a_slow_program_holds_up_no_other_follow_of_its_socket(autojump_clock: MockClock) -> None:
    async with shop() as (server, live):
        opened = client_of(server, **options_of("socket"))
        async with opened as client, client.follow(ORDERS) as slow, client.follow("/orders/B/events") as other:
            assert told(await take(slow, 1)) == told(await take(other, 1)) == ["live"]
            for number in range(500):
                await live.publish(ORDER, number)
                await trio.sleep(0.01)
            await live.publish("orders/B", "here")
            assert told(await take(other, 1)) == ["here"]
            heard = [item.data for item in await take(slow, 501) if isinstance(item, Event)]
            assert heard == list(range(500))


async def test_two_follows_of_one_channel_each_get_everything_from_any_server(autojump_clock: MockClock) -> None:
    async with shop() as (server, live):
        for number in range(3):
            await live.publish(ORDER, number)
        async with client_of(server, **options_of("socket")) as client:
            first, second = client.follow(ORDERS, after=0), client.follow(ORDERS, after=2)
            async with first, second:
                assert await data(first, 3) == [0, 1, 2]
                assert await data(second, 1) == [2]
                await live.publish(ORDER, 3)
                assert await data(first, 1) == await data(second, 1) == [3]
            async with client.follow(ORDERS, after=0) as third:
                assert await data(third, 4) == [0, 1, 2, 3]


@pytest.mark.parametrize("way", WAYS)
async def test_what_retention_has_dropped_is_a_gap(way: str, autojump_clock: MockClock) -> None:
    async with shop(Limits(keep_events=5)) as (server, live):
        for number in range(20):
            await live.publish(ORDER, number)
        epoch = (await live.publish(ORDER, 20)).cursor.epoch
        opened = client_of(server, **options_of(way))
        async with opened as client, client.follow(ORDERS, after=f"{epoch}.2") as events:
            first, *rest = await take(events, 7)
            assert isinstance(first, Gap)
            assert (first.reason, first.missed) == ("expired", 14)
            assert told(rest) == [16, 17, 18, 19, 20, "live"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("order", "status"), [("secret", 403), ("absent", 404)])
async def test_a_refusal_ends_the_loop_with_an_error(
    way: str, order: str, status: int, autojump_clock: MockClock
) -> None:
    async with shop() as (server, _):
        opened = client_of(server, **options_of(way))
        async with opened as client, client.follow(f"/orders/{order}/events") as events:
            with pytest.raises(ClientError) as caught:
                await take(events, 1)
            assert caught.value.kind == "refused"
            assert events.state == "gone"
            assert caught.value.status == (None if way == "socket" else status)


async def test_the_transport_that_works_is_remembered_for_the_next_follow(autojump_clock: MockClock) -> None:
    async with shop() as (server, live):
        dialled = []

        async def dial(host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            end = server.connect()
            dialled.append(end)
            return Blocked(end)

        async with open_client(BASE, dial=dial) as client:
            async with client.follow(ORDERS) as events:
                assert told(await take(events, 1)) == ["live"]
                assert client.transport == "sse"
            async with client.follow(ORDERS, after=0) as events:
                assert told(await take(events, 1)) == ["live"]
                await live.publish(ORDER, 1)
                assert told(await take(events, 1)) == [1]
        assert len(dialled) == 3


class Blocked(trio.abc.Stream):
    """A connection through something that knows no upgrades."""

    def __init__(self, inner: ClientEnd) -> None:
        self._inner = inner

    async def send_all(self, data: Any) -> None:
        await self._inner.send_all(bytes(data).replace(b"pgrade", b"pg-ade"))

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def test_an_error_of_the_programs_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    async with shop() as (server, _):
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - it passes through both blocks
            async with client_of(server) as client, client.follow(ORDERS) as events:
                await take(events, 1)
                raise ZeroDivisionError
        with pytest.raises(RuntimeError, match="left"):
            client.follow(ORDERS)
        with pytest.raises(RuntimeError, match="left"):
            await anext(events)


def test_options_that_cannot_work_are_said_at_once() -> None:
    wrong = (
        "shop.test",
        "ftp://shop.test",
        "http://",
        "http://a:b@shop.test",
        "http://@shop.test",
        "http://shop.test:x",
        "http://s?q",
    )
    never: tuple[Any, ...] = (
        None,
        7,
        b"http://shop.test",
        "http://shop.test:0",
        " http://s",
        "http://s ",
        "http://[",
        "http://\ud800",
        "http://a..test",
        f"http://{'a' * 64}.test",
    )
    for base in (*wrong, *never):
        with pytest.raises(ConfigError, match="base"):
            Base(base)
    with pytest.raises(ConfigError, match="another client"):
        Base(BASE).target("https://other.test/orders")
    with pytest.raises(ConfigError, match="transports"):
        Choice(["websocket", "carrier-pigeon"])
    with pytest.raises(ConfigError, match="token"):
        Credentials("a b", None)
    with pytest.raises(ConfigError, match="headers"):
        Credentials(None, {"x": "a\nb"})


def test_urls_are_seen_from_the_base() -> None:
    base = Base("https://example.org/shop/")
    assert base.target("/orders/A/events") == base.target("orders/A/events") == "/shop/orders/A/events"
    assert base.target("https://example.org/shop/x?a=1#part", after="e.1") == "/shop/x?a=1&after=e.1"
    asked = base.target("/x?after=0&a=1&format=plain", after="e.1", format="triolet")
    assert asked == "/shop/x?a=1&after=e.1&format=triolet"
    assert base.target("/a:b/ö?q=ä", after=None) == "/shop/a:b/%C3%B6?q=%C3%A4"
    assert base.target("/a%20b") == "/shop/a%20b"
    assert (base.host, base.port, base.tls, base.authority) == ("example.org", 443, True, "example.org")
    assert Base("http://[::1]:8000").authority == "[::1]:8000"
    assert Base("https://bücher.example:8443").authority == "xn--bcher-kva.example:8443"
    assert Base("wss://bücher.example").target("https://xn--bcher-kva.example/a") == "/a"


async def test_follows_that_come_and_go_at_once_leave_nothing_on_any_server(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), client_of(server, **options_of("socket")) as client:
        for rounds in range(4):
            with trio.move_on_after(0 if rounds % 2 else 0.1):
                async with client.follow(ORDERS), client.follow(ORDERS), client.follow("/orders/B/events"):
                    await trio.sleep(0 if rounds < 2 else 1)
            async with client.follow(ORDERS) as events:
                assert told(await take(events, 1)) == ["live"]
                await live.publish(ORDER, rounds)
                assert told(await take(events, 1)) == [rounds]
        await trio.sleep(30)
        assert server.followers == 0
