"""Faults of the network: what each does to who sends, who reads and who comes, while it lasts and afterwards."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.shop import ORDER, ORDERS, make_shop
from triolet.testing.faults import cut, half_open, reordered_accepts, slow_reader, stalled
from triolet.testing.network import ClientEnd, Line, MemoryLink, Network
from triolet.testing.server import serve

SLOW = Line(latency=1)


@dataclass
class House:
    """A client with an address of its own, as the kit's clients are."""

    network: Network
    address: str = "198.51.100.7"

    def connect(self) -> tuple[ClientEnd, list[MemoryLink]]:
        links: list[MemoryLink] = []
        return self.network.connect(self.address, links.append), links


class TestStalled:
    async def test_nothing_is_carried_and_nothing_is_lost(self) -> None:
        client, (link,) = House(Network()).connect()
        with stalled(client):
            link.send(b"down")
            await client.send_all(b"up")
            await wait_all_tasks_blocked()
            assert link.receive_now(9) == b""
            assert not client.connection.client.incoming
        assert link.receive_now(9) == b"up"
        assert await client.receive_some() == b"down"

    async def test_an_end_waits_behind_what_was_sent(self) -> None:
        client, (link,) = House(Network()).connect()
        with stalled(client):
            link.send(b"last words")
            link.close()
        assert await client.receive_some() == b"last words"
        assert await client.receive_some() == b""

    async def test_a_reset_waits_too(self) -> None:
        client, (link,) = House(Network()).connect()
        with stalled(client):
            client.reset()
            assert link.send(b"x") == 1
        with pytest.raises(ConnectionResetError):
            link.send(b"x")

    async def test_stalls_within_stalls_end_with_the_last(self) -> None:
        network = Network()
        client, (link,) = House(network).connect()
        with stalled(network):
            with stalled(client, client):
                link.send(b"x")
            assert not client.connection.client.incoming
        assert await client.receive_some() == b"x"

    async def test_a_client_is_all_its_connections_and_nobody_elses(self) -> None:
        network = Network()
        house, other = House(network), House(network, "198.51.100.8")
        with stalled(house):
            _, late = house.connect()
            _, others = other.connect()
            assert (len(late), len(others)) == (0, 1)
        assert len(late) == 1

    async def test_on_a_slow_line_what_was_under_way_waits(self, autojump_clock: MockClock) -> None:
        network = Network(SLOW)
        async with network.running():
            client, links = House(network).connect()
            await trio.sleep(10)
            links[0].send(b"under way")
            with stalled(client):
                await trio.sleep(20)
                assert not client.connection.client.incoming
            assert await client.receive_some() == b"under way"
            assert trio.current_time() == 30

    async def test_what_flows_on_may_be_answered_at_once(self) -> None:
        client, (link,) = House(Network(Line.holding(10))).connect()
        async with trio.open_nursery() as nursery:
            with stalled(client):
                nursery.start_soon(client.send_all, b"x" * 95)
                await wait_all_tasks_blocked()
            got = b""
            while len(got) < 95:
                got += await link.receive_some(7)


