"""``python -m hunt`` as CI and nights run it, in two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEEDS = range(200, 350) if os.environ.get("AGAIN") == "yes" else range(200)
"""Where one interpreter has played the first ones, another goes on with those behind them."""


@pytest.mark.timeout(900)
def test_seeds_break_no_promise() -> None:
    """It takes most of a minute on two idle cores. What was found is told by the command, shrunk."""
    command = [sys.executable, "-m", "hunt", "--seeds", f"{SEEDS[0]}-{SEEDS[-1]}", "--processes", "2"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    assert ended.stdout.startswith(f"{len(SEEDS)} seeds in")
    assert ended.stdout.endswith("found: nothing\n")
