"""How long a peer is waited for: not longer than agreed, and never less because this process was late."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from triolet.sockets.patience import Patience
from triolet.testing.network import link_pair


async def nothing() -> bytes:
    """Nothing ever comes."""
    await trio.sleep(trio.current_time() + 1_000)
    return b""


async def test_when_the_time_is_over_and_nothing_has_come_that_is_the_end(autojump_clock: MockClock) -> None:
    patience = Patience(5)
    assert await patience.wait(nothing) is None
    assert trio.current_time() == 5


async def test_the_time_may_be_moved_while_one_waits(autojump_clock: MockClock) -> None:
    patience = Patience(5)

    async def move(at: float, to: float) -> None:
        await trio.sleep(at)
        patience.until = to

    async with trio.open_nursery() as nursery:
        nursery.start_soon(move, 4, 9)
        nursery.start_soon(move, 8, 8.5)
        assert await patience.wait(nothing) is None
        assert trio.current_time() == 8.5


async def test_what_has_come_is_looked_at_before_the_clock(autojump_clock: MockClock) -> None:
    client, link = link_pair()
    patience = Patience(5)
    heard = []

    async def hear() -> None:
        while (data := await patience.wait(lambda: link.receive_some(3))) is not None:
            heard.append(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hear)
        await trio.testing.wait_all_tasks_blocked()
        client.connection.client.send(b"in time")
        autojump_clock.jump(100)
    assert heard == [b"in ", b"tim", b"e"]
    assert trio.current_time() == 100


async def test_a_peer_that_sends_little_by_little_gains_nothing(autojump_clock: MockClock) -> None:
    client, link = link_pair()
    patience = Patience(5)

    async def send() -> None:
        while True:
            client.connection.client.send(b"x")
            await trio.sleep(0.3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while await patience.wait(lambda: link.receive_some(3)):
            assert trio.current_time() < 5
        assert trio.current_time() == 5
        nursery.cancel_scope.cancel()


async def test_another_task_that_is_about_to_move_the_time_may_do_so(autojump_clock: MockClock) -> None:
    patience = Patience(5)
    due = trio.Event()

    async def move() -> None:
        await due.wait()
        patience.until = 200

    async with trio.open_nursery() as nursery:
        nursery.start_soon(patience.wait, trio.sleep_forever)
        nursery.start_soon(move)
        await trio.testing.wait_all_tasks_blocked()
        due.set()
        autojump_clock.jump(100)
    assert trio.current_time() == 200


async def test_a_cancellation_from_elsewhere_ends_the_wait(autojump_clock: MockClock) -> None:
    with trio.move_on_after(3) as scope:
        await Patience(5).wait(trio.sleep_forever)
    assert scope.cancelled_caught
