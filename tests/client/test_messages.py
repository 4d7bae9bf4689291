"""A program and the app's handler talk with each other, on the socket that all of a client shares."""

from __future__ import annotations

from contextlib import suppress
from itertools import groupby
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from triolet import ConfigError, DataError, Limits
from triolet.client import ClientError, Event, Message, Messages, open_client
from triolet.client.bounds import CLIENT_MESSAGES
from triolet.testing import MemoryServer, cut, half_open

from .stage import BASE, client_of, data, take, told
from .talk import hear, talking
from .test_following import Blocked

SOCKET: dict[str, Any] = {"socket": "/talk"}
ORDER = "orders/A1"
ORDERS = "/orders/A1/events"


@pytest.mark.parametrize("library", ["trio-websocket", "websockets"])
async def test_the_handler_and_the_program_hear_each_other(library: str, autojump_clock: MockClock) -> None:
    async with talking() as (server, talk), client_of(server, websocket=library, **SOCKET) as client:
        async with client.messages() as messages:
            assert messages.state == "connecting"
            await messages.ready()
            assert (messages.state, messages.reason) == ("live", None)
            await client.tell({"table": [4, None, "ü"]})
            assert await hear(messages, 2) == [{"hello": 1}, {"echo": {"table": [4, None, "ü"]}}]
            for number in range(200):
                await client.tell(number)
            assert await hear(messages, 200) == [{"echo": number} for number in range(200)]
        assert talk.heard == [{"table": [4, None, "ü"]}, *range(200)]


async def test_without_a_connection_nothing_is_told_and_the_program_hears_so(autojump_clock: MockClock) -> None:
    async with talking() as (server, talk), client_of(server, **SOCKET) as client:
        with pytest.raises(ClientError, match="nothing was said") as caught:
            await client.tell(1)
        assert caught.value.kind == "network"
        async with client.messages() as messages:
            with half_open(server.network):
                with pytest.raises(ClientError, match="nothing was said"):
                    await client.tell(2)
                with trio.move_on_after(20) as waits:
                    await messages.ready()
                assert waits.cancelled_caught
            await messages.ready()
            await client.tell(3)
            assert await hear(messages, 2) == [{"hello": 1}, {"echo": 3}]
        assert talk.heard == [3]


async def test_a_message_whose_connection_ends_may_have_been_said(autojump_clock: MockClock) -> None:
    async with talking() as (server, _), client_of(server, **SOCKET) as client, client.messages() as messages:
        await messages.ready()
        with half_open(server.network), pytest.raises(ClientError, match="may have been"):  # noqa: PT012 - a program, and how it ends
            while True:
                await client.tell("x" * 1_000)


async def test_each_connection_has_a_handler_of_its_own_and_the_program_is_told(autojump_clock: MockClock) -> None:
    states: list[Any] = []
    async with talking() as (server, talk), client_of(server, **SOCKET) as client:

        def note(messages: Messages) -> None:
            states.append(messages.state)

        async with client.messages(on_state=note) as messages:
            assert await hear(messages, 1) == [{"hello": 1}]
            with cut(server.network):
                await trio.sleep(1)
            assert await hear(messages, 1) == [{"hello": 2}]
        assert [state for state, _ in groupby(states)] == ["live", "connecting", "live"]
        assert talk.handlers == 2


async def test_what_the_handler_follows_for_the_client_comes_once_and_in_order(autojump_clock: MockClock) -> None:
    async with talking() as (server, talk), client_of(server, **SOCKET) as client, client.messages() as messages:
        await talk.live.publish_many(ORDER, "abc")
        await messages.ready()
        await client.tell({"follow": ORDER, "after": 1})
        await client.tell("behind it")
        heard = await hear(messages, 4)
        assert [said for said in heard if isinstance(said, tuple)] == [(ORDER, 2, "b"), (ORDER, 3, "c")]
        await talk.live.publish(ORDER, "d")
        assert await hear(messages, 1) == [(ORDER, 4, "d")]
        with cut(server.network):
            await talk.live.publish_many(ORDER, "ef")
            await trio.sleep(1)
        assert await hear(messages, 1) == [{"hello": 2}]
        await client.tell({"follow": ORDER})  # from now on
        assert await hear(messages, 1) == [(ORDER, 4, 6, 2, "skipped")]
        await client.tell({"follow": ORDER, "after": 5})  # what comes again is no news, and no fault
        await talk.live.publish(ORDER, "g")
        assert await hear(messages, 1) == [(ORDER, 7, "g")]
        await talk.live.revoke(channel=ORDER)
        assert await hear(messages, 1) == [(ORDER, 7, 7, None, "revoked")]


