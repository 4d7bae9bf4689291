"""Redis at a server's start: a process that is late, or a Redis that is, is no reason not to start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import permutations
from typing import Any

import pytest
import trio
from coredis.exceptions import AuthenticationError
from trio.testing import MockClock, wait_all_tasks_blocked

from hunt.redis_server import ModelledRedis
from triolet.clock import wall_time
from triolet.errors import LogAway
from triolet.redis.connect import Dialer
from triolet.redis.log import RedisLog
from triolet.redis.url import RedisAddress
from triolet.testing.network import MemoryLink, link_pair

from .test_commit import LIMITS, ModelledLog, modelled

ADDRESS = RedisAddress.parse("redis://127.0.0.1")


class Connection:
    """A connection of coredis', which is open when the server has answered."""

    def __init__(self, link: MemoryLink) -> None:
        self.link = link
        self.ended = False

    async def run(self, *, task_status: Any) -> None:
        await self.link.receive_some(100)
        task_status.started()
        await trio.sleep_forever()

    def create_request(self, *command: Any) -> Connection:
        return self

    async def get_result(self) -> None:
        await trio.sleep_forever()

    def __await__(self) -> Any:
        return self.get_result().__await__()

    def invalidate(self) -> None:
        self.ended = True


class OneWay(Dialer):
    """Leads to one connection, which takes so long to be made."""

    def __init__(
        self, nursery: trio.Nursery, link: MemoryLink, takes: float = 0, address: RedisAddress = ADDRESS
    ) -> None:
        super().__init__(address, 2, nursery)
        self.connection = Connection(link)
        self._takes = takes

    async def _make(self, *_: object) -> Any:
        await trio.sleep(self._takes)
        return self.connection


def way(dialer: Dialer) -> AbstractAsyncContextManager[object]:
    return dialer.connected(0)


async def test_a_server_that_has_let_us_in_while_the_process_stood_still_has_done_so(autojump_clock: MockClock) -> None:
    redis, link = link_pair()
    opened: list[object] = []

    async def connect(dialer: OneWay) -> None:
        async with way(dialer) as connection:
            opened.append(connection)

    async with trio.open_nursery() as nursery:
        dialer = OneWay(nursery, link)
        nursery.start_soon(connect, dialer)
        await wait_all_tasks_blocked()
        redis.connection.client.send(b"+OK\r\n")
        autojump_clock.jump(100)
        await wait_all_tasks_blocked()
        assert (opened, trio.current_time()) == ([dialer.connection], 100)
        nursery.cancel_scope.cancel()
    assert dialer.connection.ended


@pytest.mark.parametrize("takes", [0, 100])
async def test_of_a_server_that_does_not_let_us_in_nothing_is_left(takes: float, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        dialer = OneWay(nursery, link_pair()[1], takes)
        with pytest.raises(TimeoutError, match="no answer in 2 s"):
            async with way(dialer):
                pass
    assert trio.current_time() == 2
    assert dialer.connection.ended is (takes == 0)


@pytest.mark.parametrize("url", ["redis+sentinel://one:1/orders", "redis+cluster://one:1"])
async def test_who_lets_us_in_and_does_not_say_where_the_log_is_is_not_waited_for_without_end(
    url: str, autojump_clock: MockClock
) -> None:
    redis, link = link_pair()
    redis.connection.client.send(b"+OK\r\n")
    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            dialer = OneWay(nursery, link, address=RedisAddress.parse(url))
            with pytest.raises(TimeoutError, match="no answer in 2 s"):
                async with way(dialer):
                    pass
    assert (trio.current_time(), dialer.connection.ended) == (2, True)


ERRORS = {"says no": AuthenticationError, "late": TimeoutError, "gone": OSError}


@pytest.mark.parametrize("asked", [*permutations(ERRORS), *permutations(("late", "gone"))])
async def test_of_several_that_failed_the_one_that_says_most_is_told_of(
    asked: tuple[str, ...], autojump_clock: MockClock
) -> None:
    """What one has answered; or that one may answer yet, so that a start waits; in whatever order they were asked."""

    async def ask(node: tuple[str, int]) -> tuple[str, int]:
        await trio.lowlevel.checkpoint()
        raise ERRORS[node[0]]("failed")

    async with trio.open_nursery() as nursery:
        with pytest.raises(ERRORS["says no" if "says no" in asked else "late"]):
            await Dialer(ADDRESS, 2, nursery)._first([(name, 1) for name in asked], ask)


@asynccontextmanager
async def opened(server: ModelledRedis) -> AsyncIterator[RedisLog]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        log = ModelledLog(server, LIMITS, wall_time, RedisAddress.parse("redis://modelled"))
        async with log.open():
            yield log
        nursery.cancel_scope.cancel()


async def test_a_redis_that_is_late_is_waited_for(autojump_clock: MockClock) -> None:
    server = modelled()
    server.begin("hangs")

    late = LIMITS.away_seconds - 0.1

    async def answer() -> None:
        await trio.sleep(late)
        server.end("hangs")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        async with opened(server) as log:
            assert late <= trio.current_time() <= LIMITS.away_seconds
            assert (await log.head("orders")).offset == 0


async def test_nor_is_one_that_lets_us_in_and_says_nothing_more(autojump_clock: MockClock) -> None:
    server = modelled()
    connect = server.connect

    async def mute(seconds: float) -> object:
        connection = await connect(seconds)
        server.begin("hangs")
        return connection

    server.connect = mute  # type: ignore[method-assign, assignment]  # it hangs from then on
    with trio.fail_after(100), pytest.raises(ExceptionGroup) as failed:
        async with opened(server):
            pass
    assert isinstance(failed.value.exceptions[0], LogAway)


@pytest.mark.parametrize(
    ("trouble", "why", "after"), [("hangs", "no answer", LIMITS.away_seconds), ("down", "Connection refused", 0)]
)
async def test_but_not_for_ever_and_one_that_is_not_there_is_told_at_once(
    trouble: str, why: str, after: float, autojump_clock: MockClock
) -> None:
    server = modelled()
    server.begin(trouble)
    with pytest.raises(ExceptionGroup) as failed:
        async with opened(server):
            pass
    (error,) = failed.value.exceptions
    assert isinstance(error, LogAway)
    assert why in str(error)
    assert after <= trio.current_time() <= after + LIMITS.answer_seconds
