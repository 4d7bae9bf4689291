"""The short form of ``python -m benchmarks.churn``: every way to leave, over every transport, and nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.churn.command import Look, churn, plain_visits, secure_arguments, secure_visits, verdict
from benchmarks.churn.requests import FINS, Visit

from .needs import needs


@pytest.mark.parametrize("ways", [plain_visits, pytest.param(secure_visits, marks=needs("openssl"))])
def test_nothing_is_left_of_clients_that_leave_at_every_stage(ways: Callable[[], list[Visit]], tmp_path: Path) -> None:
    all_ways = ways()
    every = len(all_ways) * len(FINS)
    more = secure_arguments(tmp_path) if ways is secure_visits else []
    seen: list[Look] = []
    churn(all_ways, 5 * every, 2 * every, 2, seen.append, *more)  # the allocator takes what it needs in two rounds
    assert not verdict(seen)
