"""Measure whether a delivery costs the same whoever else is there: from 100 to 10,000 clients, from one channel to
50,000, and what a million idle channels hold. Triolet alone, beside the C loop.

    python -m benchmarks.scale

Needs a C compiler. Takes some two and a half minutes, with --quick one (and a tenth of the idle channels).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.deadline import deadline
from benchmarks.fanout.contestants import CLoop, Contestant, TrioletServer
from benchmarks.fanout.load import Load
from benchmarks.fanout.machine import ROOT, memory, raise_files
from benchmarks.fanout.measure import Mode, Plan, Window, window
from benchmarks.fanout.programs import Programs
from benchmarks.million import Filled
from benchmarks.results import Part, Series, Table, options, publish

__all__ = ["by_channels", "by_clients", "main"]

CLIENTS = (100, 1_000, 10_000)
DELIVERIES = 100_000.0
"""A second, whatever the number of clients."""

CHANNELS = (1, 100, 1_000, 10_000, 50_000)
EVENTS = 1_000.0
"""A second, to one channel after the other; each has one follower."""

MOST_CONNECTIONS = 1_000
FILL_SECONDS = 240


def main() -> None:
    """Parse the command line, measure, and print the tables."""
    arguments = options("scale", __doc__).parse_args()
    raise_files()
    plan = Plan(rounds=1, part=0.4) if arguments.quick else Plan(rounds=3)
    idle = 100_000 if arguments.quick else 1_000_000
    part = Part("scale", "Scale", TEXT, quick=arguments.quick)
    with tempfile.TemporaryDirectory() as folder:
        programs = Programs(Path(folder))
        for table, series in (by_clients(programs, plan), by_channels(programs, plan)):
            part.tables.append(table)
            part.series[table.name] = series
    part.tables.append(idle_channels(idle))
    publish(part, keep=arguments.save or not arguments.quick)


TEXT = (
    "Whether a delivery costs the same whoever else is there. Triolet with the memory log, and the C loop beside it "
    "where that can be: it tells how much of a difference is the kernel's. Medians of rounds, in which all take turns."
)


def by_clients(programs: Programs, plan: Plan) -> tuple[Table, Series]:
    """Measure a delivery's cost for each number of clients of one channel, at the same deliveries a second."""
    with ExitStack() as stack:
        pairs: list[tuple[int, Contestant, Load]] = []
        for clients in CLIENTS:
            loop = CLoop(programs.sender, "ws", clients)
            servers: tuple[Contestant, ...] = (stack.enter_context(loop), stack.enter_context(TrioletServer("ws")))
            for server in servers:
                load = stack.enter_context(Load(programs.load, server, "ws", clients))
                pairs.append((clients, server, load))
        time.sleep(1)
        windows: dict[tuple[int, str], list[Window]] = {}
        for _ in range(plan.rounds):
            for clients, server, load in pairs:
                mode = Mode("clients", f"{DELIVERIES:,.0f} deliveries a second", DELIVERIES / clients, 1, 4)
                windows.setdefault((clients, server.name), []).append(window(server, load, plan, mode))
    cost = {key: median(w.micros for w in own) for key, own in windows.items()}
    rows, triolet, loop_cost = [], [], []
    for clients in CLIENTS:
        own, bare = windows[clients, "Triolet"], windows[clients, "C loop"]
        triolet.append(cost[clients, "Triolet"])
        loop_cost.append(cost[clients, "C loop"])
        ratio = median(a.micros / b.micros for a, b in zip(own, bare, strict=True))
        latency = f"{median(w.p50_ms for w in own):.1f} / {median(w.p99_ms for w in own):.1f}"
        rows.append(
            [
                f"{clients:,}",
                f"{DELIVERIES / clients:g}",
                f"{triolet[-1]:.2f}",
                f"{loop_cost[-1]:.2f}",
                f"{ratio:.2f}",
                latency,
                str(sum(w.lost for w in own)),
            ]
        )
    table = Table(
        "clients",
        f"By clients, at {DELIVERIES:,.0f} deliveries a second",
        ["clients", "events/s", "µs of CPU a delivery", "C loop", "× C loop", "latency p50 / p99, ms", "lost"],
        rows,
        "An event's own cost (a publish, a wake-up) is shared by its deliveries, so a hundred clients pay more for it. "
        "A connection's own cost (its beats) is not, so ten thousand pay more for that.",
    )
    return table, Series(list(map(float, CLIENTS)), {"Triolet": triolet, "C loop": loop_cost})


