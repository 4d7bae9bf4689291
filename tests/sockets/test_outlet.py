"""One contract, two outlets: straight into the kernel, and through a buffer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio

from triolet.budget import Budget
from triolet.sockets.buffered_outlet import BufferedOutlet
from triolet.sockets.direct_outlet import DirectOutlet
from triolet.sockets.outlet import Outlet
from triolet.sockets.stream import ClientStream
from triolet.testing.network import ClientEnd, MemoryLink, link_pair

KERNEL = 100
BIG = bytes(range(256)) * 4
Way = Callable[[], AbstractAsyncContextManager[tuple[Outlet, ClientEnd]]]


@asynccontextmanager
async def straight() -> AsyncIterator[tuple[Outlet, ClientEnd]]:
    client, link = link_pair(kernel_bytes=KERNEL)
    yield DirectOutlet(link, Budget(1 << 30)), client


@asynccontextmanager
async def buffered() -> AsyncIterator[tuple[Outlet, ClientEnd]]:
    client, link = link_pair(kernel_bytes=KERNEL)
    outlet = BufferedOutlet(Budget(1 << 30), ClientStream(link, Budget(1 << 30)).send_all, link.abort, bound=KERNEL)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outlet.run)
        yield outlet, client
        nursery.cancel_scope.cancel()


@pytest.fixture(params=[straight, buffered])
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


async def read(client: ClientEnd, size: int) -> bytes:
    """So many bytes, of a client that reads on."""
    found = b""
    while len(found) < size:
        found += await client.receive_some(7)
    return found


class Calls:
    """What an outlet's owner is told."""

    def __init__(self, outlet: Outlet) -> None:
        self.full = self.gone = 0
        outlet.on_full = self._full
        outlet.on_gone = self._gone

    def _full(self) -> None:
        self.full += 1

    def _gone(self, _: object) -> None:
        self.gone += 1


async def test_an_outlet_takes_a_batch_without_waiting(way: Way) -> None:
    async with way() as (outlet, client):
        assert outlet.write(b"one")
        assert outlet.write(b"two")
        assert outlet.empty
        assert await read(client, 6) == b"onetwo"


async def test_an_outlet_that_is_full_keeps_the_rest_and_takes_no_more(way: Way) -> None:
    async with way() as (outlet, _client):
        calls = Calls(outlet)
        assert outlet.write(BIG)
        assert not outlet.empty
        assert not outlet.write(b"more")
        await trio.testing.wait_all_tasks_blocked()
        assert calls.full == 1
        assert 0 < outlet.pending <= len(BIG)


async def test_an_outlet_writes_the_rest_before_any_later_byte(way: Way) -> None:
    async with way() as (outlet, client), trio.open_nursery() as nursery:
        outlet.write(BIG)

        async def go_on() -> None:
            await outlet.drained()
            assert outlet.empty
            outlet.write(b"the end")
            await outlet.drained()

        nursery.start_soon(go_on)
        assert await read(client, len(BIG) + 7) == BIG + b"the end"


async def test_a_hub_may_send_and_have_the_rest_kept(way: Way) -> None:
    async with way() as (outlet, client), trio.open_nursery() as nursery:
        taken = outlet.send(b"a" * 150)
        if taken < 150:
            outlet.keep(b"a" * 150, taken)
        with pytest.raises(BlockingIOError):
            outlet.send(b"b" * 50)
        nursery.start_soon(outlet.drained)
        assert await read(client, 150) == b"a" * 150


async def test_waiting_for_an_outlet_may_be_cancelled_at_any_time(
    way: Way, autojump_clock: trio.testing.MockClock
) -> None:
    async with way() as (outlet, client), trio.open_nursery() as nursery:
        outlet.write(BIG)
        with trio.move_on_after(1):
            await outlet.drained()
        nursery.start_soon(outlet.drained)
        nursery.start_soon(outlet.drained)
        assert await read(client, len(BIG)) == BIG
        await outlet.drained()
        assert outlet.pending == 0


async def test_an_outlet_says_when_its_client_last_took_something(
    way: Way, autojump_clock: trio.testing.MockClock
) -> None:
    async with way() as (outlet, client), trio.open_nursery() as nursery:
        await trio.sleep(5)
        while outlet.empty:
            outlet.write(BIG[:KERNEL])
            await trio.testing.wait_all_tasks_blocked()
        assert outlet.progress_at == 5
        nursery.start_soon(outlet.drained)
        await trio.sleep(5)
        assert outlet.progress_at == 5
        await client.receive_some(KERNEL)
        await trio.testing.wait_all_tasks_blocked()
        assert outlet.progress_at == 10


