"""The game's own tests. Run them in this folder with ``pytest``: a second of the arena takes some milliseconds."""

from __future__ import annotations

from math import dist
from typing import Any

import pytest
from app import SEATS, Drop, World, app, world
from trio.testing import MockClock

from triolet.log import MemoryLog
from triolet.testing import ScriptedLog, WebSocketClient, failing, serve, slow_reader

NEWS = "/news/events"


@pytest.fixture(autouse=True)
def a_new_arena() -> None:
    vars(world).update(vars(World()))


async def ask(page: WebSocketClient, seat: str | None = None, aim: Any = (0, 0)) -> None:
    """Ask for one state more, as a page does."""
    await page.say(type="message", data={"seat": seat, "aim": aim})


async def state(page: WebSocketClient) -> dict[str, Any]:
    """The next state that a page is shown."""
    while "tick" not in (data := (await page.until("message"))["data"]):
        pass
    return dict(data)


async def take(page: WebSocketClient, count: int, seat: str | None = None, aim: Any = (0, 0)) -> list[int]:
    """Take states as a page does, which asks for the next of each that comes; return their ticks."""
    ticks = []
    for _ in range(count):
        await ask(page, seat, aim)
        ticks.append((await state(page))["tick"])
    return ticks


async def join(page: WebSocketClient, name: str) -> str:
    """Take a seat."""
    answer = await page.command("/join", name)
    assert answer["data"]["you"].startswith(name)
    return str(answer["data"]["seat"])


async def test_who_keeps_up_is_shown_twenty_states_a_second(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.websocket("/play") as page:
        ticks = await take(page, 40)
        assert ticks == list(range(ticks[0], ticks[0] + 40))


async def test_who_does_not_keep_up_is_shown_fewer_and_the_newest(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.websocket("/play") as page:
        await ask(page)
        first = await take(page, 1)
        await state(page)
        await page.nothing_for(1)
        assert world.tick > first[0] + 15
        before = world.tick
        assert before <= (await take(page, 1))[0] <= before + 1
        await page.nothing_for(1)


async def test_over_a_line_that_is_too_slow_what_comes_is_never_old(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.websocket("/play") as page:
        await take(page, 1)
        await ask(page)  # and so two are asked for at any time
        with slow_reader(page, bytes_per_second=4_000):  # a state takes some 0.3 s, which are six ticks
            came, old = [], []
            for _ in range(30):
                came += await take(page, 1)
                old.append(world.tick - came[-1])
        assert max(old) <= 16
        assert came[-1] - came[0] > 100


async def test_a_drop_goes_where_its_player_wants_whatever_he_says(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.websocket("/play") as page:
        seat = await join(page, "Ada")
        drop = world.seats[seat]
        drop.at = 800.0, 500.0
        mistakes: list[Any] = [
            {"aim": ["left", 0]},
            {"aim": 7},
            {"seat": seat, "aim": [2, 2]},
            [],
            {"seat": "of another"},
        ]
        for wrong in mistakes:
            await page.say(type="message", data=wrong)
        for unheard_of in (-(10**400), 0), (10**400, 0.5), (0.5, -(10**400)):
            await ask(page, seat, list(unheard_of))
        await page.pick(lambda message: message.get("data") == {"lost": "of another"}, "that there is no such seat")
        await take(page, 5)
        assert drop.at == (800, 500)
        await take(page, 10, seat, [-1, 0])
        assert 650 < drop.at[0] < 800
        assert drop.at[1] == 500


def test_who_goes_askew_is_no_faster() -> None:
    arena, straight, askew = World(), Drop("Ada"), Drop("Ben")
    arena.bots, arena.food, arena.seats = [], [], {"1": straight, "2": askew}
    straight.at = askew.at = middle = 800.0, 500.0
    straight.aim, askew.aim = (1, 0), (1, 1)
    assert list(arena.step()) == []
    assert dist(askew.at, middle) == pytest.approx(dist(straight.at, middle))


async def test_a_join_that_is_asked_again_is_one_seat_and_told_once(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse(NEWS) as page:
        await page.until("open")
        first, second = [await page.command("/join", " Ada\n", id="5ac0ffee") for _ in range(2)]
        assert first["data"] == second["data"] == {"seat": "5ac0ffee", "you": "Ada"}
        other = await page.command("/join", "Ada")
        assert other["data"]["you"] == "Ada′"
        await page.expect(event="joined", data={"who": "Ada"})
        await page.expect(event="joined", data={"who": "Ada′"})
        assert len(world.seats) == 2


async def test_the_last_seat_is_given_also_where_the_log_fails_at_first(autojump_clock: MockClock) -> None:
    world.seats = {str(number): Drop(f"{number}") for number in range(SEATS - 1)}
    log = ScriptedLog(MemoryLog(), [failing("commit", 1)])
    async with serve(app, log=log) as server, server.websocket("/play") as page:
        assert (await page.command("/join", "Ada"))["data"]["you"] == "Ada"
        refused = await page.command("/join", "Ben")
        assert (refused["status"], refused["data"]["error"]) == (409, "full")


async def test_who_comes_back_in_ten_seconds_goes_on_and_then_his_seat_is_free(autojump_clock: MockClock) -> None:
    async with (
        serve(app, log="memory:") as server,
        server.sse(NEWS) as news,
        server.websocket("/play") as other,
        server.websocket("/play") as page,
    ):
        seat = await join(page, "Ada")
        drop = world.seats[seat]
        await news.expect(event="joined")
        page.cut()
        await take(other, 100)
        await page.reconnect()
        await take(page, 2, seat, [1, 0])
        assert (world.seats[seat], drop.aim) == (drop, (1, 0))
        page.cut()
        await take(other, 210)
        left = await news.pick(lambda message: message.get("event") == "left", "that a seat is free")
        assert left["data"] == {"who": "Ada"}
        await ask(other, seat)
        await other.pick(lambda message: message.get("data") == {"lost": seat}, "that the seat is lost")


async def test_what_was_swallowed_is_in_the_log_and_on_the_board_of_who_comes_later(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.websocket("/play") as page:
        large, small = world.bots[:2]
        large.radius, small.at = 70.0, large.at
        await take(page, 5)
        async with server.sse(f"{NEWS}?snapshot=1") as late:
            board = (await late.until("snapshot"))["data"]
        assert board[large.name] >= 1


async def test_nobody_moves_while_nobody_looks(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse(NEWS) as page:
        await page.nothing_for(60)
        assert world.tick == 0
