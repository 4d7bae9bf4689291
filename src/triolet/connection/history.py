"""The history of one connection, for ``live.explain``."""

from __future__ import annotations

from typing import NamedTuple

import trio

from ..bounds import HAPPENINGS

__all__ = ["Happening", "History"]


class Happening(NamedTuple):
    """Something notable that happened to a connection.

    Attributes:
        at: Trio's time.
        what: ``fell behind``, ``caught up``, ``gap``, ``snapshot``, ``policy``, ``refused`` or ``ended``.
        channel: the channel that it happened in; None if it was the whole connection.
        detail: more about it, for a reader.
    """

    at: float
    what: str
    channel: str | None = None
    detail: str = ""


class History:
    """Remembers when a connection was opened, and the last notable things that happened to it.

    Bounds: the last 16 happenings; nothing is allocated before the first.

    Attributes:
        opened_at: Trio's time when the connection was made.
    """

    __slots__ = ("_happenings", "opened_at")

    def __init__(self) -> None:
        self.opened_at = trio.current_time()
        self._happenings: list[Happening] | None = None

    @property
    def happenings(self) -> tuple[Happening, ...]:
        """Notable things that happened, the oldest first."""
        return tuple(self._happenings or ())

    @property
    def eventful(self) -> bool:
        """Whether anything notable has happened yet."""
        return self._happenings is not None

    def note(self, what: str, channel: str | None = None, detail: str = "") -> None:
        """Remember that something notable happens now."""
        if self._happenings is None:
            self._happenings = []
        self._happenings.append(Happening(trio.current_time(), what, channel, detail))
        del self._happenings[:-HAPPENINGS]
