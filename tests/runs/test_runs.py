"""``live.run``: what comes of a source, and how it ends."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet import ChannelEnded, ChannelNameError, ConfigError, Cursor, DataError, Draft, Limits, RunError
from triolet.log import MemoryLog
from triolet.testing import ScriptedLog, Tokens, slow

from .answers import ANSWER, script, told

DONE, FAILED = {"outcome": "done"}, {"outcome": "failed"}


def stopped(reason: str = "asked") -> dict[str, str]:
    return {"outcome": "stopped", "reason": reason}


async def letters(text: str) -> AsyncIterator[str]:
    for letter in text:
        await trio.lowlevel.checkpoint()
        yield letter


async def test_a_source_becomes_events_and_an_end(autojump_clock: MockClock) -> None:
    async with script() as live:
        run = await live.run(ANSWER, letters("abc"), name="token", key="text", fold="concat")
        assert (run.channel, run.outcome, live.runs()) == (ANSWER, None, (run,))
        assert await run.wait() == run.outcome == "done"
        assert live.runs() == ()
        assert await told(live.log) == ["a", "b", "c", DONE]
        first, *_, end = (await live.log.read(ANSWER, Cursor("", 0), limit=9, max_bytes=99)).events
        assert (first.name, first.key, first.fold, end.ends) == ("token", "text", "concat", True)


async def test_an_item_may_be_a_draft(autojump_clock: MockClock) -> None:
    async with script() as live:
        tokens = Tokens()
        run = await live.run(ANSWER, tokens)
        await tokens.give(Draft.of(1, name="tool", dedupe="once"), Draft.of(2, name="tool", dedupe="once"), "a")
        tokens.finish()
        await run.wait()
        assert await told(live.log) == [1, "a", DONE]


async def test_a_memory_channel_is_a_source_and_is_closed(autojump_clock: MockClock) -> None:
    async with script() as live:
        send, receive = trio.open_memory_channel[str](0)
        run = await live.run(ANSWER, receive)
        await send.send("a")
        assert await run.stop() == "stopped"
        with pytest.raises(trio.BrokenResourceError):
            await send.send("b")
        assert await told(live.log) == ["a", stopped()]


async def test_the_first_item_is_stored_at_once_and_what_comes_meanwhile_together(autojump_clock: MockClock) -> None:
    log = ScriptedLog(MemoryLog())
    async with script(log=log) as live:
        tokens = Tokens()
        await live.run(ANSWER, tokens)
        with log.having(slow("append", 1)):
            await tokens.give("a")
            await trio.sleep(0.5)
            await tokens.give("b", "c", "d")
            await trio.sleep(0.6)
            assert await told(live.log) == ["a"]
            await trio.sleep(1)
            assert await told(live.log) == ["a", "b", "c", "d"]
        counts = live.statistics().counts
        assert (counts.run_events, counts.run_batches, counts.runs_open) == (4, 2, 1)


@pytest.mark.parametrize("limits", [Limits(run_batch_events=3), Limits(run_batch_bytes=9)])
async def test_a_source_waits_while_a_batch_is_full(limits: Limits, autojump_clock: MockClock) -> None:
    log = ScriptedLog(MemoryLog())
    async with script(limits, log) as live:
        tokens = Tokens()
        await live.run(ANSWER, tokens)
        with log.having(slow("append", 10)):
            await tokens.give("a")
            await wait_all_tasks_blocked()
            tokens.give_nowait(*"bcdefghijklm")
            await trio.sleep(1)
            assert tokens.taken == 1 + 3  # one is being stored
            assert live.statistics().memory.held == 9
            await trio.sleep(10)
            assert tokens.taken == 1 + 2 * 3
        await tokens.give("n")
        await trio.sleep(10)
        assert "".join(await told(live.log)) == "abcdefghijklmn"
        assert live.statistics().memory.held == 0


async def test_large_items_are_stored_one_by_one(autojump_clock: MockClock) -> None:
    large = "x" * (1 << 20 - 1)

    async def source() -> AsyncIterator[str]:
        for _ in range(5):
            yield large

    async with script() as live:
        run = await live.run(ANSWER, source())
        assert await run.wait() == "done"
        assert await told(live.log) == [large] * 5 + [DONE]
        assert live.statistics().counts.run_batches == 5


async def test_a_source_that_never_waits_starves_nobody(autojump_clock: MockClock) -> None:
    async def source() -> AsyncIterator[int]:
        for number in range(5_000):
            yield number

    async with script(Limits(keep_events=10_000)) as live:
        turns = 0
        run = await live.run(ANSWER, source())
        while run.outcome is None:
            await trio.lowlevel.checkpoint()
            turns += 1
        assert turns > 5_000 / 256
        assert await told(live.log) == [*range(5_000), DONE]


class Own:
    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __aiter__(self) -> Own:
        return self

    async def __anext__(self) -> Any:
        await trio.lowlevel.checkpoint()
        raise self._error


class Foreign(BaseException):
    """Such as asyncio's CancelledError."""


