"""The same seed is the same run, step for step, in another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hunt import draw
from hunt.plan import PYTHON

ROOT = Path(__file__).parents[2]


def _played(seed: int, log: str, hash_seed: str) -> dict[str, Any]:
    """What a day came to in a process of its own, whose sets and dicts of text are in an order of their own."""
    command = [sys.executable, "-m", "tests.testing.day", str(seed), log]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("log", ["memory", "sqlite"])
def test_two_processes_take_the_same_steps(log: str, tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/{number}.db" if log == "sqlite" else "memory:" for number in range(3)]
    one, other, unlike = (
        _played(seed, url, hash_seed) for url, seed, hash_seed in zip(urls, (7, 7, 8), "123", strict=True)
    )
    assert one == other
    assert one["steps"] > 5_000
    assert unlike["trace"] != one["trace"]


def _recorded(seeds: list[int], hash_seed: str) -> str:
    """All that was recorded in plays of the hunt, in a process of its own."""
    play = "from hunt import draw, perform; print(*perform(draw(int(seed))).history.records, sep='\\n')"
    command = [sys.executable, "-c", f"import sys\nfor seed in sys.argv[1:]: {play}", *map(str, seeds)]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True, text=True)
    return done.stdout


def test_programs_with_the_python_client_take_the_same_steps_too() -> None:
    """Over each transport and with each library, so that none of these draws anything by itself."""
    first: dict[object, int] = {}
    for seed in range(300):
        for client in draw(seed).clients:
            if client.transport == PYTHON:
                first.setdefault((client.program.transports, client.program.library), seed)
    seeds = sorted(set(first.values()))
    one, other = (_recorded(seeds, hash_seed) for hash_seed in "12")
    assert len(first) == 10
    assert one.count("\n") > 1_000
    assert one == other
