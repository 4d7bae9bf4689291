"""What Napoleon would take wrong in docstrings."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

__all__ = ["setup"]

HIDDEN = "\ue000"


def _hide_colons(_app: Sphinx, what: str, *rest: Any) -> None:
    """Napoleon takes what stands before a colon in an attribute's docstring for its type."""
    if what in ("attribute", "property"):
        rest[-1][:] = [line.replace(":", HIDDEN) for line in rest[-1]]


def _show_colons(_app: Sphinx, _what: str, *rest: Any) -> None:
    rest[-1][:] = [line.replace(HIDDEN, ":") for line in rest[-1]]


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _hide_colons, priority=400)
    app.connect("autodoc-process-docstring", _show_colons, priority=600)
    return {}
