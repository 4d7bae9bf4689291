"""What a benchmark found: tables to read, and series to draw; kept as JSON in ``benchmarks/results``, a file a part.

``python -m benchmarks.report`` makes RESULTS.md, and the documentation's tables and plots, of all of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.fanout.machine import describe

__all__ = [
    "FOLDER",
    "Part",
    "Series",
    "Table",
    "markdown",
    "options",
    "parts",
    "publish",
    "save",
    "say",
    "spread",
    "verdict",
]

FOLDER = Path(__file__).parent / "results"


class Table(msgspec.Struct):
    """Rows of text under columns. ``verdicts`` say which targets were reached, ``ahead`` who beats Triolet."""

    name: str
    title: str
    columns: list[str]
    rows: list[list[str]]
    text: str = ""
    verdicts: list[str] = []
    ahead: list[str] = []


class Series(msgspec.Struct):
    """Numbers to draw: ``values`` for each label, by name; None where there is none."""

    labels: Sequence[str | float]
    values: Mapping[str, Sequence[float | None]]


class Part(msgspec.Struct):
    """What one command found. ``machine`` is where, ``quick`` whether it was in a hurry."""

    name: str
    title: str
    text: str
    tables: list[Table] = []
    series: dict[str, Series] = {}
    quick: bool = False
    machine: dict[str, str] = msgspec.field(default_factory=describe)


def options(command: str, doc: str | None) -> argparse.ArgumentParser:
    """What every part's command takes."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{command}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="once and short; the numbers are only an impression")
    parser.add_argument("--save", action="store_true", help="keep the results though it was --quick or not all of it")
    return parser


def publish(part: Part, *, keep: bool) -> None:
    """Print a part's tables; keep them for ``benchmarks.report`` where they are whole."""
    say(markdown(part))
    if keep:
        save(part)
        say(f"Kept in {FOLDER / part.name}.json; python -m benchmarks.report writes it down.")


def save(part: Part) -> None:
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{part.name}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(part), indent=1) + b"\n")


def parts(names: Sequence[str]) -> list[Part]:
    """Return the parts of these names that were kept, in this order."""
    paths = [FOLDER / f"{name}.json" for name in names]
    return [msgspec.json.decode(path.read_bytes(), type=Part) for path in paths if path.exists()]


def verdict(name: str, value: float, target: float, *, at_least: bool = False, unit: str = " times") -> str:
    """Say whether a target was reached. A unit is written as it stands, with its space."""
    reached = value >= target if at_least else value <= target
    bound = "at least" if at_least else "at most"
    told, wanted = (f"{number:,.0f}" if number >= 100 else f"{number:.2f}" for number in (value, target))
    return f"**{'PASS' if reached else 'short'}**: {name}: {told}{unit} (to reach: {bound} {wanted}{unit})."


def markdown(part: Part) -> str:
    """Write a part's tables in Markdown."""
    hurry = "\nMeasured in a hurry (`--quick`): an impression, no more.\n" if part.quick else ""
    about = ", ".join(f"{what} {value}" for what, value in part.machine.items())
    return f"# {part.title}\n\n{about}.\n{hurry}\n{part.text}\n" + "".join(map(_markdown, part.tables))


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, and the range in brackets where there are several."""
    if not values:
        return ""
    told = f"{median(values):,.{digits}f}"
    return f"{told} ({min(values):,.{digits}f}-{max(values):,.{digits}f})" if len(values) > 1 else told


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _markdown(table: Table) -> str:
    lines = [f"\n## {table.title}\n", *([table.text + "\n"] if table.text else [])]
    for row in (table.columns, ["---"] * len(table.columns), *table.rows):
        lines.append(f"| {' | '.join(row)} |")
    for told in (table.verdicts, table.ahead):
        lines += ["", *(f"- {line}" for line in told)] if told else []
    return "\n".join(lines) + "\n"
