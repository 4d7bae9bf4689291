"""The apps of the examples, imported as ``triolet serve app:app`` does it in their folders, with a log in memory."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(example: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Import an example's ``app``, and forget it and its modules afterwards."""
    folder = EXAMPLES / example
    monkeypatch.syspath_prepend(str(folder))
    for path in EXAMPLES.glob("*/*.py"):
        monkeypatch.delitem(sys.modules, path.stem, raising=False)  # all have a module ``app``
    module: Any = importlib.import_module("app")
    monkeypatch.setattr(module.live._apps, "_log", "memory:")
    yield module
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    yield from load("shop", monkeypatch)


@pytest.fixture
def ticker(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    pytest.importorskip("vega_datasets", reason="the prices are in vega-datasets", exc_type=ImportError)
    yield from load("ticker", monkeypatch)
