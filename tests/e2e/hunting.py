"""Hunts for one bug in the Triolet of one folder. ``test_planted_bugs`` calls it in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["LIBRARIES", "SEEDS", "Found", "hunt_in"]

SEEDS = 200

LIBRARIES: Final = [
    *("apsw", "coredis", "h2.connection", "httpcore", "httpx", "hypercorn.trio", "jwt", "msgspec", "prometheus_client"),
    *("quart_trio", "trio", "trio.testing", "trio_websocket", "websockets"),
]
"""What Triolet and the hunt stand on: imported once, and not for each bug. Neither of the two must be."""


@dataclass(frozen=True)
class Found:
    """``source``: what was hunted in. ``seed``: where a wanted finding was, None: nowhere. ``said``: it. ``others``:
    what was found before it."""

    source: str
    seed: int | None
    said: str
    others: tuple[str, ...]


def hunt_in(folder: Path, first: int, wanted: Iterable[str], seconds: int) -> Found:
    """Hunt until a finding is of one of these kinds, in the first seed or else in :data:`SEEDS` seeds from 0 on.

    Raises:
        TimeoutError: it took too long.
        RuntimeError: a Triolet is loaded already.
    """
    if loaded := {"triolet", "hunt"} & sys.modules.keys():
        raise RuntimeError(f"loaded before the bug was planted: {loaded}")
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.alarm(seconds)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    os.chdir(folder)
    import triolet
    from hunt import hunt

    kinds = set(wanted)
    others: list[str] = []
    for performed in hunt((first, *(seed for seed in range(SEEDS) if seed != first))):
        fitting = [finding for finding in performed.findings if finding.kind in kinds]
        if fitting:
            return Found(triolet.__file__, performed.plan.seed, str(fitting[0]), tuple(others[:5]))
        others.append(f"seed {performed.plan.seed}: {performed.findings[0]}")
    return Found(triolet.__file__, None, "", tuple(others[:5]))


def _out_of_time(*_: Any) -> None:
    raise TimeoutError("the hunt takes too long")
