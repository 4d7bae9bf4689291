"""The return to an answer of which 5,000 tokens were missed, with and without folds."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.deadline import deadline
from benchmarks.results import Table
from benchmarks.runs.contestants import RECIPE, TRIOLETS, begin, finish, started
from benchmarks.runs.crowds import REPEATS, WAYS, Crowd, columns, measure
from benchmarks.runs.model import Order
from benchmarks.targets import judge

__all__ = ["MISSED", "Return", "returning", "returning_table"]

MISSED = 5_000
LIMIT_SECONDS = 600
LAST = f"#{MISSED} "
"""How the last token begins."""


class Return(NamedTuple):
    """One contestant, and one way to come back to it."""

    name: str
    way: str
    folded: bool
    crowd: Crowd


def returning(name: str, crowd: int) -> list[Return]:
    """Start a contestant, let it write an answer, and let readers come back to all of it in every way that it has.

    Raises:
        OverdueError: it took much too long.
        RuntimeError: it did not start, or readers did not get everything.
    """
    limit = deadline(f"{name}, the return to {MISSED:,} tokens", LIMIT_SECONDS)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack, limit:
        server = started(stack, name, Path(folder))
        begin(server, Order("answer", 1, MISSED, 0))
        finish(server, 60)
        found = []
        for way in WAYS:
            for folded in (False, True) if name in TRIOLETS else (False,):
                path = _path(name, server.answer("answer-0"), way, folded=folded)
                found.append(Return(name, way, folded, measure(server, way, path, crowd, LAST)))
        return found


def _path(name: str, answer: str, way: str, *, folded: bool) -> str:
    if name in TRIOLETS:
        return f"{answer}?after=0{'&fold=1' if folded else ''}"
    return "/websocket/answer-0/events" if way == "ws" else answer


def returning_table(found: Sequence[Return], crowd: int) -> Table:
    """Write it down, a row for each contestant and way."""
    rows = [
        [
            it.name,
            WAYS[it.way],
            "yes" if it.folded else "no",
            *it.crowd.row(with_redis=it.name.endswith("Redis")),
            "all" if it.crowd.tokens == MISSED else "not all",
        ]
        for it in found
    ]
    cpu = {(it.name, it.way, it.folded): it.crowd.cpu_ms for it in found}
    ours, theirs = cpu.get((TRIOLETS[2], "sse", True)), cpu.get((RECIPE, "sse", False))
    return Table(
        "runs-returning",
        f"The return to {MISSED:,} missed tokens",
        ["", "over", "folded", *columns(crowd), "in order"],
        rows,
        f"Readers ask for all {MISSED:,} tokens of an answer that has ended: one by itself (the median of {REPEATS}), "
        f"and {crowd} that come at once. The time runs from the first attempt to connect until the last token is "
        "there. The recipe over WebSocket is the same loop with `send_json`.",
        verdicts=[judge("runs-return", ours / theirs)] if ours and theirs else [],
    )
