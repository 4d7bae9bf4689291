"""Lines of reStructuredText."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["literal", "plain", "table"]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table; its cells are reStructuredText, of one line each."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (head, *rows):
        lines += [f"   {'  ' if place else '* '}- {cell}" for place, cell in enumerate(row)]
    return [*lines, ""]


def literal(text: str) -> str:
    """Return a name as it is typed."""
    return f"``{text}``"


def plain(text: str) -> str:
    """Return a text that means nothing but itself, on one line."""
    return re.sub(r"([\\*`|]|_(?=\W|$))", r"\\\1", " ".join(text.split()))
