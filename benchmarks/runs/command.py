"""Measure answers that stream (1,000 runs of 50 tokens a second, two readers each), the return to 5,000 missed tokens
with and without folds, what a Reducer costs, and a herd of newcomers that are given a state.

    python -m benchmarks.runs

Triolet with its log in memory, in SQLite and in Redis, beside the usual recipe: Starlette on uvicorn, sse-starlette,
and a Redis stream for each run. Each is started anew and pinned to one core; readers and Redis share the other. Needs
the extra `bench`, a C compiler and redis-server. Takes some fifteen minutes, with --quick three.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmarks.fanout.machine import raise_files
from benchmarks.fanout.programs import Programs
from benchmarks.results import Part, Table, options, publish, say
from benchmarks.runs.contestants import RECIPE, RUNNING, TRIOLETS
from benchmarks.runs.returning import returning, returning_table
from benchmarks.runs.states import newcomers, newcomers_table, reduced, reduced_table
from benchmarks.runs.streaming import RATE, READERS, Turn, stream, streaming_table

__all__ = ["main"]

Found = TypeVar("Found")


class Plan(msgspec.Struct, frozen=True):
    """How many runs at once, for how long, and how often; how many readers come at once; and how often a server with a
    Reducer is compared with one that has none."""

    runs: tuple[int, ...] = (20, 200, 1_000)
    seconds: float = 10
    rounds: int = 2
    returning: int = 200
    newcomers: int = 500
    pairs: int = 5


QUICK = Plan(runs=(100,), seconds=5, rounds=1, returning=20, newcomers=100, pairs=2)


class Run:
    """What the parts share."""

    def __init__(self, plan: Plan, program: Path, part: Part) -> None:
        self.plan = plan
        self.program = program
        self.part = part
        self.absent: set[str] = set()

    def attempt(self, name: str, measure: Callable[[], Found]) -> Found | None:
        """Measure one contestant. A peer that fails is named, and left out of what is measured here."""
        if name in self.absent:
            return None
        try:
            return measure()
        except RuntimeError as error:
            if name in TRIOLETS:
                raise
            say(f"{name}: {error}")
            self.absent.add(name)
            self.part.text += f" {name} could not be measured: {str(error).splitlines()[0]}."
            return None


def measure_streaming(run: Run) -> Table:
    turns: dict[tuple[str, int], list[Turn]] = {}
    for runs in run.plan.runs:
        for _ in range(run.plan.rounds):
            for name in RUNNING:
                turn = run.attempt(name, lambda: stream(name, runs, run.plan.seconds, run.program))  # noqa: B023
                if turn is not None:
                    turns.setdefault((name, runs), []).append(turn)
    return streaming_table(turns)


def measure_returning(run: Run) -> Table:
    crowd = run.plan.returning
    # What is given to `attempt` is called at once, here and above, so a turn's name is that turn's (B023).
    found = [run.attempt(name, lambda: returning(name, crowd)) for name in (*TRIOLETS, RECIPE)]  # noqa: B023
    return returning_table([way for ways in found if ways is not None for way in ways], crowd)


def measure_reducer(run: Run) -> Table:
    return reduced_table([reduced(name, run.plan.pairs) for name in TRIOLETS[:2]])


def measure_newcomers(run: Run) -> Table:
    crowd = run.plan.newcomers
    return newcomers_table([way for name in TRIOLETS for way in newcomers(name, crowd)], crowd)


MEASURED: dict[str, Callable[[Run], Table]] = {
    "streaming": measure_streaming,
    "returning": measure_returning,
    "reducer": measure_reducer,
    "newcomers": measure_newcomers,
}


def main() -> None:
    """Parse the command line, measure part after part, and print the tables."""
    parser = options("runs", __doc__)
    parser.add_argument("--only", action="append", choices=list(MEASURED), help="measure only this; may be repeated")
    parser.add_argument("--runs", type=int, action="append", help="so many runs at once; may be repeated")
    parser.add_argument("--seconds", type=float, help="let runs go on for so long")
    parser.add_argument("--rounds", type=int, help="let contestants stream so often")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else Plan()
    given = {"runs": arguments.runs and tuple(arguments.runs), "seconds": arguments.seconds, "rounds": arguments.rounds}
    plan = msgspec.structs.replace(plan, **{name: value for name, value in given.items() if value})
    raise_files()
    part = Part("runs", "Runs", _about(plan), quick=arguments.quick)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(plan, Programs(Path(folder)).load, part)
        try:
            for name in arguments.only or MEASURED:
                say(f"measuring {name} …")
                run.absent.clear()
                part.tables.append(MEASURED[name](run))
        except BaseException:  # a quarter of an hour may stand in the first table when a later one fails
            publish(part, keep=False)
            raise
    publish(part, keep=arguments.save or not (arguments.quick or arguments.only or arguments.runs))


def _about(plan: Plan) -> str:
    return f"""A run is an answer that streams from a model: a token is some 20 bytes of text, with its number and the
clock's nanoseconds when it was yielded. Runs yield {RATE:g} tokens a second for {plan.seconds:g} s, and {READERS}
readers follow each one, every one over an event stream of its own. Rounds: {plan.rounds}; within a round the
contestants take turns, each started anew. The server is pinned to one core; its readers (one thread of C, `load.c`,
that looks at the number of every token), and Redis where it is used, share another. What is counted is the server's own
CPU.

The recipe is what one writes by hand: Starlette on uvicorn[standard], and redis-py with hiredis. A task of the app adds
each token to a Redis stream with `XADD`; each reader asks with `XREAD` for what comes after its `Last-Event-ID`, waits
there, and is sent each token by sse-starlette, or by Starlette's own StreamingResponse. For so many readers redis-py
needs other settings than its own: by default it has 100 connections, and a reader that waits holds one. The recipe has
no end for a run whose process has died, no gaps, no folds, and knows no slow readers."""
