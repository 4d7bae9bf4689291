"""What is written on a client's stream: taken in time, also where this process looks late."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from triolet.budget import Budget
from triolet.sockets.stream import ClientStream
from triolet.testing.network import ClientEnd, link_pair

KERNEL = 100
ANSWER = bytes(1_000)


def pair() -> tuple[ClientEnd, ClientStream]:
    client, link = link_pair(kernel_bytes=KERNEL)
    return client, ClientStream(link, Budget(1 << 30))


async def test_a_client_that_takes_nothing_has_so_many_seconds(autojump_clock: MockClock) -> None:
    _, stream = pair()
    with pytest.raises(trio.TooSlowError):
        await stream.send_in_time(ANSWER, 5)
    assert trio.current_time() == 5


async def test_a_client_that_takes_too_little_has_no_more(autojump_clock: MockClock) -> None:
    client, stream = pair()

    async def sip() -> None:
        while True:
            await client.receive_some(1)
            await trio.sleep(0.3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sip)
        with pytest.raises(trio.TooSlowError):
            await stream.send_in_time(ANSWER, 5)
        assert trio.current_time() == 5
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("way", ["send", "deliver"])
async def test_what_its_kernel_takes_after_a_standstill_was_in_time(way: str, autojump_clock: MockClock) -> None:
    client, stream = pair()
    heard = b""

    async def write() -> None:
        await (stream.send_in_time(ANSWER, 5) if way == "send" else stream.deliver(ANSWER, 5))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            heard += client.connection.client.read(KERNEL)
            autojump_clock.jump(6)
            await trio.testing.wait_all_tasks_blocked()
        while len(heard) < len(ANSWER):
            heard += await client.receive_some()
    assert heard == ANSWER


async def test_a_client_that_went_is_not_waited_for(autojump_clock: MockClock) -> None:
    client, stream = pair()
    async with trio.open_nursery() as nursery:

        async def go() -> None:
            await trio.sleep(1)
            client.reset()

        nursery.start_soon(go)
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_in_time(ANSWER, 5)
    assert trio.current_time() == 1
    with suppress(trio.BrokenResourceError):
        await client.receive_some()
