"""What stands below constants and fields in the source: their docstrings, which Python forgets."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise
from types import ModuleType

__all__ = ["attributes"]


def attributes(module: ModuleType) -> dict[str, str]:
    """Return the docstrings of a module's constants, by name, and of its classes' fields, as ``Limits.follows``."""
    tree = ast.parse(inspect.getsource(module))
    found = _told("", tree.body)
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found |= _told(f"{node.name}.", node.body)
    return found


def _told(prefix: str, body: list[ast.stmt]) -> dict[str, str]:
    found: dict[str, str] = {}
    for node, below in pairwise(body):
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            text = " ".join(below.value.value.split())
            found |= {f"{prefix}{target.id}": text for target in targets if isinstance(target, ast.Name)}
    return found
