"""What the supervisor does about workers that do not start, and what it says of it."""

from __future__ import annotations

import logging
import signal

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet.workers.bounds import WORKER_START_SECONDS
from triolet.workers.control import SAID

from .test_supervisor import House


@pytest.mark.parametrize(("code", "says"), [(SAID, []), (-9, ["did not start", "has ended with -9"])])
async def test_workers_that_cannot_start_end_it_all_and_only_the_first_is_tried(
    code: int, says: list[str], autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    it = House(broken=code)
    await it.run()
    assert (it.code, len(it.processes)) == (1, 1)
    assert sorted(record.message[24:] for record in caplog.records) == says, "no word beside a worker's own"


async def test_of_a_worker_that_ends_before_all_are_ready_it_is_said(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    it = House()
    it.hangs = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run)
        for number in range(2):
            await wait_all_tasks_blocked()
            if number:
                it.processes[0].die(3)
            it.processes[number].become_ready()
    assert it.code == 1
    assert [record.message for record in caplog.records] == ["worker 0 (process 1000) was gone before all were ready"]


async def test_a_worker_that_is_never_ready_is_killed(autojump_clock: MockClock) -> None:
    it = House()
    it.hangs = True
    await it.run()
    assert (it.code, it.processes[0].orders[0], trio.current_time()) == (1, "kill", WORKER_START_SECONDS)


async def test_sigterm_before_the_workers_are_ready_is_obeyed(autojump_clock: MockClock) -> None:
    it = House()
    it.hangs = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run)
        await wait_all_tasks_blocked()
        await it.signal(signal.SIGTERM)
    assert trio.current_time() == 0
    assert not it.alive
