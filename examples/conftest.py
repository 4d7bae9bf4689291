"""Each example is a program of its own, and they all have a module ``app``: each one's tests get theirs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Before a file of tests is imported, forget the modules of the other examples."""
    if isinstance(collector, pytest.Module) and EXAMPLES in collector.path.parents:
        for path in EXAMPLES.glob("*/*.py"):
            loaded = getattr(sys.modules.get(path.stem), "__file__", None)
            if loaded == str(path) and path.parent != collector.path.parent:
                del sys.modules[path.stem]