async def test_an_outlet_finds_once_that_its_peer_is_gone(way: Way) -> None:
    async with way() as (outlet, client):
        calls = Calls(outlet)
        client.reset()
        for _ in range(3):
            assert outlet.write(b"is anybody there?")
            await trio.testing.wait_all_tasks_blocked()
        await outlet.drained()
        assert calls.gone == 1


async def test_a_peer_that_goes_while_it_is_waited_for_is_found_gone(way: Way) -> None:
    async with way() as (outlet, client), trio.open_nursery() as nursery:
        calls = Calls(outlet)
        outlet.write(BIG)
        nursery.start_soon(outlet.drained)
        await trio.testing.wait_all_tasks_blocked()
        client.reset()
        await trio.testing.wait_all_tasks_blocked()
        assert calls.gone == 1


async def test_an_abort_resets_and_lets_those_go_who_wait(way: Way) -> None:
    async with way() as (outlet, client), trio.open_nursery() as nursery:
        outlet.write(BIG)
        for _ in range(2):
            nursery.start_soon(outlet.drained)
        await trio.testing.wait_all_tasks_blocked()
        outlet.abort()
        outlet.abort()
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()


async def test_an_abort_in_the_moment_of_becoming_writable_harms_nobody(way: Way) -> None:
    async with way() as (outlet, client), trio.open_nursery() as nursery:
        outlet.write(BIG)
        nursery.start_soon(outlet.drained)
        await trio.testing.wait_all_tasks_blocked()
        await client.receive_some(KERNEL)
        outlet.abort()


async def test_an_outlet_whose_link_was_aborted_takes_everything_to_nowhere(way: Way) -> None:
    async with way() as (outlet, _client):
        outlet.abort()
        assert outlet.write(b"nobody reads this")
        await outlet.drained()


# --- straight into the kernel


def link_outlet() -> tuple[DirectOutlet, ClientEnd, MemoryLink]:
    client, link = link_pair(kernel_bytes=KERNEL)
    return DirectOutlet(link, Budget(1 << 30)), client, link


async def test_what_send_all_began_is_finished_before_what_is_written_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    outlet, client, _ = link_outlet()
    with trio.move_on_after(1) as scope:
        await outlet.send_all(BIG)
    assert scope.cancelled_caught
    assert not outlet.write(b"not now")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outlet.send_all, b"the end")
        assert await read(client, len(BIG) + 7) == BIG + b"the end"


async def test_send_all_waits_for_its_turn(autojump_clock: trio.testing.MockClock) -> None:
    outlet, client, _ = link_outlet()
    async with trio.open_nursery() as nursery:
        for letter in (b"a", b"b", b"c"):
            nursery.start_soon(outlet.send_all, letter * 500)
        found = await read(client, 1_500)
    assert len({found[at : at + 500] for at in (0, 500, 1_000)}) == 3
    assert all(len(set(found[at : at + 500])) == 1 for at in (0, 500, 1_000))


async def test_send_all_to_a_peer_that_is_gone_says_so() -> None:
    outlet, client, _ = link_outlet()
    client.reset()
    with pytest.raises(trio.BrokenResourceError):
        await outlet.send_all(b"is anybody there?")


async def test_a_stream_writes_through_its_outlet_and_never_in_between(
    autojump_clock: trio.testing.MockClock,
) -> None:
    client, link = link_pair(kernel_bytes=KERNEL)
    stream = ClientStream(link, Budget(1 << 30))
    assert stream.outlet.write(b"x" * 150)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"y" * 150)
        assert await read(client, 300) == b"x" * 150 + b"y" * 150
    await stream.send_eof()
    assert await client.receive_some() == b""
    await stream.aclose()


async def test_a_peer_found_gone_in_the_moment_of_becoming_writable_is_written_to_no_more() -> None:
    outlet, client, _ = link_outlet()
    calls = Calls(outlet)
    outlet.write(BIG)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outlet.drained)
        await trio.testing.wait_all_tasks_blocked()
        await client.receive_some(KERNEL)
        outlet.fail()
    assert calls.gone == 1
    with trio.move_on_after(0):
        assert await client.receive_some() == b""


# --- through a buffer


async def test_a_buffer_counts_the_characters_of_texts_and_holds_one_batch_more_than_its_bound() -> None:
    outlet = BufferedOutlet(Budget(1 << 30), trio.lowlevel.checkpoint, lambda: None, bound=10)  # type: ignore[arg-type]  # never called
    calls = Calls(outlet)
    assert outlet.write(("abc", "defg"))
    assert (outlet.pending, outlet.empty, calls.full) == (7, True, 0)
    assert outlet.write(("x" * 50,))
    assert (outlet.pending, outlet.empty, calls.full) == (57, False, 1)
    assert not outlet.write(("more",))
    with pytest.raises(BlockingIOError):
        outlet.send(("more",))
