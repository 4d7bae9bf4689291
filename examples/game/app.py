"""A game for many: drops that swallow each other. Twenty states a second go down, and up goes what players want."""

import os
import secrets
from collections.abc import Iterator
from itertools import permutations
from math import dist, hypot
from pathlib import Path
from random import uniform
from typing import Any

import trio
from quart import Response
from quart_trio import QuartTrio

from triolet import Command, Connection, Draft, Event, LogError, Reducer, Triolet

POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
TICK, SEATS, AWAY = 1 / 20, 50, 200  # seconds; players; ticks without a word of one
WIDTH, HEIGHT, FOOD, NEWBORN, BEATS = 1_600, 1_000, 80, 14.0, 1.25
BOTS = ("Pip", "Ripple", "Mist", "Brook", "Fjord", "Puddle", "Gully", "Tarn")

app = QuartTrio(__name__)
app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 0  # or browsers keep pages and scripts for twelve hours
database = Path(os.environ.get("GAME_DB") or Path(__file__).with_name("game.db")).resolve()
live = Triolet(app, log=f"sqlite:///{database}")
live.socket("/live")
ticks = trio.lowlevel.ParkingLot()  # where those wait who look


def somewhere() -> tuple[float, float]:
    return round(uniform(20, WIDTH - 20)), round(uniform(20, HEIGHT - 20))


class Drop:
    def __init__(self, name: str, heard: int = 0) -> None:
        self.name, self.heard = name, heard  # at which tick its player was heard last
        self.at, self.aim, self.radius = somewhere(), (0.0, 0.0), NEWBORN  # an aim longer than 1 is no faster


class World:
    """The arena. It knows of neither time nor network: ``step`` is one tick, and yields who has swallowed whom."""

    def __init__(self) -> None:
        self.tick, self.asked, self.food = 0, -AWAY, [somewhere() for _ in range(FOOD)]
        self.bots, self.seats = [Drop(name) for name in BOTS], dict[str, Drop]()

    @property
    def drops(self) -> list[Drop]:
        return [*self.bots, *self.seats.values()]

    def step(self) -> Iterator[tuple[str, str]]:
        self.tick += 1
        for at, bot in enumerate(self.bots):  # goes for the nearest that it can swallow; each likes other food
            prey = [one.at for one in self.drops if bot.radius > BEATS * one.radius] + self.food[at :: len(BOTS)]
            far, x, y = min((dist(bot.at, (x, y)), x, y) for x, y in prey)
            bot.aim = (x - bot.at[0]) / (far + 1), (y - bot.at[1]) / (far + 1)
        for drop in self.drops:
            speed = 16 * (4 / drop.radius) ** 0.4 / max(1, hypot(*drop.aim))
            x, y = drop.at[0] + speed * drop.aim[0], drop.at[1] + speed * drop.aim[1]
            drop.at = min(max(x, 0), WIDTH), min(max(y, 0), HEIGHT)
            drop.radius -= max(0, drop.radius - 31) / 1_000  # who is large has to go on eating
            for at, food in enumerate(self.food):
                if dist(food, drop.at) < drop.radius:
                    self.food[at], drop.radius = somewhere(), hypot(drop.radius, 4)
        for large, small in permutations(self.drops, 2):
            if large.radius > max(BEATS * small.radius, dist(large.at, small.at)):
                large.radius = hypot(large.radius, 0.8 * small.radius)
                small.at, small.radius = somewhere(), NEWBORN
                yield large.name, small.name


world = World()


def count(board: dict[str, int], event: Event) -> dict[str, int]:
    """How many each has swallowed: the fifty best."""
    if event.name == "swallowed":
        board[event.data["by"]] = board.get(event.data["by"], 0) + 1
    return dict(sorted(board.items(), key=lambda one: -one[1])[:50])


@live.channel("/news/events", snapshot=Reducer(count, initial={}, name="board", channels="news"))
async def news() -> str:
    return "news"


@live.command("/join")
async def join(command: Command) -> Any:
    """Take a seat. It is called by the command's id, which only its page knows; so asked twice it is one seat."""
    if len(world.seats) >= SEATS and command.id not in world.seats:
        return {"error": "full", "message": f"all {SEATS} seats are taken"}, 409
    name = "".join(filter(str.isprintable, str(command.data))).strip()[:16] or "Somebody"
    while any(one.name == name for one in world.drops):
        name += "′"
    drop = world.seats.setdefault(command.id, Drop(name, world.tick))
    await command.publish("news", {"who": drop.name}, name="joined")
    return {"seat": command.id, "you": drop.name}


@live.socket("/play")
async def play(conn: Connection) -> None:
    """Each message of a page asks for one state more, and says which seat it has and where its drop is to go."""
    await conn.send({"width": WIDTH, "height": HEIGHT, "ms": TICK * 1_000})
    async for message in conn:
        world.asked = world.tick
        match message:
            case {"seat": str(seat)} if seat not in world.seats:
                await conn.send({"lost": seat})
            case {"seat": str(seat), "aim": [int() | float() as x, int() | float() as y]} if max(abs(x), abs(y)) < 2:
                world.seats[seat].aim, world.seats[seat].heard = (x, y), world.tick
        await ticks.park()
        drops = [[one.name, *map(round, one.at), round(one.radius, 1)] for one in world.drops]
        await conn.send({"tick": world.tick, "drops": drops, "food": world.food})


async def go_on() -> None:
    """Twenty ticks a second, while anybody looks. The game stands still until what counts is in the log."""
    happened, due = list[Draft](), trio.current_time()
    while True:
        due = max(due + TICK, trio.current_time() - 1)  # ticks that are late are caught up with
        await trio.sleep_until(due)
        if world.tick - world.asked < AWAY and not happened:
            for by, whom in world.step():
                happened.append(Draft.of({"by": by, "whom": whom}, name="swallowed", dedupe=secrets.token_hex(8)))
            for seat in [seat for seat, drop in world.seats.items() if world.tick - drop.heard > AWAY]:
                happened.append(Draft.of({"who": world.seats.pop(seat).name}, name="left", dedupe=seat))
        try:
            if happened:
                await live.publish_many("news", happened)
            happened.clear()
            ticks.unpark_all()
        except LogError as error:
            app.logger.error("the game waits for its log: %s", error)


@app.before_serving
async def begin() -> None:
    app.nursery.start_soon(go_on)


@app.get("/")
async def index() -> Response:
    return await app.send_static_file("index.html")


@app.after_request
async def harden(response: Response) -> Response:
    response.headers.update({"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"})
    return response
