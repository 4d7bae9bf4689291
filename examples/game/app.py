"""A game for many: drops that swallow each other. Twenty states a second go down, and up goes what each player wants.

Run it with ``make game``, or in this folder with ``triolet serve app:app``. What counts (who came, who swallowed whom)
is in a log: ``game.db`` beside this file, or where the environment's ``GAME_DB`` says. Where everybody is, is only for
now.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import trio
from quart import Response
from quart_trio import QuartTrio
from world import HEIGHT, WIDTH, Drop, World, somewhere

from triolet import Command, Connection, Draft, Event, LogError, Reducer, Triolet

POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
TICK, AHEAD = 1 / 20, 2  # seconds; states on their way to a page, that it has not said that it has
SEATS, AWAY = 50, 10 / TICK  # players, and ticks without a word of one

app = QuartTrio(__name__)
app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 0  # or browsers keep pages and scripts for twelve hours
database = Path(os.environ.get("GAME_DB") or Path(__file__).with_name("game.db")).resolve()
live = Triolet(app, log=f"sqlite:///{database}")
world = World()
seats: dict[str, Drop] = {}
ticks = trio.lowlevel.ParkingLot()  # where those wait who look


# --- what counts: in the log, and once ---------------------------------------------------------------------


def count(board: dict[str, int], event: Event) -> dict[str, int]:
    """How many each has swallowed: the fifty best."""
    if event.name == "swallowed":
        board[event.data["by"]] = board.get(event.data["by"], 0) + 1
    return dict(sorted(board.items(), key=lambda one: -one[1])[:50])


@live.channel("/news/events", snapshot=Reducer(count, initial={}, name="board", channels="news"))
async def news() -> str:
    return "news"


live.socket("/live")


@live.command("/join")
async def join(command: Command) -> Any:
    """Take a seat. It is called by the command's id, which only its page knows; so asked twice it is one seat."""
    if len(seats) >= SEATS:
        return {"error": "full", "message": f"all {SEATS} seats are taken"}, 409
    if command.id not in seats:
        name = "".join(filter(str.isprintable, str(command.data))).strip()[:16] or "Somebody"
        while any(one.name == name for one in world.drops):
            name += "′"
        seats[command.id] = Drop(name, *somewhere(), heard=world.tick)
        world.drops.append(seats[command.id])
    await command.publish("news", {"who": seats[command.id].name}, name="joined")
    return {"seat": command.id, "you": seats[command.id].name}


# --- what is only for now: both ways, on one WebSocket ------------------------------------------------------


@live.socket("/play")
async def play(conn: Connection) -> None:
    """A page says which state it has, where its drop is to go, and first, on each new connection, which seat it has."""
    drop = Drop("nobody's", 0, 0)
    unseen: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(show, conn, unseen)
        async for message in conn:
            match message:
                case {"seen": int(tick)}:
                    unseen[:] = [one for one in unseen if one > tick]
                    drop.heard = world.tick
                case {"aim": [int() | float() as x, int() | float() as y]}:
                    drop.steer(x, y)
                case {"seat": str(seat)}:
                    drop = seats.get(seat, drop)
                    await conn.send({"seated": seat in seats})


async def show(conn: Connection, unseen: list[int]) -> None:
    """Send each state, while fewer than two are on their way to a page that has not said that it has them. The others
    are left out: behind a slow line they would only wait, and be old when they come."""
    await conn.send({"width": WIDTH, "height": HEIGHT, "ms": TICK * 1_000})
    while True:
        await ticks.park()
        if len(unseen) < AHEAD:
            unseen.append(world.tick)
            await conn.send(world.state())


@app.before_serving
async def begin() -> None:
    app.nursery.start_soon(go_on)


async def go_on() -> None:
    """Twenty times a second, while anybody looks. What counts is in the log before it is seen: a game whose log is away
    stands still."""
    happened: list[Draft] = []
    due = trio.current_time()
    while True:
        due = max(due + TICK, trio.current_time())
        await trio.sleep_until(due)
        if ticks and not happened:
            for by, whom in world.step():
                happened.append(Draft.of({"by": by, "whom": whom}, name="swallowed", dedupe=secrets.token_hex(8)))
            for seat in [seat for seat, drop in seats.items() if world.tick - drop.heard > AWAY]:
                world.drops.remove(drop := seats.pop(seat))
                happened.append(Draft.of({"who": drop.name}, name="left", dedupe=seat))
        try:
            if happened:
                await live.publish_many("news", happened)
            happened.clear()
            ticks.unpark_all()
        except LogError as error:
            app.logger.error("the game waits for its log: %s", error)


@app.get("/")
async def index() -> Response:
    return await app.send_static_file("index.html")


@app.after_request
async def harden(response: Response) -> Response:
    response.headers.update({"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"})
    return response
