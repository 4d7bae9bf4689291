"""A worker's process as its supervisor sees it, with a line of which the test holds the other end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet.admin.contract import Answer, Question
from triolet.admin.lines import serve_line
from triolet.workers.child import Child
from triolet.workers.control import ACCEPT, ASK, BEAT, READY, Control
from triolet.workers.places import Place


class Process:
    """A process that ends when the test says so."""

    pid = 1_000

    def __init__(self) -> None:
        self.ended = trio.Event()

    async def wait(self) -> int:
        await self.ended.wait()
        return -9


@asynccontextmanager
async def worker() -> AsyncIterator[tuple[Child, Process, Control]]:
    """A child, its process, and the worker's end of the line."""
    ours, end = Control.pair()
    theirs, process = Control(end), Process()
    stand_in: Any = process
    child = Child(0, stand_in, ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child.attend)
        yield child, process, theirs
        process.ended.set()
    theirs.close()


async def test_a_process_has_ended_although_another_holds_its_line(autojump_clock: MockClock) -> None:
    async with worker() as (child, process, line):
        line.say(READY)
        await child.decided.wait()
        assert child.ready
        process.ended.set()
        await child.ended.wait()
        assert (child.left.is_set(), child.code) == (True, -9)


async def test_a_worker_has_obeyed_when_it_answers_behind_its_orders(autojump_clock: MockClock) -> None:
    async with worker() as (child, _, line), trio.open_nursery() as nursery:
        obeyed = trio.Event()

        async def wait() -> None:
            await child.obeyed()
            obeyed.set()

        child.beat()
        child.accept(Place(0, ()))
        nursery.start_soon(wait)
        heard = []
        for _ in range(3):
            assert not obeyed.is_set()
            message = await line.hear()
            assert message is not None
            heard.append(message.what)
            if message.what == BEAT:
                line.say(BEAT)
            await wait_all_tasks_blocked()
        assert heard == [BEAT, ACCEPT, BEAT]
        assert obeyed.is_set()


async def test_nobody_waits_for_one_that_has_left_to_obey(autojump_clock: MockClock) -> None:
    over = trio.Event()

    async def wait() -> None:
        await child.obeyed()
        over.set()

    async with worker() as (child, _, line), trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert not over.is_set()
        line.close()
        await wait_all_tasks_blocked()
        assert over.is_set()


async def test_a_worker_whose_line_ends_has_left(autojump_clock: MockClock) -> None:
    async with worker() as (child, _, line):
        line.close()
        await child.left.wait()
        assert not child.ended.is_set()


async def test_a_question_has_a_line_of_its_own(autojump_clock: MockClock) -> None:
    long = Question("publish", {"channel": "a"}, {"content-type": "application/json"}, b"x" * 3_000_000)
    answer = Answer(200, b"y" * 3_000_000, "text/plain", 1, {"allow": "GET"})
    asked: list[Question] = []

    class Desk:
        async def answer(self, question: Question) -> Answer:
            asked.append(question)
            return answer

    async with worker() as (child, _, line), trio.open_nursery() as nursery:

        async def serve() -> None:
            order = await line.hear()
            assert order is not None
            assert order.what == ASK
            await serve_line(trio.SocketStream(trio.socket.from_stdlib_socket(order.listeners[0])), Desk())

        nursery.start_soon(serve)
        assert await child.ask(long) == answer
    assert asked == [long]


async def test_a_worker_that_ends_or_hears_nothing_any_more_answers_nothing(autojump_clock: MockClock) -> None:
    async with worker() as (child, _, line), trio.open_nursery() as nursery:

        async def end() -> None:
            order = await line.hear()
            assert order is not None
            order.listeners[0].close()

        nursery.start_soon(end)
        assert await child.ask(Question("metrics")) is None
        line.close()
        assert await child.ask(Question("metrics")) is None


async def test_a_question_that_nobody_waits_for_any_more_ends_at_the_worker(autojump_clock: MockClock) -> None:
    async with worker() as (child, _, line):
        with trio.move_on_after(1):
            await child.ask(Question("metrics"))
        order = await line.hear()
        assert order is not None
        await serve_line(trio.SocketStream(trio.socket.from_stdlib_socket(order.listeners[0])), None)
