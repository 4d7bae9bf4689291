"""What is recorded of ends, deletions, and the list of channels."""

from __future__ import annotations

from dataclasses import dataclass

from .history import Record

__all__ = ["Closed", "Listed"]


@dataclass(frozen=True, slots=True)
class Closed(Record):
    """Somebody has asked, ``since`` then, to end a channel or to delete it (``what``), and was told the cursor of the
    event that says so; None, and ``why``, where it failed."""

    since: float
    what: str
    server: int
    channel: str
    cursor: str | None
    why: str = ""

    def __str__(self) -> str:
        came = f"fails: {self.why}" if self.cursor is None else f"returns {self.cursor}"
        return f"to {self.what} {self.channel} on server {self.server} {came}"


@dataclass(frozen=True, slots=True)
class Listed(Record):
    """The names of channels, as a server answers to whoever asked it ``since``."""

    since: float
    server: int
    prefix: str
    after: str
    limit: int
    names: tuple[str, ...]

    def __str__(self) -> str:
        asked = f"{self.limit} channels {self.prefix}*, after {self.after!r}"
        return f"server {self.server} lists {asked}: {', '.join(self.names)}"
