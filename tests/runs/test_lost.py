"""Runs whose process dies, or whose log goes away: they end once, whatever is killed between any two steps."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet import ChannelEnded, Limits, LogAway, NotServingError, Run, RunError, Triolet, TrioletError
from triolet.counters import OUTCOMES
from triolet.log import MemoryLog
from triolet.runs.registry import Registry
from triolet.testing import ScriptedLog, Tokens, away, failing, full, play, slow

from .answers import ANSWER, Cluster, cluster, script, told

LEASE = Limits().run_lease_seconds
LOST, DONE = {"outcome": "lost"}, {"outcome": "done"}


async def open_runs(it: Cluster) -> list[str]:
    """The channels of runs that go on, for all that was said."""

    async def nothing() -> None:
        raise AssertionError("nothing is lost")

    registry = Registry(it.log, Limits(), "test", lambda end: None, nothing)
    while not await registry._read_on():
        pass
    return list(registry.open)


def tokens_of(*items: str) -> Tokens:
    tokens = Tokens()
    tokens.give_nowait(*items)
    tokens.finish()
    return tokens


async def begun(live: Triolet) -> tuple[Run, Tokens]:
    """A run whose first item is stored, and its source."""
    tokens = Tokens()
    run = await live.run(ANSWER, tokens)
    await tokens.give("a")
    await wait_all_tasks_blocked()
    return run, tokens


@asynccontextmanager
async def scripted() -> AsyncIterator[tuple[ScriptedLog, Triolet, Run, Tokens]]:
    """A log with hands on it, and a run that has begun in a script."""
    log = ScriptedLog(MemoryLog())
    async with script(log=log) as live:
        yield log, live, *(await begun(live))


async def test_a_run_whose_process_died_is_ended_within_its_lease(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with cluster() as it:
        one, two, three = await it.start(), await it.start(), await it.start()
        tokens = Tokens()
        await one.live.run(ANSWER, tokens)
        await tokens.give("a")
        await trio.sleep(1000)
        assert await told(it.log) == ["a"]
        await one.kill()
        await trio.sleep(LEASE * 0.6)
        assert await told(it.log) == ["a"]
        await trio.sleep(LEASE * 0.5)
        assert await told(it.log) == ["a", LOST]
        assert await open_runs(it) == []
        lost = [process.live.statistics().counts.runs["lost"] for process in (two, three)]
        assert sum(lost) == 1
        with pytest.raises(ChannelEnded):
            await two.live.run(ANSWER, Tokens())
        assert await (await two.live.run("answers/43", tokens_of("b"))).wait() == "done"
    assert "is lost: its process was not heard any more" in caplog.text


async def test_a_run_that_nobody_was_there_to_end_is_ended_by_the_next_start(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        one = await it.start()
        await begun(one.live)
        await one.kill()
        await trio.sleep(3600)
        assert await told(it.log) == ["a"]
        await it.start()
        assert await told(it.log) == ["a", LOST]


async def test_another_process_cannot_have_a_run_on_the_same_channel_also_when_the_first_has_just_died(
    autojump_clock: MockClock,
) -> None:
    async with cluster() as it:
        one, two = await it.start(), await it.start()
        await one.live.run(ANSWER, Tokens())
        with pytest.raises(RunError, match="goes on there already"):
            await two.live.run(ANSWER, Tokens())
        assert two.live.runs() == ()
        await one.kill()
        refused = 0
        with trio.move_on_after(2 * LEASE):
            while True:
                try:
                    await two.live.run(ANSWER, Tokens())
                except RunError:
                    refused += 1
                    await trio.sleep(0.1)
                except ChannelEnded:
                    break
        assert refused > 200
        assert await told(it.log) == [LOST]


async def test_a_run_is_stopped_from_another_process(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        one, two = await it.start(), await it.start()
        tokens = Tokens()
        run = await one.live.run(ANSWER, tokens)
        await tokens.give("a")
        assert await two.live.stop_run(ANSWER, "pressed")
        assert await run.wait() == "stopped"
        assert await told(it.log) == ["a", {"outcome": "stopped", "reason": "pressed"}]
        assert await open_runs(it) == []


async def test_a_process_that_stood_still_cannot_write_behind_the_end_that_others_have_put_there(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with cluster() as it:
        one, two = await it.start(), await it.start()
        run, tokens = await begun(one.live)
        with one.log.having(*away()):
            tokens.give_nowait("b")
            await trio.sleep(1.5 * LEASE)
            assert await told(it.log) == ["a", LOST]
            assert run.outcome == "lost"
            assert tokens.closed
        await trio.sleep(LEASE)
        assert await told(it.log) == ["a", LOST]
        assert await open_runs(it) == []
        assert [process.live.statistics().counts.runs["lost"] for process in (one, two)] == [0, 1]
        assert one.live.runs() == ()


async def test_a_run_that_heard_of_no_end_finds_out_when_it_stores(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        one = await it.start()
        run, tokens = await begun(one.live)
        one.live.service.life.runs._registry._on_end = lambda end: None
        two = await it.start()
        await two.live.end(ANSWER, DONE)
        await tokens.give("b")
        assert await run.wait() == "done"
        assert await told(it.log) == ["a", DONE]


async def test_a_log_that_is_away_for_less_than_the_lease_costs_nothing(autojump_clock: MockClock) -> None:
    async with scripted() as (log, live, run, tokens):
        with log.having(*away()):
            await tokens.give("b", "c")
            await trio.sleep(LEASE / 2)
            tokens.finish()
        assert await run.wait() == "done"
        assert await told(live.log) == ["a", "b", "c", DONE]


async def test_a_log_that_is_away_for_longer_loses_the_run_and_it_is_told_when_it_is_back(
    autojump_clock: MockClock,
) -> None:
    async with scripted() as (log, live, run, tokens):
        with log.having(*away()):
            at = trio.current_time()
            tokens.give_nowait("b")
            assert await run.wait() == "lost"
            assert trio.current_time() - at <= LEASE + 1
            assert tokens.closed
            with pytest.raises(LogAway):
                await live.run("other", Tokens())
        await trio.sleep(LEASE + 4)
        assert await told(live.log) == ["a", LOST]
        assert live.statistics().counts.runs["lost"] == 1
        assert live.statistics().memory.held == 0


async def test_what_was_stored_in_spite_of_an_error_is_not_stored_twice(autojump_clock: MockClock) -> None:
    log = ScriptedLog(MemoryLog())
    async with script(log=log) as live:
        tokens = Tokens()
        run = await live.run(ANSWER, tokens)
        with log.having(failing("append", nth=range(1, 4), stored=True)):
            await tokens.give("a")
            await trio.sleep(0.5)
            await tokens.give("b", "c")
            await trio.sleep(5)
        with log.having(failing("append", nth=1, stored=True)):
            tokens.finish()
            assert await run.wait() == "done"
        assert await told(live.log) == ["a", "b", "c", DONE]


async def test_a_run_for_which_there_is_no_room_fails_and_its_end_waits_for_room(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with scripted() as (log, live, run, tokens):
        with log.having(full()):
            tokens.give_nowait("b")
            await trio.sleep(3600)
            assert run.outcome is None
            assert tokens.closed
        assert await run.wait() == "failed"
        assert await told(live.log) == ["a", {"outcome": "failed"}]
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1


async def test_a_run_that_cannot_begin_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        one = await it.start()
        for fault in (failing("claim"), failing("append"), failing("read")):
            with one.log.having(fault), pytest.raises(TrioletError):
                await one.live.run(ANSWER, Tokens())
        assert one.live.runs() == ()
        assert await open_runs(it) == []
        assert await (await one.live.run(ANSWER, tokens_of("a"))).wait() == "done"


async def test_a_caller_that_is_cancelled_has_begun_a_run(autojump_clock: MockClock) -> None:
    log = ScriptedLog(MemoryLog())
    async with script(log=log) as live:
        with log.having(slow("claim", 2)), trio.move_on_after(1):
            await live.run(ANSWER, tokens_of("a"))
        await trio.sleep(5)
        assert await told(live.log) == ["a", DONE]


async def test_a_run_goes_on_through_the_loss_of_the_logs_newest(autojump_clock: MockClock) -> None:
    """A failover loses what says that it goes on, and its claim: both are made again."""
    async with cluster() as it:
        one, two = await it.start(), await it.start()
        run, _ = await begun(one.live)
        one.log.lose(1_000)
        await trio.sleep(LEASE)
        assert await open_runs(it) == [ANSWER]
        with pytest.raises(RunError):
            await two.live.run(ANSWER, Tokens())
        await one.kill()
        assert run.outcome is None
        await trio.sleep(LEASE * 1.2)
        assert (await told(it.log))[-1] == LOST


async def test_what_goes_on_for_long_is_said_again_before_it_is_forgotten(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triolet.runs.registry.RUNS_KEPT", 40)
    async with cluster() as it:
        one = await it.start()
        await one.live.run(ANSWER, Tokens())
        for number in range(6):
            await (await one.live.run(f"answers/{number}x", tokens_of("a"))).wait()
        before = (await it.log.head("triolet.runs")).offset
        await trio.sleep(LEASE)
        assert (await it.log.head("triolet.runs")).offset == before + 1
        assert await open_runs(it) == [ANSWER]


async def test_many_runs_of_a_dead_process_are_asked_for_one_by_one(autojump_clock: MockClock) -> None:
    """As long as it lives one claim a look is asked for, and not one for each run."""
    async with cluster() as it:
        one, two = await it.start(), await it.start()
        for number in range(20):
            await one.live.run(f"answers/{number}", Tokens())
        await wait_all_tasks_blocked()
        with two.log.having(fault := failing("claim", nth=1_000_000)):
            await trio.sleep(LEASE)
            asked = two.log._underway[-1].count
        assert fault.nth == 1_000_000
        assert 9 <= asked <= 11
        await one.kill()
        await trio.sleep(LEASE * 1.2)
        for number in range(20):
            assert await told(it.log, f"answers/{number}") == [LOST]


ORDERS = st.sampled_from(["give", "stop", "end", "finish", "fail"])


@settings(max_examples=60, deadline=None)
@given(
    kill_at=st.floats(0, 12),
    kill_other_after=st.one_of(st.none(), st.floats(0.6 * LEASE, 1.2 * LEASE)),
    seconds=st.tuples(st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0.0, 0.3, 1.0])),
    orders=st.lists(st.tuples(st.floats(0, 10), ORDERS), max_size=6),
)
def test_a_channel_has_one_end_whatever_is_killed_and_ordered_when(
    kill_at: float, kill_other_after: float | None, seconds: tuple[float, float], orders: list[tuple[float, str]]
) -> None:
    async def main() -> None:
        async with cluster() as it, trio.open_nursery() as nursery:
            one, two = await it.start(), await it.start()
            tokens = Tokens()
            given: list[int] = []

            async def order(at: float, what: str) -> None:
                await trio.sleep(at)
                if what == "give":
                    given.append(len(given))
                    tokens.give_nowait(given[-1])
                elif what == "stop":
                    await two.live.stop_run(ANSWER)
                elif what == "end":
                    await two.live.end(ANSWER, "enough")
                else:
                    tokens.finish() if what == "finish" else tokens.fail(ValueError())

            async def begin() -> None:
                with suppress(ChannelEnded, NotServingError):  # ended already, or killed meanwhile
                    await one.live.run(ANSWER, tokens)

            slowly = slow("append", *seconds), slow("claim", *seconds), slow("release", *seconds)
            with one.log.having(*slowly), two.log.having(*slowly):
                nursery.start_soon(begin)
                for at, what in orders:
                    nursery.start_soon(order, at, what)
                await trio.sleep(kill_at)
                await one.kill()
                if kill_other_after is not None:  # perhaps while it ends the run
                    await trio.sleep(kill_other_after)
                    await two.kill()
                    two = await it.start()
                await trio.sleep(2.5 * LEASE)
            *items, end = await told(it.log) or ["nothing"]
            assert items == given[: len(items)]
            assert end in ("nothing", "enough") or end["outcome"] in OUTCOMES
            assert await open_runs(it) == []
            if end == "nothing":
                assert await (await two.live.run(ANSWER, tokens_of("a"))).wait() == "done"
            else:
                with pytest.raises(ChannelEnded):
                    await two.live.run(ANSWER, Tokens())
            nursery.cancel_scope.cancel()

    play(0, main)
