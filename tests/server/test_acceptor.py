"""Accepting, and what happens where no descriptor is left; with sockets that are none."""

from __future__ import annotations

import errno
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from triolet import Limits
from triolet.bounds import ACCEPT_COMPLAINT_SECONDS, ACCEPT_PAUSE_SECONDS
from triolet.budget import Budget
from triolet.counters import Metrics
from triolet.server.acceptor import Acceptor
from triolet.server.admission import Admission
from triolet.server.listeners import Listeners
from triolet.sockets.link import Link

from .test_listeners import Socket


class Client(Socket):
    """An accepted socket."""

    def send(self, data: bytes) -> int:
        self.done.append(data.decode().partition("\r\n")[0])
        return len(data)


class Queue(Socket):
    """A listening socket, with what ``accept`` gives next."""

    def __init__(self, *waiting: Client | OSError) -> None:
        super().__init__()
        self.waiting = list(waiting)
        self.peer: Any = ("203.0.113.9", 4_711)

    def accept(self) -> tuple[Client, Any]:
        found = self.waiting.pop(0) if self.waiting else BlockingIOError()
        if isinstance(found, OSError):
            raise found
        return found, self.peer


class Gate:
    """An acceptor, and whom it let in from where."""

    def __init__(self, *own: Queue, **limits: Any) -> None:
        chosen = Limits(**limits)
        self.metrics = Metrics()
        self.entered: list[str] = []
        self.peers: list[Any] = []
        self.listeners = Listeners(cast(Any, own), chosen)
        admission = Admission(chosen, Budget(1 << 30))
        self.acceptor = Acceptor(self.listeners, admission, self.metrics, self.enter, chosen)

    def enter(self, link: Link, address: str) -> None:
        self.entered.append(address)
        self.peers.append(link.getpeername())


@pytest.mark.parametrize(("waiting", "let_in"), [(2, 2), (5, 3)])
def test_those_who_wait_when_it_ends_are_let_in_as_far_as_the_queue_reaches(waiting: int, let_in: int) -> None:
    gate = Gate(backlog=3)
    gate.acceptor._accept_waiting(cast(Any, Queue(*(Client() for _ in range(waiting)))))
    assert gate.entered == ["203.0.113.9"] * let_in


@pytest.mark.parametrize(
    ("peer", "address", "told"),
    [
        (("203.0.113.9", 4_711), "203.0.113.9", ("203.0.113.9", 4_711)),
        (("::ffff:203.0.113.9", 4_711, 0, 0), "203.0.113.9", ("203.0.113.9", 4_711, 0, 0)),
        (("2001:db8::1", 4_711, 0, 0), "2001:db8::1", ("2001:db8::1", 4_711, 0, 0)),
        (("fe80::1%eth0", 4_711, 0, 2), "fe80::1%eth0", ("fe80::1%eth0", 4_711, 0, 2)),
        ("", "", ""),
    ],
)
def test_on_a_socket_of_both_a_client_of_ipv4_is_one(peer: Any, address: str, told: Any) -> None:
    gate, queue = Gate(), Queue(Client())
    queue.peer = peer
    gate.acceptor._accept_waiting(cast(Any, queue))
    assert (gate.entered, gate.peers) == ([address], [told])


async def test_a_lent_socket_that_comes_too_early_or_too_late_is_closed() -> None:
    queue = Queue()
    Gate().acceptor.adopt(cast(Any, queue))
    assert queue.done == ["closed"]


async def test_without_a_descriptor_one_client_is_told_to_come_back(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    gate.acceptor._take_reserve()
    for _ in range(3):
        client = Client()
        await gate.acceptor._accept_failed(cast(Any, Queue(client)), OSError(errno.EMFILE, "too many"))
        assert client.done == ["prepared", "HTTP/1.1 503 Service Unavailable", "closed"]
    assert trio.current_time() == pytest.approx(3 * ACCEPT_PAUSE_SECONDS)
    assert gate.metrics.refused == 3
    assert len(caplog.records) == 1, "it complains once, and again after a while"
    await trio.sleep(ACCEPT_COMPLAINT_SECONDS)
    await gate.acceptor._accept_failed(cast(Any, Queue()), OSError(errno.ENFILE, "too many"))
    gate.acceptor._give_up_reserve()
    assert len(caplog.records) == 2


async def test_a_client_that_went_before_it_was_accepted_is_no_reason_to_pause(autojump_clock: MockClock) -> None:
    gate = Gate()
    await gate.acceptor._accept_failed(cast(Any, Queue()), OSError(errno.ECONNABORTED, "gone"))
    assert (trio.current_time(), gate.metrics.refused) == (0, 0)
