"""How a log is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from triolet.errors import ConfigError, LogError
from triolet.event import Draft
from triolet.limits import Limits
from triolet.log import MemoryLog, open_log
from triolet.log.sqlite import SqliteLog


async def test_memory_is_named() -> None:
    limits = Limits(keep_events=1)
    log = open_log("memory:", limits)
    assert isinstance(log, MemoryLog)
    assert log._limits is limits


@pytest.mark.parametrize("name", ["orders.db", "my%20orders%3F.db", "orders.db?synchronous=full"])
async def test_a_relative_file_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = open_log(f"sqlite:///{name}")
    monkeypatch.chdir("/")  # what "relative" means was decided when the log was made
    async with log.open():
        await log.append("a", [Draft.of(1)])
    assert os.listdir(tmp_path) == ["my orders?.db" if "%" in name else "orders.db"]


async def test_an_absolute_file_is_named(tmp_path: Path) -> None:
    log = open_log(f"sqlite:///{tmp_path / 'orders.db'}")
    assert isinstance(log, SqliteLog)
    async with log.open():
        await log.append("a", [Draft.of(1)])
    assert (tmp_path / "orders.db").is_file()


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("", "names no log"),
        ("memory", "names no log"),
        ("orders.db", "names no log"),
        ("postgresql://localhost/x", "names no log"),
        ("redis://localhost/0", "not available yet"),
        ("rediss://localhost/0", "not available yet"),
        ("sqlite:", "names no file"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite://orders.db", "three slashes"),
        ("sqlite:///folder/", "names no file"),
        ("sqlite:///:memory:", 'use "memory:"'),
        ("sqlite:///x.db?synchronous=off", "synchronous=full"),
        ("sqlite:///x.db?journal=wal", "only option"),
        ("sqlite://[/x.db", "names no file"),
    ],
)
async def test_another_name_is_refused_with_advice(url: str, advice: str) -> None:
    with pytest.raises(ConfigError, match=advice):
        open_log(url)


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    log = open_log(f"sqlite:///{tmp_path / 'no' / 'such' / 'orders.db'}")
    with pytest.raises(LogError, match=f"make the folder {tmp_path / 'no' / 'such'} first"):
        async with log.open():
            pytest.fail("opened")