def by_channels(programs: Programs, plan: Plan) -> tuple[Table, Series]:
    """Measure what publishing an event and delivering it to its channel's one follower costs."""
    with ExitStack() as stack:
        pairs: list[tuple[int, TrioletServer, Load, float]] = []
        for channels in CHANNELS:
            pairs.append((channels, *_followed(stack, programs, channels)))
        windows: dict[int, list[Window]] = {}
        mode = Mode("channels", f"{EVENTS:,.0f} events a second", EVENTS, 1, 4)
        for _ in range(plan.rounds):
            for channels, server, load, _each in pairs:
                windows.setdefault(channels, []).append(window(server, load, plan, mode, fan_out=1))
    rows, costs = [], []
    for channels, _server, _load, each in pairs:
        own = windows[channels]
        costs.append(median(w.micros for w in own))
        ratio = median(a.micros / b.micros for a, b in zip(own, windows[1], strict=True))
        latency = f"{median(w.p50_ms for w in own):.1f} / {median(w.p99_ms for w in own):.1f}"
        lost = str(sum(w.lost for w in own))
        rows.append([f"{channels:,}", f"{costs[-1]:.1f}", f"{ratio:.2f}", latency, f"{each / 1e3:.1f}", lost])
    table = Table(
        "channels",
        f"By channels with one follower each, {EVENTS:,.0f} events a second, each to another channel",
        ["channels", "µs of CPU for an event", "× one channel", "latency p50 / p99, ms", "kB a channel", "lost"],
        rows,
        f"At most {MOST_CONNECTIONS:,} WebSockets, which follow up to fifty channels each. The memory is that of a "
        "channel, its follower, and its part of a connection.",
    )
    return table, Series(list(map(float, CHANNELS)), {"Triolet": costs})


def _followed(stack: ExitStack, programs: Programs, channels: int) -> tuple[TrioletServer, Load, float]:
    """Start a server whose channels are all followed; return the bytes that each of them costs, too."""
    server = stack.enter_context(TrioletServer("ws"))
    server.more = f"&channels={channels}"
    resident, clients = memory(server.pid), min(channels, MOST_CONNECTIONS)
    load = stack.enter_context(Load(programs.load, server, "ws", clients, path="/follow", follows=channels // clients))
    load.follow()
    deadline = time.monotonic() + 60
    while server.ask("state")["live"] < channels:
        if time.monotonic() > deadline:
            raise RuntimeError(f"not all of {channels} channels are followed: {server.ask('state')}, {load.counts()}")
        time.sleep(0.1)
    return server, load, (memory(server.pid) - resident) / channels


def idle_channels(channels: int) -> Table:
    """Measure the memory of channels in which nothing happens."""
    in_log, bare = (_fill(channels, what) for what in ("log", "bare"))
    first, last = (
        seconds / (channels / len(in_log.tenths)) * 1e6 for seconds in in_log.tenths[:: len(in_log.tenths) - 1]
    )
    return Table(
        "idle-channels",
        f"{channels:,} idle channels",
        ["", "bytes a channel", "µs to publish, first tenth", "last tenth"],
        [
            ["in the memory log", f"{in_log.bytes_each:.0f}", f"{first:.1f}", f"{last:.1f}"],
            ["the same events in a list", f"{bare.bytes_each:.0f}", "", ""],
        ],
        "One event of 200 bytes was published to each, and nobody follows them.",
    )


def _fill(channels: int, what: str) -> Filled:
    command = [sys.executable, "-m", "benchmarks.million", str(channels), what]
    with deadline(f"Triolet, {channels:,} idle channels", FILL_SECONDS):
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout, type=Filled)


if __name__ == "__main__":
    main()
