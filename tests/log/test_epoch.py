"""What lives of logs are called: as a shell, a table and a program's options take it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from trio.testing import MockClock

from triolet import Draft
from triolet.app.open_log import open_log
from triolet.log import MemoryLog


@pytest.mark.parametrize("drawn", ["-x3_Aa-_", "_bcdefgh", "12345678", "0x123456", "abc-_123", "Zbc-_123"])
async def test_a_new_one_begins_with_a_letter(
    drawn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr("secrets.token_urlsafe", lambda count: drawn)
    for log in (MemoryLog(), open_log(f"sqlite:///{tmp_path}/log.db")):
        async with log.open():
            (event,) = await log.append("c", [Draft.of(1)])
        assert re.fullmatch("[A-Za-z][A-Za-z0-9_-]{7}", event.cursor.epoch)
