"""One slow client among fifty fast ones: ``python -m benchmarks.slow`` measures what it gets, what it costs, and what
the others notice of it, once with the default policy and once with ``latest``.

Needs the extra `bench` (pip install -e '.[bench]'). Takes a minute and a half, prints a table, and draws
docs/explanation/slow-client.png.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import trio

from benchmarks.deadline import deadline
from benchmarks.fanout.machine import ROOT
from benchmarks.slow.picture import draw, table
from benchmarks.slow.run import Run, server

LIMIT_SECONDS = 150

PICTURE = ROOT / "docs" / "explanation" / "slow-client.png"


def main() -> None:
    """Run both policies, print the table, draw the picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slow", description=__doc__)
    parser.add_argument("--output", type=Path, default=PICTURE, help="where to draw")
    arguments = parser.parse_args()
    runs = []
    for policy in ("catch_up", "latest"):
        with deadline(f"Triolet, a slow client with {policy}", LIMIT_SECONDS), server() as port:
            run = Run(policy, port)
            trio.run(run.whole)
            runs.append(run)
    sys.stdout.write(table(runs))
    draw(runs, arguments.output)
    sys.stdout.write(f"Drawn to {arguments.output}.\n")


main()
