"""The control channel: told at once here, in order everywhere, and never lost in silence."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.presence.processes import Log
from triolet import ChannelNameError, Connection, Cursor, DataError, Draft, Limits, Triolet
from triolet.event import NOW_CHANNEL
from triolet.identity.bounds import CONTROL_WAITING
from triolet.identity.control import IDENTITY_CHANNEL, Control
from triolet.limits import SNAPSHOTS
from triolet.log.contract import Page
from triolet.testing.server import serve


class Process:
    """One process, and what it has heard."""

    def __init__(self, log: Log, nursery: trio.Nursery) -> None:
        self.control = Control(log, Limits(page_events=4), nursery)
        self.control.on("revoke", self.hear)
        self.control.lost = self.lose
        self.heard: list[Any] = []
        self.losses = 0

    def hear(self, message: Mapping[str, Any]) -> None:
        if message.get("n") == "bad":
            raise RuntimeError("a bug")
        self.heard.append(message["n"])

    def lose(self) -> None:
        self.losses += 1


@asynccontextmanager
async def processes(count: int, log: Log) -> AsyncIterator[list[Process]]:
    async with log.open(), trio.open_nursery() as nursery:
        made = [Process(log, nursery) for _ in range(count)]
        for process in made:
            await process.control.listens()
        yield made
        nursery.cancel_scope.cancel()


async def test_all_processes_hear_what_one_says_once_and_in_order(autojump_clock: MockClock) -> None:
    async with processes(3, Log(Limits())) as (one, two, three):
        for n in range(9):
            assert await one.control.tell({"type": "revoke", "n": n})
        await wait_all_tasks_blocked()
        assert one.heard == two.heard == three.heard == list(range(9))


async def test_it_has_taken_effect_here_before_the_log_is_waited_for(autojump_clock: MockClock) -> None:
    async with processes(1, Log(Limits())) as (one,), trio.open_nursery() as nursery:
        nursery.start_soon(one.control.tell, {"type": "revoke", "n": 1})
        one.control._log.away = True  # type: ignore[attr-defined]  # a test's own log
        await wait_all_tasks_blocked()
        assert one.heard == [1]


async def test_what_was_said_while_the_log_was_away_is_told_in_order_when_it_is_back(
    autojump_clock: MockClock,
) -> None:
    log = Log(Limits())
    async with processes(2, log) as (one, two):
        log.away = True
        for n in range(100):
            assert not await one.control.tell({"type": "revoke", "n": n})
        assert (one.heard, two.heard) == (list(range(100)), [])
        log.away = False
        await trio.sleep(60)
        assert one.heard == two.heard == list(range(100))
        assert await one.control.tell({"type": "revoke", "n": 100})


async def test_no_more_wait_for_a_log_than_may(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    log = Log(Limits())
    async with processes(2, log) as (one, two):
        log.away = True
        for n in range(CONTROL_WAITING + 1):
            await one.control.tell({"type": "revoke", "n": n})
        assert "is told here only" in caplog.text
        log.away = False
        await trio.sleep(60)
        assert (len(one.heard), len(two.heard)) == (CONTROL_WAITING + 1, CONTROL_WAITING)


async def test_a_caller_that_is_cancelled_has_told_it(autojump_clock: MockClock) -> None:
    async with processes(2, Log(Limits())) as (one, two):
        with trio.CancelScope() as scope:
            scope.cancel()
            await one.control.tell({"type": "revoke", "n": 1})
        await wait_all_tasks_blocked()
        assert (one.heard, two.heard) == ([1], [1])


async def test_what_an_overrun_tail_has_dropped_is_read_from_the_log(autojump_clock: MockClock) -> None:
    log = Log(Limits())
    async with processes(2, log) as (one, two):
        log._tail.lose()
        for n in range(9):
            await one.control.tell({"type": "revoke", "n": n})
            log._tail.lose()
        await wait_all_tasks_blocked()
        assert two.heard == list(range(9))
        assert (one.losses, two.losses) == (0, 0)


async def test_what_retention_has_dropped_before_it_was_read_is_lost_and_said_so(autojump_clock: MockClock) -> None:
    log = Log(Limits(keep_events=2))
    async with processes(2, log) as (one, two):
        log.unreadable = True
        log._tail.lose()
        for n in range(100):
            await log.append(IDENTITY_CHANNEL, [Draft.of({"type": "revoke", "n": n}, name="revoke")])
        log.unreadable = False
        await trio.sleep(60)
        assert one.heard == two.heard == list(range(100 - len(one.heard), 100))
        assert 0 < len(one.heard) < 100
        assert (one.losses, two.losses) == (1, 1)


class FailedOver(Log):
    """Goes on in another epoch, with all that it had: cursors of the one before are good in it, as in Redis."""

    reads = 0

    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        self.reads += 1
        assert self.reads < 100, "it is read for ever"
        return await super().read(channel, Cursor(self._epoch, after.offset), limit=limit, max_bytes=max_bytes)

    def fail_over(self) -> None:
        """Nobody hears of it but by being told to look."""
        before = self._channels.pop(IDENTITY_CHANNEL)._events
        self._epoch += "b"
        self._store(IDENTITY_CHANNEL, [Draft(event.json, event.name) for event in before], self._clock())
        self._tail.lose()


async def test_another_epoch_that_has_all_that_was_said_is_no_loss_and_is_read_once(
    autojump_clock: MockClock,
) -> None:
    log = FailedOver(Limits())
    async with processes(2, log) as (one, two):
        for n in range(3):
            await one.control.tell({"type": "revoke", "n": n})
            await wait_all_tasks_blocked()
            log.fail_over()
            await wait_all_tasks_blocked()
        assert (one.heard, two.heard) == ([0, 1, 2], [0, 1, 2])
        assert (one.losses, two.losses) == (0, 0)


async def test_a_message_that_fails_keeps_none_from_the_next(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log(Limits())
    async with processes(2, log) as (one, two):
        await log.append(IDENTITY_CHANNEL, [Draft.of(7, name="revoke"), Draft.of({"type": "of a later version"})])
        await one.control.tell({"type": "revoke", "n": "bad"})
        await one.control.tell({"type": "revoke", "n": 2})
        await wait_all_tasks_blocked()
        assert two.heard == [2]
    assert "cannot be read" in caplog.text
    assert "a message in triolet.identity failed: RuntimeError" in caplog.text


@pytest.mark.parametrize("own", [IDENTITY_CHANNEL, NOW_CHANNEL, f"{SNAPSHOTS}AbC"])
async def test_no_client_follows_it_whatever_a_view_says(own: str, autojump_clock: MockClock) -> None:
    app = QuartTrio("orders")
    live = Triolet(app)
    refused: list[str] = []

    @live.channel("/events/<path:name>")
    async def events(name: str) -> str:
        return name

    @live.socket("/live")
    async def handle(conn: Connection) -> None:
        with pytest.raises(ChannelNameError):
            await conn.follow(own)
        refused.append(own)

    async with serve(app) as server:
        assert (await server.get(f"/events/{own}")).status == 404
        assert (await server.upgrade(f"/events/{own}")).status == 404
        assert (await server.get("/events/orders")).status == 200
        async with server.websocket("/live") as client:
            await client.until("bye")
    assert refused == [own]


async def test_what_is_no_json_is_the_callers_fault(autojump_clock: MockClock) -> None:
    async with processes(1, Log(Limits())) as (one,):
        with pytest.raises(DataError):
            await one.control.tell({"type": "revoke", "n": object()})
        assert one.heard == []
