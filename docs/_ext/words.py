"""How pages write the numbers of limits.py, bounds.py and plan/figures.py: they name it, and the code has it."""

from __future__ import annotations

import re
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import triolet
from triolet.limits import Limits
from triolet.plan.figures import FIGURES

__all__ = ["BOUNDS", "DEFAULTS", "in_words", "measured"]

ROOT = Path(triolet.__file__).parent
BOUNDS = [
    import_module(".".join(["triolet", *path.relative_to(ROOT).with_suffix("").parts]))
    for path in (ROOT / "bounds.py", *sorted(ROOT.glob("*/bounds.py")))
]
"""The modules of the bounds that are no settings: the house's, and those of some rooms."""

DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Limits)} | {
    name: value
    for module in BOUNDS
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, int | float)
}
"""Of the fields, and of the bounds that are no settings, whose names are in capitals."""

UNITS = {
    "_seconds": ((24 * 3600, "days"), (1, "s")),
    "_bytes": ((1 << 20, "MiB"), (1 << 10, "KiB"), (1, "bytes")),
}
"""By how a field's name ends: the units that are tried, and the first of which there are whole ones is taken."""

MEASURED = re.compile(r"(?:(?P<times>[0-9,]+) x )?(?P<name>[a-z ]+?)(?P<rate> a second)?")
SIZES = {"kB": 1e3, "MB": 1e6, "µs": 1e-6}
SHOWN = {"kB": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")), "µs": ((1, "s"), (1e-3, "ms"), (1e-6, "µs"))}
SHOWN["MB"] = SHOWN["kB"]

ONE = {"days": "day", "bytes": "byte"}


def measured(text: str) -> str:
    """Return a measured figure as a page writes it: ``stream memory`` is ``15.9 kB``, ``60,000 x stream memory`` is
    ``0.95 GB``, and ``return a second``, how many of them one core does in a second, ``2,000``.

    Raises:
        KeyError: there is no such figure.
    """
    found = MEASURED.fullmatch(text)
    if found is None or found["name"] not in FIGURES:
        raise KeyError(text)
    figure = FIGURES[found["name"]]
    value = figure.value * SIZES[figure.unit]
    if found["rate"]:
        return f"{float(f'{1 / value:.2g}'):,.0f}"
    value *= int((found["times"] or "1").replace(",", ""))
    size, unit = next((size, unit) for size, unit in SHOWN[figure.unit] if value >= 0.5 * size)
    return f"{value / size:.{2 if found['times'] else 3}g} {unit}"


def in_words(name: str) -> str:
    """Return a limit's default as a page writes it: ``10,000``, ``20 s``, ``7 days``, ``64 MiB``.

    Raises:
        KeyError: there is no such limit.
    """
    value = DEFAULTS[name]
    for ending, units in UNITS.items():
        if name.lower().endswith(ending):
            for size, unit in units:
                if value >= size and not value % size:
                    return f"{value / size:,.0f} {unit if value > size else ONE.get(unit, unit)}"
            return f"{value:g} s"
    return f"{value:,.0f}"
