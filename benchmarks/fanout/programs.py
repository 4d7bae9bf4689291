"""The two C programs, compiled for this machine and this run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["Programs"]

HERE = Path(__file__).parent


class Programs:
    """``sender.c`` and ``load.c``, compiled into a folder."""

    def __init__(self, folder: Path) -> None:
        self.sender = self._compile(folder, "sender")
        self.load = self._compile(folder, "load")

    def _compile(self, folder: Path, name: str) -> Path:
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            sys.exit("the benchmark needs a C compiler (gcc or cc)")
        program = folder / name
        subprocess.run([compiler, "-O2", "-o", str(program), str(HERE / f"{name}.c")], check=True)
        return program
