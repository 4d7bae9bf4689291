"""Hunts in the Triolet that is on the path, for one bug. ``test_planted_bugs`` runs it, with a seed to begin with and
the kinds it wants.

Prints one JSON object: ``source`` (what was hunted in), ``seed`` (None: nothing was found) and ``said``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

import triolet
from hunt import hunt

__all__ = ["SEEDS", "main"]

SEEDS = 200


def main(first: int, wanted: Iterable[str]) -> None:
    """Hunt until a finding is of one of these kinds, in the first seed or else in :data:`SEEDS` seeds from 0 on."""
    kinds = set(wanted)
    found: dict[str, object] = {"source": triolet.__file__, "seed": None, "said": ""}
    others: list[str] = []
    for performed in hunt((first, *(seed for seed in range(SEEDS) if seed != first))):
        fitting = [finding for finding in performed.findings if finding.kind in kinds]
        if fitting:
            found |= {"seed": performed.plan.seed, "said": str(fitting[0])}
            break
        others.append(f"seed {performed.plan.seed}: {performed.findings[0]}")
    sys.stdout.write(json.dumps(found | {"others": others[:5]}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
