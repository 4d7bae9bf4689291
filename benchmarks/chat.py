"""Measure a chat: 100 clients in a room say one thing a second each, through ``live.publish``, and all are sent all.

    python -m benchmarks.chat

Beside it the C loop, which sends as much to as many, and the same by hand in Starlette, websockets and Node's ws. What
a message costs by itself is measured in a room in which nobody listens. Needs the extra `bench` and a C compiler; who
is missing is left out, and said. Takes some two minutes, with --quick a quarter of one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.fanout import measure
from benchmarks.fanout.contestants import CLoop
from benchmarks.fanout.load import Load
from benchmarks.fanout.machine import raise_files
from benchmarks.fanout.payload import SIZE
from benchmarks.fanout.programs import Programs, compiled
from benchmarks.results import Part, Table, options, publish, spread
from benchmarks.targets import judge
from benchmarks.upward.asking import Asking
from benchmarks.upward.contest import Contest
from benchmarks.upward.measure import COLUMNS, Asked, Entry, Plan, Window, middle, ratios, row
from benchmarks.upward.room import said
from benchmarks.upward.servers import NodeAsked, StarletteAsked, TrioletAsked, WebsocketsAsked

__all__ = ["main"]

CLIENTS = 100
RATE = 100.0
"""Messages a second, of all clients together."""

KINDS = (TrioletAsked, StarletteAsked, WebsocketsAsked, NodeAsked)
PLAN = Plan(rounds=5, settle=0.5, seconds=3)
QUICK = Plan(rounds=1, settle=0.3, seconds=1.5)


def main() -> None:
    """Parse the command line, measure, and print the tables."""
    parser = options("chat", __doc__)
    parser.add_argument("--rounds", type=int, help="measure so many rounds")
    parser.add_argument("--without", action="append", default=[], help="leave a contestant out, by its name")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else PLAN
    if arguments.rounds:
        plan = msgspec.structs.replace(plan, rounds=arguments.rounds)
    raise_files()
    part = Part("chat", "A chat", _about(plan), quick=arguments.quick)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        programs, ask = Programs(Path(folder)), compiled(Path(__file__).parent / "upward" / "ask.c", Path(folder))
        contest = Contest(part, arguments.without)
        loop = stack.enter_context(CLoop(programs.sender, "ws", CLIENTS))
        load = stack.enter_context(Load(programs.load, loop, "ws", CLIENTS))
        entries: list[Entry] = [Loop(loop, load)]
        for server in contest.start(stack, KINDS):
            ways = {"chat": CLIENTS, "alone": 0} if isinstance(server, TrioletAsked) else {"chat": CLIENTS}
            for way, each in ways.items():
                asking = Asking(ask, server, said(), '{"type":"event"', CLIENTS, path=f"/{way}")
                if contest.connect(stack, server.name, asking):
                    entries.append(Asked(way, server.name, server, asking, rate=RATE, each=each))
        part.tables.append(table(contest.rounds(entries, plan)))
    publish(part, keep=arguments.save or not (arguments.quick or arguments.without))


class Loop:
    """The C loop, at the same pace."""

    mode = "chat"
    name = "C loop"

    def __init__(self, server: CLoop, load: Load) -> None:
        self._server, self._load = server, load

    def measure(self, plan: Plan) -> Window:
        mode = measure.Mode("chat", "", RATE, 1, plan.seconds)
        found = measure.window(self._server, self._load, measure.Plan(settle=plan.settle), mode)
        return Window(
            mode=self.mode,
            name=self.name,
            seconds=found.seconds,
            done=found.deliveries,
            server_cpu=found.server_cpu,
            load_cpu=found.load_cpu,
            foreign=found.foreign,
            lost=found.lost,
            p50_ms=found.p50_ms,
            p99_ms=found.p99_ms,
        )

    def end(self) -> None:
        self._load.__exit__()
        self._server.__exit__()


def table(windows: Sequence[Window]) -> Table:
    """Write what a delivery cost, and a message by itself."""
    chat = [window for window in windows if window.mode == "chat"]
    of = {name: [w for w in chat if w.name == name] for name in dict.fromkeys(w.name for w in chat)}
    loop, own = of.get(Loop.name, []), of.get("Triolet", [])
    rows = [
        [
            name,
            spread([w.micros for w in found]),
            spread(ratios(found, loop)),
            f"{median(w.p50_ms for w in found):.1f} / {median(w.p99_ms for w in found):.1f}",
            *row(found),
        ]
        for name, found in of.items()
    ]
    alone = [window for window in windows if window.mode == "alone"]
    text = ""
    if alone and own:
        each, all_of_it = middle(alone), middle(own) * CLIENTS
        text = (
            f"A message's own cost, measured in a room in which nobody listens: {spread([w.micros for w in alone], 0)} "
            "µs of CPU to take it, publish it and keep it. With everybody listening it is "
            f"{all_of_it:,.0f} µs, so that a delivery alone is {(all_of_it - each) / CLIENTS:.2f} µs."
        )
    verdicts = [judge("chat", median(ratios(own, loop)))] if own and loop else []
    return Table(
        "chat-room",
        f"{CLIENTS} clients in a room, one message a second each: {RATE * CLIENTS:,.0f} deliveries a second",
        ["", "µs of CPU a delivery", f"× {Loop.name}", "latency p50 / p99, ms", *COLUMNS],
        rows,
        text,
        verdicts,
    )


def _about(plan: Plan) -> str:
    return f"""{CLIENTS} WebSockets on loopback are in one room. Each says something once a second, one after the
other, and what it said is sent to all of them, as an event of {SIZE} bytes on the wire. With Triolet it goes
through `live.publish`: it is kept in the log, has a cursor, and can be asked for again. The others send to all who
are connected, and keep nothing: Starlette (on uvicorn[standard]) in a loop, websockets with its `broadcast`, Node's
ws in a loop. The C loop takes no messages: at the same pace it sends a frame to each. The server is pinned to one
core, its clients (one thread of C) to another; what is counted is the server's own CPU, of taking a message too.
Rounds: {plan.rounds}, of {plan.seconds:g} s each, in which all take turns. Latency is from a client's `send()` to
another's `recv()`."""


if __name__ == "__main__":
    main()
