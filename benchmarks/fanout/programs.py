"""The two C programs, compiled for this machine and this run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["Programs", "compiled"]

HERE = Path(__file__).parent


class Programs:
    """``sender.c`` and ``load.c``, compiled into a folder."""

    def __init__(self, folder: Path) -> None:
        self.sender = compiled(HERE / "sender.c", folder)
        self.load = compiled(HERE / "load.c", folder)


def compiled(source: Path, folder: Path) -> Path:
    """Compile a C program into a folder, and return its path."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        sys.exit("the benchmark needs a C compiler (gcc or cc)")
    program = folder / source.stem
    subprocess.run([compiler, "-O2", "-o", str(program), str(source)], check=True)
    return program
