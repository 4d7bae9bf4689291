"""What was published is not lost, whatever is killed; and a server that is asked to end does end."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from .certificate import make_certificate
from .clients import (
    CurlStream,
    HttpxSse,
    LongPoll,
    Message,
    NodeEventSource,
    NodeWs,
    Returning,
    ShortPoll,
    Websockets,
)
from .needs import needs
from .raw import PREFACE, SETTINGS, TEXT, Wire, frame, h2, h2_get, http, upgrade
from .server import PATIENCE, Server, serving, wait_for

EVENTS = 10_000
KILLS = (0.3, 0.7)
"""When the server is killed: when so much of the whole has been acknowledged."""


def acknowledged(file: Path) -> dict[int, str]:
    """Read which numbers were acknowledged, and with which cursor."""
    if not file.exists():
        return {}
    lines = file.read_text().splitlines(keepends=True)
    pairs = (line.split() for line in lines if line.endswith("\n"))
    return {int(number): cursor for number, cursor in pairs}


class Flood:
    """An app that publishes 10,000 numbers from 16 tasks, beginning at the first that is missing."""

    def __init__(self, server: Server, channel: str, acks: Path) -> None:
        self.server = server
        self.channel = channel
        self.acks = acks

    def run_until(self, share: float) -> None:
        """Publish, and kill the server when so many were acknowledged."""
        asking = threading.Thread(target=self._ask, daemon=True)
        asking.start()
        wait_for(lambda: self._count() >= EVENTS * share, "acknowledged events", 60)
        self.server.kill()
        asking.join(PATIENCE)

    def _count(self) -> int:
        return self.acks.read_bytes().count(b"\n") if self.acks.exists() else 0

    def _ask(self) -> None:
        with suppress(Exception):  # the server is killed meanwhile
            self.publish_the_rest()

    def publish_the_rest(self) -> None:
        """Publish what was not acknowledged; a number that was stored all the same is not stored twice."""
        done = acknowledged(self.acks)
        first = next(number for number in range(1, EVENTS + 2) if number not in done)
        body = {"first": first, "last": EVENTS, "acks": str(self.acks), "tasks": 16}
        self.server.request("POST", f"/c/{self.channel}/flood", body, seconds=60)


@needs("curl", "node", "npm:eventsource", "npm:ws")
def test_a_killed_server_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    server = Server(tmp_path, log="sqlite:///events.db", limits={"keep_events": 2 * EVENTS})
    server.start()
    kinds = (HttpxSse, CurlStream, Websockets, NodeWs, LongPoll, ShortPoll)
    url = f"{server.url}/c/flood/events"
    followers = [Returning(kind, url) for kind in (*kinds, HttpxSse, Websockets)]
    browser = NodeEventSource(url, "0")  # comes back by itself
    flood = Flood(server, "flood", tmp_path / "acks")
    try:
        for share in KILLS:
            flood.run_until(share)
            server.start()
        flood.publish_the_rest()
        acks = acknowledged(flood.acks)
        assert sorted(acks) == list(range(1, EVENTS + 1))
        for follower in followers:
            wait_for(partial(_heard_all, follower), f"{follower} to hear all", 60)
            check(follower.events, acks)
            assert not follower.gaps
            assert len(follower.lives) > len(KILLS)
        browser.hears("event", EVENTS, 60)
        check(browser.events, acks)
        assert not browser.of("gap")
    finally:
        for follower in followers:
            follower.leave()
        browser.cut()
        server.kill()


def _heard_all(follower: Returning) -> bool:
    return follower.count >= EVENTS


def check(events: list[Message], acks: dict[int, str]) -> None:
    """Each number once, in the order of the log, and each with the cursor that was acknowledged."""
    assert [int(event["id"].rpartition(".")[2]) for event in events] == list(range(1, EVENTS + 1))
    assert {event["data"]: event["id"] for event in events} == acks


def test_publishes_over_http_that_were_answered_are_there_after_a_kill(tmp_path: Path) -> None:
    server = Server(tmp_path, log="sqlite:///events.db")
    server.start()
    answered: dict[str, str] = {}

    def publish(publisher: int) -> None:
        with suppress(Exception):  # until the server is gone
            for number in range(10_000):
                text = f"{publisher}.{number}"
                answered[text] = server.publish("http", text)

    publishers = [threading.Thread(target=publish, args=(number,), daemon=True) for number in range(4)]
    try:
        for publisher in publishers:
            publisher.start()
        wait_for(lambda: len(answered) >= 400, "answered publishes", 60)
        server.kill()
        for publisher in publishers:
            publisher.join(PATIENCE)
        server.start()
        client = LongPoll(f"{server.url}/c/http/events", "0")
        client.hears("live")
        client.cut()
        there = {event["data"]: event["id"] for event in client.events}
        assert answered.items() <= there.items()
        assert len(there) <= len(answered) + len(publishers)
        assert len(there) == len(client.events)
    finally:
        server.kill()


# --- SIGTERM


@contextmanager
def stalled(address: tuple[str, int], request: bytes) -> Iterator[None]:
    """A client that asks, and then reads nothing any more."""
    with Wire(address, receive_buffer=4_096) as wire:
        wire.send(request)
        wire.receive_until(b"\r\n\r\n")
        yield


@contextmanager
def left_at(address: tuple[str, int], *steps: bytes) -> Iterator[None]:
    """A client that sends this, reading an answer after each part but the last, and then does nothing."""
    with Wire(address) as wire:
        for step in steps[:-1]:
            wire.send(step)
            wire.receive_until(b"\r\n\r\n")
        wire.send(steps[-1])
        yield


SSE = "Accept: text/event-stream"
STATES: dict[str, Callable[[tuple[str, int]], AbstractContextManager[None]]] = {
    "that said nothing": lambda address: left_at(address, b""),
    "in the middle of its headers": lambda address: left_at(address, b"GET / HTTP/1.1\r\nHo"),
    "in the middle of its body": lambda address: left_at(
        address, http("/body", "Content-Length: 10", method="POST", body=b"abc")
    ),
    "that keeps alive": lambda address: left_at(address, http("/"), b""),
    "with an open stream": lambda address: left_at(address, http("/c/x/events", SSE), b""),
    "in a long poll": lambda address: left_at(address, http("/c/x/events?wait=25")),
    "with an open socket": lambda address: left_at(address, upgrade("/c/x/events"), b""),
    "in the middle of a frame": lambda address: left_at(address, upgrade("/talk"), frame(TEXT, b"x" * 99)[:50]),
    "in the middle of a message": lambda address: left_at(address, upgrade("/talk"), frame(TEXT, b"x", fin=False)),
    "of a handler that sleeps": lambda address: left_at(address, upgrade("/sleeper"), b""),
    "of Quart's that sleeps": lambda address: left_at(address, upgrade("/quart/sleeper"), b""),
    "that reads no stream": lambda address: stalled(address, http("/c/big/events?after=0", SSE)),
    "that reads no socket": lambda address: stalled(address, upgrade("/c/big/events?after=0")),
    "that reads nothing of a sender": lambda address: stalled(address, upgrade("/sender")),
    "that reads nothing of Quart's sender": lambda address: stalled(address, upgrade("/quart/sender")),
    "that reads no endless answer": lambda address: stalled(address, http("/quart/stream")),
}
"""What a client may be doing when the server is to end."""


@pytest.mark.parametrize("state", [*STATES, "of every kind"])
def test_sigterm_ends_the_server_with_a_client(tmp_path: Path, state: str) -> None:
    # Limits as they are by default: only the drain can be what ends these clients in time.
    with serving(tmp_path, grace=1.5) as server, ExitStack() as clients:
        for _ in range(10):
            server.publish_many("big", ["x" * 20_000] * 40)
        for name, client in STATES.items():
            if state in (name, "of every kind"):
                clients.enter_context(client(server.address))
        assert server.terminate() == 0
        assert not server.crashes()


SECURE: dict[str, tuple[list[str], bytes]] = {
    "an unread socket": ([], upgrade("/sender")),
    "an unread stream": ([], http("/quart/stream")),
    "an open stream": ([], http("/c/x/events", SSE)),
    "an unread answer of HTTP/2": (["h2"], PREFACE + h2(SETTINGS) + h2_get(1, "/quart/stream")),
    "a stream of HTTP/2": (["h2"], PREFACE + h2(SETTINGS) + h2_get(1, "/c/x/events", ("accept", "text/event-stream"))),
    "half a handshake": ([], b""),
}


@needs("openssl")
@pytest.mark.parametrize("state", SECURE)
def test_sigterm_ends_a_server_of_tls_with(tmp_path: Path, state: str) -> None:
    protocols, request = SECURE[state]
    arguments = [*make_certificate(tmp_path), "--http2"]
    with serving(tmp_path, grace=1.5, arguments=arguments) as server, ExitStack() as clients:
        wire = Wire(server.address, secure=bool(request), protocols=protocols, receive_buffer=4_096)
        clients.enter_context(wire)
        wire.send(request or b"\x16\x03\x01\x02\x00\x01")
        if request:
            wire.receive(PATIENCE)
        assert server.terminate() == 0
        assert not server.crashes()


def test_a_second_sigterm_means_now(tmp_path: Path) -> None:
    with serving(tmp_path, grace=30) as server, stalled(server.address, upgrade("/quart/sender")):
        assert server.process is not None
        server.process.terminate()
        wait_for(lambda: re.search("drain", server.log), "the drain to begin")
        server.process.terminate()
        assert server.process.wait(PATIENCE) is not None


def test_a_server_that_ended_starts_again_on_the_same_port(tmp_path: Path) -> None:
    server = Server(tmp_path, log="sqlite:///events.db")
    cursors: list[str] = []
    with ExitStack() as clients:
        for _ in range(3):
            server.start()
            clients.enter_context(left_at(server.address, http("/c/x/events", SSE), b""))
            cursors.append(server.publish("again", len(cursors)))
            assert server.terminate() == 0
    assert [cursor.rpartition(".")[2] for cursor in cursors] == ["1", "2", "3"]
    assert len({cursor.rpartition(".")[0] for cursor in cursors}) == 1
