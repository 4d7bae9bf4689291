"""What is to happen once, in the log in memory: claims, answers, and the events that are stored with them."""

from __future__ import annotations

import pytest
import trio

from triolet.errors import ConfigError, LogFull
from triolet.event import Cursor, Draft, Event
from triolet.log import EventLog, Kept, MemoryLog
from triolet.log.answers import Answers
from triolet.log.contract import NOTHING_KEPT

KEY, PRINT, MINE, ITS = b"k" * 32, b"p" * 32, b"mine", b"its"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_what_is_claimed_is_done_by_one() -> None:
    async with MemoryLog().open() as log:
        assert await log.claim(KEY, PRINT, MINE, 5) is None
        assert await log.claim(KEY, b"other", ITS, 5) == Kept(PRINT, None)
        writes = [("a", [Draft.of(1), Draft.of(2)]), ("b", [Draft.of(3)])]
        stored = await log.commit(KEY, MINE, b"answer", 60, writes)
        assert isinstance(stored, list)
        assert [[event.offset for event in events] for events in stored] == [[1, 2], [1]]
        assert await log.claim(KEY, PRINT, ITS, 5) == Kept(PRINT, b"answer")
        assert await log.commit(KEY, MINE, b"answer", 60, writes) == stored
        assert await log.commit(KEY, ITS, b"", 60, [("a", [Draft.of(9)])]) == Kept(PRINT, b"answer")
        assert (await log.head("a")).offset == 2


async def test_a_claim_that_lapsed_commits_nothing() -> None:
    clock = Clock()
    async with MemoryLog(clock=clock).open() as log:
        await log.claim(KEY, PRINT, MINE, 5)
        clock.now += 5
        assert await log.commit(KEY, MINE, b"", 60, [("a", [Draft.of(1)])]) == NOTHING_KEPT
        assert (await log.head("a")).offset == 0


async def test_a_commit_is_heard_of_in_one_step() -> None:
    async with MemoryLog().open() as log:
        with log.tail() as tail:
            await log.claim(KEY, PRINT, MINE, 5)
            writes = [("a", [Draft.of(1)]), ("b", [Draft.of(2)]), ("a", [Draft.of(3)])]
            stored = await log.commit(KEY, MINE, b"", 60, writes)
            await log.commit(KEY, MINE, b"", 60, writes)
            assert isinstance(stored, list)
            assert await anext(tail) == [event for events in stored for event in events]


async def test_a_log_of_ones_own_has_no_commands() -> None:
    class Own(EventLog):
        open = append = read = head = tail = None  # type: ignore[assignment]  # not used

    log = Own()
    assert not log.can_commit
    assert MemoryLog().can_commit
    for call in (log.claim(KEY, PRINT, MINE, 5), log.commit(KEY, MINE, b"", 5, []), log.release(KEY, MINE)):
        with pytest.raises(ConfigError, match="Own keeps no answers"):
            await call


def test_answers_take_no_more_than_their_bound() -> None:
    answers = Answers(max_bytes=10_000)
    event = Event(Cursor("e", 1), "a", "message", b"x" * 1_000, None, 0)
    for number in range(4):
        assert answers.claim(bytes([number]), b"", MINE, 5, now=0) is None
        answers.settle(bytes([number]), b"x" * 1_000, [[event]], until=60)
    with pytest.raises(LogFull, match=r"10,\d\d\d bytes of answers"):
        answers.claim(b"new", b"", MINE, 5, now=0)
    assert answers.claim(b"\0", b"", MINE, 5, now=0) is not None, "what is kept is answered all the same"
    assert answers.claim(b"new", b"", MINE, 5, now=60) is None, "what is over makes room"


def test_a_claim_at_the_bound_is_renewed_and_answered() -> None:
    answers = Answers(max_bytes=512)
    assert answers.claim(b"a", b"", MINE, 5, now=0) is None
    assert answers.claim(b"a", b"", MINE, 5, now=4) is None
    assert not isinstance(answers.held(b"a", MINE, now=8), Kept)


async def test_the_bound_counts_what_is_held_now() -> None:
    """Claims that come and go leave nothing behind."""
    clock = Clock()
    log = MemoryLog(clock=clock)
    async with log.open():
        for number in range(1_000):
            key = number.to_bytes(32, "big")
            await log.claim(key, PRINT, MINE, 5)
            if number % 3 == 0:
                await log.release(key, MINE)
            elif number % 3 == 1:
                await log.commit(key, MINE, b"x", 5, [])
            clock.now += 1
        clock.now += 10
        await log.claim(KEY, PRINT, MINE, 5)
    assert (len(log._answers._claims), log._answers._bytes, len(log._answers._ends)) == (1, 512, 1)


async def test_a_commit_gives_way_to_others() -> None:
    async with MemoryLog().open() as log:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            for number in range(200):
                key = number.to_bytes(32, "big")
                await log.claim(key, PRINT, MINE, 5)
                await log.commit(key, MINE, b"", 60, [("a", [Draft.of(number)])])
            nursery.cancel_scope.cancel()
        assert turns >= 5
