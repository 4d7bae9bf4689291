"""How pages write the numbers of limits.py and bounds.py: they name the bound, and its number comes from the code."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import triolet
from triolet.limits import Limits

__all__ = ["BOUNDS", "DEFAULTS", "in_words"]

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

ONE = {"days": "day", "bytes": "byte"}


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
