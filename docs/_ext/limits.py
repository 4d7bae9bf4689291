"""The limits and their defaults, from ``triolet/limits.py``, and the bounds beside them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from triolet import limits

from .attributes import attributes
from .rst import literal, table
from .words import BOUNDS

__all__ = ["bounds", "settings"]


def settings() -> list[str]:
    """Return the table of what an app may set."""
    told = attributes(limits)
    rows = [
        (
            literal(field.name),
            literal("{}") if field.name == "keep" else f"{field.default:,}",
            told.get(f"Limits.{field.name}", ""),
        )
        for field in fields(limits.Limits)
    ]
    return table(("bound", "default", "what it bounds"), rows)


def bounds() -> list[str]:
    """Return the table of bounds that are no settings."""
    rows = [
        (literal(name), _shown(value), told[name])
        for module in (limits, *BOUNDS)
        for told in (attributes(module),)
        for name, value in vars(module).items()
        if name in told and name.isupper() and _is_bound(value)  # what it imports stands in its own module
    ]
    return table(("bound", "value", "what it bounds"), rows)


def _is_bound(value: Any) -> bool:
    return all(map(_is_bound, value)) if isinstance(value, tuple) else isinstance(value, int | float)


def _shown(value: Any) -> str:
    return ", ".join(map(_shown, value)) if isinstance(value, tuple) else f"{value:,}"
