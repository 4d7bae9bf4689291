"""The tables of connections: those that come at once, that are idle, that stall, and that missed much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.fanout.crowd import Arrival, Idle
from benchmarks.fanout.measure import Window
from benchmarks.fanout.replay import MISSED, Replay
from benchmarks.fanout.stalled import EVENT_BYTES, RATE, SECONDS, WAIT, Stalled
from benchmarks.fanout.table import NAMES, ahead, saturated_verdicts
from benchmarks.results import Series, Table, spread
from benchmarks.targets import judge

__all__ = ["arrival_table", "idle_table", "many_table", "replay_table", "stalled_table"]


def arrival_table(arrivals: Mapping[str, Sequence[Arrival]]) -> Table:
    """Write what a reconnect storm costs, of the arrivals of each server."""
    rates = {name: [a.clients / a.seconds for a in own] for name, own in arrivals.items()}
    cpu = {name: median(a.cpu for a in own) for name, own in arrivals.items()}
    rows = [
        [
            name,
            f"{median(a.seconds for a in own):.2f}",
            spread(rates[name], 0),
            f"{cpu[name] * 1e3:.2f}",
            f"{median(a.load for a in own):.0%}",
        ]
        for name, own in arrivals.items()
    ]
    ours, theirs = rates.get("Triolet"), rates.get("websockets")
    verdicts = []
    if ours and theirs:
        verdicts.append(judge("storm", median(a / b for a, b in zip(ours, theirs, strict=False))))
    return Table(
        "storm",
        f"A reconnect storm: {_clients(arrivals):,} WebSockets at once",
        ["", "seconds until all are back", "connections/s", "ms of CPU each", "clients' core"],
        rows,
        "What one connection costs when they come one after the other is in another table.",
        verdicts,
        ahead=_ahead(
            cpu,
            "CPU to accept",
            "each connection of Triolet's passes a Quart "
            "view, which decides who may follow, and gets a nursery and its tasks; the others' handshake asks nobody",
        ),
    )


def idle_table(arrivals: Mapping[str, Sequence[Arrival]], idles: Sequence[Idle]) -> tuple[Table, Series]:
    """Write what idle connections hold and cost."""
    memory = {it.name: median(arrival.bytes_each for arrival in arrivals[it.name]) for it in idles}
    clients = _clients(arrivals)
    rows, cpu = [], {}
    for it in idles:
        cpu[it.name] = it.cpu / clients / it.seconds * 60
        rows.append(
            [
                it.name,
                f"{memory[it.name] / 1e3:.1f}",
                f"{it.cpu / it.seconds:.2%}",
                f"{cpu[it.name] * 1e6:,.0f}",
                f"{it.beats:,}",
                str(it.closed),
            ]
        )
    lines = _ahead(
        memory,
        "memory of an idle connection",
        "a connection of Triolet's is a nursery with tasks that "
        "watch it: a reader, a writer, a heartbeat and a lifetime",
    )
    lines += _ahead(
        cpu,
        "CPU of idle connections",
        "Triolet's heartbeat also lets page code see that its stream is alive, and looks for silence at both ends",
    )
    verdicts = []
    if "Triolet" in cpu:
        verdicts = [judge("idle", cpu["Triolet"] * 1e6), judge("memory", memory["Triolet"] / 1e3)]
    table = Table(
        "idle",
        f"{clients:,} idle WebSockets, over {idles[0].seconds:.0f} s",
        ["", "memory each, kB", "CPU of a core", "µs of CPU for a connection and minute", "beats", "closed"],
        rows,
        "Heartbeats at each server's defaults (nchan's, which has none, at Triolet's 20 s). Beats are what the data "
        "channel carried: WebSocket pings are not counted.",
        verdicts,
        lines,
    )
    return table, Series(list(memory), {"idle": list(memory.values())})


def many_table(windows: Sequence[Window], clients: int) -> tuple[Table, Series]:
    """Write the saturated deliveries to many clients."""
    names = list(dict.fromkeys(w.name for w in windows))
    of = {name: [w for w in windows if w.name == name] for name in names}
    rates = {name: median(w.rate for w in own) for name, own in of.items()}
    rows = [
        [
            name,
            f"{rates[name]:,.0f}",
            f"{median(w.micros for w in own):.2f}",
            f"{median(w.p50_ms for w in own):.1f} / {median(w.p99_ms for w in own):.1f}",
            str(sum(w.lost for w in own)),
        ]
        for name, own in of.items()
    ]
    table = Table(
        "many",
        f"WebSocket, saturated, {clients:,} clients",
        ["", "deliveries/s", "µs of CPU a delivery", "latency p50 / p99, ms", "lost"],
        rows,
        verdicts=saturated_verdicts(windows),
        ahead=ahead(windows, "deliveries a second", lambda w: w.rate, most=True),
    )
    return table, Series(list(names), {f"{clients:,} clients": list(rates.values())})


def stalled_table(found: Sequence[Stalled]) -> tuple[Table, Series]:
    """Write what clients cost that read nothing."""
    rows = [
        [
            it.name,
            f"{it.process_each / 1e3:,.0f}",
            f"{it.kernel_each / 1e3:,.0f}",
            f"{it.published:.0%}",
            f"{it.closed} of {it.clients}",
        ]
        for it in found
    ]
    table = Table(
        "stalled",
        f"WebSocket, clients that stall while {RATE * EVENT_BYTES / 1e6:.1f} MB a second are published",
        ["", "kB each, process", "kB each, kernel", "events published", f"disconnected after {WAIT:.0f} s"],
        rows,
        f"{found[0].clients} clients stop reading, and for {SECONDS:g} s events of {EVENT_BYTES >> 10} KiB are "
        "published. The process's memory is the most that it had beyond what the same events cost while everybody "
        "read; the kernel's is what waits to be sent. A publisher that waits for the slowest has published less.",
    )
    series = Series(
        [it.name for it in found],
        {"process": [it.process_each for it in found], "kernel": [it.kernel_each for it in found]},
    )
    return table, series


def replay_table(found: Sequence[Replay], without: Sequence[str]) -> Table:
    """Write what missed events cost."""
    rows = [
        [
            f"{it.name}, {NAMES[it.transport]}",
            f"{it.seconds:.2f}",
            f"{it.events / it.seconds:,.0f}",
            f"{it.cpu / max(1, it.events) * 1e6:.2f}",
            f"{it.lost:,}",
        ]
        for it in found
    ]
    rows += [[name, "keeps no history", "", "", ""] for name in without]
    cost = {f"{it.name}, {NAMES[it.transport]}": it.cpu / max(1, it.events) for it in found}
    cost["Triolet"] = max(value for name, value in cost.items() if name.startswith("Triolet"))
    return Table(
        "replay",
        f"{MISSED:,} missed events each, to {found[0].clients} clients at once",
        ["", "seconds until all have all", "events/s", "µs of CPU an event", "lost"],
        rows,
        ahead=_ahead(
            {name: value for name, value in cost.items() if not name.startswith("Triolet, ")},
            "CPU to replay",
            "its messages lie in memory as they go out",
        ),
    )


def _clients(arrivals: Mapping[str, Sequence[Arrival]]) -> int:
    return next(iter(arrivals.values()))[0].clients


def _ahead(values: Mapping[str, float], what: str, why: str) -> list[str]:
    """Say who needs less than Triolet, and why."""
    mine = values.get("Triolet", 0.0)
    less = [name for name, value in values.items() if value < mine]
    return [f"Ahead of Triolet in {what}: {', '.join(less)}. Why: {why}."] if less else []
