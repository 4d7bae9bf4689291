"""What befalls programs that use the Python client, and nobody else."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from .plan import PYTHON, Step, letter
from .setting import Dice, World

__all__ = ["Kill"]


@dataclass(frozen=True)
class Kill(Step):
    """A program is killed after so many passes of the scheduler, or stopped, so that it leaves its blocks (``clean``);
    and begins anew after so many seconds."""

    client: int
    passes: int = 0
    seconds: float = 0
    clean: bool = False

    @classmethod
    def weight(cls, dice: Dice) -> float:
        return 0  # such steps are put between the others, where there are programs

    @classmethod
    def draw(cls, dice: Dice) -> Kill:
        return cls(
            client=dice.choice(dice.programs),
            passes=dice.choice([0, 1, 2, 3, 5, 8, 13, 21, 40]),
            seconds=dice.choice([0, 0, 0.3, 3]),
            clean=dice.happens(0.3),
        )

    async def play(self, world: World) -> None:
        if world.plan.clients[self.client].transport == PYTHON:
            world.start(self._happen, world)

    async def _happen(self, world: World) -> None:
        for _ in range(self.passes):
            await trio.lowlevel.checkpoint()
        world.clients[self.client].kill(self.seconds, clean=self.clean)

    def __str__(self) -> str:
        how = "is stopped" if self.clean else "is killed"
        after = f" after {self.passes} passes" if self.passes else ""
        return f"{letter(self.client)} {how}{after}, and begins anew after {self.seconds:g} s"
