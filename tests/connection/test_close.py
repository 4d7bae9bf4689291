"""How connections end: the right code both ways, nothing left behind, nobody else touched."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock

from tests.peer import BINARY, CLOSE, TEXT, Frame, peer
from tests.shop import ORDER, ORDERS, make_shop
from triolet import Connection, Event, Limits, LogBusy
from triolet.log import MemoryLog, Page
from triolet.testing.server import serve

SMALL = 4 << 10


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1011, 1013, 3000, 4000, 4999])
async def test_a_client_that_closes_is_answered_with_its_own_code(code: int, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, peer(server, ORDERS) as client:
        await client.until("live")
        await client.send(CLOSE, code.to_bytes(2, "big") + b"my reason")
        assert await client.frame() == (CLOSE, code.to_bytes(2, "big"))
        assert await client.frame() is None
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == 0
        assert (server.connections, server.followers) == (0, 0)


async def test_a_client_that_closes_without_a_code_is_answered(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, peer(server, "/raw") as client:
        await client.send(CLOSE)
        assert await client.ended() in (1000, 0)


@pytest.mark.parametrize("payload", [b"\x03", *(code.to_bytes(2, "big") for code in (0, 999, 1004, 1005, 1006, 1015))])
async def test_a_client_that_closes_with_what_no_one_may_send_is_told_so(
    payload: bytes, autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    async with serve(app) as server, peer(server, ORDERS) as client:
        await client.send(CLOSE, payload)
        assert await client.ended() == 1002


async def test_a_handler_that_returns_closes_after_what_it_said(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.socket("/short")
    async def short(conn: Connection) -> None:
        for n in range(50):
            await conn.send({"n": n, "fill": "x" * 1_000})

    async with serve(app) as server, peer(server, "/short", kernel_bytes=SMALL) as client:
        assert [(await client.until("message"))["data"]["n"] for _ in range(50)] == list(range(50))
        bye = await client.message()
        assert bye == {"type": "bye", "code": 1000, "reason": "done", "retry": None}
        assert await client.ended() == 1000


async def test_a_handler_may_close(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.socket("/closes")
    async def closes(conn: Connection) -> None:
        await conn.send("last words")
        await conn.close()
        await trio.sleep_forever()

    async with serve(app) as server, server.websocket("/closes") as client:
        assert (await client.until("message"))["data"] == "last words"
        assert await client.ended() == (1000, "done")


async def test_a_handler_that_raises_costs_its_own_connection_and_one_line_that_says_why_and_where(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    app, live = make_shop()

    @live.socket("/fragile")
    async def fragile(conn: Connection) -> None:
        async for message in conn:
            raise RuntimeError(message)

    async with serve(app) as server, server.websocket(ORDERS) as other:
        await other.until("live")
        async with server.websocket("/fragile") as client:
            await client.say(type="message", data="two\nlines" + "x" * 1_000)
            bye = await client.until("bye")
            assert (bye["code"], bye["reason"]) == (1011, "internal error")
            assert 1_000 <= bye["retry"] <= 10_000
            assert await client.ended() == (1011, "internal error")
        await live.publish(ORDER, 1)
        assert (await other.event())["data"] == 1
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(lines) == 1
    assert "RuntimeError at test_close.py" in lines[0]
    assert "two\\nlinesxxx" in lines[0], "it is the app's message, and so its author's to choose; as a part of one line"
    assert len(lines[0]) < 500


async def test_a_task_of_the_handlers_that_raises_ends_the_connection_too(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.socket("/fragile")
    async def fragile(conn: Connection) -> None:
        async def fails() -> None:
            await trio.sleep(1)
            raise RuntimeError

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails)
            nursery.start_soon(trio.sleep_forever)

    async with serve(app) as server, server.websocket("/fragile") as client:
        assert (await client.ended())[0] == 1011


async def test_a_draining_server_sends_everybody_away_with_a_time_of_their_own(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    retries = set()
    async with serve(app) as server, trio.open_nursery() as nursery:

        async def stay() -> None:
            async with peer(server, ORDERS) as client:
                bye = await client.until("bye")
                assert (bye["code"], bye["reason"]) == (1012, "restarting")
                assert await client.ended() == 1012
                retries.add(bye["retry"])

        for _ in range(20):
            nursery.start_soon(stay)
        await trio.sleep(1)
        server.stop.set()
        await server.ended.wait()
        assert trio.current_time() < 4
    assert len(retries) > 10
    assert all(0 <= retry <= 5_000 for retry in retries)


async def test_a_client_that_vanishes_leaves_nothing(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        for path in (ORDERS, "/live", "/warehouse", "/raw"):
            async with peer(server, path):
                await trio.sleep(1)
        await trio.testing.wait_all_tasks_blocked()
        assert (server.connections, server.followers) == (0, 0)


async def test_a_client_that_ends_without_a_close_frame_leaves_nothing(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, peer(server, ORDERS) as client:
        await client.until("live")
        await client.stream.send_eof()
        assert await client.ended() is None
        await trio.testing.wait_all_tasks_blocked()
        assert (server.connections, server.followers) == (0, 0)


async def test_a_goodbye_that_nobody_answers_has_its_time(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(goodbye_seconds=2))

    @live.socket("/short")
    async def short(conn: Connection) -> None:
        await conn.send("bye")

    async with serve(app) as server, peer(server, "/short"):
        await trio.sleep(1.999)
        assert server.connections == 1
        await trio.sleep(0.002)
        assert server.connections == 0


async def test_a_goodbye_that_nobody_reads_has_its_time(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(goodbye_seconds=2))

    @live.socket("/short")
    async def short(conn: Connection) -> None:
        await conn.send("x" * 100_000)

    async with serve(app) as server, peer(server, "/short", kernel_bytes=SMALL):
        await trio.sleep(2.1)
        assert server.connections == 0


@pytest.mark.parametrize(
    "frame", [Frame(TEXT, b""), Frame(TEXT, b"text"), Frame(BINARY, b""), Frame(BINARY, b"\x00\xff")]
)
async def test_a_raw_socket_echoes_text_and_bytes_as_they_are(frame: Frame, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, peer(server, "/raw") as client:
        await client.send(frame.opcode, frame.payload)
        assert await client.frame() == frame


async def test_a_raw_socket_ends_with_a_close_frame_and_no_bye(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.socket("/once", raw=True)
    async def once(conn: Connection) -> None:
        await conn.send("once")

    async with serve(app) as server, peer(server, "/once") as client:
        assert await client.frame() == (TEXT, b"once")
        assert await client.frame() == (CLOSE, (1000).to_bytes(2, "big") + b"done")


async def test_a_log_that_cannot_be_read_any_more_sends_the_client_away_to_come_back(
    autojump_clock: MockClock,
) -> None:
    class FailingLog(MemoryLog):
        failing = False

        async def read(self, *args: object, **options: object) -> Page:
            if self.failing:
                raise LogBusy("locked")
            return await super().read(*args, **options)  # type: ignore[arg-type]  # passed on

    log = FailingLog(Limits(keep_events=5))
    app, live = make_shop(log=log)
    async with serve(app) as server:
        events: list[Event] = await live.publish_many(ORDER, [0, 1, 2])
        log.failing = True
        async with server.websocket(f"{ORDERS}?after={events[0].cursor}") as client:
            bye = await client.until("bye")
            assert (bye["code"], bye["retry"] is None) == (1011, False)
        log.failing = False
        async with server.websocket(f"{ORDERS}?after={events[0].cursor}") as client:
            assert (await client.event())["data"] == 1
