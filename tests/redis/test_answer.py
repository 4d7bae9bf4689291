"""How long Redis is waited for: a process that is late does not hold that against the server."""

from __future__ import annotations

from typing import Any, cast

import pytest
import trio
from coredis.connection._request import Request as CoredisRequest
from coredis.connection._statistics import ConnectionStatistics
from coredis.exceptions import NoScriptError
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet.limits import Limits
from triolet.redis.answer import answer_in_time
from triolet.redis.partition import Partition
from triolet.redis.scripts import LOOK
from triolet.redis.url import RedisAddress
from triolet.testing.network import MemoryLink, link_pair


class Request:
    """A request of coredis', whose answer comes through a task that reads."""

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.error: Exception | None = None

    async def get_result(self) -> Any:
        await self.answered.wait()
        if self.error is not None:
            raise self.error

    async def read(self, link: MemoryLink) -> None:
        await link.receive_some(100)
        self.answered.set()


async def test_an_answer_that_came_while_the_process_stood_still_counts(autojump_clock: MockClock) -> None:
    request, (redis, link), answers = Request(), link_pair(), []

    async def ask() -> None:
        answers.append(await answer_in_time(request, 2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(request.read, link)
        await wait_all_tasks_blocked()
        redis.connection.client.send(b"$-1\r\n")
        autojump_clock.jump(100)
    assert (answers, trio.current_time()) == ([None], 100)


async def test_a_request_that_goes_out_late_is_waited_for_as_long(autojump_clock: MockClock) -> None:
    request = Request()

    async def answer() -> None:
        await trio.sleep(101.5)
        request.answered.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_in_time, request, 2)
        nursery.start_soon(answer)
        await wait_all_tasks_blocked()
        autojump_clock.jump(100)
    assert trio.current_time() == 101.5


@pytest.mark.parametrize(("stood_still", "over"), [(0, 2), (100, 102)])
async def test_who_does_not_answer_is_not_waited_for_without_end(
    stood_still: float, over: float, autojump_clock: MockClock
) -> None:
    async def stand_still() -> None:
        await trio.sleep(0.5)
        autojump_clock.jump(stood_still and stood_still - 0.5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stand_still)
        with pytest.raises(TimeoutError, match="no answer in 2 s"):
            await answer_in_time(Request(), 2)
    assert trio.current_time() == over


async def test_an_answer_that_is_an_error_is_raised(autojump_clock: MockClock) -> None:
    request = Request()
    request.error = NoScriptError("NOSCRIPT")
    request.answered.set()
    with pytest.raises(NoScriptError):
        await answer_in_time(request, 2)


class Connection:
    """A connection of coredis'."""

    def __init__(self, link: MemoryLink) -> None:
        self.link = link
        self.requests: list[CoredisRequest] = []
        self.statistics = ConnectionStatistics()
        self.ended = False

    def create_request(self, command: bytes, *args: Any) -> CoredisRequest:
        made = CoredisRequest(connection=cast(Any, self), command=command, decode=False)
        self.requests.append(made)
        return made

    def invalidate(self, reason: str = "") -> None:
        self.ended = True

    async def read(self) -> None:
        await self.link.receive_some(100)
        self.requests.pop(0).consume(b"answer")


async def test_a_script_whose_answer_lies_there_ends_no_connection(autojump_clock: MockClock) -> None:
    redis, link = link_pair()
    connection, answers = Connection(link), []
    partition = Partition(RedisAddress.parse("redis://127.0.0.1"), 0, cast(Any, None), cast(Any, None), Limits())

    async def ask() -> None:
        answers.append(await partition.call(cast(Any, connection), LOOK, ["key"]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(connection.read)
        await wait_all_tasks_blocked()
        redis.connection.client.send(b"$6\r\nanswer\r\n")
        autojump_clock.jump(10)
    assert (answers, connection.ended) == ([b"answer"], False)
