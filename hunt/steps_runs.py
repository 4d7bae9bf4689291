"""Steps about runs: they begin, and are stopped."""

from __future__ import annotations

from dataclasses import dataclass

from .plan import Step
from .setting import Dice, World

__all__ = ["Begin", "Halt"]


@dataclass(frozen=True)
class Begin(Step):
    """Somebody begins a run of ``count`` items, ``pace`` seconds apart (0: as fast as they are taken). Then its source
    is ``done``, or ``raises``, or gives what is no item (``odd``). ``word``: when it is cancelled it gives a last
    one. ``unwatched``: it stops when nobody has watched for so long."""

    channel: int
    count: int = 1
    pace: float = 0
    size: int = 0
    server: int = 0
    fold: str = ""
    then: str = "done"
    word: bool = False
    unwatched: float = 0

    @classmethod
    def weight(cls, dice: Dice) -> float:
        return 0  # such steps are put between the others, where there are runs

    @classmethod
    def draw(cls, dice: Dice) -> Begin:
        pace = dice.choice([0, 0, 0.01, 0.2, 1])
        return cls(
            channel=dice.choice(dice.channels),
            count=dice.choice([0, 1, 5, 12]) if pace >= 0.2 else dice.choice([1, 8, 25]),
            pace=pace,
            size=dice.choice([0, 0, 0, 300]),
            server=dice.choice(dice.servers),
            then=dice.choice(["done", "done", "done", "raises", "odd"]),
            word=dice.happens(0.3),
            unwatched=dice.choice([1, 2, 4]) if dice.happens(0.25) else 0,
        )

    async def play(self, world: World) -> None:
        world.start(world.runs.run, self)

    def __str__(self) -> str:
        told = f"run {self.count} items on c{self.channel}, {self.then}" + (f", {self.fold}" if self.fold else "")
        told += f", {self.pace:g} s apart" if self.pace else ""
        told += f", on server {self.server}" if self.server else ""
        told += ", with a last word" if self.word else ""
        return told + (f", until nobody watches for {self.unwatched:g} s" if self.unwatched else "")


@dataclass(frozen=True)
class Halt(Step):
    """Somebody stops the run on a channel: through a server, or (None) where it is in hand."""

    channel: int
    server: int | None = None

    @classmethod
    def weight(cls, dice: Dice) -> float:
        return 0

    @classmethod
    def draw(cls, dice: Dice) -> Halt:
        return cls(dice.choice(dice.channels), dice.choice([None, *dice.servers]))

    async def play(self, world: World) -> None:
        world.start(world.runs.halt, self)

    def __str__(self) -> str:
        return f"stop the run on c{self.channel}" + ("" if self.server is None else f" through server {self.server}")