async def test_a_follow_of_the_programs_stands_beside_that_of_the_handlers(autojump_clock: MockClock) -> None:
    async with talking() as (server, talk), client_of(server, **SOCKET) as client, client.messages() as messages:
        await talk.live.publish_many(ORDER, "abc")
        assert await hear(messages, 1) == [{"hello": 1}]
        async with client.follow(ORDERS, after=0) as events:
            assert told(await take(events, 4)) == ["a", "b", "c", "live"]
            await client.tell({"follow": ORDER})
            await client.tell("so it is followed")
            assert await hear(messages, 1) == [{"echo": "so it is followed"}]
            await talk.live.publish(ORDER, "d")
            assert await hear(messages, 1) == [(ORDER, 4, "d")]
            assert await data(events, 1) == ["d"]
            await client.tell({"unfollow": ORDER})
            await trio.sleep(1)
            await talk.live.publish_many(ORDER, "ef")
            await trio.sleep(100)  # with beats
            assert await data(events, 2) == ["e", "f"]
            assert (talk.handlers, messages.state, events.state) == (1, "live", "live")
            async with client.follow(ORDERS, after=5) as other:
                assert await data(other, 1) == ["f"]


async def test_a_program_that_takes_nothing_holds_the_handler_up_and_loses_nothing(autojump_clock: MockClock) -> None:
    async with (
        talking() as (server, _),
        client_of(server, **SOCKET) as client,
        client.messages() as messages,
        client.follow(ORDERS) as events,
    ):
        assert told(await take(events, 1)) == ["live"]
        await client.tell({"many": 1_000, "size": 10_000})
        await trio.sleep(5)
        assert messages._in.statistics().current_buffer_used == CLIENT_MESSAGES + 1
        assert (await client.send("/orders/A1/pick", timeout=5)).data == "A1"  # by another way
        heard = await hear(messages, 1_001)
        assert [said[0] for said in heard[1:]] == list(range(1_000))


async def test_where_nobody_listens_messages_are_passed_over(autojump_clock: MockClock) -> None:
    async with talking() as (server, talk), client_of(server, **SOCKET) as client, client.follow(ORDERS) as events:
        assert told(await take(events, 1)) == ["live"]
        await client.tell({"follow": ORDER, "after": 0})
        await client.tell({"many": 1_000, "size": 1_000})
        await talk.live.publish(ORDER, 1)
        assert await data(events, 1) == [1]
        await trio.sleep(5)
        async with client.messages() as messages:
            assert messages.state == "live"
            await talk.live.publish(ORDER, 2)
            assert await hear(messages, 1) == [(ORDER, 2, 2)]  # from here on, though it was opened before


async def test_many_may_listen_and_each_hears_all(autojump_clock: MockClock) -> None:
    async with (
        talking() as (server, _),
        client_of(server, **SOCKET) as client,
        client.messages() as one,
        client.messages() as other,
    ):
        await one.ready()
        await client.tell(1)
        assert await hear(one, 2) == await hear(other, 2) == [{"hello": 1}, {"echo": 1}]


async def test_when_the_handler_has_done_the_loop_just_ends(autojump_clock: MockClock) -> None:
    async with talking() as (server, _), client_of(server, **SOCKET) as client, client.messages() as messages:
        await messages.ready()
        await client.tell("end")
        assert [said async for said in messages] == [Message({"hello": 1})]
        assert messages.state == "gone"
        with pytest.raises(ClientError, match="nothing was said"):
            await client.tell(1)