class TestCut:
    async def test_both_see_an_orderly_end(self) -> None:
        client, (link,) = House(Network()).connect()
        link.send(b"before")
        with cut(client):
            assert [await client.receive_some(), await client.receive_some()] == [b"before", b""]
            assert await link.receive_some(9) == b""
            assert link.send(b"on") == 2
            with pytest.raises(ConnectionResetError):
                link.send(b"on")

    async def test_what_was_not_under_way_yet_is_lost(self) -> None:
        client, (link,) = House(Network(Line.holding(100))).connect()
        link.send(b"x" * 100)
        with cut(client), pytest.raises(ConnectionResetError):
            link.send(b"on")
        assert len(await client.receive_some()) == 50

    async def test_without_an_end_the_server_is_told_nothing(self) -> None:
        client, (link,) = House(Network(Line.holding(100))).connect()
        with cut(client, fin=False):
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()
            with pytest.raises(trio.BrokenResourceError):
                await client.send_all(b"x")
            await wait_all_tasks_blocked()
            assert not client.connection.server.readable
            assert link.send(b"x" * 200) == 50  # its own kernel
            with pytest.raises(BlockingIOError):
                link.send(b"x")

    async def test_a_server_that_sent_meanwhile_learns_it_when_the_network_is_back(self) -> None:
        client, (link,) = House(Network()).connect()
        with cut(client, fin=False):
            link.send(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await link.receive_some(9)

    async def test_a_server_that_sent_nothing_learns_it_when_it_sends(self) -> None:
        client, (link,) = House(Network()).connect()
        with cut(client, fin=False):
            pass
        assert not client.connection.server.readable
        assert link.send(b"x") == 1
        with pytest.raises(ConnectionResetError):
            link.send(b"x")

    @pytest.mark.parametrize("fin", [True, False])
    async def test_nobody_connects_from_there_until_the_end(self, fin: bool) -> None:
        network = Network()
        house, other = House(network), House(network, "198.51.100.8")
        client, _ = house.connect()
        with cut(client, fin=fin):
            refused, links = house.connect()
            with pytest.raises(trio.BrokenResourceError):
                await refused.send_all(b"x")
            assert links == []
            assert len(other.connect()[1]) == 1
        assert len(house.connect()[1]) == 1

    async def test_everybody_may_be_cut(self) -> None:
        network = Network()
        clients = [House(network, f"198.51.100.{number}").connect()[0] for number in range(5)]
        with cut(network):
            assert [await client.receive_some() for client in clients] == [b""] * 5
            assert House(network).connect()[1] == []

    async def test_on_a_slow_line_an_end_comes_after_what_was_under_way(self, autojump_clock: MockClock) -> None:
        network = Network(SLOW)
        async with network.running():
            client, links = House(network).connect()
            await trio.sleep(10)
            links[0].send(b"under way")
            with cut(client):
                assert [await client.receive_some(), await client.receive_some()] == [b"under way", b""]
            assert trio.current_time() == 11


class TestHalfOpen:
    async def test_what_is_sent_vanishes_and_nobody_is_told(self) -> None:
        client, (link,) = House(Network(Line.holding(100))).connect()
        with half_open(client):
            await client.send_all(b"up")
            assert link.send(b"x" * 200) == 50  # a kernel that hears nothing keeps what it has sent
            with pytest.raises(BlockingIOError):
                link.send(b"x")
            await wait_all_tasks_blocked()
            assert not client.connection.client.readable
            assert not client.connection.server.readable

    async def test_who_sent_is_answered_by_a_reset_afterwards(self) -> None:
        client, (link,) = House(Network()).connect()
        with half_open(client):
            link.send(b"x")
        with pytest.raises(ConnectionResetError):
            link.send(b"x")
        assert not client.connection.client.readable  # it is told nothing, until it sends

    async def test_who_only_listened_hears_nothing_until_it_sends(self) -> None:
        client, (link,) = House(Network()).connect()
        with half_open(client):
            pass
        await client.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(b"x")
        assert not client.connection.server.readable
        assert link.send(b"x") == 1
        with pytest.raises(ConnectionResetError):
            link.send(b"x")

    async def test_an_end_in_it_is_not_heard_either(self) -> None:
        client, _ = House(Network()).connect()
        with half_open(client):
            await client.aclose()
        assert not client.connection.server.readable

    async def test_who_asks_to_connect_in_it_asks_again(self) -> None:
        network = Network()
        with half_open(network):
            client, links = House(network).connect()
            await client.send_all(b"hello")
            assert links == []
        assert links[0].receive_now(9) == b"hello"

    @pytest.mark.parametrize("how", ["reset", "close"])
    async def test_unless_it_has_gone_meanwhile(self, how: str) -> None:
        network = Network()
        with half_open(network):
            client, links = House(network).connect()
            getattr(client, how)()
        assert links == []

    async def test_a_blocked_sender_is_told_when_it_is_over(self) -> None:
        client, (link,) = House(Network(Line.holding(10))).connect()
        link.send(b"x" * 10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.wait_writable)
            await wait_all_tasks_blocked()
            with half_open(client):
                pass
        with pytest.raises(ConnectionResetError):
            link.send(b"x")

    async def test_on_a_slow_line_a_reset_takes_a_round_trip(self, autojump_clock: MockClock) -> None:
        network = Network(SLOW)
        async with network.running():
            client, links = House(network).connect()
            await trio.sleep(10)
            with half_open(client):
                links[0].send(b"x")
                await trio.sleep(5)
            with pytest.raises(trio.BrokenResourceError):
                await links[0].receive_some(9)
            assert trio.current_time() == 17

    async def test_what_is_under_way_when_it_begins_vanishes(self, autojump_clock: MockClock) -> None:
        network = Network(SLOW)
        async with network.running():
            client, links = House(network).connect()
            await trio.sleep(10)
            links[0].send(b"x")
            await trio.sleep(0.5)
            with half_open(client):
                await trio.sleep(5)
            assert not client.connection.client.readable


class TestSlowReader:
    async def test_a_client_takes_so_much_a_second(self, autojump_clock: MockClock) -> None:
        client, (link,) = House(Network()).connect()
        link.send(b"x" * 10_000)
        link.close()
        with slow_reader(client, bytes_per_second=1_000):
            assert await count(client) == 10_000
        assert trio.current_time() == pytest.approx(10)

    async def test_less_than_a_byte_at_a_time_is_possible(self, autojump_clock: MockClock) -> None:
        client, (link,) = House(Network()).connect()
        link.send(b"abc")
        link.close()
        with slow_reader(client, bytes_per_second=0.5):
            assert await count(client) == 3
        assert trio.current_time() == pytest.approx(6)

    async def test_its_server_is_blocked_by_it(self, autojump_clock: MockClock) -> None:
        client, (link,) = House(Network(Line.holding(1_000))).connect()
        async with trio.open_nursery() as nursery:
            with slow_reader(client, bytes_per_second=100):
                nursery.start_soon(count, client)
                sent = 0
                while sent < 3_000:
                    await link.wait_writable()
                    sent += link.send(b"x" * 10)
                assert trio.current_time() == pytest.approx(20, abs=0.2)
            link.close()
        assert trio.current_time() == pytest.approx(20, abs=0.2)  # the rest, at once

    async def test_when_it_is_over_who_waits_reads_on_at_once(self, autojump_clock: MockClock) -> None:
        client, (link,) = House(Network()).connect()
        link.send(b"abc")
        link.close()
        async with trio.open_nursery() as nursery:
            with slow_reader(client, bytes_per_second=0.001):
                nursery.start_soon(count, client)
                await trio.sleep(1)
        assert trio.current_time() == 1

    async def test_the_slowest_of_several_counts(self, autojump_clock: MockClock) -> None:
        network = Network()
        client, (link,) = House(network).connect()
        link.send(b"x" * 1_000)
        link.close()
        with slow_reader(network, bytes_per_second=500), slow_reader(client, bytes_per_second=100):
            assert await count(client) == 1_000
        assert trio.current_time() == pytest.approx(10)

    async def test_a_slow_reader_finds_a_reset_at_once(self, autojump_clock: MockClock) -> None:
        client, (link,) = House(Network()).connect()
        link.send(b"x" * 1_000)
        with slow_reader(client, bytes_per_second=0.1):
            await client.receive_some()
            link.abort()
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()
        assert trio.current_time() == 0

    async def test_closing_lets_a_slow_reader_go(self, autojump_clock: MockClock) -> None:
        client, (link,) = House(Network()).connect()
        link.send(b"ab")
        with slow_reader(client, bytes_per_second=0.1):
            await client.receive_some()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.aclose)
                with pytest.raises(trio.ClosedResourceError):
                    await client.receive_some()
        assert trio.current_time() == 0

    @pytest.mark.parametrize("rate", [0, -1])
    def test_one_that_never_reads_is_none(self, rate: float) -> None:
        with pytest.raises(ValueError, match="nobody reads"), slow_reader(Network(), bytes_per_second=rate):
            pass


