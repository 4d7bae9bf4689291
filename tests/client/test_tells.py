"""What is only for now goes past the events to the program, on each transport; the server's part is played."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from conformance.adapters.triolet_client import Player
from triolet.client.heard import Heard, read
from triolet.client.seat import Seat
from triolet.event import encode_json

TYPING = {"type": "tell", "channel": "c", "event": "typing", "data": {"who": "ann"}, "key": "ann"}
HEARD = {"did": "tell", "as": "f", "channel": "c", "event": "typing", "data": {"who": "ann"}, "key": "ann"}
OPEN = {"type": "open", "channel": "c", "cursor": "e.1"}
LIVE = {"type": "live", "channel": "c", "cursor": "e.1"}
EVENT = {"type": "event", "channel": "c", "id": "e.2", "event": "x", "data": 2, "time": 0}


class Stage:
    """A client whose server is played."""

    def __init__(self, player: Player) -> None:
        self._player = player

    async def does(self, do: str, **step: Any) -> list[dict[str, Any]]:
        """Let something happen, and return what the program heard."""
        done = await self._player.do({"do": do, **step})
        return [one for one in done if one["did"] in ("event", "tell", "connect", "gone")]


@asynccontextmanager
async def played(clock: MockClock, transport: str, **options: Any) -> AsyncIterator[Stage]:
    async with trio.open_nursery() as nursery:
        player = Player(nursery, clock)
        await player.do({"begin": {"transport": transport, "options": {"random": 0.5, **options}}})
        try:
            yield Stage(player)
        finally:
            await player.do({"end": True})


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_stream_tells_it_and_moves_nobody(transport: str, mock_clock: MockClock) -> None:
    async with played(mock_clock, transport) as stage:
        await stage.does("follow", url="/c/events")
        await stage.does("accept")
        await stage.does("message", **OPEN)
        await stage.does("message", **LIVE)
        assert await stage.does("message", **TYPING) == [HEARD]
        (bare,) = await stage.does("message", type="tell", channel="c", event="x", data=None)
        assert (bare["data"], bare["key"]) == (None, None)
        assert [one["did"] for one in await stage.does("message", **EVENT)] == ["event"]
        await stage.does("fail")
        (again,) = await stage.does("advance", ms=500)
        assert again["after"] == "e.2"


async def test_a_long_poll_that_waits_is_answered_with_it(mock_clock: MockClock) -> None:
    async with played(mock_clock, "long-poll") as stage:
        await stage.does("follow", url="/c/events", after="e.1")
        page: dict[str, Any] = {"channel": "c", "cursor": "e.1", "gap": None, "live": True, "retry": 0, "time": 0}
        await stage.does("page", events=[], **page)
        tell, asked = await stage.does("page", events=[], told=[TYPING], **page)
        assert (tell, asked["after"]) == (HEARD, "e.1")
        both = await stage.does("page", events=[EVENT], told=[TYPING, TYPING], **{**page, "cursor": "e.2"})
        assert sorted(one["did"] for one in both) == ["connect", "event", "tell", "tell"]


async def test_on_a_shared_socket_it_is_for_those_that_are_live_and_for_the_app(mock_clock: MockClock) -> None:
    async with played(mock_clock, "websocket", socket="/live") as stage:
        await stage.does("listen")
        for name in "abo":
            await stage.does("follow", url="/o/events" if name == "o" else "/c/events", **{"as": name})
        await stage.does("accept")
        await stage.does("message", type="open", channel=None, cursor=None)
        for number, name in enumerate("abo", 1):
            url, channel = ("/o/events", "o") if name == "o" else ("/c/events", "c")
            await stage.does("message", **{**OPEN, "channel": channel}, url=url, sub=f"s{number}")
        await stage.does("message", **LIVE, subs=["s1", "s2"])
        assert sorted(one["as"] for one in await stage.does("message", **TYPING)) == ["a", "b"]
        await stage.does("message", type="for", subs=["s2"], next=1)
        assert [one["as"] for one in await stage.does("message", **TYPING)] == ["b"]
        await stage.does("message", type="open", channel="d", cursor="e.1")
        assert await stage.does("message", **{**TYPING, "channel": "d"}) == [{**HEARD, "as": "app", "channel": "d"}]
        assert await stage.does("message", **{**TYPING, "channel": "nobody's"}) == []


class Full:
    """A program that has no room."""

    has_room = False

    def __init__(self) -> None:
        self.taken: list[str] = []

    def take_now(self, message: Heard) -> None:
        self.taken.append(message.type)


def test_a_slow_program_is_told_and_does_not_lose_its_socket_for_that() -> None:
    rider: Any = Full()
    seat = Seat(rider, "/c")
    seat.give(read(encode_json(TYPING)))
    assert (rider.taken, seat.ended) == (["tell"], None)
    seat.give(read(encode_json(EVENT)))
    assert seat.ended is not None
