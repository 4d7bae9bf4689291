"""Two workers on one log, clients over four transports, and workers that are killed: every history is the log's."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from .clients import Client, HttpxSse, LongPoll, Returning, ShortPoll, Websockets
from .redis.servers import running
from .server import PATIENCE, START_SECONDS, wait_for
from .workers import Workers, workers

EVENTS = 400
KINDS: tuple[type[Client], ...] = (HttpxSse, Websockets, LongPoll, ShortPoll)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.needs("redis-server", "redis-cli"))])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a log that processes can share."""
    if request.param == "sqlite":
        yield "sqlite:///events.db"
        return
    with running(tmp_path / "redis") as server:
        yield server.url


class Publisher:
    """Publishes numbers, each through whichever worker it comes to, again and again until it is answered."""

    def __init__(self, server: Workers, channel: str) -> None:
        self._server = server
        self._channel = channel
        self._numbers = iter(range(EVENTS))
        self._lock = threading.Lock()
        self.published: dict[int, str] = {}
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(4)]
        for thread in self.threads:
            thread.start()

    def _run(self) -> None:
        while (number := self._next()) is not None:
            while number not in self.published:
                with suppress(Exception):  # its worker was killed meanwhile
                    self.published[number] = self._server.publish(self._channel, number, dedupe=str(number))

    def _next(self) -> int | None:
        with self._lock:
            return next(self._numbers, None)

    def wait_until(self, share: float) -> None:
        wait_for(lambda: len(self.published) >= EVENTS * share, "published events", 60)


def test_each_history_is_the_logs_whatever_becomes_of_workers(tmp_path: Path, log: str) -> None:
    with workers(tmp_path, log=log) as server, ExitStack() as stack:
        url = f"{server.url}/c/many/events"
        followers = [Returning(kind, url) for kind in KINDS for _ in range(3)]
        for follower in followers:
            stack.callback(follower.leave)
        publisher = Publisher(server, "many")
        for share in (0.2, 0.5):
            publisher.wait_until(share)
            server.kill_one()
            wait_for(server.whole, "another worker", START_SECONDS)
        publisher.wait_until(0.75)
        server.restart()
        publisher.wait_until(1)
        history = LongPoll(url, "0")
        history.hears("event", EVENTS)
        history.cut()
        told = [(event["id"], event["data"]) for event in history.events]
        assert sorted(data for _, data in told) == list(range(EVENTS))
        assert {data: cursor for cursor, data in told} == publisher.published
        for follower in followers:
            wait_for(partial(lambda each: each.count >= EVENTS, follower), f"{follower} to hear all", 60)
            assert [(event["id"], event["data"]) for event in follower.events] == told
            assert not follower.gaps
        assert server.metrics()["triolet_worker_restarts_total"] == 2


def test_what_one_worker_publishes_the_others_clients_hear_soon(tmp_path: Path, log: str) -> None:
    with workers(tmp_path, log=log) as server, ExitStack() as stack:
        clients = [HttpxSse(f"{server.url}/c/x/events") for _ in range(8)]  # on both workers, or nearly certainly so
        for client in clients:
            stack.callback(client.cut)
            client.hears("live")
        for number in range(20):
            server.publish("x", number)
            for client in clients:
                client.hears("event", number + 1)
        assert all(client.data == list(range(20)) for client in clients)


def test_members_of_a_worker_that_is_killed_leave_once(tmp_path: Path, log: str) -> None:
    with workers(tmp_path, log=log, limits={"lease_seconds": 2}) as server, ExitStack() as stack:
        watcher = Returning(HttpxSse, f"{server.url}/rooms/1/presence")
        stack.callback(watcher.leave)
        names = [f"member{number:02}" for number in range(24)]  # on both workers
        members = [HttpxSse(f"{server.url}/rooms/1/events?as={name}") for name in names]
        for member in members:
            stack.callback(member.cut)
            member.hears("live")
        wait_for(lambda: here(server) == names, "all members", 30)
        os.kill(sorted(server.pids)[0], signal.SIGKILL)
        wait_for(lambda: any(member.ended for member in members), "those to go who were there")
        wait_for(server.whole, "another worker", START_SECONDS)
        left = [name for name, member in zip(names, members, strict=True) if not member.ended]
        wait_for(lambda: here(server) == left, "the others to be gone", 30)
        wait_for(lambda: len(watcher.events) == len(names) + len(names) - len(left), "joins and leaves", PATIENCE)
        lost = [event["data"]["member"] for event in watcher.events if event["event"] == "leave"]
        assert sorted(lost) == sorted(set(names) - set(left))
        assert {event["data"].get("reason") for event in watcher.events if event["event"] == "leave"} == {"lost"}


def here(server: Workers) -> list[str]:
    found: list[str] = server.request("GET", "/rooms/1/members")["members"]
    return found
