"""Where a program stands, whatever it does and whenever it stops: nothing that waits for it is passed over."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.shop import ORDER, ORDERS
from triolet.client import ClientError, Events, MemoryStore, open_client
from triolet.client.speaker import Speaker
from triolet.testing import cut

from .stage import BASE, WAYS, client_of, data, options_of, shop, take, told
from .test_following import Blocked


async def test_what_waits_for_a_slow_program_outlives_its_connection(autojump_clock: MockClock) -> None:
    async with shop() as (server, live):

        async def dial(host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            return Blocked(server.connect())

        async with open_client(BASE, dial=dial) as client, client.follow(ORDERS) as events:
            assert told(await take(events, 1)) == ["live"]
            assert client.transport == "sse"
            for number in range(300):
                await live.publish(ORDER, number)
            await trio.sleep(400)  # meanwhile a better transport is tried
            assert await data(events, 300) == list(range(300))


@pytest.mark.parametrize("way", WAYS)
async def test_a_cursor_is_never_ahead_of_what_the_program_has(way: str, autojump_clock: MockClock) -> None:
    async with shop() as (server, live), client_of(server, **options_of(way)) as client:
        async with client.follow(ORDERS, after=0) as events:
            looker = Looker(events)
            trio.lowlevel.add_instrument(looker)
            await take(events, 1)
            for number in range(5):
                await live.publish(ORDER, number)
                assert await data(events, 1) == [number]
                looker.had += 1
            trio.lowlevel.remove_instrument(looker)
        assert looker.ahead == []


class Looker(trio.abc.Instrument):
    """Looks at a cursor after each step of each task."""

    def __init__(self, events: Events) -> None:
        self.had = 0
        self.ahead: list[object] = []
        self._events = events

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Called by Trio."""
        cursor = self._events.cursor
        if cursor is not None and cursor.offset > self.had:
            self.ahead.append(cursor)


@pytest.mark.parametrize("way", WAYS)
async def test_a_block_that_was_left_tells_where_its_program_stood(way: str, autojump_clock: MockClock) -> None:
    async with shop() as (server, live), client_of(server, **options_of(way)) as client:
        for number in range(3):
            await live.publish(ORDER, number)
        async with client.follow(ORDERS, after=0) as events:
            assert await data(events, 1) == [0]
            await trio.sleep(1)
        assert events.cursor is not None
        assert events.cursor.offset == 1
        async with client.follow(ORDERS, after=events.cursor) as events:
            assert await data(events, 2) == [1, 2]


@pytest.mark.parametrize("way", WAYS)
async def test_from_now_on_is_a_place_before_the_first_item(way: str, autojump_clock: MockClock) -> None:
    async with shop() as (server, live), client_of(server, **options_of(way)) as client:
        await live.publish(ORDER, 0)
        async with client.follow(ORDERS) as events:
            await trio.sleep(1)
            await live.publish(ORDER, 1)
            await trio.sleep(30)
            start = events.cursor
        assert start is not None
        assert start.offset == 1
        async with client.follow(ORDERS, after=start) as events:
            assert await data(events, 1) == [1]


@pytest.mark.parametrize("auto_commit", [True, False])
@pytest.mark.parametrize("way", WAYS)
async def test_from_now_on_is_kept_before_the_first_item(
    way: str, auto_commit: bool, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with shop() as (server, live):
        opened = client_of(server, store=store, **options_of(way))
        async with opened as client, client.follow(ORDERS, auto_commit=auto_commit) as events:
            assert told(await take(events, 1)) == ["live"]  # and with that it is not done
        await live.publish(ORDER, "meanwhile")
        opened = client_of(server, store=store, **options_of(way))
        async with opened as client, client.follow(ORDERS, auto_commit=auto_commit) as events:
            assert await data(events, 1) == ["meanwhile"]


async def test_who_waits_for_a_shared_socket_may_have_it_tried_at_once(autojump_clock: MockClock) -> None:
    async with shop() as (server, live):
        opened = client_of(server, random=lambda: 1.0, **options_of("socket"))
        async with opened as client, client.follow(ORDERS) as events:
            await take(events, 1)
            with cut(server.network):
                await trio.sleep(20)
            await live.publish(ORDER, "here")
            events.retry()
            with trio.fail_after(0.5):
                assert await data(events, 1) == ["here"]


async def test_a_follow_that_leaves_disturbs_no_other_of_its_socket(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), client_of(server, **options_of("socket")) as client:
        states: list[str] = []
        async with client.follow(ORDERS, on_state=lambda events: states.append(events.state)) as stays:
            await take(stays, 1)
            for passes in range(12):
                async with client.follow(ORDERS, after=0) as leaves:
                    await trio.sleep(1)
                    await live.publish(ORDER, passes)
                    for _ in range(passes):
                        await trio.lowlevel.checkpoint()
                    assert leaves.state == "live"
            await wait_all_tasks_blocked()
            assert await data(stays, 12) == list(range(12))
        assert "connecting" not in states


async def test_a_websocket_that_ended_while_its_program_was_slow_is_let_go(autojump_clock: MockClock) -> None:
    async with shop() as (server, _), client_of(server) as client:
        commands, speaker = client._commands, Speaker()
        commands.use(speaker)
        speaker.clogged = True
        commands.lose(speaker)
        assert commands._speakers == [speaker]
        speaker.end()
        commands.lose(speaker)
        assert commands._speakers == []


async def test_a_store_that_fails_is_no_end_of_the_channel(autojump_clock: MockClock) -> None:
    class Full(MemoryStore):
        async def save(self, name: str, cursor: str) -> None:
            await super().save(name, cursor)
            if len(self.cursors) == 1:
                self.cursors["full"] = ""
                raise OSError("the disk is full")

    ended = False
    async with shop() as (server, live):
        await live.publish(ORDER, 0)
        with pytest.raises((OSError, ExceptionGroup)):  # noqa: PT012 - a program, and how it ends
            async with client_of(server, store=Full()) as client, client.follow(ORDERS, after=0) as events:
                async for _ in events:
                    pass
                ended = True
    assert not ended


async def test_who_waits_outside_of_the_clients_block_is_told_that_it_was_left(autojump_clock: MockClock) -> None:
    async with shop() as (server, _), trio.open_nursery() as nursery:
        told_so: list[str] = []

        async def wait(events: Events) -> None:
            with pytest.raises(RuntimeError, match="left") as caught:
                await take(events, 2)
            told_so.append(str(caught.value))

        async with client_of(server) as client:
            events = await client.follow(ORDERS).__aenter__()
            nursery.start_soon(wait, events)
            await trio.sleep(1)
        await events.__aexit__(None, None, None)
        await trio.sleep(1)
        assert len(told_so) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_refusal_before_the_first_word_is_told_with_a_store_too(way: str, autojump_clock: MockClock) -> None:
    async with shop() as (server, _):
        opened = client_of(server, store=MemoryStore(), **options_of(way))
        async with opened as client, client.follow("/orders/secret/events") as events:
            with pytest.raises(ClientError):
                await take(events, 1)
