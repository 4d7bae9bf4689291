"""The arena: drops that grow by what they swallow. ``step`` is one tick; nothing here knows of time or of a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot, sqrt
from random import uniform
from typing import Any, Final

WIDTH, HEIGHT, FOOD, NEWBORN, SIGHT, BEATS = 1_600, 1_000, 80, 12.0, 140.0, 1.3
BOTS: Final = ("Pip", "Ripple", "Mist", "Brook", "Fjord", "Puddle", "Gully", "Tarn")


@dataclass(slots=True, eq=False)
class Drop:
    """Somebody in the arena.

    Attributes:
        aim: where it goes, and how fast: of a length of 1 at most.
        heard: the tick at which its player was last heard.
    """

    name: str
    x: float
    y: float
    mass: float = NEWBORN
    aim: tuple[float, float] = (0.0, 0.0)
    heard: int = 0

    @property
    def radius(self) -> float:
        return 4 * sqrt(self.mass)

    def steer(self, x: float, y: float) -> None:
        x, y = min(max(x, -WIDTH), WIDTH), min(max(y, -WIDTH), WIDTH)  # whatever numbers a client sends
        length = max(1.0, hypot(x, y))
        self.aim = x / length, y / length

    def move(self) -> None:
        speed = 16 * self.mass**-0.2
        self.x = min(max(self.x + self.aim[0] * speed, 0), WIDTH)
        self.y = min(max(self.y + self.aim[1] * speed, 0), HEIGHT)
        self.mass -= max(0, self.mass - 60) / 1_000  # who is large has to go on eating

    def distance(self, x: float, y: float) -> float:
        return hypot(x - self.x, y - self.y)


class World:
    def __init__(self) -> None:
        self.tick = 0
        self.food = [somewhere() for _ in range(FOOD)]
        self.bots = [Drop(name, *somewhere()) for name in BOTS]
        self.drops = list(self.bots)

    def state(self) -> dict[str, Any]:
        """All that is to be seen: some 1,100 bytes of JSON, with eight drops."""
        drops = [[one.name, round(one.x), round(one.y), round(one.radius, 1)] for one in self.drops]
        return {"tick": self.tick, "drops": drops, "food": self.food}

    def step(self) -> Iterator[tuple[str, str]]:
        """Go on by one tick. Yield who has swallowed whom."""
        self.tick += 1
        for at in range(self.tick % 4, len(self.bots), 4):
            self.think(self.bots[at], self.food[at :: len(self.bots)])
        for drop in self.drops:
            drop.move()
            for at, food in enumerate(self.food):
                if drop.distance(*food) < drop.radius:
                    self.food[at] = somewhere()
                    drop.mass += 1
        for large in self.drops:
            for small in self.drops:
                if large.mass > BEATS * small.mass and large.distance(small.x, small.y) < large.radius:
                    large.mass += small.mass * 0.6
                    (small.x, small.y), small.mass = somewhere(), NEWBORN
                    yield large.name, small.name

    def think(self, bot: Drop, liked: list[tuple[int, int]]) -> None:
        """Go for the nearest that can be swallowed: a drop in sight, or the food that this bot likes."""
        near = [one for one in self.drops if bot.mass > BEATS * one.mass and bot.distance(one.x, one.y) < SIGHT]
        x, y = min([(one.x, one.y) for one in near] or liked, key=lambda at: bot.distance(*at))
        bot.steer(x - bot.x, y - bot.y)


def somewhere() -> tuple[int, int]:
    return round(uniform(20, WIDTH - 20)), round(uniform(20, HEIGHT - 20))
