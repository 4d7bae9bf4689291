"""The network in memory: what two kernels and the line between them do to what is sent."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.shop import ORDER, ORDERS, make_shop
from triolet.sockets.link import Link, SocketLink
from triolet.testing.faults import stalled
from triolet.testing.network import KERNEL_BYTES, ClientEnd, Line, MemoryLink, Network, link_pair
from triolet.testing.server import serve


def fill(send: Callable[[bytes], int], piece: bytes = b"x" * 1_000) -> int:
    """Send until nothing fits. Returns how many bytes did."""
    sent = 0
    while True:
        try:
            sent += send(piece)
        except BlockingIOError:
            return sent


def made(line: Line | None = None, network: Network | None = None) -> tuple[ClientEnd, list[MemoryLink]]:
    """A connection, and its server's end once it has got there."""
    links: list[MemoryLink] = []
    return (network or Network()).connect("198.51.100.7", links.append, line), links


def pair(line: Line | None = None) -> tuple[ClientEnd, MemoryLink]:
    """A connection that is there at once."""
    client, links = made(line)
    return client, links[0]


async def read_all(end: ClientEnd) -> bytes:
    data = b""
    while more := await end.receive_some():
        data += more
    return data


class TestAsARealSocketDoes:
    """Where a Unix socket pair can show it, the link in memory is held to what the kernel does."""

    @pytest.fixture(params=["socket", "memory"])
    async def both(self, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Link, Any]]:
        if request.param == "memory":
            client, link = link_pair()
            yield link, client
            return
        ours, theirs = socket.socketpair()
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        real = SocketLink(ours, "")
        yield real, stream
        real.abort()
        await stream.aclose()

    async def test_an_end_comes_after_what_was_sent(self, both: tuple[Link, Any]) -> None:
        link, client = both
        link.send(b"last words")
        link.close()
        assert [await client.receive_some(), await client.receive_some()] == [b"last words", b""]

    async def test_an_ended_side_may_still_read(self, both: tuple[Link, Any]) -> None:
        link, client = both
        link.send_eof()
        assert await client.receive_some() == b""
        await client.send_all(b"after")
        assert await link.receive_some(10) == b"after"
        with pytest.raises(BrokenPipeError):
            link.send(b"x")

    async def test_who_closes_with_something_unread_has_reset(self, both: tuple[Link, Any]) -> None:
        link, client = both
        link.send(b"unread")
        await client.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await link.receive_some(10)

    async def test_one_that_closed_cannot_be_sent_to_for_long(self, both: tuple[Link, Any]) -> None:
        link, client = both
        await client.aclose()
        assert await link.receive_some(10) == b""
        with suppress(OSError):  # TCP takes it, and is answered with a reset
            link.send(b"anybody?")
        with pytest.raises(OSError, match=r"pipe|reset"):
            link.send(b"anybody?")

    async def test_an_end_that_was_closed_says_so(self, both: tuple[Link, Any]) -> None:
        _, client = both
        await client.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await client.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await client.send_all(b"x")

    async def test_closing_wakes_who_waits(self, both: tuple[Link, Any]) -> None:
        _, client = both
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await client.receive_some()

            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            await client.aclose()

    async def test_a_link_that_was_closed_says_so(self, both: tuple[Link, Any]) -> None:
        link, _ = both
        link.close()
        with pytest.raises(trio.ClosedResourceError):
            await link.receive_some(1)
        with pytest.raises(OSError, match=r"closed|descriptor"):
            link.send(b"x")


