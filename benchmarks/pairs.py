"""Compare what a delivery costs with what it cost at another revision of this repository: two servers of Triolet, one
of the source as it is here and one of the revision's, measured in turns, round after round.

    python -m benchmarks.pairs REVISION

Both run the same app on the same core, with clients of their own; only one publishes at a time. Needs git and a C
compiler. Takes some five minutes, with --quick one. Nothing of it is kept: it is for whoever changes the source.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.fanout.contestants import TrioletServer
from benchmarks.fanout.load import Load
from benchmarks.fanout.machine import ROOT, raise_files
from benchmarks.fanout.measure import MODES, Mode, Pair, Plan, Window, rounds
from benchmarks.fanout.programs import Programs
from benchmarks.results import Part, Table, markdown, say, spread

__all__ = ["main"]

NOW = "now"
TRANSPORTS = {"ws": "WebSocket", "sse": "SSE"}


class Revision(TrioletServer):
    """``triolet serve`` of the source in one folder.

    Args:
        name: what it is called in the table.
        source: the folder in which the package is.
    """

    def __init__(self, name: str, source: Path, transport: str) -> None:
        self.name = name
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = str(source)  # inherited by the server; it comes before what is installed
        try:
            super().__init__(transport)
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before

    def command(self) -> list[str]:
        return [sys.executable, "-m", "triolet", *super().command()[1:]]


def source_of(revision: str, folder: Path) -> Path:
    """Unpack the source of a revision into a folder; what is checked out stays as it is."""
    packed = subprocess.run(["git", "archive", revision, "src"], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        sys.exit(packed.stderr.decode())
    subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)
    return folder / "src"


def compare(transport: str, revision: str, source: Path, plan: Plan, program: Path) -> list[Window]:
    """Measure both in turns, at a pace and saturated."""
    with ExitStack() as stack:
        pairs: list[Pair] = []
        for name, folder in ((NOW, ROOT / "src"), (revision, source)):
            server = stack.enter_context(Revision(name, folder, transport))
            pairs.append((server, stack.enter_context(Load(program, server, transport, plan.clients))))
        time.sleep(1)
        return rounds(pairs, plan, _give_up)


def _give_up(_name: str, error: Exception) -> None:
    raise error


def row(transport: str, mode: Mode, windows: Sequence[Window], revision: str) -> list[str]:
    """One line: both, and how many times the older one's CPU it is, in each round."""
    now, then = (
        [window for window in windows if window.mode == mode and window.name == name] for name in (NOW, revision)
    )
    ratios = [one.micros / other.micros for one, other in zip(now, then, strict=True)]
    return [
        TRANSPORTS[transport],
        mode.title,
        spread([window.micros for window in then]),
        spread([window.micros for window in now]),
        spread(ratios),
        str(sum(window.lost for window in (*now, *then))),
        f"{statistics.median(window.foreign for window in (*now, *then)):.0%}",
    ]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pairs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter; the numbers are only an impression")
    parser.add_argument("revision", help="a commit, a branch or a tag")
    parser.add_argument("--rounds", type=int, help="so many pairs of each kind")
    parser.add_argument("--clients", type=int, help="of each server")
    arguments = parser.parse_args()
    raise_files()
    plan = Plan(
        clients=arguments.clients or (300 if arguments.quick else 1_000),
        rounds=arguments.rounds or (3 if arguments.quick else 8),
        part=0.5 if arguments.quick else 1,
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        program, source = Programs(Path(folder)).load, source_of(arguments.revision, Path(folder))
        for transport in TRANSPORTS:
            say(f"measuring {TRANSPORTS[transport]} …")
            windows = compare(transport, arguments.revision, source, plan, program)
            rows += [row(transport, mode, windows, arguments.revision) for mode in MODES]
    columns = ["over", "published", f"µs at {arguments.revision}", "µs now", "now, times that", "lost", "others' share"]
    text = f"{plan.clients:,} clients of each server, {plan.rounds} pairs of windows of each kind."
    table = Table("pairs", "CPU of a delivery", columns, rows)
    say(markdown(Part("pairs", f"Beside {arguments.revision}", text, [table], quick=arguments.quick)))


if __name__ == "__main__":
    main()
