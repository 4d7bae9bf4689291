"""What is recorded of runs: what their sources gave, who stopped them, and what they came to."""

from __future__ import annotations

from dataclasses import dataclass

from .history import Record

__all__ = ["Beginning", "Begun", "Gave", "Halted", "OfRun", "Outcome", "SourceOver", "Unbegun"]


@dataclass(frozen=True, slots=True)
class OfRun(Record):
    """Something about a run; ``run`` is its number."""

    run: int


@dataclass(frozen=True, slots=True)
class Beginning(OfRun):
    """Somebody asks for a run. ``unwatched``: it is to stop when nobody has watched for so long (0: never)."""

    server: int
    channel: str
    unwatched: float

    def __str__(self) -> str:
        unwatched = f", until nobody watches for {self.unwatched:g} s" if self.unwatched else ""
        return f"run {self.run} is asked for on {self.channel}, server {self.server}{unwatched}"


@dataclass(frozen=True, slots=True)
class Begun(OfRun):
    """It goes on."""

    def __str__(self) -> str:
        return f"run {self.run} has begun"


@dataclass(frozen=True, slots=True)
class Unbegun(OfRun):
    """It does not."""

    kind: str
    why: str

    def __str__(self) -> str:
        return f"run {self.run} does not begin: {self.kind}: {self.why}"


@dataclass(frozen=True, slots=True)
class Gave(OfRun):
    """Its source yields an item that holds a number."""

    number: int

    def __str__(self) -> str:
        return f"run {self.run} gives {self.number}"


@dataclass(frozen=True, slots=True)
class SourceOver(OfRun):
    """Its source is over: ``done``, ``failed`` or ``left`` (it was cancelled, or closed)."""

    how: str

    def __str__(self) -> str:
        return f"the source of run {self.run} is {self.how}"


@dataclass(frozen=True, slots=True)
class Halted(Record):
    """Somebody has asked, ``since`` then, that the run on a channel be stopped, through a server; ``told``: that all
    know of it was promised."""

    since: float
    server: int
    channel: str
    told: bool

    def __str__(self) -> str:
        return f"the run on {self.channel} is to stop, says server {self.server}" + (", told" * self.told)


@dataclass(frozen=True, slots=True)
class Outcome(OfRun):
    """Whoever waited for it was told that it is over, and how."""

    outcome: str

    def __str__(self) -> str:
        return f"run {self.run} is {self.outcome}"
