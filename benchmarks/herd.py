"""Measure what a herd does to the others: 2,000 clients come back at once to 10,000 missed events each, while clients
of another channel get an event 20 times a second.

    python -m benchmarks.herd

Needs a C compiler. Takes under a minute, with --quick a quarter of one (500 clients).
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.deadline import deadline
from benchmarks.fanout.contestants import TrioletServer
from benchmarks.fanout.load import Load
from benchmarks.fanout.machine import cpu_seconds, memory, raise_files
from benchmarks.fanout.programs import Programs
from benchmarks.results import Part, Series, Table, options, publish
from benchmarks.targets import judge

__all__ = ["Herd", "Moment", "herd", "main"]

LIMIT_SECONDS = 240
MISSED = 10_000
LIVE_CLIENTS = 320
RATE = 20.0
TICK = 0.25
LIVE = "/events/live"


class Moment(msgspec.Struct, frozen=True):
    """A quarter of a second: when it ended (seconds since the herd came), the live clients' latencies in µs, and how
    much of what it had missed the herd had by then."""

    at: float
    latencies: list[int]
    replayed: float


class Herd(msgspec.Struct, frozen=True):
    """One run."""

    clients: int
    before: list[Moment]
    during: list[Moment]
    after: list[Moment]
    server_cpu: float
    peak_bytes: int
    lost: int


class _Run:
    """The server, its live clients, and the herd while it is there."""

    def __init__(self, server: TrioletServer, live: Load) -> None:
        self.server, self.live = server, live
        self.came = time.monotonic()
        self.peak = 0

    def watch(self, seconds: float, herd: Load | None = None, upto: int = 0) -> list[Moment]:
        """Look every quarter of a second; with a herd, until it has all, or the seconds are over."""
        moments: list[Moment] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(TICK)
            got = herd.counts().events if herd else 0
            self.peak = max(self.peak, memory(self.server.pid))
            moments.append(Moment(time.monotonic() - self.came, self.live.samples(), got / upto if upto else 0.0))
            if herd and got >= upto:
                break
        return moments


def herd(programs: Programs, clients: int, calm: float) -> Herd:
    """Measure ``calm`` seconds of live events, then the herd's coming until all have what they missed, then calm."""
    with ExitStack() as stack:
        server = stack.enter_context(TrioletServer("ws"))
        publish_missed(server)
        live = stack.enter_context(Load(programs.load, server, "ws", LIVE_CLIENTS, path=LIVE))
        prefer(live)
        time.sleep(1)
        server.ask(f"start?transport=ws&rate={RATE}&burst=1&size={server.size}&channel=live")
        time.sleep(1)
        live.samples()
        run = _Run(server, live)
        before = run.watch(calm)
        run.came, cpu = time.monotonic(), cpu_seconds(server.pid)
        many = Load(programs.load, server, "ws", clients, path=server.history("ws"), in_flight=clients)
        stack.callback(many.__exit__)  # it is not entered: nobody waits until all are connected
        os.setpriority(os.PRIO_PROCESS, many.pid, 19)
        during = run.watch(120, many, clients * MISSED)
        cpu = cpu_seconds(server.pid) - cpu
        lost = clients * MISSED - many.counts().events
        after = run.watch(calm / 2)
        server.stop()
    shift = before[-1].at
    before = [msgspec.structs.replace(moment, at=moment.at - shift) for moment in before]
    return Herd(clients, before, during, after, cpu, run.peak, lost)


def publish_missed(server: TrioletServer) -> None:
    """Publish what the herd will have missed."""
    server.ask(f"start?transport=ws&rate=0&burst=100&size={server.size}&most={MISSED}")
    while server.ask("state")["running"]:
        time.sleep(0.05)


def prefer(live: Load) -> None:
    """Both loads share a core, and it is the server's latency that is measured: the live clients' load goes first."""
    with suppress(PermissionError):  # the herd's own load steps back in any case
        os.setpriority(os.PRIO_PROCESS, live.pid, -20)


def percentile(moments: list[Moment], part: float) -> float:
    """The latency in ms that this part of all stays under."""
    latencies = sorted(latency for moment in moments for latency in moment.latencies)
    return latencies[int(len(latencies) * part)] / 1000 if latencies else 0.0


def part(found: Herd, quick: bool) -> Part:
    rows = []
    for name, moments in (("before", found.before), ("while it catches up", found.during), ("after", found.after)):
        numbers = [f"{percentile(moments, p):.1f}" for p in (0.5, 0.99, 0.999)]
        seconds = moments[-1].at - moments[0].at + TICK
        rows.append([name, f"{seconds:.1f}", *numbers, f"{sum(len(moment.latencies) for moment in moments):,}"])
    ratio = percentile(found.during, 0.99) / percentile(found.before, 0.99)
    seconds = found.during[-1].at
    text = (
        f"{found.clients:,} clients come back at once (`after=0`) to {MISSED:,} missed events of 220 bytes each, while "
        f"{LIVE_CLIENTS} clients of another channel get {RATE:g} events a second each. Both kinds of clients share "
        "a core; the live ones' process goes first there, so that it is the server which is measured. "
        f"The herd had everything after {seconds:.1f} s, {found.clients * MISSED / seconds / 1e6:.1f} million events a "
        f"second at {found.server_cpu / found.clients / MISSED * 1e6:.2f} µs of CPU each; the server's memory rose to "
        f"{found.peak_bytes / 1e6:.0f} MB at most; {found.lost} events were lost."
    )
    table = Table(
        "herd-latency",
        "Latency of the live clients, ms",
        ["", "seconds", "p50", "p99", "p99.9", "samples"],
        rows,
        verdicts=[judge("herd", ratio)],
    )
    moments = [moment for moment in (*found.before, *found.during, *found.after) if moment.latencies]
    series = Series(
        [moment.at for moment in moments],
        {
            "p50": [percentile([moment], 0.5) for moment in moments],
            "p99": [percentile([moment], 0.99) for moment in moments],
            "replayed": [moment.replayed if moment in found.during else None for moment in moments],
        },
    )
    return Part("herd", "The herd", text, [table], {"herd": series}, quick)


def main() -> None:
    """Parse the command line, measure, and print a table."""
    parser = options("herd", __doc__)
    parser.add_argument("--clients", type=int, default=0)
    arguments = parser.parse_args()
    raise_files()
    clients = arguments.clients or (500 if arguments.quick else 2_000)
    with tempfile.TemporaryDirectory() as folder, deadline("Triolet, the herd", LIMIT_SECONDS):
        found: Any = herd(Programs(Path(folder)), clients, 4 if arguments.quick else 10)
    publish(part(found, arguments.quick), keep=arguments.save or not arguments.quick)


if __name__ == "__main__":
    main()
