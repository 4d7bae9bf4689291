"""``live.revoke`` over all processes of one log, whatever becomes of that log; and with very many clients."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet.bounds import REVOKED_AT_ONCE
from triolet.identity.control import IDENTITY_CHANNEL
from triolet.testing.http import Answer
from triolet.testing.scripted import away, slow
from triolet.testing.server import MemoryServer, serve

from .processes import processes
from .test_revoke import ANN, EVENTS, make_app, revoked

BEN = {"authorization": "Bearer ben.1"}


class Polls:
    """Long polls, and when they were answered what."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.answers: list[tuple[float, Answer]] = []

    def ask(self, server: MemoryServer, headers: dict[str, str]) -> None:
        self._nursery.start_soon(self._ask, server, headers)

    async def _ask(self, server: MemoryServer, headers: dict[str, str]) -> None:
        answer = await server.request("GET", f"{EVENTS}?wait=20", headers)
        self.answers.append((trio.current_time(), answer))


async def test_all_processes_end_what_one_revokes_within_a_second(autojump_clock: MockClock) -> None:
    async with processes(3, make_app) as (one, *others), trio.open_nursery() as nursery, AsyncExitStack() as stack:
        polls = Polls(nursery)
        clients = []
        for process in others:
            for transport in ("websocket", "sse"):
                client = process.server.client(transport, EVENTS, headers=ANN)
                clients.append(await stack.enter_async_context(client))
                await client.until("live")
            polls.ask(process.server, ANN)
        await trio.sleep(1)
        with one.log.having(slow("append", 0.4, 0.4)):
            at = trio.current_time()
            assert await one.live.revoke(subject="ann")
        assert trio.current_time() - at < 1
        await wait_all_tasks_blocked()
        await one.live.publish("orders/7", "secret")
        for client in clients:
            assert (await client.until("bye"))["reason"] == "revoked"
            assert not client.events
        assert [answer.status for _, answer in polls.answers] == [403, 403]
        assert all(answered - at < 1 for answered, _ in polls.answers)


async def test_all_processes_end_what_patterns_of_channels_speak_of(autojump_clock: MockClock) -> None:
    async with (
        processes(2, make_app) as (one, two),
        two.server.sse(EVENTS, headers=ANN) as follows,
        two.server.sse("/rooms/1", headers=ANN) as elsewhere,
        trio.open_nursery() as nursery,
    ):
        polls = Polls(nursery)
        await follows.until("live")
        await elsewhere.until("live")
        polls.ask(two.server, ANN)
        await wait_all_tasks_blocked()
        assert await one.live.revoke(subject="ann", channels=("orders/*", "tasks"))
        assert (await follows.until("bye"))["reason"] == "revoked"
        await wait_all_tasks_blocked()
        assert [answer.status for _, answer in polls.answers] == [403]
        assert elsewhere.closed is None


async def test_here_it_is_in_force_while_the_log_is_away_and_the_others_are_told_when_it_is_back(
    autojump_clock: MockClock,
) -> None:
    async with (
        processes(2, make_app) as (one, two),
        one.server.sse(EVENTS, headers=ANN) as here,
        two.server.sse(EVENTS, headers=ANN) as there,
    ):
        await here.until("live")
        await there.until("live")
        with one.log.having(*away()):
            assert not await one.live.revoke(subject="ann")
            await here.until("bye")
            await trio.sleep(20)
            assert there.closed is None
        await trio.sleep(5)
        assert (await there.until("bye"))["reason"] == "revoked"


async def test_its_own_word_does_not_end_what_came_after_it(autojump_clock: MockClock) -> None:
    async with processes(1, make_app) as (one,):
        with one.log.having(slow("append", 1, 1)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: one.live.revoke(subject="ann"))
                await wait_all_tasks_blocked()
                async with one.server.sse(EVENTS, headers=ANN) as client:
                    await client.until("live")
                    await trio.sleep(3)
                    assert client.closed is None


async def test_a_view_that_is_cancelled_has_revoked(autojump_clock: MockClock) -> None:
    async with (
        processes(2, make_app) as (one, two),
        one.server.sse(EVENTS, headers=ANN) as here,
        two.server.sse(EVENTS, headers=ANN) as there,
    ):
        await here.until("live")
        await there.until("live")
        with trio.CancelScope() as scope:
            scope.cancel()
            await one.live.revoke(subject="ann")
        assert [(await client.until("bye"))["code"] for client in (here, there)] == [4403, 4403]


async def test_what_may_be_lost_sends_all_away_who_are_somebody(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        processes(1, make_app) as (one,),
        one.server.websocket(EVENTS, headers=ANN) as ann,
        one.server.sse(EVENTS, headers=BEN) as ben,
        one.server.sse(EVENTS) as nobody,
        one.server.websocket("/live", headers=ANN) as socket,
    ):
        for client in (ann, ben, nobody):
            await client.until("live")
        await socket.until("open")
        await one.live.revoke(subject="carl")
        await wait_all_tasks_blocked()
        one.log.lose(1)  # the log has begun again, and nobody knows with what it was lost
        await one.live.revoke(subject="carl")  # which this process hears in the new epoch
        for client in (ann, ben, socket):
            bye = await client.until("bye")
            assert (bye["code"], bye["reason"]) == (1012, "restarting")
            assert 0 <= bye["retry"] <= 5_000
        await trio.sleep(2)
        assert nobody.closed is None
        assert revoked(one.live) == (0, 0, 0)
    lines = [record for record in caplog.records if "may be lost to this one" in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].levelno == logging.ERROR


async def test_a_poll_of_somebody_is_then_answered_as_by_a_server_that_drains(autojump_clock: MockClock) -> None:
    async with processes(1, make_app) as (one,), trio.open_nursery() as nursery:
        polls = Polls(nursery)
        polls.ask(one.server, ANN)
        polls.ask(one.server, {})
        await trio.sleep(1)
        control = one.live.service.context.control
        assert control is not None
        control.lost()
        await trio.sleep(1)
        ((answered, answer),) = polls.answers
        assert (answered, answer.status, answer.json["events"]) == (1, 200, [])
        assert 0 < answer.json["retry"] <= 5_000


async def test_a_message_that_names_nothing_ends_nobody(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with processes(2, make_app) as (one, two), one.server.sse(EVENTS, headers=ANN) as client:
        await client.until("live")
        bad: list[dict[str, Any]] = [{}, {"subject": ""}, {"subject": 7}, {"url": "orders"}]
        control = two.live.service.context.control
        assert control is not None
        for named in bad:
            assert await control.tell({"type": "revoke", **named})
        await trio.sleep(1)
        assert client.closed is None
    assert caplog.text.count("a message in triolet.identity failed") == 2 * len(bad)
    assert IDENTITY_CHANNEL not in client.cursors


async def test_a_channel_with_many_followers_ends_in_turns(autojump_clock: MockClock) -> None:
    app, live = make_app()
    count = 6 * REVOKED_AT_ONCE
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with serve(app) as server, AsyncExitStack() as stack, trio.open_nursery() as nursery:
        clients = [await stack.enter_async_context(server.sse(EVENTS, headers=ANN)) for _ in range(count)]
        for client in clients:
            await client.until("live")
        nursery.start_soon(others)
        assert await live.revoke(channel="orders/7")
        assert turns >= 2
        nursery.cancel_scope.cancel()
        await live.publish("orders/7", "secret")
        for client in clients:
            await client.until("bye")
            assert not client.events
        assert revoked(live) == (count, 0, 0)
