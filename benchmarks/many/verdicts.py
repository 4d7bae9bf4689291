"""Whether a target was reached, where it is a number and no ratio."""

from __future__ import annotations

__all__ = ["at_least", "at_most"]


def at_least(name: str, value: float, target: float) -> str:
    return _line(name, value, target, "at least", value >= target)


def at_most(name: str, value: float, target: float, unit: str = "") -> str:
    return _line(name, value, target, "at most", value <= target, unit)


def _line(name: str, value: float, target: float, bound: str, reached: bool, unit: str = "") -> str:
    word = "PASS" if reached else "short"
    return f"**{word}**: {name}: {_number(value)}{unit} (to reach: {bound} {_number(target)}{unit})."


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
