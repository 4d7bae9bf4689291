"""Arithmetic of cursors: how far one lies behind another, where that can be said."""

from __future__ import annotations

from ..event import Cursor

__all__ = ["distance", "is_open", "step_to"]


def is_open(start: Cursor) -> bool:
    """Whether only the server knows where this is: the oldest event that is kept, or the newest so many."""
    return start.epoch == "" and start.offset <= 0


def is_newest(start: Cursor | None) -> bool:
    """Whether it is no place, but the newest so many."""
    return start is not None and start.offset < 0


def distance(start: Cursor, to: Cursor, oldest: int = 0) -> int | None:
    """How many events lie after one cursor, up to another; None where they belong to two lives of the log.

    A bare offset belongs to the present life.

    Args:
        oldest: what to say where ``start`` :func:`is_open`.
    """
    if is_open(start):
        return oldest
    return to.offset - start.offset if start.epoch in ("", to.epoch) else None


def step_to(start: Cursor, to: Cursor, count: int, *, filtered: bool = False) -> int | None:
    """The same to what comes next: so many events, or, with 0, the word that everything has been sent.

    Where another life of the log begins without a gap nothing was lost (its server was restarted, say), and the offsets
    go on: then a step of that length, or of 0, is as good as in one life, and a longer one where the events between may
    have been for others.
    """
    within = distance(start, to, count)
    if within is not None:
        return within
    onward = to.offset - start.offset
    return onward if onward in (0, count) or (filtered and onward > count) else None
