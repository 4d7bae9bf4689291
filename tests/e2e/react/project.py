"""A project of a user's with React and ``triolet-client`` in it, as npm would lay it out."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ..needs import NODE_MODULES

__all__ = ["REACTS", "bundle", "make_project"]

REACTS = {"18": "-18", "19": ""}
"""Versions of React that are tried, and how the names of their npm packages end in ``package.json``."""

STATIC = Path(__file__).parents[3] / "src" / "triolet" / "static"


def make_project(folder: Path, react: str) -> Path:
    """Make it in this folder. What runs there has to keep symbolic links, or it finds another React than this one."""
    modules = folder / "node_modules"
    modules.mkdir(parents=True)
    for package in NODE_MODULES.iterdir():
        if not package.name.startswith("."):
            (modules / package.name).symlink_to(package)
    for name in ("react", "react-dom"):
        (modules / name).unlink()
        (modules / name).symlink_to(NODE_MODULES / f"{name}{REACTS[react]}")
    shutil.copytree(STATIC, modules / "triolet-client")
    return folder


def bundle(page: Path, made: Path) -> None:
    """Build a page of a project's as its own build would, for development: then React says what it does not like."""
    command = [str(NODE_MODULES / ".bin" / "esbuild"), str(page), "--bundle", "--format=esm", "--jsx=automatic"]
    command += ["--preserve-symlinks", '--define:process.env.NODE_ENV="development"', f"--outfile={made}"]
    subprocess.run(command, capture_output=True, check=True)
