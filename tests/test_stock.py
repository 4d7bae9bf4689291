"""Behind a stock Hypercorn everything works too; only slower, and nobody can be cut off there."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock

from tests.peer import BINARY, CLOSE, PING, PONG, TEXT, peer
from tests.shop import ORDER, ORDERS, make_shop
from tests.stock import serve_stock
from triolet import Connection, Limits, LogBusy
from triolet.log import MemoryLog
from triolet.testing.clients import TRANSPORTS
from triolet.testing.faults import stalled

BIG = "x" * 3_000


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_hears_what_it_missed_and_then_what_happens(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve_stock(app) as server:
        events = await live.publish_many(ORDER, [0, 1, 2])
        async with server.client(transport, ORDERS, after=events[0].cursor) as client:
            await client.until("live")
            assert [event["data"] for event in client.events] == [1, 2]
            await live.publish(ORDER, 3)
            await client.expect(data=3)
            assert client.cursor == str(events[0].cursor).removesuffix("1") + "4"


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_beat_comes_every_beat_seconds(transport: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve_stock(app) as server, server.client(transport, ORDERS) as client:
        first = None
        for n in range(3):
            assert list((await client.until("beat"))["cursors"]) == [ORDER]
            first = first or trio.current_time()
            assert trio.current_time() == pytest.approx(first + 20 * n)
        assert first is not None
        assert first <= 20


async def test_many_channels_are_followed_on_one_socket(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve_stock(app) as server, server.websocket("/live") as client:
        await client.expect("open", channel=None)
        for order in ("A1", "A2"):
            await client.say(type="follow", url=f"/orders/{order}/events")
            assert (await client.until("live"))["channel"] == f"orders/{order}"
        await client.say(type="follow", url="/orders/secret/events")
        assert await client.next() == {"type": "refused", "url": "/orders/secret/events"}
        await live.publish("orders/A2", 2)
        assert (await client.event())["data"] == 2


async def test_a_handler_talks_with_its_client(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve_stock(app) as server, server.websocket("/warehouse") as client:
        for n in range(30):
            await client.say(type="message", data=n)
            assert (await client.until("message"))["data"] == {"echo": n}


async def test_a_raw_socket_lives_through_its_beats(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve_stock(app) as server, peer(server, "/raw") as client:
        for opcode, payload in ((TEXT, b"text"), (BINARY, b"\x00\xff"), (BINARY, b""), (TEXT, b"")):
            await trio.sleep(25)
            await client.send(opcode, payload)
            assert await client.frame() == (opcode, payload)
        await client.send(PING, b"there?")
        assert await client.frame() == (PONG, b"there?")


@pytest.mark.parametrize(
    ("path", "opcode", "payload", "code"),
    [
        ("/warehouse", TEXT, b"no JSON", 1008),
        ("/warehouse", BINARY, b"{}", 1003),
        ("/live", TEXT, b'{"type":"message","data":1}', 1008),
        ("/fragile", TEXT, b'{"type":"message","data":1}', 1011),
        ("/short", TEXT, b'{"type":"message","data":1}', 1000),
        ("/warehouse", CLOSE, (3000).to_bytes(2, "big"), 3000),
    ],
)
async def test_a_socket_ends_with_the_right_code(
    path: str, opcode: int, payload: bytes, code: int, autojump_clock: MockClock
) -> None:
    app, live = make_shop()

    @live.socket("/fragile")
    async def fragile(conn: Connection) -> None:
        async for _ in conn:
            raise RuntimeError

    @live.socket("/short")
    async def short(conn: Connection) -> None:
        async for _ in conn:
            return

    async with serve_stock(app) as server, peer(server, path) as client:
        await client.send(opcode, payload)
        assert await client.ended() == code


@pytest.mark.parametrize(("path", "status"), [("/orders/secret/events", 403), ("/orders/absent/events", 404)])
async def test_a_refused_upgrade_is_answered_as_the_view_says(
    path: str, status: int, autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    async with serve_stock(app) as server:
        assert (await server.upgrade(path)).status == status


async def test_a_foreign_page_and_a_bad_cursor_are_refused(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve_stock(app) as server:
        foreign = await server.upgrade(ORDERS, {"origin": "http://evil.example"})
        assert (foreign.status, foreign.json["error"]) == (403, "origin")
        wrong = await server.upgrade(f"{ORDERS}?after=a.b.c")
        assert (wrong.status, wrong.json["error"]) == (400, "cursor")


async def test_a_log_that_fails_is_answered_503(autojump_clock: MockClock) -> None:
    class FailingLog(MemoryLog):
        async def head(self, channel: str) -> object:  # type: ignore[override]  # it only fails
            raise LogBusy("locked")

    app, _ = make_shop(log=FailingLog())
    async with serve_stock(app) as server:
        assert (await server.upgrade(ORDERS)).status == 503
        for accept in ("*/*", "text/event-stream"):
            assert (await server.request("GET", ORDERS, {"accept": accept})).status == 503


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_client_that_stalls_costs_the_others_nothing_and_is_followed_no_longer(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(stall_seconds=7))
    async with (
        serve_stock(app) as server,
        server.client(transport, ORDERS, kernel_bytes=2_000) as client,
        server.client("websocket", ORDERS) as other,
    ):
        await client.until("live")
        await other.until("live")
        with stalled(client):
            for n in range(20):
                await live.publish(ORDER, [n, BIG])
                assert (await other.until("event"))["data"][0] == n
            assert trio.current_time() == 0
            assert server.followers == 2
            await trio.sleep(7.1)
            assert server.followers == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_that_vanishes_leaves_nothing(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve_stock(app) as server:
        for _ in range(5):
            async with server.client(transport, ORDERS) as client:
                await client.until("live")
        await live.publish(ORDER, 1)
        await trio.sleep(6)  # Hypercorn finds out when it has waited for another request for 5 s
        assert (server.connections, server.followers) == (0, 0)


async def test_the_warning_at_the_start_says_what_is_missing(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    with caplog.at_level(logging.WARNING, "triolet"):
        async with serve_stock(app):
            pass
    assert "triolet serve" in caplog.text
