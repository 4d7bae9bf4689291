"""What is recorded of tasks of a server's own that follow a channel: what each was given."""

from __future__ import annotations

from dataclasses import dataclass

from .history import Message, Record, words_of

__all__ = ["Fed", "Feeding", "OfFeed", "Starved"]


@dataclass(frozen=True, slots=True)
class OfFeed(Record):
    """Something about one, which has a name."""

    feed: str


@dataclass(frozen=True, slots=True)
class Feeding(OfFeed):
    """It follows, ``after`` a cursor (None: from now)."""

    after: str | None

    def __str__(self) -> str:
        return f"{self.feed} follows " + ("from now" if self.after is None else f"after {self.after}")


@dataclass(frozen=True, slots=True)
class Fed(OfFeed):
    """It is given an item, told as the message that a client would have."""

    message: Message

    def __str__(self) -> str:
        return f"{self.feed} is given {words_of(self.message)}"


@dataclass(frozen=True, slots=True)
class Starved(OfFeed):
    """It is given no more, for its server or its channel has ended, say, and would go on from this cursor."""

    cursor: str | None

    def __str__(self) -> str:
        return f"{self.feed} stops at {self.cursor}"
