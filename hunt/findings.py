"""What the checker finds."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken promise.

    Attributes:
        kind: a word or two; two findings of one kind are alike.
        at: when it showed, in virtual seconds.
        promised, came: what was promised, and what came instead.
        conn: the connection on which it showed, if it was one.
        channel: the channel it is about, if it is about one.
    """

    kind: str
    at: float
    promised: str
    came: str
    conn: int | None = None
    channel: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}: promised was {self.promised}; what came: {self.came}"
