"""The app fails to give the state of one channel, and its client follows others on the same connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from triolet import Limits
from triolet.closing import CRASHED
from triolet.event import Cursor
from triolet.testing.http import RefusedError
from triolet.testing.server import MemoryServer, serve
from triolet.wire.places import place_key

from .many import WAYS, A, asked, shop

STATE = "/sums/x?snapshot=1"
assert CRASHED.retry is not None
SHORTEST, LONGEST = CRASHED.retry


class States:
    """The app's function, which fails as long as it is told to."""

    def __init__(self) -> None:
        self.fails = True

    async def __call__(self, channel: str) -> tuple[int, Cursor]:
        if self.fails:
            raise RuntimeError("the database is away")
        return 6, Cursor("e", 3)


async def _sum(name: str) -> str:
    return f"sums/{name}"


@asynccontextmanager
async def served() -> AsyncIterator[tuple[MemoryServer, Any, States]]:
    app, live = shop(Limits(wait_seconds=25, poll_seconds=1))
    states = States()
    live.channel("/sums/<name>", endpoint="sums", snapshot=states)(_sum)
    async with serve(app, grace=5) as server:
        await live.publish_many("sums/x", [1, 2, 3])
        yield server, live, states


def is_for_now(refused: Any) -> bool:
    """Whether it is said that it may be asked again, in a while that is drawn."""
    assert (refused["url"], refused["channel"], refused["reason"]) == (STATE, "sums/x", "snapshot")
    return bool(SHORTEST <= refused["retry"] <= LONGEST)


async def test_a_socket_goes_on_with_its_other_follows(autojump_clock: MockClock) -> None:
    async with served() as (server, live, states), server.websocket("/live") as client:
        await client.follow(A, sub="a")
        await client.say(type="follow", url=STATE, sub="x")
        refused = await client.until("refused")
        assert is_for_now(refused)
        assert refused["sub"] == "x"
        await live.publish("orders/A", 1)
        assert (await client.until("event"))["data"] == 1
        assert server.followers == 1
        states.fails = False
        await client.say(type="follow", url=STATE, sub="x")
        assert (await client.until("snapshot"))["data"] == 6


async def test_the_only_follow_of_a_socket_is_refused_and_the_socket_stays(autojump_clock: MockClock) -> None:
    async with served() as (server, _, _), server.websocket("/live") as client:
        await client.say(type="follow", url=STATE)
        assert is_for_now(await client.until("refused"))
        await client.follow(A)


async def test_two_follows_that_share_a_channel_are_each_told(autojump_clock: MockClock) -> None:
    async with served() as (server, _, _), server.websocket("/live") as client:
        await client.follow(A, sub="a")
        for sub in "xy":
            await client.say(type="follow", url=STATE, sub=sub)
        assert {(await client.until("refused"))["sub"] for _ in "xy"} == {"x", "y"}


async def test_a_channels_own_websocket_goes_on_with_what_it_follows_besides(autojump_clock: MockClock) -> None:
    async with served() as (server, live, _), server.websocket(A) as client:
        await client.say(type="follow", url=STATE)
        assert is_for_now(await client.until("refused"))
        await live.publish("orders/A", 1)
        assert (await client.until("event"))["data"] == 1


@pytest.mark.parametrize("transport", WAYS)
async def test_a_stream_or_poll_of_many_goes_on_with_the_others(transport: str, autojump_clock: MockClock) -> None:
    async with served() as (server, live, states), server.client(transport, "/live", follow=[STATE, A]) as client:
        assert is_for_now(await client.pick(lambda said: said["type"] == "refused", "the refusal"))
        await live.publish("orders/A", 1)
        while not client.events:
            await client.next(within=10)
        client.cut()
        states.fails = False
        await client.reconnect()
        state = await client.pick(lambda said: said["type"] == "snapshot", "the state")
        assert (state["data"], state["cursor"]) == (6, "e.3"), "who was refused it has no place in the channel"
        await live.publish("orders/A", 2)
        while client.events[-1]["data"] != 2:
            await client.next(within=10)
        assert [event["data"] for event in client.events] == [1, 2]


async def test_what_had_a_place_keeps_it(autojump_clock: MockClock) -> None:
    async with served() as (server, _, _), server.sse("/live", follow=[STATE, A]) as client:
        await client.until("refused")
        await client.until("live")
        assert place_key("sums/x") not in str(client.cursor)
        assert place_key("orders/A") in str(client.cursor)


async def test_a_stream_of_many_of_which_only_that_is_left_ends_and_its_client_comes_back(
    autojump_clock: MockClock,
) -> None:
    async with served() as (server, live, _states):
        async with server.sse("/live", follow=[STATE]) as client:
            bye = await client.until("bye")
            assert (bye["code"], SHORTEST <= bye["retry"] <= LONGEST) == (1011, True)
        async with server.sse("/live", follow=[STATE, A]) as client:
            await client.until("refused")
            await live.end("orders/A", None)
            await client.until("end")
            bye = await client.until("bye")
            assert (bye["code"], SHORTEST <= bye["retry"] <= LONGEST) == (1011, True), "not for good"


async def test_a_long_poll_waits_for_the_others_but_not_for_long(autojump_clock: MockClock) -> None:
    async with served() as (server, live, states):
        answer = (await server.get(asked(STATE.replace("?", "%3F"), A, wait="20"))).json
        assert trio.current_time() == 5
        assert (len(answer["refused"]), answer["events"], answer["live"]) == (1, [], True)
        assert is_for_now(answer["refused"][0])
        assert [one["channel"] for one in answer["follows"]] == ["orders/A"]
        await live.end("orders/A", "over")
        answer = (await server.get(asked(STATE.replace("?", "%3F"), A, wait="20", after=answer["cursor"]))).json
        assert (len(answer["ends"]), answer["retry"]) == (1, 0), "that one channel may go better"
        states.fails = False
        answer = (await server.get(asked(STATE.replace("?", "%3F"), A, wait="20", after=answer["cursor"]))).json
        assert (answer["refused"], answer["snapshots"][0]["data"]) == ([], 6)


async def test_a_poll_of_which_nothing_is_left_is_answered_500(autojump_clock: MockClock) -> None:
    async with served() as (server, _, _):
        for wait in ({}, {"wait": "20"}):
            assert (await server.get(asked(STATE.replace("?", "%3F"), **wait))).status == 500


async def test_a_gap_that_has_no_state_is_told_of_with_the_next(autojump_clock: MockClock) -> None:
    async with served() as (server, _, states):
        states.fails = True
        url = asked("/sums/x%3Fsnapshot=1%26after=other.1", f"{A}")
        first = (await server.get(url)).json
        assert [one["reason"] for one in first["refused"]] == ["snapshot"]
        states.fails = False
        second = (await server.get(f"{url}&after={first['cursor']}")).json
        assert second["snapshots"][0]["data"] == 6


async def test_who_follows_one_channel_by_its_url_is_turned_away_as_ever(autojump_clock: MockClock) -> None:
    async with served() as (server, _, _):
        async with server.websocket(STATE) as client:
            assert (await client.until("bye"))["code"] == 1011
        with pytest.raises(RefusedError, match="500"):
            async with server.client("short poll", STATE):
                pass
