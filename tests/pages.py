"""Where the documentation's pages are: each in the folder of its kind, and its name is no other's."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

__all__ = ["DOCS", "KINDS", "PAGES", "drawing", "kept", "page", "text_of"]

DOCS = Path(__file__).parent.parent / "docs"

KINDS = ("tutorials", "how-to", "reference", "explanation")

PAGES = [DOCS / "index.rst", *sorted(path for kind in KINDS for path in (DOCS / kind).glob("*.rst"))]


def page(name: str) -> Path:
    """A page, by the name of its file: ``serving.rst``."""
    (found,) = [path for path in PAGES if path.name == name]
    return found


def text_of(name: str) -> str:
    """What a page says, by the name of its file."""
    return page(name).read_text(encoding="utf-8")


def kept(folder: str) -> Path:
    """The folder that pages show files of: ``kept("identity")``. It stands beside them."""
    (found,) = [DOCS / kind / folder for kind in KINDS if (DOCS / kind / folder).is_dir()]
    return found


def drawing(name: str) -> Any:
    """A module of ``docs/_ext``: what is made of the code for pages, and knows nothing of Sphinx."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        return importlib.import_module(f"_ext.{name}")
