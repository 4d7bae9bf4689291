"""The log is away: who follows stays, is told so in beats, and goes on from its cursor when it is back."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import Limits, Triolet
from triolet.log import MemoryLog
from triolet.testing import STREAMS, ScriptedLog, away, serve

LIMITS = Limits(beat_seconds=20, window_events=1)


def make_app() -> tuple[QuartTrio, Triolet, ScriptedLog]:
    app, log = QuartTrio(__name__), ScriptedLog(MemoryLog())
    live = Triolet(app, log=log, limits=LIMITS)

    @live.channel("/events/<name>")
    async def events(name: str) -> str:
        return name

    live.socket("/socket")
    return app, live, log


@pytest.mark.parametrize("transport", STREAMS)
async def test_who_is_live_is_told_in_beats_that_the_log_is_away_and_that_it_is_back(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live, log = make_app()
    async with serve(app) as server, server.client(transport, "/events/a") as client:
        assert "stale" not in await client.until("beat")
        with log.having(*away()):
            while "stale" not in (beat := await client.until("beat")):
                pass
            assert beat["stale"] is True
        while "stale" in await client.until("beat"):
            pass
        await live.publish("a", 1)
        await client.expect(data=1)


@pytest.mark.parametrize("transport", STREAMS)
async def test_who_needs_the_log_while_it_is_away_stays_and_gets_everything_when_it_is_back(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live, log = make_app()
    async with serve(app) as server, AsyncExitStack() as stack:
        await live.publish_many("a", [1, 2, 3])
        async with server.client(transport, "/events/a"):  # so that the hub knows the channel
            with log.having(*away()):
                late = await stack.enter_async_context(server.client(transport, "/events/a", after=0))
                await trio.sleep(3 * LIMITS.beat_seconds)
            await late.until("live")
    assert [message["data"] for message in late.heard if message["type"] == "event"] == [1, 2, 3]
    assert any(message.get("stale") for message in late.heard if message["type"] == "beat")


@pytest.mark.parametrize("wait", ["", "&wait=20"])
async def test_a_poll_is_told_that_the_log_is_away(wait: str, autojump_clock: MockClock) -> None:
    app, live, log = make_app()
    async with serve(app) as server:
        (await server.get("/events/a"))  # opens the window
        event = await live.publish("a", 1)
        before = await server.get(f"/events/a?after={event.cursor.epoch}.0{wait}")
        assert "stale" not in before.json
        with log.having(*away()):
            stale = await server.get(f"/events/a?after={event.cursor.epoch}.0{wait}")
        assert stale.json["stale"] is True
        assert [each["data"] for each in stale.json["events"]] == [1]
        assert stale.headers["etag"] != before.headers["etag"]


async def test_a_socket_that_follows_what_nobody_knows_waits_for_the_log_and_keeps_what_it_has(
    autojump_clock: MockClock,
) -> None:
    app, live, log = make_app()
    async with serve(app) as server, server.websocket("/socket") as client:
        await client.say(type="follow", url="/events/a")
        await client.until("live")
        with log.having(*away()):
            await client.say(type="follow", url="/events/b")
            await trio.sleep(60)
        assert (await client.until("open"))["channel"] == "b"
        await live.publish("a", 1)
        assert (await client.event())["channel"] == "a"
