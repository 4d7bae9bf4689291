"""What a test needs from the machine: ``@needs("chromium")``, and ``program("chromium")`` for its path.

Where it is missing the test is skipped and says what to install. Where CI is set in the environment nothing
is skipped: the test fails, so that a green run has run everything. ``tests/conftest.py`` enforces the mark.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

__all__ = ["missing", "needs", "program"]

PROGRAMS = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "firefox-esr": ("firefox-esr", "firefox"),
    "npm": ("npm",),
    "node": ("node", "nodejs"),
}
"""Names under which a program may be found, where it is not just its own."""

PACKAGES = {
    "redis-cli": "redis-tools",
    "node": "nodejs",
    "h2load": "nghttp2-client",
    "nghttp": "nghttp2-client",
    "postgres": "postgresql",
    "promtool": "prometheus",
}
"""Debian's package of a program, where it is not of the same name."""

NODE_MODULES = Path(__file__).parent / "node_modules"
"""Where ``scripts/setup tools`` puts the npm packages."""

EXAMPLES = Path(__file__).parents[2] / "examples"
"""Where it builds those of the examples' pages, each in its ``static/vendor``."""


def needs(*tools: str) -> pytest.MarkDecorator:
    """Mark a test, a class or (as ``pytestmark``) a module as needing programs.

    ``"npm:ws"`` stands for an npm package of ``package.json``, ``"front:chat"`` for those of an example's page.
    """
    return pytest.mark.needs(*tools)


def program(name: str) -> str:
    """Return the path of a program. Skips, or in CI fails, the test that asks where it is missing."""
    path = _find(name)
    if path is None:
        give_up([name])
    assert path is not None
    return path


def missing(tools: tuple[str, ...]) -> list[str]:
    """Return those of the tools that this machine does not have."""
    return [tool for tool in tools if _find(tool) is None]


def give_up(tools: list[str]) -> None:
    """Skip the running test for want of these tools; in CI, fail it."""
    advice = ", ".join(
        f"{tool} (make test installs it where npm is)"
        if tool.startswith(("npm:", "front:"))
        else f"{tool} (apt-get install {PACKAGES.get(tool, tool)})"
        for tool in tools
    )
    if os.environ.get("CI"):
        pytest.fail(f"needs {advice}; in CI nothing is skipped", pytrace=False)
    pytest.skip(f"needs {advice}")


def _find(tool: str) -> str | None:
    if tool.startswith("npm:"):
        folder = NODE_MODULES / tool.removeprefix("npm:")
        return str(folder) if folder.is_dir() else None
    if tool.startswith("front:"):
        folder = EXAMPLES / tool.removeprefix("front:") / "static" / "vendor"
        return str(folder) if (folder / ".built").exists() else None
    ours = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")))  # Debian puts no server's programs on the path
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin", *ours])
    found = (shutil.which(name, path=path) for name in PROGRAMS.get(tool, (tool,)))
    return next((place for place in found if place), None)
