"""Who watches a channel: here and in other processes, a wait until nobody does, and hooks."""

from __future__ import annotations

from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import ConfigError, NotServingError, Triolet
from triolet.bounds import WATCH_AWAY_SECONDS, WATCH_LEASE_SECONDS
from triolet.connection.watching import Watching
from triolet.log import MemoryLog
from triolet.testing.scripted import ScriptedLog, away
from triolet.testing.server import serve

from .processes import Process, processes

OTHER = "/orders/B456/events"


class Calls:
    """When a hook was called, and with what."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, str, int]] = []

    async def __call__(self, channel: str, count: int) -> None:
        self.calls.append((round(trio.current_time(), 2), channel, count))


def make_shared(**options: Any) -> tuple[QuartTrio, Triolet]:
    return make_shop(log=ScriptedLog(MemoryLog()), **options)


def watching(process: Process) -> Watching:
    return process.live.service.life.watching


class Wait:
    """A wait until nobody has watched for so many seconds, and when it was over."""

    def __init__(self, nursery: trio.Nursery, live: Triolet, seconds: float, channel: str = ORDER) -> None:
        self.over: float | None = None
        nursery.start_soon(self._wait, live, channel, seconds)

    async def _wait(self, live: Triolet, channel: str, seconds: float) -> None:
        await live.unwatched(channel, seconds)
        self.over = trio.current_time()


# --- counted


async def test_streams_follows_and_long_polls_that_wait_are_counted(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, AsyncExitStack() as stack:
        assert live.watchers(ORDER) == 0
        for count, transport in enumerate(("websocket", "sse", "long poll", "follow"), 1):
            client = await stack.enter_async_context(server.client(transport, ORDERS))
            await client.until("live")
            await trio.sleep(0.1)
            assert live.watchers(ORDER) == count
        await stack.enter_async_context(server.client("short poll", ORDERS))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_follow, live)
            await trio.sleep(10)
            assert (live.watchers(ORDER), live.watchers("orders/B456")) == (4, 0)
            nursery.cancel_scope.cancel()
        await stack.aclose()
        await trio.sleep(1)
        assert live.watchers(ORDER) == 0


async def _follow(live: Triolet) -> None:
    async with live.follow(ORDER) as feed:
        async for _ in feed:
            pass


async def test_they_are_gone_with_the_end_of_their_channel(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.client("sse", ORDERS) as client:
        await client.until("live")
        await live.end(ORDER)
        await client.expect("end")
        assert live.watchers(ORDER) == 0


# --- waited for


async def test_nobody_has_watched_for_so_many_seconds(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, trio.open_nursery() as nursery:
        never = Wait(nursery, live, 5, "nobody")
        client = server.client("sse", ORDERS)
        async with client:
            await client.until("live")
            wait = Wait(nursery, live, 10)
            await trio.sleep(60)
            assert (never.over, wait.over) == (5, None)
        await trio.sleep(9)
        async with server.client("sse", ORDERS) as again:
            await again.until("live")
        await trio.sleep(9.9)
        assert wait.over is None
        await trio.sleep(0.2)
        assert wait.over == pytest.approx(79, abs=0.2)


async def test_a_long_poll_that_asks_again_and_again_watches(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.long_poll(ORDERS, wait=3) as client, trio.open_nursery() as nursery:
        await client.until("live")
        wait = Wait(nursery, live, 1)
        for _ in range(20):
            await live.publish(ORDER, 1)
            await trio.sleep(1.3)
        assert wait.over is None
        nursery.cancel_scope.cancel()


async def test_who_watches_in_another_process_counts(autojump_clock: MockClock) -> None:
    async with processes(3, make_shared) as (one, two, three), trio.open_nursery() as nursery:
        async with two.server.client("sse", ORDERS) as there, three.server.client("websocket", ORDERS) as elsewhere:
            for client in (there, elsewhere):
                await client.until("live")
            wait = Wait(nursery, one.live, 3)
            await trio.sleep(1)
            assert one.live.watchers(ORDER) == 2
            await trio.sleep(100)
            assert (wait.over, one.live.watchers(ORDER)) == (None, 2)
            async with three.server.client("sse", ORDERS) as more:
                await more.until("live")
                await trio.sleep(1)
                assert one.live.watchers(ORDER) == 3
        left = trio.current_time()
        await trio.sleep(5)
        assert wait.over == pytest.approx(left + 3, abs=1)


async def test_who_comes_in_another_process_while_one_waits_counts(autojump_clock: MockClock) -> None:
    async with processes(2, make_shared) as (one, two), trio.open_nursery() as nursery:
        wait = Wait(nursery, one.live, 5)
        await trio.sleep(3)
        async with two.server.client("sse", ORDERS) as there:
            await there.until("live")
            await trio.sleep(20)
            assert wait.over is None
        await trio.sleep(7)
        assert wait.over is not None


async def test_a_process_that_dies_is_forgotten_with_its_lease(autojump_clock: MockClock) -> None:
    async with (
        processes(2, make_shared) as (one, two),
        two.server.client("sse", ORDERS) as there,
        trio.open_nursery() as nursery,
    ):
        await there.until("live")
        wait = Wait(nursery, one.live, 2)
        await trio.sleep(2)
        silent = trio.current_time()
        with two.log.having(*away()):  # it says nothing any more
            await trio.sleep(WATCH_LEASE_SECONDS - 6)
            assert wait.over is None
            await trio.sleep(15)
        assert wait.over == pytest.approx(silent + WATCH_LEASE_SECONDS, abs=8)


async def test_while_the_log_is_away_nobody_is_said_to_have_left(autojump_clock: MockClock) -> None:
    async with processes(2, make_shared) as (one, two), trio.open_nursery() as nursery:
        async with two.server.client("sse", ORDERS) as there:
            await there.until("live")
            with one.log.having(*away()):
                wait = Wait(nursery, one.live, 2)
                await trio.sleep(100)
                assert wait.over is None
            await trio.sleep(30)
            assert wait.over is None
        await trio.sleep(30)
        assert wait.over is not None


async def test_nothing_is_said_where_nobody_asks(autojump_clock: MockClock) -> None:
    async with processes(2, make_shared) as (one, two):
        before = await one.live.log.head("triolet.now")
        for process in (one, two):
            async with process.server.client("sse", ORDERS) as client:
                await client.until("live")
        assert await one.live.log.head("triolet.now") == before
        with trio.move_on_after(20):
            await one.live.unwatched(ORDER, 60)
        await trio.sleep(WATCH_LEASE_SECONDS * 2)
        head = await one.live.log.head("triolet.now")
        async with two.server.client("sse", ORDERS) as client:
            await client.until("live")
            await trio.sleep(100)
        assert await one.live.log.head("triolet.now") == head
        assert not watching(one)._elsewhere
        assert not watching(one)._changed
        assert not watching(two)._asked.names


async def test_very_many_channels_are_asked_for_in_few_messages(autojump_clock: MockClock) -> None:
    async with processes(2, make_shared) as (one, two), trio.open_nursery() as nursery, AsyncExitStack() as stack:
        socket = await stack.enter_async_context(two.server.websocket("/live"))
        for n in range(100):
            await socket.follow(f"/orders/{n}/events")
        waits = [Wait(nursery, one.live, 2, f"orders/{n}") for n in range(500)]
        await trio.sleep(4)
        assert [wait.over is None for wait in waits] == [n < 100 for n in range(500)]
        assert (await one.live.log.head("triolet.now")).offset <= 10
        nursery.cancel_scope.cancel()


async def test_a_wait_that_cannot_be_is_refused(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    with pytest.raises(NotServingError):
        live.watchers(ORDER)
    async with serve(app):
        for seconds in (0, 0.5, True, float("nan"), "5"):
            with pytest.raises(ConfigError):
                await live.unwatched(ORDER, seconds)  # type: ignore[arg-type]  # that is what is tried


# --- hooks


async def test_a_hook_hears_of_somebody_at_once_and_of_nobody_a_little_later(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    hook = live.watched("orders/*")(Calls())
    live.watched("nothing/*")(Calls())
    async with serve(app) as server:
        await trio.sleep(1)
        async with server.client("sse", ORDERS) as one, server.client("sse", ORDERS) as two:
            for client in (one, two):
                await client.until("live")
            async with server.client("sse", OTHER) as other:
                await other.until("live")
                await trio.sleep(10)
        await trio.sleep(10)
        late = 11 + WATCH_AWAY_SECONDS
        assert hook.calls[:2] == [(1, ORDER, 1), (1, "orders/B456", 1)]
        assert sorted(hook.calls[2:]) == [(late, ORDER, 0), (late, "orders/B456", 0)]


async def test_a_hook_does_not_hear_of_who_comes_back_soon(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    hook = live.watched("orders/*")(Calls())
    async with serve(app) as server, server.client("sse", ORDERS) as client:
        await client.until("live")
        for _ in range(5):
            client.cut()
            await trio.sleep(1)
            await client.reconnect()
            await trio.sleep(3)
        assert [count for _, _, count in hook.calls] == [1]


async def test_a_hook_hears_of_other_processes(autojump_clock: MockClock) -> None:
    hooks: list[Calls] = []

    def make() -> tuple[QuartTrio, Triolet]:
        app, live = make_shared()
        hooks.append(live.watched("orders/*")(Calls()))
        return app, live

    async with processes(2, make) as (one, two):
        await trio.sleep(10)
        async with one.server.client("sse", ORDERS) as here:
            await here.until("live")
            await trio.sleep(20)
            async with two.server.client("sse", ORDERS) as there:
                await there.until("live")
                await trio.sleep(20)
        await trio.sleep(20)
        for hook in hooks:
            assert [count for _, _, count in hook.calls] == [1, 0]
            assert hook.calls[0][0] == pytest.approx(10, abs=1)
            assert hook.calls[1][0] == pytest.approx(50 + WATCH_AWAY_SECONDS, abs=1)


async def test_while_the_log_is_away_no_hook_hears_that_all_have_left(autojump_clock: MockClock) -> None:
    hooks: list[Calls] = []

    def make() -> tuple[QuartTrio, Triolet]:
        app, live = make_shared()
        hooks.append(live.watched("orders/*")(Calls()))
        return app, live

    async with processes(2, make) as (one, two):
        await trio.sleep(10)
        async with two.server.client("sse", ORDERS) as there:
            await there.until("live")
            await trio.sleep(5)
            with one.log.having(*away()):
                await trio.sleep(100)
            await trio.sleep(30)
            assert [count for _, _, count in hooks[0].calls] == [1]
        await trio.sleep(30)
        assert [count for _, _, count in hooks[0].calls] == [1, 0]


async def test_a_slow_hook_is_called_one_time_after_the_other_and_one_that_fails_again(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    app, live = make_shop()
    running = most = 0
    counts: list[int] = []

    @live.watched(ORDER)
    async def slow(channel: str, count: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        counts.append(count)
        await trio.sleep(10)
        running -= 1
        raise RuntimeError("a bug of the app's")

    async with serve(app) as server:
        for _ in range(3):
            async with server.client("sse", ORDERS) as client:
                await client.until("live")
                await trio.sleep(4)
            await trio.sleep(4)
        await trio.sleep(60)
    assert (most, counts[0], counts[-1]) == (1, 1, 0)
    assert all(one != other for one, other in pairwise(counts))
    assert caplog.text.count("a watched hook failed: RuntimeError") == len(counts)


async def test_a_hook_of_no_pattern_is_refused() -> None:
    with pytest.raises(ConfigError):
        Triolet().watched("")
