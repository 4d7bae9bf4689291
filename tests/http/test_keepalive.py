"""A client that has frozen is found, behind Hypercorn's protocol code too: by what it does not answer."""

from __future__ import annotations

from contextlib import suppress

import h2.events
import pytest
import trio
from trio.testing import MockClock

from triolet.http.keepalive import Keepalive
from triolet.limits import Limits
from triolet.testing.network import ClientEnd

from .guarding import demo_app, hosted, read_all
from .test_http2 import GET, Client, connect_to
from .test_websocket import closing, frame, opened

PING, PONG = 0x89, 0x8A
LIMITS = Limits(beat_seconds=10, silence_seconds=25)
SLOW = [(name, "/slow" if name == ":path" else value) for name, value in GET]


async def silent_after(keepalive: Keepalive) -> float:
    began = trio.current_time()
    assert await keepalive.run()
    return trio.current_time() - began


async def test_a_client_is_pinged_every_beat_and_silent_after_silence_seconds(autojump_clock: MockClock) -> None:
    pings = []

    async def ping() -> None:
        pings.append(trio.current_time())

    assert await silent_after(Keepalive(LIMITS, ping, bool, ("a", 0))) == 25
    assert pings == [5, 15]


async def test_one_that_is_heard_is_not_silent(autojump_clock: MockClock) -> None:
    async def ping() -> None:
        if trio.current_time() < 100:
            keepalive.heard()

    keepalive = Keepalive(LIMITS, ping, bool, None)
    assert await silent_after(keepalive) == 95 + 25


async def test_one_of_which_nothing_is_expected_is_neither_pinged_nor_silent(autojump_clock: MockClock) -> None:
    async def ping() -> None:
        assert trio.current_time() > 60

    keepalive = Keepalive(LIMITS, ping, lambda: trio.current_time() < 60, None)
    assert 60 + 10 < await silent_after(keepalive) < 60 + 25


async def test_while_the_process_stood_still_nobody_was_silent(autojump_clock: MockClock) -> None:
    pings = []

    async def ping() -> None:
        pings.append(trio.current_time())

    async def stand_still() -> None:
        await trio.sleep(1)
        autojump_clock.jump(100)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stand_still)
        assert await silent_after(Keepalive(LIMITS, ping, bool, ("a", 0))) == 101 + 20
    assert pings == [101, 111]


async def test_what_has_come_is_heard_before_a_client_counts_as_silent(autojump_clock: MockClock) -> None:
    async def ping() -> None:
        """The client answers, in a moment."""

    async def hear() -> None:
        await trio.sleep(25)
        keepalive.heard()

    for _ in range(10):  # which task runs first is drawn
        keepalive = Keepalive(LIMITS, ping, bool, ("a", 0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear)
            assert await silent_after(keepalive) == 50


async def test_clients_that_came_together_are_not_pinged_together(autojump_clock: MockClock) -> None:
    pings = []

    async def ping() -> None:
        pings.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        for port in range(50_000, 50_080):
            nursery.start_soon(Keepalive(LIMITS, ping, bool, ("a", port)).run)
        await trio.sleep(10.1)
        nursery.cancel_scope.cancel()
    assert len(set(pings)) == 40
    assert (min(pings), max(pings)) == (5, 9.875)


async def test_one_that_needs_no_watching_any_more_is_let_go(autojump_clock: MockClock) -> None:
    async def ping() -> None:
        keepalive.stop()

    keepalive = Keepalive(LIMITS, ping, bool, None)
    assert not await keepalive.run()


class TestWebSockets:
    async def test_one_that_has_frozen_is_told_so_and_its_view_ends(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=LIMITS) as host:
            client = await opened(host)
            await trio.sleep(24.9)
            assert host.running == 1
            await trio.sleep(0.2 + 4)
            assert host.running == 0
            answer = await read_all(client)
            assert answer.startswith(bytes((PING, 0)))
            assert answer.endswith(closing(4409, b"silent"))

    async def test_one_that_answers_pings_stays(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=LIMITS) as host:
            client = await opened(host)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer_pings, client)
                await trio.sleep(200)
                await client.send_all(frame(0x81, b"there"))
                await trio.sleep(1)
                assert host.running == 1
                nursery.cancel_scope.cancel()

    async def test_one_whose_app_takes_nothing_is_not_taken_for_silent(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(beat_seconds=10, silence_seconds=25, inbox_messages=1)) as host:
            client = await opened(host, b"/deaf")
            await client.send_all(frame(0x81, b"one") + frame(0x81, b"two"))
            await trio.sleep(200)
            assert host.running == 1


class TestHttp2:
    @pytest.mark.parametrize("headers", [SLOW, connect_to("/deaf")], ids=["request", "websocket"])
    async def test_one_that_has_frozen_is_reset(
        self, headers: list[tuple[str, str]], autojump_clock: MockClock
    ) -> None:
        async with hosted(limits=LIMITS) as host:
            client = Client(host.connect("h2"))
            await client.flush()
            await client.listen(0.1)
            await client.send(1, headers, end=headers is SLOW)
            await trio.sleep(24.8)
            assert host.running == 1
            await trio.sleep(5)
            assert host.running == 0

    async def test_one_that_acknowledges_pings_is_answered(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(beat_seconds=2, silence_seconds=5)) as host:
            client = Client(host.connect("h2"))
            await client.send(1, SLOW)
            await client.listen(30)
            assert client.body(1) == b"slow"
            pings = [event for event in client.events if isinstance(event, h2.events.PingReceived)]
            assert 10 <= len(pings) <= 13

    async def test_one_with_no_request_open_is_not_pinged(self, autojump_clock: MockClock) -> None:
        async with hosted(demo_app(), LIMITS) as host:
            client = Client(host.connect("h2"))
            await client.send(1, GET)
            await client.listen(host.config.keep_alive_timeout - 1)
            assert not any(isinstance(event, h2.events.PingReceived) for event in client.events)


async def answer_pings(client: ClientEnd) -> None:
    """Read frames that are pings, and answer each."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await client.receive_some():
            for _ in range(data.count(bytes((PING, 0)))):
                await client.send_all(frame(PONG))
