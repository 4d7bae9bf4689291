"""``triolet hunt`` in several processes."""

from __future__ import annotations

import subprocess
import sys


def test_two_processes_share_the_seeds() -> None:
    command = [sys.executable, "-m", "triolet", "hunt", "--seeds", "0-24", "--processes", "2"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("25 seeds in")
    assert ended.stdout.endswith("found: nothing\n")
