"""Measure many processes on one log: publishes a second into each log, latencies from worker to worker through Redis,
one worker and two when saturated, and 60,000 connections held by four of which one is killed.

    python -m benchmarks.many

Needs redis-server and a C compiler. Takes some five minutes, with --quick one and a half (and a tenth of the
connections).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.deadline import deadline
from benchmarks.fanout.machine import raise_files
from benchmarks.fanout.programs import Programs
from benchmarks.results import Part, Table, options, publish, say

from .across import latency, saturated
from .held import held
from .publishing import publishing

PARTS = {
    "publishing": ("publishes a second", "One process publishes into each log, and nobody follows."),
    "latency": ("from worker to worker", "Two processes of `triolet serve`, which nothing but Redis connects."),
    "saturated": ("one worker and two", "Processes of `triolet serve`, which nothing but Redis connects."),
    "held": ("connections that stay", "`triolet serve --workers 4`, with the log in Redis."),
}
"""Their titles and what is to be said of them."""

LIMIT_SECONDS = {"publishing": 300, "latency": 180, "saturated": 180, "held": 1_200}


def main() -> None:
    """Parse the command line, measure, and print the tables."""
    parser = options("many", __doc__)
    parser.add_argument("--only", action="append", choices=list(PARTS), help="measure only this; may be repeated")
    arguments = parser.parse_args()
    raise_files()
    with tempfile.TemporaryDirectory() as folder:
        load = Programs(Path(folder)).load
        for name in arguments.only or PARTS:
            say(f"measuring {name} …")
            with deadline(f"Triolet, {name}", LIMIT_SECONDS[name]):
                tables = _measure(name, load, arguments.quick)
            title, text = PARTS[name]
            part = Part(f"many-{name}", f"Many processes: {title}", text, tables, quick=arguments.quick)
            publish(part, keep=arguments.save or not arguments.quick)


def _measure(name: str, load: Path, quick: bool) -> list[Table]:
    if name == "publishing":
        return [publishing(quick)]
    if name == "latency":
        return [latency(load, quick)]
    if name == "saturated":
        return [saturated(load, quick)]
    return held(quick)


if __name__ == "__main__":
    main()
