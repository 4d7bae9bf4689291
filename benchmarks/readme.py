"""The README's table of figures beside the peers, from the tables of the documentation: the README says nothing else.

    python -m benchmarks.readme

Reads ``docs/explanation/benchmarks/*.inc``, writes what stands between two comments of README.md.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["README", "lines", "put"]

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TABLES = ROOT / "docs" / "explanation" / "benchmarks"

BEGIN = "<!-- measured: python -m benchmarks.readme writes this -->"
END = "<!-- end of what is measured -->"

OURS = "Triolet"
PEERS = ("nchan", "Node ws", "websockets", "Socket.IO", "Starlette", "python-socketio")


class Figure(NamedTuple):
    """A column of the README's: which table has it, in which columns (they are added), and whether more is better."""

    told: str
    unit: str
    table: str
    columns: tuple[str, ...]
    is_more_better: bool = False


FIGURES = (
    Figure("CPU of a delivery", "µs", "ws-paced", ("µs of CPU a delivery",)),
    Figure("deliveries at most", "a second", "ws-single", ("deliveries/s",), is_more_better=True),
    Figure("memory for a client that stalls", "kB", "stalled", ("kB each, process", "kB each, kernel")),
    Figure("10,000 missed events to 50 clients", "s", "replay", ("seconds until all have all",)),
    Figure("memory of an idle client", "kB", "idle", ("memory each, kB",)),
    Figure("2,000 clients that come at once", "s", "storm", ("seconds until all are back",)),
    Figure("CPU of a short poll", "µs", "polls-short", ("µs of CPU a poll",)),
)


def lines() -> list[str]:
    """Return the table, and the sentence that says where a peer is ahead."""
    found = {figure: _column(figure) for figure in FIGURES}
    heads = ["", *(f"{figure.told}, {figure.unit}" for figure in FIGURES)]
    made = [_row(heads), _row(["---", *("--:" for _ in FIGURES)])]
    for name in (OURS, *PEERS):
        cells = [_shown(found[figure].get(name), name == OURS) for figure in FIGURES]
        made.append(_row([f"**{name}**" if name == OURS else name, *cells]))
    return [*made, "", f"**Ahead of Triolet**: {'; '.join(_ahead(found)) or 'nobody'}."]


def put(text: str) -> str:
    """Return the README's text with the table as it is now."""
    made = "\n".join([BEGIN, "", *lines(), "", END])
    return re.sub(f"{BEGIN}.*?{END}", lambda _: made, text, flags=re.DOTALL)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(value: float | None, is_ours: bool) -> str:
    if value is None:
        return "–"
    text = f"{value:,.0f}" if value >= 100 else f"{value:g}"
    return f"**{text}**" if is_ours else text


def _ahead(found: dict[Figure, dict[str, float]]) -> Iterator[str]:
    for figure, values in found.items():
        sign = -1 if figure.is_more_better else 1
        better = [name for name in PEERS if name in values and sign * values[name] < sign * values[OURS]]
        if better:
            yield f"in {figure.told} {', '.join(better)}"


def _column(figure: Figure) -> dict[str, float]:
    """What a table says of each, by name; who is not in it, or has no number, is left out."""
    text = (TABLES / f"{figure.table}.inc").read_text(encoding="utf-8")
    body = re.search(r"^\.\. csv-table::.*\n(?:   :.*\n)*\n((?:   .*\n)+)", text, re.MULTILINE)
    assert body is not None, f"{figure.table}.inc has no table"
    head, *rows = csv.reader(line.strip() for line in body[1].splitlines())
    found = {}
    for name, *cells in rows:
        told = dict(zip(head[1:], cells, strict=True))
        parts = [re.match(r"[\d,.]+", told[column]) for column in figure.columns]
        if all(parts):
            found[name.removesuffix(", WebSocket")] = sum(float(part[0].replace(",", "")) for part in parts if part)
    return found


def main() -> None:
    """Write the README's part anew."""
    README.write_text(put(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
