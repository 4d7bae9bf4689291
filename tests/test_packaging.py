"""What the package says of itself is so: what is imported is declared, and the papers name files that exist."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

DISTRIBUTIONS = {
    "jwt": "pyjwt",
    "prometheus_client": "prometheus-client",
    "quart_trio": "quart-trio",
    "trio_websocket": "trio-websocket",
}
"""Where a distribution is called otherwise than what is imported of it."""

EXTRAS = {
    "anyio": "redis",
    "coredis": "redis",
    "cryptography": "jwt",
    "httpcore": "client",
    "httpx": "jwt",
    "jwt": "jwt",
    "pytest": "testing",
    "trio_websocket": "client",
    "websockets": "websockets",
}
"""What only an extra brings, and which."""


def _names(requirements: list[str]) -> set[str]:
    found = (re.match(r"[A-Za-z0-9._-]+", requirement) for requirement in requirements)
    return {match[0].lower() for match in found if match}


def _imported() -> dict[str, set[str]]:
    """Everything that is neither ours nor the interpreter's, with the files that import it."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            for name in {name.partition(".")[0] for name in names} - {"triolet", *sys.stdlib_module_names}:
                found.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    return found


IMPORTED = _imported()


@pytest.mark.parametrize("name", sorted(IMPORTED))
def test_what_is_imported_is_declared(name: str) -> None:
    extra = EXTRAS.get(name)
    declared = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    brought = _names(declared) | ({"pytest"} if "pytest-trio" in _names(declared) else set())
    assert DISTRIBUTIONS.get(name, name) in brought, f"imported by {sorted(IMPORTED[name])}"


def test_what_is_declared_is_imported() -> None:
    assert _names(PROJECT["dependencies"]) == {DISTRIBUTIONS.get(name, name) for name in IMPORTED if name not in EXTRAS}


@pytest.mark.parametrize("paper", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_a_paper_names_files_that_exist(paper: str) -> None:
    text = (ROOT / paper).read_text(encoding="utf-8")
    named = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    named += re.findall(r"`((?:tests|src|docs|scripts|hunt|benchmarks|examples)/[\w./-]+)`", text)
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]


def test_the_documentation_is_built_with_all_that_its_reference_imports() -> None:
    extras = PROJECT["optional-dependencies"]
    assert _names(extras["client"]) <= _names(extras["docs"])
