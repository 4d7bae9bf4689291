"""The connections of one process: those that are open, and the last snapshots of those that ended lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from ..bounds import ENDED_CONNECTIONS

__all__ = ["Registry"]


class Numbered(Protocol):
    """A connection as the registry needs it: with a number."""

    id: int


C = TypeVar("C", bound=Numbered)
S = TypeVar("S")


class Registry(Generic[C, S]):
    """Knows every open connection by its id, and the last snapshots of those that ended.

    It knows neither what a connection is nor what is seen of it: connections are above it, and snapshots above those.

    Args:
        look: takes the last snapshot of a connection that ends. With None, nothing is remembered of them.
        remember: how many of those snapshots are kept.

    Bounds: ``limits.connections`` open ones, which admission sees to; ``remember`` snapshots.

    Attributes:
        arriving: the connections that were made and are not open yet, by their ids.
        open: the connections that are open, by their ids, the oldest first.
        ended: the last snapshots of those that ended, the latest last.
    """

    __slots__ = ("_look", "arriving", "ended", "open")

    def __init__(self, look: Callable[[C], S] | None = None, remember: int = ENDED_CONNECTIONS) -> None:
        self._look = look
        self.arriving: dict[int, C] = {}
        self.open: dict[int, C] = {}
        self.ended: deque[S] = deque(maxlen=remember)

    def expect(self, conn: C) -> None:
        """Know a connection that is about to be open."""
        self.arriving[conn.id] = conn

    def add(self, conn: C) -> None:
        """Count a connection as open from now on."""
        self.arriving.pop(conn.id, None)
        self.open[conn.id] = conn

    def remove(self, conn: C) -> bool:
        """Count a connection as ended, and remember its last snapshot. Return False if it was not open."""
        self.arriving.pop(conn.id, None)
        if self.open.pop(conn.id, None) is None:
            return False
        if self._look is not None:
            self.ended.append(self._look(conn))
        return True
