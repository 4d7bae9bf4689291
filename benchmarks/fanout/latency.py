"""Latency at equal loads: at half of what each server can do, beside Triolet at the same rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

import msgspec

from benchmarks.fanout.measure import SINGLE, Mode, Pair, Plan, Window, end, window

__all__ = ["Latency", "latencies"]

SECONDS = 1.5


class Latency(msgspec.Struct, frozen=True):
    """What a server and Triolet do at ``rate``, half of the server's saturation, and the server at half of
    Triolet's. Each is the windows of all rounds."""

    name: str
    rate: float
    own: list[Window]
    triolet: list[Window]
    at_triolets: list[Window]


def latencies(
    pairs: Sequence[Pair], saturated: Sequence[Window], plan: Plan, give_up: Callable[[str, Exception], None]
) -> list[Latency]:
    """Measure everybody who can be saturated, given the windows in which they were; who fails is given up."""
    half = {
        name: median(w.published for w in saturated if w.name == name and w.mode == SINGLE) / 2
        for name in dict.fromkeys(w.name for w in saturated)
    }
    triolet = next(pair for pair in pairs if pair[0].name == "Triolet")
    going = {pair[0].name: pair for pair in pairs if pair[0].name in half}
    measured: dict[str, tuple[list[Window], list[Window], list[Window]]] = {name: ([], [], []) for name in going}
    for _ in range(plan.rounds):
        for name, pair in tuple(going.items()):
            windows = measured[name]
            try:
                windows[0].append(_at(pair, half[name], plan))
                windows[1].append(windows[0][-1] if pair is triolet else _at(triolet, half[name], plan))
                windows[2].append(windows[0][-1] if pair is triolet else _at(pair, half["Triolet"], plan))
            except RuntimeError as error:
                del going[name], measured[name]
                end(*pair)
                give_up(name, error)
    return [Latency(name, half[name], *windows) for name, windows in measured.items()]


def _at(pair: Pair, rate: float, plan: Plan) -> Window:
    return window(*pair, plan, Mode("half", "half of a saturation", rate, 1, SECONDS))
