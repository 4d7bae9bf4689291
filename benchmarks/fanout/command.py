"""Measure fan-out, one event to a thousand clients: a bare C loop of send(), Starlette, and Triolet.

Needs the extra `bench` (pip install -e '.[bench]') and a C compiler. Takes some eight minutes, with
--quick a minute and a half.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks.fanout import machine, measure, table
from benchmarks.fanout.contestants import CLoop, Contestant, HttpContestant, StarletteServer, TrioletServer
from benchmarks.fanout.load import Load

__all__ = ["main"]

HERE = Path(__file__).parent
QUICK = measure.Plan(rounds=1, part=0.5, idle_seconds=10)


def main() -> None:
    """Parse the command line, measure, print tables as they come, and write them down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fanout", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round; the idle part is too short for a beat")
    parser.add_argument("--only", choices=["ws", "sse", "idle"], help="measure one part")
    parser.add_argument("--without", action="append", default=[], choices=["Triolet", "Starlette"])
    parser.add_argument("--rounds", type=int, help="measure so many rounds")
    parser.add_argument(
        "--output", type=Path, help="where to write (default: benchmarks/RESULTS.md, if all is measured)"
    )
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else measure.Plan()
    if arguments.rounds:
        plan = msgspec.structs.replace(plan, rounds=arguments.rounds)
    kinds = [kind for kind in (TrioletServer, StarletteServer) if kind.name not in arguments.without]
    whole = not (arguments.quick or arguments.only or arguments.without)
    output = arguments.output or (HERE.parent / "RESULTS.md" if whole else None)
    machine.raise_files()
    with tempfile.TemporaryDirectory() as folder:
        programs = Programs(Path(folder))
        text = table.head(plan)
        say(text)
        for section in sections(programs, plan, arguments.only, kinds):
            say(section)
            text += "\n" + section
    if output:
        output.write_text(text)
        say(f"Written to {output}.")


class Programs:
    """The two C programs, compiled for this machine and this run."""

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


def sections(
    programs: Programs, plan: measure.Plan, only: str | None, kinds: Sequence[type[HttpContestant]]
) -> Iterator[str]:
    """Measure part after part, and yield each part's tables."""
    windows: dict[str, list[measure.Window]] = {}
    for transport in ("ws", "sse"):
        if only in (None, transport):
            windows[transport] = fan_out(programs, transport, plan, kinds)
            yield table.transport_tables(transport, windows[transport])
    if windows:
        yield table.load_table(windows)
    if only in (None, "idle"):
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(kind("ws")) for kind in kinds]
            yield table.idle_table(measure.idle(servers, programs.load, plan))


def fan_out(
    programs: Programs, transport: str, plan: measure.Plan, kinds: Sequence[type[HttpContestant]]
) -> list[measure.Window]:
    """Start all servers with their clients, then measure them in turn."""
    with contextlib.ExitStack() as stack:
        servers: list[Contestant] = [stack.enter_context(CLoop(programs.sender, transport, plan.clients))]
        servers += [stack.enter_context(kind(transport)) for kind in kinds]
        loads = [stack.enter_context(Load(programs.load, it, transport, plan.clients)) for it in servers]
        time.sleep(1)  # the last client's follow may still be under way
        return list(measure.rounds(list(zip(servers, loads, strict=True)), plan))


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
