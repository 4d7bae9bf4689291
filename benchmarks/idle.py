"""Measure connections: what it costs to accept one, how soon 2,000 are back that come at once, and what they cost while
nothing happens but beats.

    python -m benchmarks.idle

Triolet, nchan, Node's ws, websockets, Starlette on uvicorn, and bare Trio. Needs the extra `bench`, a C compiler, and
for the peers that are no Python npm ci in benchmarks/peers and Debian's libnginx-mod-nchan; who is missing is left out,
and said. Takes some seven minutes, with --quick one and a half.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from benchmarks.connections import ACCEPTED, BareTrio, Kind, accept_table, connections
from benchmarks.deadline import deadline
from benchmarks.fanout.contestants import HttpContestant, StarletteServer, TrioletServer
from benchmarks.fanout.crowd import Arrival, arrive, idle
from benchmarks.fanout.crowd_table import arrival_table, idle_table
from benchmarks.fanout.machine import raise_files
from benchmarks.fanout.measure import Pair
from benchmarks.fanout.programs import Programs
from benchmarks.peers.servers import Nchan, NodeWs, WebsocketsServer, missing
from benchmarks.results import Part, options, publish, say

__all__ = ["main"]

PARTS = ("accept", "storm", "idle")
PEERS = (Nchan, NodeWs, WebsocketsServer)
Stormed = HttpContestant | BareTrio
STORMED: tuple[type[Stormed], ...] = (TrioletServer, *PEERS, StarletteServer, BareTrio)
START_SECONDS = 90


class Plan(msgspec.Struct, frozen=True):
    """How often, how many, and how long they are idle."""

    rounds: int = 3
    accepted: int = 1_000
    clients: int = 2_000
    idle_seconds: float = 60


QUICK = Plan(rounds=1, accepted=300, idle_seconds=20)


def main() -> None:
    """Parse the command line, measure, and print the tables."""
    parser = options("idle", __doc__)
    parser.add_argument("--rounds", type=int, help="measure so many rounds")
    parser.add_argument("--without", action="append", default=[], help="leave a contestant out, by its name")
    parser.add_argument("--only", action="append", choices=PARTS, help="measure only this; may be repeated")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else Plan()
    if arguments.rounds:
        plan = msgspec.structs.replace(plan, rounds=arguments.rounds)
    raise_files()
    part = Part("connections", "Connections", _about(plan), quick=arguments.quick)
    wanted, run = arguments.only or PARTS, Run(part, plan, arguments.without)
    if "accept" in wanted:
        run.accept()
    if "storm" in wanted or "idle" in wanted:
        run.storm(and_idle="idle" in wanted)
    publish(part, keep=arguments.save or not (arguments.quick or arguments.only or arguments.without))


class Run:
    """The part, its plan, and who is left out."""

    def __init__(self, part: Part, plan: Plan, without: Sequence[str]) -> None:
        self.part, self.plan = part, plan
        self.absent = set(without)
        for kind in PEERS:
            if why := missing(kind):
                self._leave_out(kind.name, f"{kind.name} was left out: {why} is missing.")

    def give_up(self, name: str, error: Exception) -> None:
        """Go on without a peer, and say so."""
        if name.startswith("Triolet"):
            raise error
        self._leave_out(name, f"{name} could not be measured: {error}.")

    def _leave_out(self, name: str, sentence: str) -> None:
        say(sentence)
        self.absent.add(name)
        self.part.text += f" {sentence}"

    def accept(self) -> None:
        """One connection after the other."""
        handshakes = [Kind(f"{kind.name}, WebSocket", kind, "ws", b"\r\n\r\n") for kind in PEERS]
        kinds = [kind for kind in (*ACCEPTED, *handshakes) if getattr(kind.server, "name", "") not in self.absent]
        found = connections(kinds, self.plan.rounds, self.plan.accepted, self.give_up)
        self.part.tables.append(accept_table(found, self.plan.accepted))

    def storm(self, *, and_idle: bool) -> None:
        """All at once, round after round; those of the last round stay, and it is measured what they cost."""
        arrivals: dict[str, list[Arrival]] = {}
        pairs: list[Pair] = []
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stay:
            program = Programs(Path(folder)).load
            for number in range(self.plan.rounds):
                for kind in [kind for kind in STORMED if kind.name not in self.absent]:
                    with ExitStack() as stack:
                        try:
                            pair, arrival = self._arrive(stack, kind, program)
                        except RuntimeError as error:
                            self.give_up(kind.name, error)
                            arrivals.pop(kind.name, None)
                            continue
                        arrivals.setdefault(kind.name, []).append(arrival)
                        if and_idle and number == self.plan.rounds - 1:
                            pairs.append(pair)
                            stay.enter_context(stack.pop_all())
            self.part.tables.append(arrival_table(arrivals))
            if pairs:
                time.sleep(3)
                with deadline("idle connections", self.plan.idle_seconds + 60):
                    found, series = idle_table(arrivals, idle(pairs, self.plan.idle_seconds))
                self.part.tables.append(found)
                self.part.series[found.name] = series

    def _arrive(self, stack: ExitStack, kind: type[Stormed], program: Path) -> tuple[Pair, Arrival]:
        clients = self.plan.clients
        with deadline(f"{kind.name}, {clients:,} at once", START_SECONDS):
            server = stack.enter_context(kind("ws"))
            load, arrival = arrive(stack, server, program, clients)
        say(f"  {kind.name}: {arrival.seconds:.2f} s")
        return (server, load), arrival


def _about(plan: Plan) -> str:
    return f"""What a connection costs the server, which is pinned to one core; its clients have another. Rounds:
{plan.rounds}, in which all take turns, each started anew; numbers are medians, with the range in brackets, and a
ratio compares what was measured in one round. Triolet is `triolet serve` with the memory log; its view is asked
whether a client may follow, while the others' handshake asks nobody. Starlette runs on uvicorn[standard]; nchan is
one worker of nginx; nobody compresses. Bare Trio, where it is not said otherwise, has three tasks a connection: one
that reads, one that beats, and one that waits to be woken."""


if __name__ == "__main__":
    main()