ERRORS: dict[str, Callable[[], BaseException]] = {
    "error": lambda: ValueError("secret"),
    "group": lambda: ExceptionGroup("secret", [ValueError("secret")]),
    "base group": lambda: BaseExceptionGroup("secret", [Foreign("secret"), ValueError("secret")]),
    "foreign": lambda: Foreign("secret"),
    "exit": lambda: GeneratorExit("secret"),
}


@pytest.mark.parametrize("kind", ERRORS)
async def test_what_a_source_raises_fails_the_run_and_is_said_in_the_log_alone(
    kind: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def source() -> AsyncIterator[str]:
        yield "a"
        await anext(Own(ERRORS[kind]()))

    async with script() as live:
        run = await live.run(ANSWER, source())
        assert await run.wait() == "failed"
        assert await told(live.log) == ["a", FAILED]
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert f"the run on {ANSWER!r} failed: " in line
    assert "test_runs.py:" in line or kind not in ("error", "foreign")


@pytest.mark.parametrize("item", [float("nan"), b"x", object(), "x" * (1 << 20), Draft.ending("x")], ids=type)
async def test_an_item_that_is_no_event_fails_the_run(
    item: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    closed = []

    async def source() -> AsyncIterator[Any]:
        try:
            yield "a"
            yield item
            yield "b"
        finally:
            closed.append(trio.lowlevel.current_task())

    async with script() as live:
        run = await live.run(ANSWER, source())
        assert await run.wait() == "failed"
        assert await told(live.log) == ["a", FAILED]
        assert len(closed) == 1
    assert "DataError" in caplog.text


async def test_a_source_that_never_yields_can_be_stopped(autojump_clock: MockClock) -> None:
    async with script() as live:
        run = await live.run(ANSWER, Tokens())
        await trio.sleep(3600)
        assert run.outcome is None
        assert await live.stop_run(ANSWER, "nobody waits")
        assert await run.wait() == "stopped"
        assert await told(live.log) == [stopped("nobody waits")]


async def test_what_came_before_a_stop_is_stored(autojump_clock: MockClock) -> None:
    log = ScriptedLog(MemoryLog())
    async with script(log=log) as live:
        tokens = Tokens()
        run = await live.run(ANSWER, tokens)
        with log.having(slow("append", 1)):
            await tokens.give("a")
            await trio.sleep(0.5)
            await tokens.give("b", "c")
            assert await run.stop() == "stopped"
        assert await told(live.log) == ["a", "b", "c", stopped()]
        assert await run.stop("again") == "stopped"


async def test_a_source_is_closed_in_the_task_that_iterates_it_with_a_nursery_over_its_yield(
    autojump_clock: MockClock,
) -> None:
    tasks = []

    async def source() -> AsyncIterator[int]:
        tasks.append(trio.lowlevel.current_task())
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                for number in range(1_000):
                    yield number
                    await trio.sleep(1)
        finally:
            tasks.append(trio.lowlevel.current_task())

    async with script() as live:
        run = await live.run(ANSWER, source())
        await trio.sleep(2.5)
        assert await run.stop() == "stopped"
        assert await told(live.log) == [0, 1, 2, stopped()]
    assert len(tasks) == 2
    assert tasks[0] is tasks[1]


async def test_a_source_that_ignores_its_cancellation_is_over_all_the_same(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    ended = trio.Event()

    async def source() -> AsyncIterator[str]:
        yield "a"
        with trio.CancelScope(shield=True):
            await trio.sleep(100)
        yield "late"
        ended.set()

    async with script() as live:
        run = await live.run(ANSWER, source())
        await trio.sleep(1)
        at = trio.current_time()
        assert await run.stop() == "stopped"
        assert trio.current_time() - at == 10
        assert "does not heed its cancellation" in caplog.text
        await trio.sleep(100)
        assert await told(live.log) == ["a", stopped()]
        assert not ended.is_set()


async def test_a_source_that_is_cancelled_has_one_last_word(autojump_clock: MockClock) -> None:
    async def source() -> AsyncIterator[str]:
        yield "a"
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            yield "goodbye"
            yield "and another thing"

    async with script() as live:
        run = await live.run(ANSWER, source())
        await wait_all_tasks_blocked()
        assert await run.stop() == "stopped"
        assert await told(live.log) == ["a", "goodbye", stopped()]


async def test_of_a_stop_and_an_end_at_once_one_is_told(autojump_clock: MockClock) -> None:
    async with script() as live:
        tokens = Tokens()
        run = await live.run(ANSWER, tokens)
        await tokens.give("a")
        tokens.finish()
        outcome = await run.stop()
        first, end = await told(live.log)
        assert (first, end["outcome"]) == ("a", outcome)


async def test_a_channel_has_one_run(autojump_clock: MockClock) -> None:
    async with script() as live:
        run = await live.run(ANSWER, Tokens())
        with pytest.raises(RunError, match="goes on there already"):
            await live.run(ANSWER, Tokens())
        await run.stop()
        with pytest.raises(ChannelEnded):
            await live.run(ANSWER, Tokens())
        await live.end("other")
        with pytest.raises(ChannelEnded):
            await live.run("other", Tokens())
        assert live.runs() == ()
        assert await (await live.run("another", letters("a"))).wait() == "done"


class Endless(ScriptedLog):
    """A log that knows no ends."""

    can_end = False


async def test_what_can_be_no_run_is_refused(autojump_clock: MockClock) -> None:
    async with script(Limits(runs=1)) as live:
        for source in ([1], letters, None):
            with pytest.raises(ConfigError, match="async iterable"):
                await live.run(ANSWER, source)  # type: ignore[arg-type]  # that is what is tried
        with pytest.raises(DataError, match="fold"):
            await live.run(ANSWER, Tokens(), fold="concat")
        with pytest.raises(ChannelNameError):
            await live.run("triolet.runs", Tokens())
        await live.run(ANSWER, Tokens())
        with pytest.raises(RunError, match=r"limits\.runs"):
            await live.run("other", Tokens())
    async with script(log=Endless(MemoryLog())) as live:
        with pytest.raises(ConfigError, match="can have no runs"):
            await live.run(ANSWER, Tokens())


async def test_an_end_by_the_app_is_the_runs_end(autojump_clock: MockClock) -> None:
    async with script() as live:
        tokens = Tokens()
        run = await live.run(ANSWER, tokens)
        await tokens.give("a")
        await wait_all_tasks_blocked()
        await live.end(ANSWER, "enough")
        assert await run.wait() == "stopped"
        assert await told(live.log) == ["a", "enough"]
        await wait_all_tasks_blocked()
        assert tokens.closed


async def test_a_run_whose_channel_is_deleted_is_stopped_and_its_channel_stays_empty(autojump_clock: MockClock) -> None:
    async with script() as live:
        tokens = Tokens()
        run = await live.run(ANSWER, tokens)
        await tokens.give("a")
        await wait_all_tasks_blocked()
        await live.delete(ANSWER)
        tokens.give_nowait("b")
        assert await run.wait() == "stopped"
        await wait_all_tasks_blocked()
        assert await told(live.log) == [{"outcome": "deleted"}]
        again = await live.run(ANSWER, letters("c"))
        assert await again.wait() == "done"
        assert await told(live.log) == ["c", DONE]


async def test_a_deletion_before_a_run_does_not_stop_it(autojump_clock: MockClock) -> None:
    log = ScriptedLog(MemoryLog())
    async with script(log=log) as live:
        await live.publish(ANSWER, 1)
        await live.delete(ANSWER)
        tokens = Tokens()
        run = await live.run(ANSWER, tokens)
        log.overrun(1)  # so that it looks whether its channel has ended
        await live.publish("other", 1)
        await trio.sleep(1)
        assert run.outcome is None
        await tokens.give("a")
        log.overrun(1)
        await live.end(ANSWER)
        assert await run.wait() == "stopped"


async def test_the_end_of_a_block_stops_what_goes_on(autojump_clock: MockClock) -> None:
    log = MemoryLog()
    tokens = Tokens()
    async with script(log=log) as live:
        run = await live.run(ANSWER, tokens)
        await tokens.give("a")
    assert run.outcome == "stopped"
    assert tokens.closed
    async with log.open():
        assert await told(log) == ["a", stopped("restarting")]


async def test_runs_are_counted(autojump_clock: MockClock) -> None:
    async with script() as live:
        await (await live.run("a", letters("abc"))).wait()
        await (await live.run("b", Own(ValueError()))).wait()
        await (await live.run("c", Tokens())).stop()
        await live.run("d", Tokens())
        counts = live.statistics().counts
        assert dict(counts.runs) == {"begun": 4, "done": 1, "failed": 1, "stopped": 1, "lost": 0}
        assert (counts.runs_open, counts.run_events) == (1, 3)
        text = live.service.exposition()[1].decode()
        assert 'triolet_runs_total{what="done"} 1.0' in text
        assert "triolet_runs_open 1.0" in text
