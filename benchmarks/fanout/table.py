"""The tables of windows, and what they say about the targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Final

from benchmarks.fanout.latency import Latency
from benchmarks.fanout.measure import BURSTS, MODES, PACED, SINGLE, Mode, Window
from benchmarks.results import Series, Table, spread
from benchmarks.targets import judge

__all__ = ["latency_table", "load_table", "mode_tables", "saturated_verdicts"]

NAMES: Final = {"ws": "WebSocket", "sse": "SSE"}

WHY: Final = {
    "C loop": "a loop of send() on sockets that it never looks at again: no log, no cursor, nobody can come or go",
    "nchan": "nginx's event loop in C: no interpreter between two sends",
    "Node ws": "one write for each client from a loop that the JIT has compiled",
}

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


def mode_tables(transport: str, windows: Sequence[Window]) -> list[tuple[Table, Series]]:
    """Write the tables of a transport, one for each mode, with its targets."""
    return [_mode_table(transport, mode, [w for w in windows if w.mode == mode]) for mode in MODES]


def _mode_table(transport: str, mode: Mode, own: Sequence[Window]) -> tuple[Table, Series]:
    reference = "C loop" if mode == PACED else "Starlette"
    base = _of(own, reference)
    names = list(dict.fromkeys(w.name for w in own))
    table = Table(
        f"{transport}-{mode.name}",
        f"{NAMES[transport]}, {mode.title}",
        [column.format(reference) for column in COLUMNS],
        [_row(name, _of(own, name), base) for name in names],
    )
    if mode == PACED:
        ratios = [a.micros / b.micros for a, b in _paired(own, "C loop")]
        if ratios:
            table.verdicts.append(judge("fan-out", median(ratios)))
        table.ahead = ahead(own, "CPU a delivery", lambda w: w.micros)
    else:
        if mode == SINGLE:
            table.verdicts = saturated_verdicts(own)
        table.ahead = ahead(own, "deliveries a second", lambda w: w.rate, most=True)
    values = [median(w.micros if mode == PACED else w.rate for w in _of(own, name)) for name in names]
    return table, Series(list(names), {NAMES[transport]: list(values)})


def saturated_verdicts(windows: Sequence[Window]) -> list[str]:
    """Compare Triolet's deliveries with those it is to outdo."""
    found = []
    for name in ("nchan", "Starlette"):
        ratios = [a.rate / b.rate for a, b in _paired(windows, name)]
        if ratios:
            found.append(judge(f"saturated-{name.lower()}", median(ratios)))
    return found


def ahead(windows: Sequence[Window], what: str, value: Callable[[Window], float], *, most: bool = False) -> list[str]:
    """Say who is ahead of Triolet in something, and why."""
    medians = {name: median(map(value, _of(windows, name))) for name in dict.fromkeys(w.name for w in windows)}
    mine = medians.pop("Triolet", None)
    better = (
        [] if mine is None else [name for name, other in medians.items() if (other > mine) == most and other != mine]
    )
    return [f"{name} is ahead of Triolet in {what}: {WHY.get(name, 'see the text')}." for name in better]


def latency_table(found: Iterable[Latency], clients: int) -> tuple[Table, Series]:
    """Write latencies at equal loads."""
    rows, verdicts, names = [], [], []
    values: dict[str, list[float | None]] = {"p99": [], "Triolet's p99 at the same load": []}
    for each in found:
        own, triolet = (median(w.p99_ms for w in windows) for windows in (each.own, each.triolet))
        names.append(each.name)
        values["p99"].append(own)
        values["Triolet's p99 at the same load"].append(triolet)
        rows.append([each.name, f"{each.rate:,.0f}", *map(_at_load, (each.own, each.triolet, each.at_triolets))])
        if each.name == "nchan":
            ratio = median(b.p99_ms / a.p99_ms for a, b in zip(each.own, each.triolet, strict=True))
            verdicts.append(judge("latency", ratio))
    table = Table(
        "latency",
        f"WebSocket, latency p50 / p99 in ms at equal loads, {clients:,} clients",
        [
            "",
            "half of its saturation, events/s",
            "its own",
            "Triolet's at that rate",
            "at half of Triolet's saturation",
        ],
        rows,
        "From publishing to the client's `recv()` of the whole event. A server that does not keep up with a rate "
        "(under 95 % of it) has no latency there; what it published is said.",
        verdicts,
    )
    return table, Series(list(names), values)


def _at_load(windows: Sequence[Window]) -> str:
    asked = windows[0].mode.rate
    got = median(w.published for w in windows)
    if got < 0.95 * asked:
        return f"overloaded: {got:,.0f} of {asked:,.0f}/s"
    return f"{median(w.p50_ms for w in windows):.1f} / {median(w.p99_ms for w in windows):.1f}"


def load_table(windows: dict[str, list[Window]]) -> Table:
    """Show that the load generator was not the bottleneck."""
    rows = []
    for transport, own in windows.items():
        loops, others = _of(own, "C loop"), [w for w in own if w.name != "C loop"]
        single, bursts = (max((w.rate for w in loops if w.mode == mode), default=0) for mode in (SINGLE, BURSTS))
        most = max((w.rate for w in others), default=0)
        share = max((w.load_cpu / w.seconds for w in others), default=0)
        rows.append([NAMES[transport], f"{single:,.0f}/s", f"{bursts:,.0f}/s", f"{most:,.0f}/s", f"{share:.0%}"])
    return Table(
        "load",
        "The load generator",
        ["", "from the C loop, one by one", "16 at once", "most for the others", "highest share of its core"],
        rows,
        "What it took from the C loop, and the most that the servers asked of it.",
    )


def _of(windows: Sequence[Window], name: str) -> list[Window]:
    return [w for w in windows if w.name == name]


def _paired(windows: Sequence[Window], other: str) -> list[tuple[Window, Window]]:
    mine, theirs = _of(windows, "Triolet"), _of(windows, other)
    return list(zip(mine, theirs, strict=True)) if mine and theirs else []


def _row(name: str, own: Sequence[Window], base: Sequence[Window]) -> list[str]:
    pairs = list(zip(own, base, strict=True)) if base else []
    deliveries = max(1, sum(w.deliveries for w in own))
    return [
        name,
        f"{median(w.micros for w in own):.2f}",
        spread([mine.micros / other.micros for mine, other in pairs]),
        f"{median(w.rate for w in own):,.0f}",
        spread([mine.rate / other.rate for mine, other in pairs]),
        f"{median(w.server_cpu / w.seconds for w in own):.0%}",
        f"{median(w.load_cpu / w.seconds for w in own):.0%}",
        f"{median(w.foreign for w in own):.0%}",
        f"{sum(w.bytes for w in own) / deliveries:.0f}",
        f"{deliveries / max(1, sum(w.reads for w in own)):.1f}",
        f"{median(w.p50_ms for w in own):.1f} / {median(w.p99_ms for w in own):.1f}",
        f"{sum(w.lost for w in own)}",
    ]
