"""The examples, from their own READMEs, with the pictures that were taken of them (``make pictures``)."""

from __future__ import annotations

import re
from pathlib import Path

from .rst import literal, plain

__all__ = ["examples"]

ROOT = Path(__file__).parents[2]


def examples() -> list[str]:
    """Return a section for each example: what it shows, how it is started, and how it looks."""
    lines = []
    for path in sorted((ROOT / "examples").glob("*/app.py")):
        name = path.parent.name
        title, about = _told(path.parent / "README.md")
        lines += [title, "-" * len(title), "", f"{literal(f'make {name}')}: {plain(about)}.", ""]
        if (ROOT / "docs" / "pictures" / f"{name}.png").is_file():
            lines += [f".. image:: /pictures/{name}.png", f"   :alt: {plain(about)}", ""]
    return lines


def _told(readme: Path) -> tuple[str, str]:
    """What an example is called, and the line that `make examples` shows."""
    text = readme.read_text(encoding="utf-8")
    told = re.match(r"# (.+)\n\n> (.+)\n", text)
    if told is None:
        raise ValueError(f"{readme} does not begin with a title and a line of what it shows")
    return told[1], told[2].rstrip(".")
