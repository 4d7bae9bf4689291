"""The worker: who is let in, and how it ends."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.peer import UPGRADE, peer
from tests.shop import ORDER, ORDERS, make_shop
from triolet import ConfigError, Limits
from triolet.budget import Budget
from triolet.server.acceptor import turn_away
from triolet.server.admission import Admission
from triolet.server.settings import Settings
from triolet.server.worker import Worker
from triolet.testing.network import link_pair
from triolet.testing.server import MemoryServer, serve

GET = "GET {path} HTTP/1.1\r\nHost: test\r\n{more}\r\n"
SSE = "Accept: text/event-stream\r\n"

# --- the end


async def stalled(server: MemoryServer, request: str) -> None:
    """A client that asks and never reads."""
    stream = server.connect(kernel_bytes=1_000)
    await stream.send_all(request.encode())


STALLED = {
    "websocket": UPGRADE.format(path=ORDERS),
    "sse": GET.format(path=ORDERS, more=SSE),
    "a page": GET.format(path="/huge", more=""),
    "nothing asked": "",
    "half a head": "GET /",
    "half a body": "POST /huge HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nx",
}


@pytest.mark.parametrize("how", STALLED)
async def test_a_client_that_stalls_does_not_hold_up_the_end(how: str, autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(stall_seconds=1_000, write_seconds=1_000, goodbye_seconds=1_000))

    @app.route("/huge", methods=["GET", "POST"])
    async def huge() -> str:
        return "x" * 100_000

    async with serve(app, grace=10) as server:
        await stalled(server, STALLED[how])
        await trio.sleep(1)
        await live.publish_many(ORDER, ["x" * 1_000] * 10)
        await trio.sleep(1)
        server.stop.set()
        await server.ended.wait()
        assert trio.current_time() <= 12
        assert server.connections == 0


async def test_a_second_stop_means_now(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(stall_seconds=1_000, goodbye_seconds=1_000))
    ends: list[str] = []

    @app.after_serving
    async def slow() -> None:
        ends.append("begun")
        await trio.sleep(1_000)

    async with serve(app, grace=500) as server:
        await stalled(server, STALLED["websocket"])
        await trio.sleep(1)
        await live.publish_many(ORDER, ["x" * 1_000] * 10)
        server.stop.set()
        await trio.sleep(5)
        assert server.connections == 1
        server.stop_now.set()
        await server.ended.wait()
        assert trio.current_time() == pytest.approx(6)


async def test_an_app_that_takes_long_to_end_has_what_is_left_of_the_grace(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(stall_seconds=1_000, goodbye_seconds=1_000))
    began: list[float] = []

    @app.after_serving
    async def slow() -> None:
        began.append(trio.current_time())
        await trio.sleep(1_000)

    async with serve(app, grace=10) as server:
        await stalled(server, STALLED["websocket"])
        await trio.sleep(1)
        await live.publish_many(ORDER, ["x" * 1_000] * 10)
        server.stop.set()
        await server.ended.wait()
        assert 1 < began[0] < 11
        assert trio.current_time() == pytest.approx(11)


async def test_an_app_that_ends_may_publish_its_last_word(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    said: list[int] = []

    @app.after_serving
    async def last() -> None:
        said.append((await live.publish(ORDER, "closed")).offset)

    async with serve(app):
        pass
    assert said == [1]


async def test_a_request_that_is_being_answered_is_answered_to_its_end(autojump_clock: MockClock) -> None:
    app, _ = make_shop()

    @app.get("/slow")
    async def slow() -> str:
        await trio.sleep(3)
        return "done"

    async with serve(app, grace=10) as server, trio.open_nursery() as nursery:

        async def ask() -> None:
            assert (await server.get("/slow")).body == b"done"

        nursery.start_soon(ask)
        await trio.sleep(1)
        server.stop.set()
        await server.ended.wait()
        assert trio.current_time() < 5


async def test_connections_that_wait_for_a_request_end_at_once(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        fresh, kept = server.connect(), server.connect()
        await kept.send_all(GET.format(path="/page", more="").encode())
        found = b""
        while not found.endswith(b"a page"):
            found += await kept.receive_some()
        server.stop.set()
        assert await kept.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError):
            await fresh.receive_some()
        await server.ended.wait()
        assert trio.current_time() < 3


async def test_a_server_serves_an_app_again_after_its_end(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    for _ in range(2):
        async with serve(app) as server, server.websocket(ORDERS) as client:
            await client.until("live")
            await live.publish(ORDER, 1)
            assert (await client.event())["data"] == 1


# --- the app


async def test_an_app_that_does_not_start_says_why(autojump_clock: MockClock) -> None:
    app, _ = make_shop()

    @app.before_serving
    async def broken() -> None:
        raise RuntimeError("no such table: orders")

    with pytest.raises(BaseExceptionGroup) as group:
        async with serve(app):
            raise AssertionError("it is served")
    assert group.group_contains(ConfigError, match="no such table")


async def test_an_app_that_crashes_ends_the_worker_as_failed(autojump_clock: MockClock) -> None:
    app, _ = make_shop()

    @app.before_serving
    async def start() -> None:
        app.nursery.start_soon(crash)

    async def crash() -> None:
        await trio.sleep(5)
        raise RuntimeError

    async with serve(app) as server:
        async with peer(server, ORDERS) as client:
            await client.until("live")
            await client.ended()
        await server.ended.wait()
        assert server.worker.failed
        assert trio.current_time() < 10


async def test_an_app_that_crashes_as_soon_as_it_has_started_has_failed(autojump_clock: MockClock) -> None:
    app, _ = make_shop()

    @app.before_serving
    async def start() -> None:
        app.nursery.start_soon(crash)

    async def crash() -> None:
        raise RuntimeError

    worker = Worker(app, Settings())
    with trio.fail_after(60):
        await worker.run([], trio.sleep_forever)
    assert worker.failed


async def test_a_start_that_is_cut_short_ends_without_a_word(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = make_shop()

    @app.before_serving
    async def slow() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise RuntimeError("cut short")

    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Worker(app, Settings()).run, [], stop.wait)
        await trio.sleep(1)
        stop.set()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert trio.current_time() == pytest.approx(1)


@pytest.mark.parametrize("lifespan", ["raises", "returns at once", "returns when it starts"])
async def test_an_app_without_triolet_is_served_too(lifespan: str, autojump_clock: MockClock) -> None:
    async def plain(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["type"] == "lifespan" and lifespan != "raises":
            if lifespan == "returns when it starts":
                await receive()
            return
        assert scope["type"] == "http", "it knows no lifespan and no WebSocket"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"plain"})

    async with serve(plain) as server:
        assert (await server.get("/")).body == b"plain"
        assert (await server.upgrade("/")).status >= 400
        assert (await server.get("/")).body == b"plain"


async def test_an_app_that_returns_from_its_lifespan_knows_none(autojump_clock: MockClock) -> None:
    async def plain(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
            await send({"type": "http.response.body", "body": b"plain"})

    async with serve(plain) as server:
        assert (await server.get("/")).body == b"plain"


# --- admission


def test_admission_counts_in_all_and_by_address() -> None:
    admission = Admission(Limits(connections=3, connections_per_address=2), Budget(1 << 30))
    assert [admission.enter(address) for address in "aaabb"] == [True, True, False, True, False]
    assert (admission.connections, admission.refused) == (3, 2)
    admission.leave("a")
    assert admission.enter("b")
    assert not admission.enter("a")
    for address in "abb":
        admission.leave(address)
    assert admission.connections == 0
    assert not admission._by_address


async def test_one_too_many_is_told_when_to_come_back() -> None:
    seconds = set()
    for _ in range(30):
        client, link = link_pair()
        turn_away(link)
        head = await client.receive_some()
        assert head.startswith(b"HTTP/1.1 503 ")
        seconds.add(int(head.split(b"Retry-After: ")[1].split(b"\r\n")[0]))
        assert await client.receive_some() == b""
    assert len(seconds) > 5


async def test_one_too_many_that_has_gone_costs_nothing() -> None:
    client, link = link_pair()
    client.reset()
    turn_away(link)
    assert link.closed
