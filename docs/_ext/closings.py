"""The catalogue of closings, from ``triolet/closing.py``."""

from __future__ import annotations

from triolet import closing

from .attributes import attributes
from .rst import table

__all__ = ["closings"]


def closings() -> list[str]:
    """Return the table of all closings, with what stands below each in the source."""
    told = attributes(closing)
    names = {id(value): name for name, value in vars(closing).items() if isinstance(value, closing.Closing)}
    return table(
        ("code", "reason", "come back after", "what has happened"),
        [(str(one.code), one.reason, _again(one), told[names[id(one)]]) for one in closing.CATALOGUE],
    )


def _again(one: closing.Closing) -> str:
    return "no" if one.retry is None else "{:g} to {:g} s".format(*(ms / 1000 for ms in one.retry))