class TestReorderedAccepts:
    def test_the_order_is_drawn_from_the_seed(self) -> None:
        orders = [accepted(seed) for seed in (1, 1, 2, 3)]
        assert orders[0] == orders[1]
        assert len({tuple(order) for order in orders}) == 3
        assert all(sorted(order) == list(range(8)) for order in orders)
        assert orders[0] != list(range(8))

    def test_so_many_may_be_held(self) -> None:
        order = accepted(1, hold=4)
        assert sorted(order[:4]) == [0, 1, 2, 3]
        assert order[:4] != [0, 1, 2, 3]

    async def test_what_a_client_sent_before_is_there(self) -> None:
        network = Network()
        with reordered_accepts(network):
            client, links = House(network).connect()
            await client.send_all(b"hello")
            assert links == []
        assert links[0].receive_now(9) == b"hello"


def accepted(seed: int, hold: int | None = None) -> list[int]:
    network, order = Network(random=Random(seed)), list[int]()
    with reordered_accepts(network, hold=hold):
        for number in range(8):
            network.connect("198.51.100.7", partial(note, order, number))
    return order


def note(order: list[int], number: int, link: MemoryLink) -> None:
    order.append(number)


class TestOneInTheOther:
    async def test_who_is_forgotten_is_answered_nothing_while_all_is_swallowed(self) -> None:
        client, (link,) = House(Network()).connect()
        with half_open(client):
            pass
        with half_open(client):
            await client.send_all(b"x")
            assert link.send(b"y") == 1
            await wait_all_tasks_blocked()
            await client.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        with pytest.raises(ConnectionResetError):
            link.send(b"y")

    async def test_who_is_forgotten_is_answered_when_the_line_carries_again(self) -> None:
        client, _ = House(Network()).connect()
        with stalled(client):
            with half_open(client):
                pass
            await client.send_all(b"x")
            await client.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()

    async def test_who_is_held_within_and_without_comes_in_at_the_outer_end(self) -> None:
        network = Network()
        with reordered_accepts(network):
            with reordered_accepts(network):
                _, links = House(network).connect()
            assert not links
        assert links