class TestKernels:
    async def test_both_kernels_hold_what_nobody_reads(self) -> None:
        _, link = pair(Line(server_bytes=3_000, client_bytes=500))
        assert fill(link.send) == 3_500

    async def test_a_sender_whose_network_stalls_has_its_own_kernel(self) -> None:
        client, link = pair(Line(server_bytes=3_000, client_bytes=500))
        with stalled(client):
            assert fill(link.send) == 3_000
            assert client.connection.client.incoming == b""
        assert len(client.connection.client.incoming) == 500
        assert fill(link.send) == 500

    async def test_a_client_has_kernels_too(self) -> None:
        client, _ = pair(Line(server_bytes=300, client_bytes=2_000))
        assert fill(client.connection.client.send, b"x" * 7) == 2_300

    async def test_reading_makes_room(self) -> None:
        client, link = pair(Line(server_bytes=300, client_bytes=200))
        fill(link.send)
        assert len(await client.receive_some(50)) == 50
        assert fill(link.send) == 50
        assert len(await client.receive_some(10_000)) == 500

    async def test_kernel_bytes_is_what_both_hold_together(self) -> None:
        for size in (2, 7, KERNEL_BYTES):
            _, link = link_pair(kernel_bytes=size)
            assert fill(link.send) == size

    @pytest.mark.parametrize(
        "wrong", [{"latency": -1}, {"bandwidth": 0}, {"server_bytes": 0}, {"client_bytes": 0}], ids=str
    )
    def test_a_line_that_cannot_be_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="no line"):
            Line(**wrong)

    async def test_a_reset_throws_away_what_was_not_read(self) -> None:
        client, link = pair()
        link.send(b"unread")
        link.abort()
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()

    async def test_what_came_before_the_end_outlives_a_reset(self) -> None:
        client, link = pair()
        link.send(b"HTTP/1.1 503 ")
        link.close()
        await client.send_all(b"GET / ")  # to nobody: a reset comes back
        assert await read_all(client) == b"HTTP/1.1 503 "
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(b"more")

    async def test_what_an_aborted_end_had_not_sent_is_lost(self, autojump_clock: MockClock) -> None:
        network = Network(Line(bandwidth=1_000))
        async with network.running():
            client, links = made(network=network)
            await trio.testing.wait_all_tasks_blocked()
            fill(links[0].send)
            await trio.sleep(10)
            assert 8_000 < len(await client.receive_some()) <= 10_000
            links[0].abort()
            with pytest.raises(trio.BrokenResourceError):
                await read_all(client)
            assert trio.current_time() < 12  # what was under way came first

    async def test_a_client_that_resets_may_wait_no_longer(self) -> None:
        client, link = pair()
        client.reset()
        client.reset()
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await link.receive_some(1)
        with pytest.raises(ConnectionResetError):
            link.send(b"x")

    async def test_only_one_task_waits_to_write(self) -> None:
        _, link = pair()
        fill(link.send)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.wait_writable)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await link.wait_writable()
            nursery.cancel_scope.cancel()

    async def test_what_is_sent_on_after_a_close_still_arrives(self) -> None:
        client, link = pair(Line(server_bytes=3_000, client_bytes=500))
        fill(link.send)
        link.close()
        assert len(await read_all(client)) == 3_500


class TestTime:
    """On a slow line. Hands are shaken first: there, back, and there again."""

    async def test_a_server_is_reached_after_three_ways(self, autojump_clock: MockClock) -> None:
        network, at = Network(Line(latency=2)), []
        async with network.running():
            client = network.connect("198.51.100.7", lambda link: at.append((trio.current_time(), link)))
            await client.send_all(b"hello")
            await trio.sleep(20)
            ((when, link),) = at
            assert when == 6
            assert link.receive_now(10) == b"hello"

    async def test_bytes_take_the_latency(self, autojump_clock: MockClock) -> None:
        network = Network(Line(latency=2))
        async with network.running():
            client, links = made(network=network)
            await trio.sleep(10)
            links[0].send(b"one")
            await trio.sleep(1)
            links[0].send(b"two")
            assert (await client.receive_some(), trio.current_time()) == (b"one", 12)
            assert (await client.receive_some(), trio.current_time()) == (b"two", 13)

    async def test_bytes_take_the_bandwidth(self, autojump_clock: MockClock) -> None:
        network = Network(Line(latency=1, bandwidth=14_600))
        async with network.running():
            client, links = made(network=network)
            await trio.sleep(10)
            links[0].send(b"x" * 29_200)
            links[0].close()
            assert len(await client.receive_some()) == 1_460
            assert trio.current_time() == pytest.approx(11.1)
            assert len(await read_all(client)) == 29_200 - 1_460
            assert trio.current_time() == pytest.approx(13)

    async def test_a_window_is_filled_once_a_round_trip(self, autojump_clock: MockClock) -> None:
        """1,000 bytes fit into the client's kernel, and a round trip takes 2 s: so 500 bytes a second."""
        network = Network(Line(latency=1, server_bytes=50_000, client_bytes=1_000))
        async with network.running():
            client, links = made(network=network)
            await trio.sleep(10)
            links[0].send(b"x" * 20_000)
            links[0].close()
            await read_all(client)
            assert trio.current_time() == pytest.approx(10 + 20 * 2, abs=2)

    async def test_a_senders_kernel_holds_what_is_not_acknowledged(self, autojump_clock: MockClock) -> None:
        network = Network(Line(latency=1, server_bytes=5_000, client_bytes=60_000))
        async with network.running():
            _, links = made(network=network)
            await trio.sleep(10)
            assert fill(links[0].send) == 5_000
            await trio.sleep(1.5)
            assert fill(links[0].send) == 0
            await trio.sleep(1)
            assert fill(links[0].send) == 5_000

    async def test_an_end_and_a_reset_take_their_time_and_keep_their_place(self, autojump_clock: MockClock) -> None:
        network = Network(Line(latency=1, bandwidth=1_460))
        async with network.running():
            client, links = made(network=network)
            await trio.sleep(10)
            await client.send_all(b"x" * 1_460)
            client.reset()
            await trio.sleep(1.9)
            assert (links[0].receive_now(9), links[0].send(b"on")) == (b"", 2)
            with pytest.raises(trio.BrokenResourceError):
                await links[0].receive_some(9_999)
            assert trio.current_time() == 12

    async def test_one_that_is_gone_answers_a_round_trip_later(self, autojump_clock: MockClock) -> None:
        network = Network(Line(latency=1))
        async with network.running():
            client, links = made(network=network)
            await trio.sleep(10)
            await client.aclose()
            await trio.sleep(5)
            assert await links[0].receive_some(1) == b""
            assert links[0].send(b"anybody?") == 8
            await trio.sleep(1.9)
            assert links[0].send(b"anybody?") == 8
            await trio.sleep(0.2)
            with pytest.raises(ConnectionResetError):
                links[0].send(b"anybody?")


