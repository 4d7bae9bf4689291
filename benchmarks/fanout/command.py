"""Measure fan-out, stalled clients and replay: a bare C loop of send(), nchan, Node's ws, Socket.IO, websockets,
python-socketio, Starlette, sse-starlette, and Triolet.

    python -m benchmarks.fanout

Every peer in the same run. Needs the extra `bench` (pip install -e '.[bench]'), a C compiler, and for the peers that
are no Python npm ci in benchmarks/peers and Debian's libnginx-mod-nchan; who is missing is left out, and said. Takes
some ten minutes, with --quick four.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from benchmarks.deadline import deadline
from benchmarks.fanout import crowd_table, machine, table
from benchmarks.fanout.contestants import CLoop, Contestant, HttpContestant
from benchmarks.fanout.crowd import saturate
from benchmarks.fanout.latency import latencies
from benchmarks.fanout.load import Load
from benchmarks.fanout.measure import PACED, SINGLE, Pair, Plan, Window, rounds
from benchmarks.fanout.payload import SIZE
from benchmarks.fanout.programs import Programs
from benchmarks.fanout.replay import replay
from benchmarks.fanout.stalled import stalled
from benchmarks.peers.servers import SSE, WEBSOCKET, missing
from benchmarks.results import Part, Series, Table, options, publish, say

__all__ = ["main"]

QUICK = Plan(rounds=1, part=0.5, many=2_000)

REPLAY_SECONDS = 120

Kinds = Sequence[type[HttpContestant]]


def main() -> None:
    """Parse the command line, measure part after part, and print the tables."""
    parser = options("fanout", __doc__)
    parser.add_argument("--only", action="append", choices=list(MEASURED), help="measure only this; may be repeated")
    parser.add_argument("--without", action="append", default=[], help="leave a peer out, by its name")
    parser.add_argument("--rounds", type=int, help="measure so many rounds")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else Plan()
    if arguments.rounds:
        plan = msgspec.structs.replace(plan, rounds=arguments.rounds)
    machine.raise_files()
    absent = {kind.name: why for kind in {*WEBSOCKET, *SSE} if (why := missing(kind))}
    for name, why in absent.items():
        say(f"{name} is left out: {why} is missing")
    part = Part("fanout", "Fan-out", _about(plan, absent), quick=arguments.quick)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Programs(Path(folder)), plan, {*absent, *arguments.without}, part)
        for name in arguments.only or MEASURED:
            say(f"measuring {name} …")
            MEASURED[name](run)
    publish(part, keep=arguments.save or not (arguments.quick or arguments.only or arguments.without))


class Run:
    """What the parts share: the programs, the plan, who is left out, and what was found."""

    def __init__(self, programs: Programs, plan: Plan, absent: set[str], part: Part) -> None:
        self.programs = programs
        self.plan = plan
        self.absent = absent
        self.part = part
        self.windows: dict[str, list[Window]] = {}

    def kinds(self, all_of_them: Kinds) -> list[type[HttpContestant]]:
        return [kind for kind in all_of_them if kind.name not in self.absent]

    def add(self, found: Table, series: Series | None = None) -> None:
        self.part.tables.append(found)
        if series is not None:
            self.part.series[found.name] = series

    def all_servers(self, stack: ExitStack, transport: str, kinds: Kinds, clients: int) -> list[Pair]:
        """Start the C loop and all others, each with its clients."""
        pairs = []
        servers: list[Contestant] = [stack.enter_context(CLoop(self.programs.sender, transport, clients))]
        for server in servers + self.servers(stack, transport, kinds):
            try:
                load = stack.enter_context(Load(self.programs.load, server, transport, clients))
            except RuntimeError as error:
                self.give_up(server.name, error)
            else:
                pairs.append((server, load))
        time.sleep(1)  # the last client's follow may still be under way
        return pairs

    def servers(self, stack: ExitStack, transport: str, kinds: Kinds) -> list[Contestant]:
        """Start those who are not left out."""
        started: list[Contestant] = []
        for kind in self.kinds(kinds):
            try:
                started.append(stack.enter_context(kind(transport)))
            except RuntimeError as error:
                self.give_up(kind.name, error)
        return started

    def give_up(self, name: str, error: Exception) -> None:
        """Go on without a peer, from now on, and say so."""
        if name in ("Triolet", "C loop"):
            raise error
        say(f"{name}: {error}")
        self.absent.add(name)
        self.part.text += f" {name} could not be measured: {error}."


def measure_websocket(run: Run) -> None:
    """All at a pace and saturated; then latencies at equal loads."""
    with ExitStack() as stack:
        pairs = run.all_servers(stack, "ws", WEBSOCKET, run.plan.clients)
        run.windows["ws"] = windows = rounds(pairs, run.plan, run.give_up)
        for found in table.mode_tables("ws", windows):
            run.add(*found)
        fewer = msgspec.structs.replace(run.plan, rounds=max(1, run.plan.rounds - 1))
        own = [pair for pair in pairs if pair[0].name != "C loop"]
        run.add(*table.latency_table(latencies(own, windows, fewer, run.give_up), run.plan.clients))


def measure_sse(run: Run) -> None:
    with ExitStack() as stack:
        run.windows["sse"] = windows = rounds(
            run.all_servers(stack, "sse", SSE, run.plan.clients), run.plan, run.give_up
        )
        for found in table.mode_tables("sse", windows):
            run.add(*found)
    run.add(table.load_table(run.windows))


def measure_crowd(run: Run) -> None:
    """Thousands of clients are sent as much as goes."""
    plan = run.plan
    with ExitStack() as stack:
        pairs = run.all_servers(stack, "ws", WEBSOCKET, plan.many)
        run.add(*crowd_table.many_table(saturate(pairs, plan, run.give_up), plan.many))


def measure_stalled(run: Run) -> None:
    with ExitStack() as stack:
        servers = run.servers(stack, "ws", WEBSOCKET)
        run.add(*crowd_table.stalled_table(stalled(servers, run.programs.load, run.plan, run.give_up)))


def measure_replay(run: Run) -> None:
    found, without = [], []
    for transport, kinds in (("ws", WEBSOCKET), ("sse", SSE)):
        for kind in run.kinds(kinds):
            if kind.history is Contestant.history:
                without.append(kind.name)
                continue
            try:
                with deadline(f"{kind.name}, replay", REPLAY_SECONDS), kind(transport) as server:
                    found.append(replay(server, transport, run.programs.load, run.plan.replaying))
            except RuntimeError as error:
                run.give_up(kind.name, error)
    run.add(crowd_table.replay_table(found, list(dict.fromkeys(without))))


MEASURED: dict[str, Callable[[Run], None]] = {
    "ws": measure_websocket,
    "sse": measure_sse,
    "crowd": measure_crowd,
    "stalled": measure_stalled,
    "replay": measure_replay,
}


def _about(plan: Plan, absent: dict[str, str]) -> str:
    paced, saturated = PACED.seconds * plan.part, SINGLE.seconds * plan.part
    left_out = "".join(f" {name} was left out: {why} was missing." for name, why in absent.items())
    return f"""{plan.clients:,} clients on loopback, events of {SIZE} bytes on the wire. The server is pinned to one
core, its clients (one thread of C, `load.c`) to another. Rounds: {plan.rounds}, and in each {paced:g} s for each server
at the pace and {saturated:g} s saturated. Within a round the servers take turns, and a ratio compares windows of one
round. Numbers are medians, with the range in brackets. "Others' share" is what foreign processes took of a core
meanwhile; "lost" is published events × clients less what arrived.

Everybody publishes in the server's own process, but nchan, which runs no app's code: there a process on the clients'
core posts events over HTTP, and its CPU is not counted. The C loop (`sender.c`) sends one frame with each `send()`; of
16 events published at once, 16 frames. Starlette and sse-starlette run on uvicorn[standard] with a bounded queue for
each client, python-socketio on the same. websockets uses its `broadcast`. Node's ws, Socket.IO and websockets run
without compression, nchan in one worker. Socket.IO carries the same data in its own, shorter framing. Triolet is
`triolet serve` with the memory log.{left_out}"""
