"""Steps about whole channels: they end, are deleted, and are listed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import trio

from triolet.errors import LogError, NotServingError

from .channel_history import Closed, Listed
from .plan import Step, channel_name
from .setting import Dice, World

__all__ = ["Close", "List"]

PATIENCE_SECONDS = 30
"""After which whoever ends a channel gives up: where his server is killed it never ends."""


@dataclass(frozen=True)
class Close(Step):
    """Somebody ends a channel, or deletes it (``what``)."""

    channel: int
    what: str = "end"
    server: int = 0

    @classmethod
    def weight(cls, dice: Dice) -> float:
        return 0  # such steps are put between the others, where channels end

    @classmethod
    def draw(cls, dice: Dice) -> Close:
        return cls(dice.choice(dice.channels), dice.choice(["end", "delete", "delete"]), dice.choice(dice.servers))

    async def play(self, world: World) -> None:
        world.start(self._happen, world)

    async def _happen(self, world: World) -> None:
        channel, history, live = channel_name(self.channel), world.history, world.hosts[self.server].live
        since, cursor, why = history.now, None, "nobody serves"
        if live is not None:
            try:
                with trio.fail_after(PATIENCE_SECONDS):
                    ending = live.delete(channel) if self.what == "delete" else live.end(channel, {"at": since})
                    cursor = str((await ending).cursor)
            except (LogError, NotServingError, trio.TooSlowError) as error:
                why = f"{type(error).__name__}: {error}"
        history.add(Closed(history.now, since, self.what, self.server, channel, cursor, why if cursor is None else ""))

    def __str__(self) -> str:
        return f"{self.what} c{self.channel} on server {self.server}"


@dataclass(frozen=True)
class List(Step):
    """Somebody asks a server which channels there are, ``limit`` at a time."""

    server: int = 0
    limit: int = 1_000

    @classmethod
    def weight(cls, dice: Dice) -> float:
        return 0

    @classmethod
    def draw(cls, dice: Dice) -> List:
        return cls(dice.choice(dice.servers), dice.choice([1, 1, 2, 1_000]))

    async def play(self, world: World) -> None:
        world.start(self._happen, world)

    async def _happen(self, world: World) -> None:
        history, live, after = world.history, world.hosts[self.server].live, ""
        with suppress(LogError, NotServingError), trio.move_on_after(PATIENCE_SECONDS):
            while live is not None:
                since = history.now
                names = tuple(await live.channels("", after, self.limit))
                history.add(Listed(history.now, since, self.server, "", after, self.limit, names))
                if len(names) < self.limit:
                    return
                after = names[-1]

    def __str__(self) -> str:
        return f"list the channels on server {self.server}, {self.limit} at a time"
