"""Both logs keep the contract of EventLog: the conformance suite that users run over theirs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from trio.testing import MockClock

from triolet.log import MemoryLog
from triolet.sqlite.log import SqliteLog
from triolet.testing import LOG_CHECKS, LogCheck, LogFactory


def _memory(folder: Path) -> LogFactory:
    return lambda limits, clock: MemoryLog(limits, clock)


def _sqlite(folder: Path) -> LogFactory:
    names = (folder / f"{number}.db" for number in count())
    return lambda limits, clock: SqliteLog(next(names), limits, clock)


@pytest.mark.parametrize("check", LOG_CHECKS, ids=lambda check: check.__name__.strip("_"))
@pytest.mark.parametrize("factory", [_memory, _sqlite])
async def test_a_log_keeps_its_promise(
    factory: Callable[[Path], LogFactory], check: LogCheck, tmp_path: Path, mock_clock: MockClock
) -> None:
    await check(factory(tmp_path))
