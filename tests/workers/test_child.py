"""A worker's process as its supervisor sees it, with a line of which the test holds the other end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet.workers.child import Child
from triolet.workers.control import METRICS, READY, Control


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


async def test_a_worker_whose_line_ends_has_left(autojump_clock: MockClock) -> None:
    async with worker() as (child, _, line):
        line.close()
        await child.left.wait()
        assert not child.ended.is_set()


async def test_metrics_are_those_that_were_asked_for_last(autojump_clock: MockClock) -> None:
    async with worker() as (child, _, line):
        with trio.move_on_after(1):
            await child.metrics()
        with trio.move_on_after(1):
            await child.metrics()
        lost, late = await line.hear(), await line.hear()
        assert lost is not None
        assert late is not None
        told: list[bytes | None] = []

        async def ask() -> None:
            told.append(await child.metrics())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            question = await line.hear()
            assert question is not None
            line.say(METRICS, b"late", late.place)
            await wait_all_tasks_blocked()
            line.say(METRICS, b"now", question.place)
        assert told == [b"now"]
