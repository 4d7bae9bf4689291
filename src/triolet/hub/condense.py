"""How many events become few for a client that is behind: of each key the newest, or folded."""

from __future__ import annotations

from typing import Protocol

from ..event import Event

__all__ = ["Condenser", "Newest"]


class Condenser(Protocol):
    """Takes events in their order, and makes fewer of them. :class:`triolet.wire.fold.Folder` is one, too.

    Attributes:
        size: bytes of data of what was made.
        count: how many events were taken.
    """

    size: int
    count: int

    def add(self, event: Event) -> None:
        """Take the next event."""

    def events(self) -> list[Event]:
        """Return what was made, in the order of offsets. Nothing can be taken afterwards."""

    def __len__(self) -> int:
        """How many events were made."""


class Newest:
    """Keeps the newest event of each key, and all events without a key."""

    __slots__ = ("_newest", "count", "size")

    def __init__(self) -> None:
        self.size = 0
        self.count = 0
        self._newest: dict[str | int, Event] = {}

    def add(self, event: Event) -> None:
        """Take the next event."""
        self.count += 1
        key = event.offset if event.key is None else event.key
        old = self._newest.pop(key, None)  # popped and put in anew, so that the dict stays in the order of offsets
        self.size += len(event.json) - (0 if old is None else len(old.json))
        self._newest[key] = event

    def events(self) -> list[Event]:
        """Return those that are left, in the order of offsets."""
        return list(self._newest.values())

    def __len__(self) -> int:
        return len(self._newest)
