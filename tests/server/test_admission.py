"""Who is let in: counted in all and by address, handshakes too, and not while memory is nearly spent."""

from __future__ import annotations

import ssl
from dataclasses import replace

import trio
from trio.testing import MockClock

from tests.shop import make_shop
from tests.sockets.test_tls import certified, trusting
from triolet.bounds import HANDSHAKE_BYTES
from triolet.budget import Budget
from triolet.limits import Limits
from triolet.server.admission import Admission
from triolet.testing.server import serve

__all__ = ["certified"]


def test_handshakes_are_counted_in_all_and_by_address() -> None:
    budget = Budget(1 << 30)
    admission = Admission(Limits(handshakes=3, handshakes_per_address=2), budget)
    assert [admission.enter(address, handshake=True) for address in "aaabb"] == [True, True, False, True, False]
    assert (admission.handshakes, admission.refused, budget.held) == (3, 2, 3 * HANDSHAKE_BYTES)
    admission.shook_hands("a")
    assert admission.enter("b", handshake=True)
    assert not admission.enter("b", handshake=True)
    for address in "abb":
        admission.shook_hands(address)
    assert (admission.handshakes, budget.held) == (0, 0)
    assert admission.connections == 4


def test_a_connection_without_a_handshake_is_not_bounded_by_those() -> None:
    admission = Admission(Limits(handshakes=1), Budget(1 << 30))
    assert admission.enter("a", handshake=True)
    assert admission.enter("a")


def test_while_memory_is_nearly_spent_newcomers_make_others_go() -> None:
    budget, asked = Budget(100), []
    budget.on_over = lambda: asked.append(1)
    admission = Admission(Limits(), budget)
    budget.hold(90)
    assert not admission.enter("a")
    assert asked == [1]
    budget.hold(-1)
    assert admission.enter("a")
    assert asked == [1]


async def test_handshakes_that_do_not_end_are_counted_until_their_time_is_over(
    certified: ssl.SSLContext, autojump_clock: MockClock
) -> None:
    app, _ = make_shop(Limits(handshakes=5, header_seconds=5))
    async with serve(app) as server:
        worker = server.worker
        worker.settings = replace(worker.settings, tls=certified)
        before = worker.budget.held
        clients = [server.connect() for _ in range(6)]
        await clients[0].send_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # half a hello
        await trio.testing.wait_all_tasks_blocked()
        assert (worker.admission.handshakes, worker.admission.refused) == (5, 1)
        assert worker.budget.held - before >= 5 * HANDSHAKE_BYTES
        clients[1].reset()
        await trio.testing.wait_all_tasks_blocked()
        assert worker.admission.handshakes == 4
        await trio.sleep(6)
        assert (worker.admission.handshakes, worker.admission.connections) == (0, 0)
        assert worker.budget.held == before
        for client in clients:
            await client.aclose()


async def test_a_handshake_that_is_done_counts_no_more(certified: ssl.SSLContext, autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(handshakes=1))
    async with serve(app) as server:
        worker = server.worker
        worker.settings = replace(worker.settings, tls=certified)
        for _ in range(3):
            stream = trio.SSLStream(server.connect(), trusting())
            await stream.do_handshake()
            await trio.testing.wait_all_tasks_blocked()
            assert worker.admission.handshakes == 0
            await stream.transport_stream.aclose()
