"""Write down what was kept of the last runs: RESULTS.md, and for the documentation tables and plots.

    python -m benchmarks.report

Reads ``benchmarks/results``; writes ``benchmarks/RESULTS.md``, ``docs/explanation/benchmarks`` and the README's table.
Needs the extra `bench`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from benchmarks import readme
from benchmarks.plots import draw
from benchmarks.results import FOLDER, Part, Table, markdown, parts, say

__all__ = ["PARTS", "main"]

PARTS = (
    "fanout",
    "echo",
    "chat",
    "polls",
    "connections",
    "scale",
    "herd",
    "commands",
    "runs",
    "many-publishing",
    "many-latency",
    "many-saturated",
    "many-held",
)
RESULTS = FOLDER.parent / "RESULTS.md"
DOCS = FOLDER.parents[1] / "docs" / "explanation" / "benchmarks"

DETAILS = {"server's core", "clients' core", "others' share", "bytes each", "events a read"}
"""Columns that only RESULTS.md has: they are for who doubts the others."""


def main() -> None:
    """Write everything anew."""
    found = parts(PARTS)
    RESULTS.write_text("\n".join(map(markdown, found)), encoding="utf-8")
    DOCS.mkdir(exist_ok=True)
    for part in found:
        (DOCS / f"{part.name}.inc").write_text(_about(part), encoding="utf-8")
        for table in part.tables:
            (DOCS / f"{table.name}.inc").write_text("\n".join(_table(table)) + "\n", encoding="utf-8")
    targets = [f"{table.title}: {line}" for part in found for table in part.tables for line in table.verdicts]
    (DOCS / "targets.inc").write_text(_list(targets), encoding="utf-8")
    draw(found, DOCS)
    readme.main()
    say(f"Written to {RESULTS}, {DOCS} and {readme.README}.")


def _about(part: Part) -> str:
    machine = ", ".join(f"{what} {value}" for what, value in part.machine.items())
    hurry = "Measured in a hurry (``--quick``): an impression, no more.\n\n" if part.quick else ""
    return f"Measured: {machine}.\n\n{hurry}{_rst(part.text)}\n"


def _table(table: Table) -> Iterator[str]:
    """A table as reStructuredText, to be included under a heading of the page's own."""
    yield f".. csv-table:: {table.title}"
    yield "   :header-rows: 1"
    yield "   :class: benchmark"
    yield ""
    shown = [place for place, column in enumerate(table.columns) if column not in DETAILS]
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerows([row[place] for place in shown] for row in (table.columns, *table.rows))
    yield from (f"   {line}" for line in rows.getvalue().splitlines())
    yield ""
    for text in (_rst(table.text), _list(table.verdicts), _list(table.ahead)):
        if text:
            yield text + "\n"


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {_rst(line)}" for line in lines) + "\n" if lines else ""


def _rst(text: str) -> str:
    """Markdown's code is written with one backtick, reStructuredText's with two."""
    return re.sub(r"`([^`]+)`", r"``\1``", text)


if __name__ == "__main__":
    main()
