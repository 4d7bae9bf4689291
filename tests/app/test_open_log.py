"""How a log is named."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest
from trio.testing import MockClock

from triolet.app.open_log import open_log
from triolet.errors import ConfigError, LogError
from triolet.event import Draft
from triolet.limits import Limits
from triolet.log import MemoryLog
from triolet.redis.log import RedisLog
from triolet.redis.url import RedisAddress
from triolet.sqlite.log import SqliteLog


async def test_memory_is_named() -> None:
    limits = Limits(keep_events=1)
    log = open_log("memory:", limits)
    assert isinstance(log, MemoryLog)
    assert log._limits is limits


@pytest.mark.parametrize("name", ["orders.db", "my%20orders%3F.db", "orders.db?synchronous=full"])
async def test_a_relative_file_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.chdir(tmp_path)
    log = open_log(f"sqlite:///{name}")
    monkeypatch.chdir("/")  # what "relative" means was decided when the log was made
    async with log.open():
        await log.append("a", [Draft.of(1)])
    file = "my orders?.db" if "%" in name else "orders.db"
    assert sorted(os.listdir(tmp_path)) == [file, f"{file}-life"]


async def test_an_absolute_file_is_named(tmp_path: Path, autojump_clock: MockClock) -> None:
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
        ("redis://localhost/x", "the db of a Redis URL"),
        ("redis://localhost/0/1", "the path of this Redis URL"),
        ("redis://localhost:port", "the port of a Redis URL"),
        ("redis://localhost?prefix={a}", "prefix= of a Redis URL"),
        ("redis://localhost?start=later", "start= of a Redis URL"),
        ("redis://localhost?colour=red", "no other options than prefix"),
        ("redis+file://localhost", "this is no Redis URL"),
        ("redis+sentinel://localhost", "needs the service's name"),
        ("redis+cluster://localhost/1", "the path of this Redis URL"),
        ("redis://[::1", "cannot be read"),
        ("rediss://localhost?ca=/no/such", "certificates"),
        ("unix://", "the path of this Redis URL"),
        ("sqlite:", "names no file"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///a\0b", "names no file"),
        ("sqlite:///a%00b", "names no file"),
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


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", RedisAddress((("localhost", 6379),))),
        ("redis://", RedisAddress((("localhost", 6379),))),
        ("redis://[::1]:7000/3?prefix=shop", RedisAddress((("::1", 7000),), db=3, prefix="shop")),
        ("redis://:p%40ss@host/0?start=wait", RedisAddress((("host", 6379),), password="p@ss", wait=True)),
        ("redis://me:pw@host", RedisAddress((("host", 6379),), username="me", password="pw")),
        ("unix:///run/redis%20one.sock?db=2", RedisAddress(path="/run/redis one.sock", db=2)),
        (
            "redis+sentinel://a,b:26380/mine/1",
            RedisAddress((("a", 26379), ("b", 26380)), service="mine", db=1),
        ),
        ("redis+cluster://a:1,b:2", RedisAddress((("a", 1), ("b", 2)), is_cluster=True, partitions=16)),
        ("redis+cluster://a?partitions=64", RedisAddress((("a", 6379),), is_cluster=True, partitions=64)),
    ],
)
def test_a_redis_is_named(url: str, expected: RedisAddress) -> None:
    assert RedisAddress.parse(url) == expected
    assert isinstance(open_log(url), RedisLog)


def test_no_error_and_no_repr_tells_a_password() -> None:
    address = RedisAddress.parse("redis://me:secret@host/0")
    assert "secret" not in f"{address!r} {address}"
    with pytest.raises(ConfigError) as caught:
        open_log("redis://me:secret@host/0?colour=red")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "valkey://live:pass-word@localhost/0",
        "redis+tls://live:pass-word@localhost/0",
        "redis://live:?pass-word@localhost/0",
        "redis://live:x?prefix=pass-word@localhost/0&pass-word",
        "redis://live:#pass-word@localhost/0",
        "redis://live:/pass-word@localhost/0",
        "redis://live:[pass-word@localhost/0",
        "redis://live:pass-word@localhost:port/0",
        "redis://localhost/0?password=pass-word",
    ],
)
def test_no_password_of_an_address_is_in_what_is_said_about_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_log(url)
    assert "pass-word" not in "".join(traceback.format_exception(caught.value))
