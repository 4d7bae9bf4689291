"""The short form of ``python -m benchmarks.runs``, without its peers: every reader gets every token, in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fanout.programs import Programs
from benchmarks.runs.returning import MISSED, returning
from benchmarks.runs.states import newcomers
from benchmarks.runs.streaming import READERS, stream

from .needs import needs


@needs("gcc")
@pytest.mark.parametrize("log", ["memory", "SQLite"])
def test_every_reader_of_a_run_gets_every_token_in_order(log: str, tmp_path: Path) -> None:
    turn = stream(f"Triolet, {log}", 3, 0.4, Programs(tmp_path).load)
    assert (turn.delivered, turn.disordered) == (3 * 20 * READERS, 0)


def test_who_comes_back_gets_every_token_folded_or_not_over_each_way() -> None:
    found = returning("Triolet, memory", 3)
    assert [(one.way, one.folded, one.crowd.tokens) for one in found] == [
        ("sse", False, MISSED),
        ("sse", True, MISSED),
        ("ws", False, MISSED),
        ("ws", True, MISSED),
    ]


def test_newcomers_are_given_the_state_in_place_of_the_events() -> None:
    state, events, *_ = newcomers("Triolet, memory", 3)
    assert state.crowd.bytes < events.crowd.bytes / 50