@pytest.mark.parametrize("fault", [stalled, cut, half_open, partial(slow_reader, bytes_per_second=9)])
async def test_a_fault_is_done_to_somebody(fault: Any, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        with pytest.raises(TypeError, match="to whom"), fault():
            """Nobody would be the worse for it."""
        with pytest.raises(TypeError, match=r"for everybody say server\.network"), fault(server):
            """Nor here."""


async def count(client: ClientEnd) -> int:
    total = 0
    while data := await client.receive_some():
        total += len(data)
    return total


FAULTS: dict[str, Any] = {
    "stalled": stalled,
    "cut": cut,
    "cut without an end": partial(cut, fin=False),
    "half open": half_open,
    "slow": partial(slow_reader, bytes_per_second=10),
    "reordered": reordered_accepts,
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_ends_with_its_block_however_that_ends(name: str) -> None:
    network = Network()
    fault: AbstractContextManager[None] = FAULTS[name](network)
    with pytest.raises(KeyError), fault:
        raise KeyError
    client, links = House(network).connect()
    links[0].send(b"x" * 1_000)
    assert len(await client.receive_some()) == 1_000
    await client.send_all(b"y")
    assert links[0].receive_now(9) == b"y"


@pytest.mark.parametrize("name", ["stalled", "cut", "cut without an end", "half open"])
async def test_a_whole_server_lives_through_it(name: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        async with server.events(ORDERS) as stream:
            await stream.own("live")
            with FAULTS[name](server.network):
                for number in range(10):
                    await live.publish(ORDER, number)
                    await trio.sleep(5)
        await trio.sleep(60)
        assert (server.connections, server.followers) == (0, 0)
        async with server.events(f"{ORDERS}?after=0") as stream:
            assert [(await stream.event() or {})["data"] for _ in range(10)] == list(range(10))
