"""A channel that is bounded in items and in bytes: what counts, what waits, and what is told to its owner."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet.sync.bounded_channel import BoundedChannel, ChannelStatistics


def channel(max_items: int = 3, max_bytes: int = 100, **more: Any) -> BoundedChannel[str]:
    return BoundedChannel(max_items, max_bytes, **more)


async def test_items_come_out_in_their_order() -> None:
    passage = channel()
    for item in "abc":
        passage.send_nowait(item, 1)
    assert [await passage.receive() for _ in range(3)] == ["a", "b", "c"]


async def test_a_waiting_task_is_woken() -> None:
    passage, heard = channel(), []

    async def listen() -> None:
        heard.append(await passage.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await wait_all_tasks_blocked()
        assert passage.awaited
        passage.send_nowait("a", 1)
    assert heard == ["a"]
    assert not passage.awaited


@pytest.mark.parametrize(("sizes", "full"), [((1, 1), False), ((1, 1, 1), True), ((99,), False), ((50, 50), True)])
async def test_it_is_full_in_items_and_in_bytes(sizes: tuple[int, ...], full: bool) -> None:
    passage = channel()
    for size in sizes:
        passage.send_nowait("x", size)
    assert passage.full is full


async def test_one_item_is_let_in_however_large_and_an_empty_channel_is_never_full() -> None:
    passage = channel(max_items=0, max_bytes=0)
    assert not passage.full
    passage.send_nowait("x", 1_000)
    assert passage.full
    assert await passage.receive() == "x"
    assert not passage.full


async def test_it_says_what_fits() -> None:
    passage = channel()
    passage.send_nowait("x", 60, 2)
    assert passage.fits(40)
    assert not passage.fits(41)
    assert not passage.fits(1, 2)


async def test_its_owner_is_told_what_is_held_and_that_there_is_room() -> None:
    held: list[int] = []
    rooms: list[str] = []
    passage = channel(max_items=2, hold=held.append, on_room=lambda: rooms.append("room"))
    passage.send_nowait("a", 5)
    assert await passage.receive() == "a"
    assert rooms == []
    for item in "bcd":
        passage.send_nowait(item, 7)
    assert passage.receive_nowait() == "b"
    assert rooms == []
    assert passage.receive_nowait() == "c"
    assert rooms == ["room"]
    assert held == [5, -5, 7, 7, 7, -7, -7]


async def test_a_sender_waits_for_room_and_may_give_up(autojump_clock: MockClock) -> None:
    passage = channel(max_items=1)
    await passage.room()
    passage.send_nowait("a", 1)
    with trio.move_on_after(5) as patience:
        await passage.room()
    assert patience.cancelled_caught

    async def wait() -> None:
        await passage.room()
        passage.send_nowait("b", 1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.sleep(5)
        assert await passage.receive() == "a"
        assert await passage.receive() == "b"


async def test_what_was_taken_is_held_until_it_is_released() -> None:
    passage = channel(max_items=1)
    passage.send_nowait("a", 9)
    assert await passage.take() == ("a", 9, 1)
    assert passage.full
    passage.send_nowait("b", 1)
    with trio.CancelScope() as scope:
        assert (await passage.take())[0] == "b"
        scope.cancel()
    passage.release(9)
    passage.release(1)
    assert not passage.full
    assert passage.statistics() == ChannelStatistics(0, 0, 2, 10, 1, 100)


async def test_a_receiver_that_waits_although_something_is_held_is_woken() -> None:
    passage = channel()
    passage.send_nowait("a", 1)
    await passage.take()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(passage.receive)
        await wait_all_tasks_blocked()
        passage.send_nowait("b", 1)


async def test_a_cancelled_receiver_loses_nothing() -> None:
    passage = channel()
    passage.send_nowait("a", 1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await passage.receive()
    assert passage.queued == 1
    assert await passage.receive() == "a"
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(passage.receive)
            await wait_all_tasks_blocked()
            scope.cancel()
    passage.send_nowait("b", 1)
    assert await passage.receive() == "b"


async def test_after_the_end_the_rest_is_taken_and_then_no_more() -> None:
    passage = channel()
    passage.send_nowait("a", 1)
    passage.end()
    assert await passage.receive() == "a"
    with pytest.raises(trio.EndOfChannel):
        await passage.receive()
    with pytest.raises(trio.EndOfChannel):
        passage.receive_nowait()
    with pytest.raises(trio.ClosedResourceError):
        passage.send_nowait("b", 1)


async def test_an_item_may_count_for_many_or_for_none() -> None:
    passage = channel()
    passage.send_nowait("batch", 10, 3)
    passage.send_nowait("word", 0, 0)
    assert passage.statistics() == ChannelStatistics(3, 10, 3, 10, 3, 100)
    assert passage.queued == 2
    passage.receive_nowait()
    assert await passage.receive() == "word"
    with pytest.raises(trio.WouldBlock):
        passage.receive_nowait()
