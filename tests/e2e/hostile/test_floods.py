"""Many at once: connections that say nothing, that read nothing, that split messages into crumbs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ..bystander import Bystander
from ..raw import CONTINUATION, PING, TEXT, Wire, close_frame, frame, http, statuses, upgrade
from ..server import Server, serving, wait_for
from .house import LIMITS

FRAGMENT = frame(CONTINUATION, b"x", fin=False)


class Crowd:
    """Many connections, closed in the end, and a bystander beside them."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self.server = server
        self.bystander = Bystander(server)
        self.bystander.prove()
        self.descriptors = server.descriptors()
        self.memory = server.memory()
        self._stack = stack
        self.wires: list[Wire] = []

    def connect(self, count: int, request: bytes = b"", receive_buffer: int | None = None) -> None:
        for _ in range(count):
            wire = self._stack.enter_context(Wire(self.server.address, receive_buffer=receive_buffer))
            self.wires.append(wire)
            if request:
                wire.send(request)

    def gone(self) -> None:
        """All their descriptors come back, and nobody else noticed."""
        wait_for(lambda: self.server.descriptors() <= self.descriptors, "descriptors to come back", 30)
        self.bystander.prove()
        assert not self.server.crashes()


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    with serving(tmp_path, limits={**LIMITS, "silence_seconds": 4}) as server, ExitStack() as stack:
        crowd = Crowd(server, stack)
        yield crowd
        crowd.bystander.leave()


def test_3000_connections_without_a_byte_are_ended_by_the_server(crowd: Crowd) -> None:
    crowd.connect(3_000)
    crowd.bystander.prove()
    crowd.gone()
    assert all(wire.receive(1) and wire.ended for wire in crowd.wires)


def test_1000_connections_with_half_a_request_are_ended_by_the_server(crowd: Crowd) -> None:
    crowd.connect(1_000, b"GET / HTTP/1.1\r\nHost: a\r\nX-")
    crowd.bystander.prove()
    crowd.gone()


def test_2000_connects_and_resets_leave_nothing(crowd: Crowd) -> None:
    for _ in range(2_000):
        with Wire(crowd.server.address) as wire:
            wire.reset()
    crowd.gone()


def test_a_million_fragments_on_100_connections_cost_little(crowd: Crowd) -> None:
    crowd.connect(100, upgrade("/talk") + frame(TEXT, b"x", fin=False))
    crumbs = FRAGMENT * 10_000
    for wire in crowd.wires:
        wire.send(crumbs)
    crowd.bystander.prove()
    assert crowd.server.memory() < crowd.memory + (60 << 20)
    crowd.gone()


def test_300_sockets_that_read_nothing_are_given_up(crowd: Crowd) -> None:
    for _ in range(4):
        crowd.server.publish_many("big", ["x" * 20_000] * 40)
    crowd.connect(150, upgrade("/c/big/events?after=0"), receive_buffer=4_096)
    crowd.connect(150, http("/c/big/events?after=0", "Accept: text/event-stream"), receive_buffer=4_096)
    crowd.bystander.prove()
    crowd.gone()
    assert crowd.server.memory() < crowd.memory + (150 << 20)


def test_silent_sockets_are_given_up_and_answering_ones_are_kept(crowd: Crowd) -> None:
    """The bystander's library answers pings; these do not, and say nothing."""
    crowd.connect(100, upgrade("/sleeper"))
    crowd.gone()


def test_a_flood_of_pings_on_one_socket_does_not_slow_the_others(crowd: Crowd) -> None:
    crowd.connect(20, upgrade("/talk"))
    pings = frame(PING, b"x" * 125) * 5_000
    for wire in crowd.wires:
        wire.send(pings)
    crowd.gone()


def test_sockets_that_close_all_at_once_leave_nothing(crowd: Crowd) -> None:
    crowd.connect(300, upgrade("/c/bystander/events"))
    for wire in crowd.wires:
        wire.receive_until(b"live")
    crowd.bystander.prove()
    for number, wire in enumerate(crowd.wires):
        if number % 3 == 0:
            wire.reset()
        elif number % 3 == 1:
            wire.send(close_frame(1001))
        else:
            wire.socket.close()
    crowd.bystander.prove()
    crowd.gone()


def test_past_the_limit_of_connections_the_answer_is_503(tmp_path: Path) -> None:
    with serving(tmp_path, limits={"connections": 20}) as server, ExitStack() as stack:
        statuses_of: list[int] = []
        while statuses_of[-1:] != [503]:
            wire = stack.enter_context(Wire(server.address))
            wire.send(upgrade("/talk"))
            statuses_of += statuses(wire.receive_until(b"\r\n\r\n"))
            assert len(statuses_of) <= 21
        assert set(statuses_of) == {101, 503}
        for request in (http("/"), upgrade("/talk"), http("/c/x/events", "Accept: text/event-stream")) * 5:
            with Wire(server.address) as wire:
                wire.send(request)
                answer = wire.receive_all()
                assert statuses(answer) == [503]
                assert b"retry-after: " in answer.lower()
        stack.close()
        wait_for(lambda: _welcome(server), "room again")


def _welcome(server: Server) -> bool:
    with Wire(server.address) as wire:
        wire.send(http("/"))
        return statuses(wire.receive_until(b"\r\n\r\n")) == [200]
