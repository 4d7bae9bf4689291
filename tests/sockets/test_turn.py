"""The turn of the event loop: what is kept goes out at its end, and steps are counted over all connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet.bounds import TURN_SECONDS, TURN_STEPS
from triolet.sockets.turn import Turn


class Speaker:
    """Counts how often it was flushed."""

    def __init__(self) -> None:
        self.flushed = 0

    def flush(self) -> None:
        self.flushed += 1


@asynccontextmanager
async def running() -> AsyncIterator[Turn]:
    turn = Turn()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turn.run)
        await wait_all_tasks_blocked()
        yield turn
        nursery.cancel_scope.cancel()


async def test_what_is_kept_is_flushed_once_all_that_run_in_this_turn_have_run() -> None:
    async with running() as turn:
        speakers = [Speaker() for _ in range(3)]
        for speaker in speakers:
            turn.flush_at_end(speaker)
        assert [speaker.flushed for speaker in speakers] == [0, 0, 0]
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()  # in one pass of the scheduler either of the two tasks may run first
        assert [speaker.flushed for speaker in speakers] == [1, 1, 1]
        await wait_all_tasks_blocked()
        assert [speaker.flushed for speaker in speakers] == [1, 1, 1]


async def test_it_can_be_ended_earlier_and_goes_on_afterwards() -> None:
    async with running() as turn:
        speaker = Speaker()
        for n in range(1, 4):
            turn.flush_at_end(speaker)
            turn.end()
            assert speaker.flushed == n
            await wait_all_tasks_blocked()
        assert speaker.flushed == 3


async def test_what_is_kept_when_it_stops_is_flushed() -> None:
    speaker = Speaker()
    async with running() as turn:
        assert turn.runs
        turn.flush_at_end(speaker)
    assert not turn.runs
    assert speaker.flushed == 1


async def test_it_is_over_after_so_many_steps(autojump_clock: MockClock) -> None:
    turn = Turn()
    while not turn.over():
        pass
    for _ in range(3):
        assert [turn.over() for _ in range(TURN_STEPS)] == [False] * (TURN_STEPS - 1) + [True]


@pytest.mark.parametrize("steps", [4, 8])
async def test_it_is_over_after_so_much_time(steps: int, mock_clock: MockClock) -> None:
    turn = Turn()
    while not turn.over():
        pass
    assert [turn.over() for _ in range(steps)] == [False] * steps
    mock_clock.jump(TURN_SECONDS)
    assert True in [turn.over() for _ in range(4)]
