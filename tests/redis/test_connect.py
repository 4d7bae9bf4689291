"""Finding a server by asking those that may know."""

from __future__ import annotations

import anyio
import pytest
import trio
from coredis.exceptions import ConnectionError as RedisConnectionError

from triolet.redis.connect import Dialer
from triolet.redis.url import RedisAddress

NODES = [("one", 1), ("two", 2), ("three", 3)]


@pytest.mark.parametrize(
    "error", [RedisConnectionError("gone"), OSError("gone"), anyio.EndOfStream(), anyio.BrokenResourceError()]
)
async def test_who_does_not_answer_is_passed_over_and_who_does_is_asked_first_from_then_on(error: Exception) -> None:
    asked: list[str] = []

    async def ask(node: tuple[str, int]) -> tuple[str, int]:
        await trio.lowlevel.checkpoint()
        asked.append(node[0])
        if node[0] != "three":
            raise error
        return "found", 6379

    async with trio.open_nursery() as nursery:
        dialer = Dialer(RedisAddress(nodes=tuple(NODES)), 1, nursery)
        nodes = list(NODES)
        for _ in range(2):
            assert await dialer._first(nodes, ask) == ("found", 6379)
    assert asked == ["one", "two", "three", "three"]
