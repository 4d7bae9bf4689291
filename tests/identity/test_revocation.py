"""On every path, no byte of an event goes out after a revocation, whatever waits for the client then."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from triolet import Identity, Triolet
from triolet.closing import RESTARTING, REVOKED
from triolet.identity import Revocation, Revocations
from triolet.identity.bounds import CLOCKS_APART_SECONDS, REVOCATIONS_KEPT
from triolet.log import MemoryLog
from triolet.testing.faults import stalled

from .shop import ORDER, ORDERS, OWN_PATHS, PATHS, STREAMS, Sent, Shared, bearer, make_shop, sent, served
from .test_expiry import GOODBYE, to_the_end, told

__all__ = ["sent"]  # a fixture

ANN = Identity("ann", "1")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("transport", STREAMS)
async def test_what_is_published_after_it_is_not_sent(
    transport: str, path: str, sent: Sent, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with served(app, path) as server:
        client: Any
        async with server.client(transport, ORDERS, headers=bearer("ann")) as client:
            await client.until("live")
            await trio.sleep(1)
            at = trio.current_time()
            assert await live.revoke(subject="ann")
            await live.publish(ORDER, {"fill": "too late" * 1_000})
            await to_the_end(client)
            assert told(client) == ["bye"]
            assert client.heard[-1]["code"] == 4403
        assert b"too late" not in sent.since(at)
        assert len(sent.since(at)) < GOODBYE


@pytest.mark.parametrize("path", OWN_PATHS)
@pytest.mark.parametrize("transport", STREAMS)
async def test_what_waits_for_a_client_that_takes_nothing_is_not_sent(
    transport: str, path: str, sent: Sent, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with served(app, path) as server:
        client: Any
        async with server.client(transport, ORDERS, headers=bearer("ann"), kernel_bytes=20_000) as client:
            await client.until("live")
            with stalled(client):
                for _ in range(10):
                    await live.publish(ORDER, "too late" * 2_000)
                await trio.sleep(1)
                at = trio.current_time()
                assert await live.revoke(subject="ann")
            await to_the_end(client)
        assert len(sent.since(at)) < GOODBYE
        assert live.statistics().counts.closed[("4403", "revoked")] == 1


async def test_a_script_revokes_in_the_processes_that_serve(autojump_clock: MockClock) -> None:
    log = MemoryLog()
    app, _ = make_shop(log=Shared(log))
    async with (
        log.open(),
        served(app) as server,
        server.sse(ORDERS, headers=bearer("ann")) as client,
    ):
        await client.until("live")
        shared: Any = Shared(log)
        async with Triolet(log=shared) as script:
            assert await script.revoke(subject="ann")
        assert (await client.until("bye"))["code"] == 4403


async def test_it_is_asked_since_a_position(autojump_clock: MockClock) -> None:
    revocations = Revocations(60)
    before = revocations.position
    assert revocations.since(before, ANN, "orders", ("/",)) is None
    revocations.add(Revocation("ben"))
    revocations.add(Revocation("ann", channel="orders"))
    after = revocations.position
    assert revocations.since(before, ANN, "orders", ("/",)) is REVOKED
    assert revocations.since(before, ANN, "rooms", ("/",)) is None
    assert revocations.since(after, ANN, "orders", ("/",)) is None


async def test_what_is_no_longer_known_sends_away(autojump_clock: MockClock) -> None:
    revocations = Revocations(60)
    before = revocations.position
    for _ in range(REVOCATIONS_KEPT):
        revocations.add(Revocation("ben"))
    assert revocations.since(before, ANN, None, ()) is None
    revocations.add(Revocation("ben"))
    assert revocations.since(before, ANN, None, ()) is RESTARTING
    assert revocations.since(before + 1, ANN, None, ()) is None
    await trio.sleep(61)
    revocations.add(Revocation("ben"))  # and those that are too old for any admission go
    assert revocations.since(revocations.position - 2, ANN, None, ()) is RESTARTING


async def test_a_time_is_a_position_where_it_is_known(autojump_clock: MockClock) -> None:
    await trio.sleep(5)
    revocations = Revocations(60)
    await trio.sleep(10)
    revocations.add(Revocation("ann"))
    await trio.sleep(10)

    def since(seconds: float) -> Any:
        return revocations.since(revocations.before(seconds), ANN, None, ())

    assert since(0) is since(10 - CLOCKS_APART_SECONDS - 0.1) is None
    assert since(10 - CLOCKS_APART_SECONDS) is since(20) is REVOKED
    assert since(20.1) is RESTARTING  # before this process listened
    await trio.sleep(60)
    assert since(60.1) is RESTARTING  # and before the oldest that need be kept


@pytest.mark.parametrize(
    ("revocation", "ends"),
    [
        (Revocation("ann"), True),
        (Revocation("ann", "1"), True),
        (Revocation(session="1", channel="orders", url="/orders"), True),
        (Revocation("ann", "2"), False),
        (Revocation("ann1"), False),
        (Revocation("an", "n1"), False),
        (Revocation("ann", url="/orders/"), False),
        (Revocation("ann", channel="order"), False),
        (Revocation.of("ann", channels=["tasks", "or*"]), True),
        (Revocation.of("ann", channels="orders/*"), False),
        (Revocation.of("ann", channel="orders", channels="tasks"), False),
        (Revocation(url="/%6frders"), True),
        (Revocation(lost=True), True),
    ],
)
def test_all_that_is_named_must_be_so(revocation: Revocation, ends: bool) -> None:
    assert revocation.ends(ANN, "orders", ("/orders",)) is ends
    assert revocation.ends(None, "orders", ("/orders",)) is (revocation == Revocation(url="/%6frders"))
