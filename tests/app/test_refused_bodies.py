"""A client hears why its body is refused, while it is still sending it: on each road, and however slow its line."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from triolet import Limits
from triolet.bounds import FINISH_SECONDS
from triolet.testing import ClientEnd

from .roads import served
from .warehouse import PICK, Warehouse

GOODBYE = 2
LIMITS = Limits(message_bytes=1_000, body_bytes=1_000, goodbye_seconds=GOODBYE)

on_each_road = pytest.mark.parametrize(
    ("road", "path"), [("direct", PICK), ("asgi", PICK), ("direct", "/orders"), ("direct", "/\x7f")]
)


async def ask(end: ClientEnd, path: str) -> None:
    """Ask with the head of a request whose body is too large."""
    head = f'POST {path} HTTP/1.1\r\nhost: test\r\nidempotency-key: "1"\r\ncontent-length: 1000000\r\n\r\n'
    await end.send_all(head.encode())


async def send_until_refused(end: ClientEnd, piece: bytes = bytes(100)) -> float:
    """Send on, a little each second, until the server takes no more; returns how long that was."""
    began = trio.current_time()
    try:
        while trio.current_time() < began + 10 * FINISH_SECONDS:
            await end.send_all(piece)
            await trio.sleep(1)
    except trio.BrokenResourceError:
        pass
    return trio.current_time() - began


@on_each_road
async def test_what_is_still_on_its_way_is_read(road: str, path: str, autojump_clock: MockClock) -> None:
    async with served(Warehouse(LIMITS).app, road) as server:
        end = server.connect()
        await ask(end, path)
        for _ in range(5 * GOODBYE):
            await trio.sleep(1)
            await end.send_all(bytes(100_000))
        assert (await end.receive_some()).startswith(b"HTTP/1.1 4")
        await end.aclose()


@on_each_road
async def test_but_not_for_ever(road: str, path: str, autojump_clock: MockClock) -> None:
    async with served(Warehouse(LIMITS).app, road) as server:
        end = server.connect()
        await ask(end, path)
        assert await send_until_refused(end) == pytest.approx(FINISH_SECONDS, abs=2)


@on_each_road
async def test_who_sends_nothing_more_is_not_waited_for(road: str, path: str, autojump_clock: MockClock) -> None:
    async with served(Warehouse(LIMITS).app, road) as server:
        end = server.connect()
        await ask(end, path)
        while await end.receive_some():
            pass
        await trio.sleep(GOODBYE + 1)
        assert await send_until_refused(end) <= 1


@pytest.mark.parametrize("road", ["direct", "asgi"])
async def test_who_has_asked_for_nothing_and_says_a_little_each_second_gains_no_time(
    road: str, autojump_clock: MockClock
) -> None:
    async with served(Warehouse(Limits(goodbye_seconds=GOODBYE, header_seconds=5)).app, road) as server:
        end = server.connect()
        await end.send_all(b"GET / HTTP/1.1\r\nx: ")
        assert await send_until_refused(end, b"x") <= 5 + GOODBYE + 1
