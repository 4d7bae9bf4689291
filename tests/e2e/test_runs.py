"""Runs of two workers on one log, one of which is killed: their readers on the other are told, and there is one end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from .clients import Websockets
from .redis.servers import running
from .server import PATIENCE, START_SECONDS, wait_for
from .workers import Workers, workers

LEASE = 4.0
LIMITS = {"run_lease_seconds": LEASE}


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.needs("redis-server", "redis-cli"))])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a log that processes can share."""
    if request.param == "sqlite":
        yield "sqlite:///events.db"
        return
    with running(tmp_path / "redis") as server:
        yield server.url


def post(server: Workers, path: str) -> Any:
    return httpx.post(f"{server.url}{path}", timeout=PATIENCE).json()


def page(server: Workers, name: str) -> Any:
    return httpx.get(f"{server.url}/c/{name}/events?after=0", timeout=PATIENCE).json()


def is_whole(server: Workers, name: str, outcome: str) -> bool:
    """Whether a channel has all numbers up to its end, and the end says so."""
    said = page(server, name)
    numbers = [event["data"] for event in said["events"]]
    assert numbers == list(range(len(numbers)))
    return "end" in said and said["end"]["data"]["outcome"] == outcome


def test_a_run_whose_worker_is_killed_is_ended_within_its_lease_and_its_readers_are_told(
    tmp_path: Path, log: str
) -> None:
    with workers(tmp_path, app="runs_app:app", log=log, limits=LIMITS) as server, ExitStack() as stack:
        pid = post(server, "/run/one")["pid"]
        assert {post(server, "/run/one")["refused"] for _ in range(6)} == {"RunError"}
        readers = [Websockets(f"{server.url}/c/one/events", "0") for _ in range(24)]  # on both workers
        for reader in readers:
            stack.callback(reader.cut)
            reader.hears("event", 5)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: any(reader.of("end") for reader in readers), "the end", 2 * LEASE)
        others = [reader for reader in readers if reader.of("end") or not reader.ended]
        for reader in others:  # those of the other worker
            assert reader.hears("end")[0]["data"] == {"outcome": "lost"}
        assert is_whole(server, "one", "lost")
        wait_for(server.whole, "another worker", START_SECONDS)
        assert post(server, "/run/one")["refused"] == "ChannelEnded"
        assert "pid" in post(server, "/run/one-again")


def test_a_run_is_stopped_through_any_worker(tmp_path: Path, log: str) -> None:
    with workers(tmp_path, app="runs_app:app", log=log, limits=LIMITS) as server:
        asked = set()
        for number in range(20):
            pid = post(server, f"/run/{number}")["pid"]
            stop = post(server, f"/stop/{number}")
            assert stop["told"]
            asked.add(stop["pid"] == pid)
            wait_for(partial(is_whole, server, str(number), "stopped"), "the end")
            if asked == {True, False}:
                break
        assert asked == {True, False}, "one worker answers everything"


def test_runs_end_with_their_server_and_those_of_a_killed_one_with_the_next(tmp_path: Path, log: str) -> None:
    with workers(tmp_path, 1, app="runs_app:app", log=log, limits=LIMITS) as server:
        post(server, "/run/restarted")
        server.restart()
        wait_for(lambda: is_whole(server, "restarted", "stopped"), "the end")
        assert page(server, "restarted")["end"]["data"]["reason"] == "restarting"
        post(server, "/run/killed")
        server.kill_one()
        wait_for(server.whole, "another worker", START_SECONDS)
        wait_for(lambda: is_whole(server, "killed", "lost"), "the end", 3 * LEASE)
