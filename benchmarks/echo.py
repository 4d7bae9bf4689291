"""Measure what an answer costs: 100 clients send 100 bytes, and are sent them back; one message in flight, and 16.

    python -m benchmarks.echo

Triolet, as a raw socket and with JSON messages; Starlette on uvicorn, websockets, Node's ws, trio-websocket, and bare
Trio with one task a connection, its frames made by hand. Needs the extra `bench`, a C compiler, and for Node's ws
npm ci in benchmarks/peers; who is missing is left out, and said. Takes some five minutes, with --quick one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.fanout.machine import raise_files
from benchmarks.fanout.programs import compiled
from benchmarks.results import Part, Table, options, publish, spread
from benchmarks.targets import TARGETS, judge
from benchmarks.upward.asking import Asking
from benchmarks.upward.contest import Contest
from benchmarks.upward.measure import COLUMNS, QUICK, Asked, Plan, Window, middle, ratios, row
from benchmarks.upward.servers import (
    BareTrio,
    BareTrioTogether,
    NodeAsked,
    StarletteAsked,
    TrioletAsked,
    TrioWebsocketAsked,
    WebsocketsAsked,
)

__all__ = ["main"]

CLIENTS = 100
SIZE = 100
FLIGHTS = (1, 16)
RAW = (TrioletAsked, StarletteAsked, WebsocketsAsked, NodeAsked, TrioWebsocketAsked, BareTrio, BareTrioTogether)
JSON = (TrioletAsked, StarletteAsked, WebsocketsAsked, NodeAsked)

MESSAGES = {
    "raw": (b"x" * SIZE, "x"),
    "json": (b'{"type":"message","data":{"pad":"' + b"x" * (SIZE - 36) + b'"}}', '{"type":"message"'),
}
"""A message of each way, and how its reply begins."""

TITLES = {"raw": "text as it is", "json": "JSON messages"}
FIRST = {"raw": BareTrio.name, "json": StarletteAsked.name}
"""The one to whom all are compared."""


def main() -> None:
    """Parse the command line, measure, and print the tables."""
    parser = options("echo", __doc__)
    parser.add_argument("--rounds", type=int, help="measure so many rounds")
    parser.add_argument("--without", action="append", default=[], help="leave a contestant out, by its name")
    parser.add_argument("--only", action="append", choices=list(MESSAGES), help="measure only this; may be repeated")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else Plan()
    if arguments.rounds:
        plan = msgspec.structs.replace(plan, rounds=arguments.rounds)
    raise_files()
    part = Part("echo", "Echo", _about(plan), quick=arguments.quick)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        program = compiled(Path(__file__).parent / "upward" / "ask.c", Path(folder))
        contest = Contest(part, arguments.without)
        entries = []
        for server in contest.start(stack, RAW):
            for way, kinds in (("raw", RAW), ("json", JSON)):
                if isinstance(server, kinds) and way in (arguments.only or MESSAGES):
                    message, reply = MESSAGES[way]
                    asking = Asking(program, server, message, reply, CLIENTS, path=f"/{way}")
                    if contest.connect(stack, server.name, asking):
                        entries += [Asked(f"{way}-{flight}", server.name, server, asking, flight) for flight in FLIGHTS]
        entries.sort(key=lambda entry: entry.mode)  # so that those who are compared take turns
        windows = contest.rounds(entries, plan)
    for way in arguments.only or MESSAGES:
        for flight in FLIGHTS:
            part.tables.append(table(way, flight, windows))
    whole = not (arguments.quick or arguments.without or arguments.only)
    publish(part, keep=arguments.save or whole)


def table(way: str, flight: int, windows: Sequence[Window]) -> Table:
    """Write what an echo cost, and whether the targets were reached."""
    own = [window for window in windows if window.mode == f"{way}-{flight}"]
    of = {name: [w for w in own if w.name == name] for name in dict.fromkeys(w.name for w in own)}
    first = of.get(FIRST[way], [])
    rows = [
        [name, spread([w.micros for w in found]), spread(ratios(found, first)), *row(found)]
        for name, found in of.items()
    ]
    return Table(
        f"echo-{way}-{flight}",
        f"Echo of {SIZE} bytes, {TITLES[way]}, {'one message' if flight == 1 else f'{flight} messages'} in flight",
        ["", "µs of CPU a message", f"× {FIRST[way]}", *COLUMNS],
        rows,
        verdicts=_verdicts(way, flight, of),
    )


def _verdicts(way: str, flight: int, of: dict[str, list[Window]]) -> list[str]:
    own, first = of.get("Triolet", []), of.get(FIRST[way], [])
    if not own:
        return []
    if way == "raw" and flight == 16:
        node = of.get(NodeAsked.name)
        return [judge("echo-16", middle(own), min(TARGETS["echo-16"].bound, middle(node) if node else 99))]
    key = {("raw", 1): "echo", ("json", 16): "json-16"}.get((way, flight))
    return [judge(key, median(ratios(own, first)))] if key and first else []


def _about(plan: Plan) -> str:
    return f"""{CLIENTS} WebSockets on loopback, each with one message in flight, or with 16: for the replies that
one read brings a client, it sends as many messages in one write. The server is pinned to one core, its clients (one
thread of C, `ask.c`) to another. What is counted is the server's own CPU. All are started at once and take turns;
rounds: {plan.rounds}, of {plan.seconds:g} s each. Numbers are medians, with the range in brackets, and a ratio
compares windows of one round. "Clients' core" is what the load generator took of its own core: where that is near
all of it, it may be what is measured, and the row says so. JSON messages are of the same 100 bytes; Triolet's are
those of `@live.socket`, Starlette's are read by `receive_json` and sent by `send_json`. Starlette runs on
uvicorn[standard]; nobody compresses. Bare Trio is one task a connection that makes its frames by hand, and knows no
fragments, no pings and no closing; it sends each reply by itself, or all of one read together."""


if __name__ == "__main__":
    main()
