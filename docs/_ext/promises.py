"""What is promised over which path, from the table that the tests go by, ``tests/paths/table.py``."""

from __future__ import annotations

from tests.paths import table as paths

from .rst import table

__all__ = ["not_given", "promises"]


def promises() -> list[str]:
    """Return the table of promises, with the transports that each is about."""
    rows = []
    for promise, sentence in paths.PROMISES.items():
        meant = [transport for transport in paths.TRANSPORTS if (promise, transport) not in paths.NOT_MEANT]
        rows.append((promise, sentence, _whose(promise, meant)))
    return table(("name", "what is promised", "of"), rows)


def not_given() -> list[str]:
    """Return one row for each promise and reason: where it is not kept, by path and transport."""
    found: dict[tuple[str, str], list[paths.Cell]] = {}
    for cell, why in paths.NOT_GIVEN.items():
        found.setdefault((cell.promise, why), []).append(cell)
    rows = []
    for (promise, why), cells in found.items():
        where = "; ".join(paths.PATHS[path] for path in dict.fromkeys(cell.path for cell in cells))
        who = _whose(promise, list(dict.fromkeys(cell.transport for cell in cells)))
        rows.append((promise, who, where, f"{why}."))
    return table(("name", "of", "over", "because"), rows)


def _whose(promise: str, transports: list[str]) -> str:
    if promise == "body_bytes":
        return "requests"
    return "all" if len(transports) == len(paths.TRANSPORTS) else ", ".join(transports)
