"""The game's own tests. Run them in this folder with ``pytest``: a second of the arena takes some milliseconds."""

from __future__ import annotations

from typing import Any

import pytest
from app import AHEAD, app, seats, world
from trio.testing import MockClock
from world import World

from triolet.testing import WebSocketClient, serve, slow_reader

NEWS = "/news/events"


@pytest.fixture(autouse=True)
def a_new_arena() -> None:
    seats.clear()
    vars(world).update(vars(World()))


async def state(page: WebSocketClient) -> dict[str, Any]:
    """The next state that a page is shown."""
    while "tick" not in (data := (await page.until("message"))["data"]):
        pass
    return dict(data)


async def take(page: WebSocketClient, count: int) -> list[int]:
    """Take states as a page does, and say each time that it is there; return their ticks."""
    ticks = []
    for _ in range(count):
        ticks.append((await state(page))["tick"])
        await page.say(type="message", data={"seen": ticks[-1]})
    return ticks


async def join(page: WebSocketClient, name: str) -> str:
    """Take a seat, and say on the page's WebSocket which."""
    answer = await page.command("/join", name)
    await page.say(type="message", data={"seat": answer["data"]["seat"]})
    await page.pick(lambda message: message.get("data") == {"seated": True}, "a seat")
    return str(answer["data"]["you"])


async def test_who_keeps_up_is_shown_twenty_states_a_second(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.websocket("/play") as page:
        ticks = await take(page, 40)
        assert ticks == list(range(ticks[0], ticks[0] + 40))


async def test_who_does_not_keep_up_is_shown_fewer_and_the_newest(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.websocket("/play") as page:
        on_the_way = [(await state(page))["tick"] for _ in range(AHEAD)]
        await page.nothing_for(1)
        before = world.tick
        await page.say(type="message", data={"seen": on_the_way[0]})
        assert before <= (await state(page))["tick"] <= before + 1
        await page.nothing_for(1)


async def test_over_a_line_that_is_too_slow_what_comes_is_never_old(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.websocket("/play") as page:
        await take(page, 1)
        with slow_reader(page, bytes_per_second=4_000):  # a state takes some 0.3 s, which are six ticks
            came, old = [], []
            for _ in range(30):
                came += await take(page, 1)
                old.append(world.tick - came[-1])
        assert max(old) <= 16
        assert came[-1] - came[0] > 100


async def test_a_drop_goes_where_its_player_wants_whatever_he_says(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.websocket("/play") as page:
        name = await join(page, "Ada")
        drop = next(one for one in world.drops if one.name == name)
        drop.x, drop.y = 800.0, 500.0
        mistakes: list[Any] = [{"aim": ["left", 0]}, {"aim": 7}, {"seen": "all"}, [], {"seat": "of another"}]
        for wrong in mistakes:
            await page.say(type="message", data=wrong)
        await page.say(type="message", data={"aim": [-(10**400), 0]})
        await take(page, 10)
        assert 650 < drop.x < 800
        assert drop.y == 500


async def test_a_join_that_is_asked_again_is_one_seat_and_told_once(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse(NEWS) as page:
        await page.until("open")
        first, second = [await page.command("/join", " Ada\n", id="5ac0ffee") for _ in range(2)]
        assert first["data"] == second["data"] == {"seat": "5ac0ffee", "you": "Ada"}
        other = await page.command("/join", "Ada")
        assert other["data"]["you"] == "Ada′"
        await page.expect(event="joined", data={"who": "Ada"})
        await page.expect(event="joined", data={"who": "Ada′"})
        assert len(seats) == 2


async def test_who_comes_back_in_ten_seconds_goes_on_and_then_his_seat_is_free(autojump_clock: MockClock) -> None:
    async with (
        serve(app, log="memory:") as server,
        server.sse(NEWS) as news,
        server.websocket("/play") as other,
        server.websocket("/play") as page,
    ):
        name = await join(page, "Ada")
        drop, seat = next(one for one in world.drops if one.name == name), next(iter(seats))
        await news.expect(event="joined")
        page.cut()
        await take(other, 100)
        await page.reconnect()
        await page.say(type="message", data={"seat": seat})
        await page.pick(lambda message: message.get("data") == {"seated": True}, "the same seat")
        await take(page, 2)
        page.cut()
        left = await news.pick(lambda message: message.get("event") == "left", "that a seat is free")
        assert left["data"] == {"who": "Ada"}
        assert drop not in world.drops


async def test_what_was_swallowed_is_in_the_log_and_on_the_board_of_who_comes_later(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.websocket("/play") as page:
        large, small = world.bots[:2]
        large.mass, (small.x, small.y) = 300.0, (large.x, large.y)
        await take(page, 5)
        async with server.sse(f"{NEWS}?snapshot=1") as late:
            board = (await late.until("snapshot"))["data"]
        assert board[large.name] >= 1


async def test_nobody_moves_while_nobody_looks(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse(NEWS) as page:
        await page.nothing_for(60)
        assert world.tick == 0
