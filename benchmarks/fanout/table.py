"""The tables, in Markdown, and what they say about the targets."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

from benchmarks.fanout.machine import describe
from benchmarks.fanout.measure import BURSTS, MODES, PACED, SINGLE, Idle, Mode, Plan, Window
from benchmarks.fanout.payload import SIZE

__all__ = ["head", "idle_table", "load_table", "transport_tables"]

PACED_TARGET: Final = 1.5
"""At most so many times the C loop's CPU for a delivery, at the same pace."""

SATURATED_TARGET: Final = 6.0
"""At least so many times Starlette's deliveries a second."""

NAMES: Final = {"ws": "WebSocket", "sse": "SSE"}

COLUMNS: Final = (
    "",
    "µs of CPU a delivery",
    "× {0}",
    "deliveries/s",
    "× {0}",
    "server's core",
    "clients' core",
    "others' share",
    "bytes each",
    "events a read",
    "latency p50 / p99, ms",
    "lost",
)


def head(plan: Plan) -> str:
    """Say what was measured, where, and how to read it."""
    about = ", ".join(f"{what} {value}" for what, value in describe().items())
    paced, saturated = PACED.seconds * plan.part, SINGLE.seconds * plan.part
    return f"""# Fan-out

{about}.

{plan.clients:,} clients on loopback, events of {SIZE} bytes on the wire, published in the server's own process.
The server is pinned to one core, its clients (one thread of C, `load.c`) to another. Rounds: {plan.rounds}, and in each
{paced:g} s for each server at the pace and {saturated:g} s saturated. Within a round the servers take turns, and a
ratio compares windows of one round. Numbers are medians, with the range in brackets. "Others' share" is what foreign
processes took of a core meanwhile; "lost" is published events × clients less what arrived.

The C loop (`sender.c`) sends one frame with each `send()`; of 16 events published at once, 16 frames. Starlette runs
on uvicorn[standard] with a bounded queue and a writer task for each client. Triolet is `triolet serve` with the
memory log.
"""


def transport_tables(transport: str, windows: Sequence[Window]) -> str:
    """Write the tables of a transport, one for each mode, with its targets."""
    parts = []
    for mode in MODES:
        own = [window for window in windows if window.mode == mode]
        parts.append(f"## {NAMES[transport]}, {mode.title}\n")
        parts.append(_table(own, "C loop" if mode == PACED else "Starlette"))
        parts.extend(_verdict(own, mode))
    return "\n".join(parts)


def load_table(windows: dict[str, list[Window]]) -> str:
    """Show that the load generator was not the bottleneck."""
    lines = [
        "## The load generator\n",
        "What it took from the C loop, and the most that the Python servers asked of it.\n",
        "| | from the C loop, one by one | 16 at once | most for Triolet and Starlette | highest share of its core |",
        "|---|---|---|---|---|",
    ]
    for transport, own in windows.items():
        loops = [window for window in own if window.name == "C loop"]
        others = [window for window in own if window.name != "C loop"]
        single = max(window.rate for window in loops if window.mode == SINGLE)
        bursts = max(window.rate for window in loops if window.mode == BURSTS)
        most = max((window.rate for window in others), default=0)
        share = max((window.load_cpu / window.seconds for window in others), default=0)
        lines.append(f"| {NAMES[transport]} | {single:,.0f}/s | {bursts:,.0f}/s | {most:,.0f}/s | {share:.0%} |")
    return "\n".join(lines) + "\n"


def idle_table(results: Sequence[Idle]) -> str:
    """Write what connections cost that get nothing but beats."""
    clients, seconds = results[0].clients, results[0].seconds
    lines = [
        "## Idle WebSocket connections\n",
        f"{clients:,} connections, over {seconds:.0f} s, heartbeats at their defaults (20 s).\n",
        "| | memory each, kB | CPU of a core | µs of CPU for a connection and minute | beats | closed |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        each = result.server_cpu / result.clients * 60 / result.seconds * 1e6
        lines.append(
            f"| {result.name} | {result.bytes_each / 1000:.1f} | {result.server_cpu / result.seconds:.2%} "
            f"| {each:,.0f} | {result.beats:,} | {result.closed} |"
        )
    return "\n".join(lines) + "\n"


def _table(windows: Sequence[Window], reference: str) -> str:
    rows = [[column.format(reference) for column in COLUMNS], ["---"] * len(COLUMNS)]
    base = [window for window in windows if window.name == reference]
    for name in dict.fromkeys(window.name for window in windows):
        rows.append(_row(name, [window for window in windows if window.name == name], base))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(name: str, own: Sequence[Window], base: Sequence[Window]) -> list[str]:
    pairs = list(zip(own, base, strict=True)) if base else []
    deliveries = max(1, sum(window.deliveries for window in own))
    return [
        name,
        f"{median(window.micros for window in own):.2f}",
        _range([mine.micros / other.micros for mine, other in pairs]),
        f"{median(window.rate for window in own):,.0f}",
        _range([mine.rate / other.rate for mine, other in pairs]),
        f"{median(window.server_cpu / window.seconds for window in own):.0%}",
        f"{median(window.load_cpu / window.seconds for window in own):.0%}",
        f"{median(window.foreign for window in own):.0%}",
        f"{sum(window.bytes for window in own) / deliveries:.0f}",
        f"{deliveries / max(1, sum(window.reads for window in own)):.1f}",
        f"{median(window.p50_ms for window in own):.1f} / {median(window.p99_ms for window in own):.1f}",
        f"{sum(window.lost for window in own)}",
    ]


def _verdict(windows: Sequence[Window], mode: Mode) -> list[str]:
    """Compare Triolet with the target of a mode: its cost with the C loop's, or its rate with Starlette's."""
    triolet = [window for window in windows if window.name == "Triolet"]
    other = [window for window in windows if window.name == ("C loop" if mode == PACED else "Starlette")]
    if not triolet or not other:
        return []
    pairs = list(zip(triolet, other, strict=True))
    if mode == PACED:
        ratio = median(mine.micros / theirs.micros for mine, theirs in pairs)
        reached, target = ratio <= PACED_TARGET, f"the C loop's CPU (to reach: at most {PACED_TARGET:g})"
    else:
        ratio = median(mine.rate / theirs.rate for mine, theirs in pairs)
        reached, target = ratio >= SATURATED_TARGET, f"Starlette's deliveries (to reach: {SATURATED_TARGET:g})"
    return [f"**{'PASS' if reached else 'short'}**: {ratio:.2f} times {target}.\n"]


def _range(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})" if values else ""
