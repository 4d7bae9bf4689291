"""Draw what was found: a PNG for each question, light, with few words."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.results import Part, Series

__all__ = ["draw"]

OURS = "#0b6e4f"
THEIRS = "#9aa5b1"
SECOND = "#d98e04"
SIZE = (7.2, 3.6)
DPI = 100

STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "x",
    "axes.axisbelow": True,
    "grid.color": "#e3e7eb",
    "legend.frameon": False,
    "figure.facecolor": "white",
}


def draw(parts: Sequence[Part], folder: Path) -> None:
    """Draw every plot whose numbers there are."""
    series = {name: found for part in parts for name, found in part.series.items()}
    with mpl.rc_context(STYLE):
        for name, (needed, painter) in PLOTS.items():
            if all(need in series for need in needed):
                figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
                painter(figure.subplots(), *(series[need] for need in needed))
                _save(figure, folder / f"{name}.png")


def _save(figure: Figure, path: Path) -> None:
    """Save in 64 colours: a third of the bytes, and nobody sees it."""
    drawn = io.BytesIO()
    figure.savefig(drawn)
    Image.open(drawn).convert("RGB").quantize(64).save(path, optimize=True)


def _bars(axes: Any, labels: Sequence[Any], values: Mapping[str, Sequence[float | None]], unit: str) -> None:
    """Draw horizontal bars, a group for each label from the top; Triolet in its colour, later values paler."""
    height = 0.8 / len(values)
    for number, (name, numbers) in enumerate(values.items()):
        widths = [value or 0 for value in numbers]
        colours = [OURS if label == "Triolet" else THEIRS for label in labels]
        places = [row + number * height for row in range(len(labels))]
        bars = axes.barh(places, widths, height * 0.92, color=colours, alpha=0.5 if number else 1, label=name)
        axes.bar_label(bars, [_short(value) for value in widths], padding=3, fontsize=9)
    axes.set_yticks([row + 0.4 - height / 2 for row in range(len(labels))], labels)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.xaxis.set_major_formatter(lambda value, _: _short(value))
    axes.margins(x=0.12)
    if len(values) > 1:
        axes.figure.legend(loc="outside lower center", ncol=2)


def _beside(
    axes: Any, labels: Sequence[Any], values: Mapping[str, Sequence[float | None]], colours: Sequence[str], unit: str
) -> None:
    """Draw pairs of bars on a logarithmic scale."""
    for (name, numbers), colour, shift in zip(values.items(), colours, (-0.19, 0.19), strict=True):
        widths = [value or 0 for value in numbers]
        bars = axes.barh([row + shift for row in range(len(labels))], widths, 0.36, color=colour, label=name)
        axes.bar_label(bars, [_short(value) for value in widths], padding=3, fontsize=9)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(left=1)
    axes.xaxis.set_major_formatter(lambda value, _: _short(value))
    axes.set_xlabel(unit)
    axes.margins(x=0.12)
    axes.figure.legend(loc="outside lower center", ncol=2)


def _short(value: float) -> str:
    for bound, unit in ((1e6, " M"), (1e3, " k"), (1, "")):
        if value >= bound:
            return f"{value / bound:.3g}{unit}"
    return f"{value:.2g}"


def _cost(axes: Any, paced: Series) -> None:
    axes.set_title("CPU of one delivery, 20 events a second to 1,000 WebSockets")
    _bars(axes, paced.labels, {"": next(iter(paced.values.values()))}, "µs")


def _saturated(axes: Any, single: Series, many: Series) -> None:
    axes.set_title("WebSocket deliveries a second, saturated")
    (_, thousand), (how_many, crowd) = next(iter(single.values.items())), next(iter(many.values.items()))
    few, more = dict(zip(single.labels, thousand, strict=True)), dict(zip(many.labels, crowd, strict=True))
    names = [name for name in single.labels if name != "C loop"]
    values = {"1,000 clients": [few[name] for name in names], how_many: [more.get(name) for name in names]}
    _bars(axes, names, values, "")


def _latency(axes: Any, latency: Series) -> None:
    axes.set_title("p99 at half of each peer's own saturation, 1,000 WebSockets")
    rows = [row for row, name in enumerate(latency.labels) if name != "Triolet"]
    theirs, ours = ([values[row] for row in rows] for values in latency.values.values())
    values = {"the peer": theirs, "Triolet at the same rate": ours}
    _beside(axes, [latency.labels[row] for row in rows], values, (THEIRS, OURS), "ms")


def _memory(axes: Any, idle: Series, stalled: Series) -> None:
    axes.set_title("Memory of a connection, idle and stalled")
    process, kernel = stalled.values["process"], stalled.values["kernel"]
    whole = {name: (a or 0) + (b or 0) for name, a, b in zip(stalled.labels, process, kernel, strict=True)}
    resting = dict(zip(idle.labels, idle.values["idle"], strict=True))
    values: dict[str, Sequence[float | None]] = {
        "idle": list(resting.values()),
        "stalled, process and kernel": [whole.get(name, 0) for name in resting],
    }
    _beside(axes, list(resting), values, (THEIRS, SECOND), "bytes")
    axes.set_xlim(left=1e3)


def _scale(axes: Any, clients: Series) -> None:
    axes.set_title("CPU of one delivery, by clients")
    axes.plot(clients.labels, clients.values["C loop"], "o--", color=THEIRS, label="C loop")
    axes.plot(clients.labels, clients.values["Triolet"], "o-", color=OURS, label="Triolet")
    _by_count(axes, "clients", "µs")


def _channels(axes: Any, channels: Series) -> None:
    axes.set_title("CPU of an event to one follower, by channels")
    axes.plot(channels.labels, channels.values["Triolet"], "o-", color=OURS, label="Triolet")
    _by_count(axes, "channels", "µs")


def _by_count(axes: Any, what: str, unit: str) -> None:
    axes.set_xscale("log")
    axes.margins(y=0.15)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel(what)
    axes.set_ylabel(unit)
    axes.legend()


def _herd(axes: Any, herd: Series) -> None:
    axes.set_title("Live clients while a herd comes back")
    axes.plot(herd.labels, herd.values["p99"], color=OURS, label="p99 of the live")
    axes.plot(herd.labels, herd.values["p50"], color=OURS, alpha=0.45, label="p50 of the live")
    axes.set_yscale("log")
    axes.grid(axis="y")
    for formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        formatter(lambda value, _: f"{value:g}" if f"{value:g}"[0] in "125" else "")
    axes.set_xlabel("seconds since the herd came")
    axes.set_ylabel("ms")
    beside = axes.twinx()
    beside.fill_between(
        herd.labels,
        [100 * (value or 0) for value in herd.values["replayed"]],
        color=SECOND,
        alpha=0.2,
        linewidth=0,
    )
    beside.set_ylim(0, 105)
    beside.grid(visible=False)
    beside.set_ylabel("missed events replayed, %", color=SECOND)
    axes.legend(loc="upper left")


PLOTS: dict[str, tuple[tuple[str, ...], Callable[..., None]]] = {
    "cost": (("ws-paced",), _cost),
    "saturated": (("ws-single", "many"), _saturated),
    "latency": (("latency",), _latency),
    "memory": (("idle", "stalled"), _memory),
    "by-clients": (("clients",), _scale),
    "by-channels": (("channels",), _channels),
    "herd": (("herd",), _herd),
}
"""Each plot's name, the series it needs, and who draws it."""