class TestOneTask:
    async def test_a_plain_line_needs_none(self) -> None:
        network = Network()
        async with network.running():
            client, links = made(network=network)
            await client.send_all(b"x")
            links[0].send(b"y")
            assert tasks() == []

    async def test_any_number_of_slow_lines_need_one(self, autojump_clock: MockClock) -> None:
        network = Network(Line(latency=1))
        async with network.running():
            for _ in range(20):
                await made(network=network)[0].send_all(b"x")
            assert tasks() == ["network"]

    async def test_a_slow_line_without_one_says_what_is_missing(self) -> None:
        with pytest.raises(RuntimeError, match="needs `async with"):
            made(Line(latency=1))

    async def test_where_nothing_runs_any_more_nothing_is_carried(self, autojump_clock: MockClock) -> None:
        network = Network(Line(latency=1))
        async with network.running():
            client, links = made(network=network)
            await trio.sleep(10)
        client.reset()
        assert links[0].send(b"x") == 1
        made(network=network)

    async def test_it_goes_on_for_as_long_as_anybody_runs_it(self, autojump_clock: MockClock) -> None:
        network = Network(Line(latency=1))
        async with trio.open_nursery() as nursery:

            async def run_for(seconds: float) -> None:
                async with network.running():
                    await trio.sleep(seconds)

            nursery.start_soon(run_for, 8)
            await trio.sleep(0.5)
            nursery.start_soon(run_for, 2)
            await trio.sleep(0.5)
            client, links = made(network=network)
            await client.send_all(b"x")
            await trio.sleep(6)
            assert links[0].receive_now(9) == b"x"

    async def test_what_is_cancelled_still_says_goodbye_over_it(self, autojump_clock: MockClock) -> None:
        network = Network(Line(latency=1))
        with trio.move_on_after(10):
            async with network.running():
                client, links = made(network=network)
                try:
                    await trio.sleep_forever()
                finally:
                    links[0].send(b"bye")
                    with trio.CancelScope(shield=True):
                        assert await client.receive_some() == b"bye"


def tasks() -> list[str]:
    root = trio.lowlevel.current_task()
    return [task.name for nursery in root.child_nurseries for task in nursery.child_tasks]


async def test_what_is_over_is_not_kept() -> None:
    network = Network()
    for _ in range(1_000):
        client, links = made(network=network)
        links[0].close()
        await client.aclose()
    assert len(network.connections) < 100


async def test_everything_may_end_at_once_whatever_is_wrong() -> None:
    network = Network()
    client, links = made(network=network)
    with stalled(network):
        network.vanish()
        with pytest.raises(trio.BrokenResourceError):
            await links[0].receive_some(1)
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()


async def test_what_comes_after_a_reset_is_not_heard(autojump_clock: MockClock) -> None:
    network = Network(Line(latency=1))
    async with network.running():
        client, links = made(network=network)
        await trio.sleep(10)
        links[0].send(b"under way")
        links[0].close()
        client.reset()
        await trio.sleep(5)
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()


async def test_a_whole_server_is_reached_over_a_slow_line(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    network = Network(Line(latency=0.1, bandwidth=1 << 20))
    async with serve(app, network=network) as server, server.events(f"{ORDERS}?after=0") as stream:
        assert trio.current_time() == pytest.approx(0.4, abs=0.02)
        await stream.own("live")
        before = trio.current_time()
        await live.publish(ORDER, "paid")
        assert (await stream.event() or {})["data"] == "paid"
        assert trio.current_time() - before == pytest.approx(0.1, abs=0.01)
