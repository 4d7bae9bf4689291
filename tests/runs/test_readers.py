"""Those who read a run's channel: they come, go, reload and are slow, and the run does not care."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet import Event, Limits, Reducer, Triolet, policies
from triolet.testing import TRANSPORTS, Client, MemoryServer, RefusedError, Tokens, serve, slow_reader

from .answers import ANSWER, EVENTS, make_app, told

DONE = {"outcome": "done"}
EACH = [*TRANSPORTS, "follow"]


@asynccontextmanager
async def served(limits: Limits | None = None, **options: Any) -> AsyncIterator[tuple[MemoryServer, Triolet]]:
    app, live = make_app(limits, **options)
    async with serve(app) as server:
        yield server, live


async def texts(client: Client, until: str) -> str:
    """What a client is told, until it has so much."""
    text = ""
    while text != until:
        text += (await client.expect("event"))["data"]
        assert until.startswith(text)
    return text


@pytest.mark.parametrize("transport", EACH)
async def test_a_reader_goes_comes_back_and_has_all_of_it_once(transport: str, autojump_clock: MockClock) -> None:
    async with served() as (server, live):
        tokens = Tokens()
        await live.run(ANSWER, tokens, key="text", fold="concat")
        async with server.client(transport, EVENTS, after="0") as client:
            await tokens.give("a", "b")
            await texts(client, "ab")
            client.cut()
            await tokens.give("c", "d")
            await trio.sleep(60)
            await client.reconnect()
            await tokens.give("e")
            await texts(client, "cde")
            tokens.finish()
            await client.expect("end", data=DONE)


@pytest.mark.parametrize("transport", EACH)
async def test_who_comes_when_it_is_over_gets_its_text_in_one_event_and_the_end(
    transport: str, autojump_clock: MockClock
) -> None:
    async with served() as (server, live):
        tokens = Tokens()
        run = await live.run(ANSWER, tokens, key="text", fold="concat")
        await tokens.give(*"abcdefgh")
        tokens.finish()
        await run.wait()
        async with server.client(transport, f"{EVENTS}?fold=1", after="0") as client:
            assert (await client.expect("event"))["data"] == "abcdefgh"
            await client.expect("end", data=DONE)


@pytest.mark.parametrize("transport", EACH)
async def test_who_reloads_gets_the_state_and_goes_on_from_there(transport: str, autojump_clock: MockClock) -> None:
    def add(text: str, event: Event) -> str:
        return text + event.data  # type: ignore[no-any-return]  # of texts

    app, live = make_app()
    answers = Reducer(add, initial="", name="answers", channels="answers/*")

    @live.channel("/answers/<answer_id>/state", snapshot=answers)
    async def answer_state(answer_id: str) -> str:
        return f"answers/{answer_id}"

    async with serve(app) as server:
        tokens = Tokens()
        await live.run(ANSWER, tokens)
        for length, more in ((3, "abc"), (5, "de")):
            await tokens.give(*more)
            await wait_all_tasks_blocked()
            async with server.client(transport, "/answers/42/state?snapshot=1") as client:
                assert (await client.expect("snapshot"))["data"] == "abcde"[:length]
        async with server.client(transport, "/answers/42/state?snapshot=1") as client:
            await client.expect("snapshot")
            await tokens.give("f")
            assert (await client.expect("event"))["data"] == "f"


async def test_a_slow_reader_slows_nobody(autojump_clock: MockClock) -> None:
    async with served() as (server, live), server.client("sse", EVENTS) as client:
        await client.until("live")
        with slow_reader(client, bytes_per_second=10):
            tokens = Tokens()
            run = await live.run(ANSWER, tokens)
            at = trio.current_time()
            for _ in range(1_000):
                await tokens.give("x" * 100)
            tokens.finish()
            assert await run.wait() == "done"
            assert trio.current_time() - at < 1
        client.cut()


async def test_by_the_policy_block_the_source_waits_for_the_slowest_and_no_longer_than_it_says(
    autojump_clock: MockClock,
) -> None:
    limits = Limits(run_batch_events=8)
    app, live = make_app(limits)

    @live.channel("/answers/<answer_id>/all", policy=policies.block(seconds=5, events=4))
    async def answer_all(answer_id: str) -> str:
        return f"answers/{answer_id}"

    async with serve(app) as server, server.client("sse", "/answers/42/all") as client:
        await client.until("live")
        with slow_reader(client, bytes_per_second=10):
            tokens = Tokens()
            run = await live.run(ANSWER, tokens)
            tokens.give_nowait(*["x" * 100_000] * 100)
            tokens.finish()
            await trio.sleep(4)
            assert tokens.waiting
            await trio.sleep(60)
            assert run.outcome == "done"
        client.cut()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_all_that_follow_are_told_of_an_end_by_another_process(transport: str, autojump_clock: MockClock) -> None:
    async with served() as (server, live), server.client(transport, EVENTS) as client:
        await client.until("live")
        run = await live.run(ANSWER, Tokens())
        await live.stop_run(ANSWER, "enough")
        await client.expect("end", data={"outcome": "stopped", "reason": "enough"})
        assert await run.wait() == "stopped"
        assert await told(live.log) == [{"outcome": "stopped", "reason": "enough"}]


@pytest.mark.parametrize("transport", EACH)
async def test_what_processes_say_of_runs_nobody_may_follow(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_app()

    @live.channel("/any/<channel>")
    async def any_channel(channel: str) -> str:
        return channel

    async with serve(app) as server:
        run = await live.run(ANSWER, Tokens())
        if transport == "follow":
            async with server.websocket("/live") as client:
                await client.say(type="follow", url="/any/triolet.runs", after="0")
                await client.expect("refused")
                assert "triolet.runs" not in client.cursors
        else:
            with pytest.raises(RefusedError):
                async with server.client(transport, "/any/triolet.runs", after="0"):
                    pass
        await run.stop()
