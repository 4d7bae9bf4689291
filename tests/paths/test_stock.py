"""Behind a stock Hypercorn everything works too; only slower, and nobody can be cut off there."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock

from tests.paths.stock import serve_stock
from tests.peer import BINARY, CLOSE, PING, PONG, TEXT, peer
from tests.shop import ORDERS, make_shop
from triolet import Connection, LogBusy
from triolet.log import MemoryLog

BIG = "x" * 3_000


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


async def test_a_log_that_fails_is_answered_503(autojump_clock: MockClock) -> None:
    class FailingLog(MemoryLog):
        async def status(self, channel: str) -> object:  # type: ignore[override]  # it only fails
            raise LogBusy("locked")

    app, _ = make_shop(log=FailingLog())
    async with serve_stock(app) as server:
        assert (await server.upgrade(ORDERS)).status == 503
        for accept in ("*/*", "text/event-stream"):
            assert (await server.request("GET", ORDERS, {"accept": accept})).status == 503


async def test_the_warning_at_the_start_says_what_is_missing(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    with caplog.at_level(logging.WARNING, "triolet"):
        async with serve_stock(app):
            pass
    assert "triolet serve" in caplog.text