async def test_a_refusal_ends_the_loop_with_an_error(autojump_clock: MockClock) -> None:
    async with (
        talking() as (server, _),
        client_of(server, socket="/forbidden") as client,
        client.messages() as messages,
    ):
        for waiting in (messages.ready(), anext(messages)):
            with pytest.raises(ClientError) as caught:
                await waiting
            assert (caught.value.kind, caught.value.status) == ("refused", 403)


async def test_where_no_websocket_gets_through_follows_go_on_and_messages_say_so(autojump_clock: MockClock) -> None:
    async with talking() as (server, talk):

        async def dial(host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            return Blocked(server.connect())

        async with open_client(BASE, dial=dial, **SOCKET) as client, client.follow(ORDERS) as events:
            assert told(await take(events, 1)) == ["live"]
            assert client.transport == "sse"
            async with client.messages() as messages:
                with pytest.raises(ClientError) as caught:
                    await hear(messages, 1)
                assert str(caught.value).startswith("/talk: ")
            with pytest.raises(ClientError, match="nothing was said"):
                await client.tell(1)
            await talk.live.publish(ORDER, 1)
            assert await data(events, 1) == [1]


async def test_messages_wait_for_a_network_that_is_away_and_for_nothing_else(autojump_clock: MockClock) -> None:
    """Other transports are tried meanwhile, and what is followed comes over them."""
    async with (
        talking() as (server, talk),
        client_of(server, **SOCKET) as client,
        client.messages() as messages,
        client.follow(ORDERS) as events,
    ):
        assert await hear(messages, 1) == [{"hello": 1}]
        assert told(await take(events, 1)) == ["live"]
        for number in range(5):
            with half_open(server.network) if number % 2 else cut(server.network):
                await trio.sleep(70)
            assert await hear(messages, 1) == [{"hello": number + 2}]
            await talk.live.publish(ORDER, number)
        assert await data(events, 5) == list(range(5))


async def test_where_there_is_no_socket_it_is_said_at_once(autojump_clock: MockClock) -> None:
    async with talking() as (server, _):
        async with client_of(server) as client:
            with pytest.raises(ConfigError, match="socket="):
                client.messages()
            with pytest.raises(ConfigError, match="socket="):
                await client.tell(1)
        async with client_of(server, transports=["sse"], **SOCKET) as client:
            with pytest.raises(ConfigError, match="WebSocket"):
                client.messages()
        async with client_of(server, **SOCKET) as client:
            with pytest.raises(DataError):
                await client.tell({1, 2})
        with pytest.raises(RuntimeError, match="closed"):
            await client.tell(1)
        with pytest.raises(RuntimeError, match="closed"):
            client.messages()


async def test_its_block_is_entered_once_and_heard_within(autojump_clock: MockClock) -> None:
    async with talking() as (server, _), client_of(server, **SOCKET) as client:
        messages = client.messages()
        for waiting in (messages.ready(), anext(messages)):
            with pytest.raises(RuntimeError, match="begins with its block"):
                await waiting
        async with messages:
            await messages.ready()
            with pytest.raises(RuntimeError, match="entered once"):
                await messages.__aenter__()
        for waiting in (messages.ready(), anext(messages)):
            with pytest.raises(RuntimeError, match="left"):
                await waiting


async def test_one_that_waits_when_the_client_is_closed_waits_no_longer(autojump_clock: MockClock) -> None:
    heard: list[Any] = []
    async with talking() as (server, _), trio.open_nursery() as nursery:
        async with client_of(server, **SOCKET) as client:
            messages = client.messages()
            await messages.__aenter__()

            async def listen() -> None:
                heard.extend([said async for said in messages])

            nursery.start_soon(listen)
            await trio.sleep(1)
        await messages.__aexit__(None, None, None)
    assert heard == [Message({"hello": 1})]


async def test_tasks_that_tell_at_once_wait_their_turn(autojump_clock: MockClock) -> None:
    limits = Limits(inbox_messages=10)
    async with talking(limits) as (server, talk), client_of(server, **SOCKET) as client:
        async with client.messages() as messages, trio.open_nursery() as nursery:
            await messages.ready()
            for number in range(2_000):  # more than an outbox holds
                nursery.start_soon(client.tell, number)
            assert len(await hear(messages, 2_001)) == 2_001
        assert sorted(talk.heard) == list(range(2_000))


@pytest.mark.parametrize("library", ["trio-websocket", "websockets"])
async def test_wherever_a_talk_is_cancelled_nothing_is_left(library: str, autojump_clock: MockClock) -> None:
    async def use(server: MemoryServer, scope: trio.CancelScope) -> None:
        with scope:
            async with client_of(server, websocket=library, **SOCKET) as client, client.messages() as messages:
                await messages.ready()
                await client.tell({"follow": ORDER, "after": 0})
                await client.tell({"many": 300, "size": 10})
                await hear(messages, 302)

    async with talking() as (server, talk):
        await talk.live.publish(ORDER, 1)
        for steps in range(0, 500, 7):
            scope = trio.CancelScope()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(use, server, scope)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        await trio.sleep(60)
        assert (server.followers, server.connections) == (0, 0)


async def test_what_waits_for_a_slow_program_is_there_although_the_connection_has_ended(
    autojump_clock: MockClock,
) -> None:
    count = CLIENT_MESSAGES + 20
    async with talking() as (server, talk), client_of(server, **SOCKET) as client, client.messages() as messages:
        await messages.ready()
        await client.tell({"follow": ORDER, "after": 0})
        await trio.sleep(1)
        for number in range(count):
            await talk.live.publish(ORDER, number)
        await trio.sleep(5)  # the program does nothing: its reader waits for room
        with cut(server.network), suppress(ClientError):
            for _ in range(30):
                await client.tell("x")
                await trio.sleep(1)
        offsets: list[int] = []
        with trio.move_on_after(60):
            async for item in messages:
                if isinstance(item, Event):
                    offsets.append(item.offset)
        await client.tell({"follow": ORDER, "after": 0})
        with trio.move_on_after(60):
            async for item in messages:
                if isinstance(item, Event):
                    offsets.append(item.offset)
        assert offsets == list(range(1, count + 1))


async def test_what_waits_for_a_slow_program_is_there_although_the_socket_is_gone_for_good(
    autojump_clock: MockClock,
) -> None:
    count = CLIENT_MESSAGES + 20
    async with talking() as (server, talk), client_of(server, **SOCKET) as client, client.messages() as messages:
        await messages.ready()
        await client.tell({"follow": ORDER, "after": 0})
        await trio.sleep(1)
        for number in range(count):
            await talk.live.publish(ORDER, number)
        await trio.sleep(5)  # the program does nothing: its reader waits for room
        messages._link.listeners.become("gone")
        offsets = [item.offset async for item in messages if isinstance(item, Event)]
        assert len(offsets) > CLIENT_MESSAGES - 5
        assert offsets == list(range(1, len(offsets) + 1))


async def test_a_program_that_takes_nothing_of_what_the_app_says_does_not_hold_up_the_next_connection(
    autojump_clock: MockClock,
) -> None:
    async with (
        talking() as (server, talk),
        client_of(server, **SOCKET) as client,
        client.messages() as messages,
        client.follow(ORDERS) as events,
    ):
        assert told(await take(events, 1)) == ["live"]
        for connection in range(2, 6):
            await client.tell({"many": CLIENT_MESSAGES, "size": 1})
            await trio.sleep(5)  # the socket is no longer read
            with cut(server.network), suppress(ClientError):
                for _ in range(40):
                    await client.tell("x")
                    await trio.sleep(1)
            await trio.sleep(120)
            if messages._in.statistics().current_buffer_used > 2 * CLIENT_MESSAGES:
                break
            assert (talk.handlers, events.state) == (connection, "live")
            await talk.live.publish(ORDER, connection)
            await take(events, 2)
        else:
            raise AssertionError("it is bounded")
        assert (events.state, connection) == ("connecting", 3)
        waiting = messages._in.statistics().current_buffer_used
        heard = await hear(messages, waiting)
        await messages.ready()
        assert [said for said in heard if isinstance(said, dict)][:2] == [{"hello": 1}, {"hello": 2}]
        assert (await hear(messages, 1))[0] == {"hello": 3}
