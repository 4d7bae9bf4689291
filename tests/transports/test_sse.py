"""Event streams: what comes first, what comes last, and what no intermediary may do to them."""

from __future__ import annotations

import json

import pytest
import trio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import Limits, LogBusy
from triolet.log import MemoryLog, Page, Status
from triolet.testing.network import ClientEnd
from triolet.testing.server import MemoryServer, serve


async def test_a_stream_begins_with_retry_open_and_live(autojump_clock: MockClock) -> None:
    app, _live = make_shop()
    async with serve(app) as server, server.events(ORDERS) as stream:
        opened, caught_up = await stream.block(), await stream.block()
        assert opened is not None
        assert caught_up is not None
        assert (opened["event"], opened["id"]) == ("triolet.open", json.loads(opened["data"])["cursor"])
        assert opened["retry"] == "1000"
        assert caught_up["event"] == "triolet.live"
        assert json.loads(caught_up["data"])["channel"] == ORDER


async def test_an_event_has_its_cursor_its_name_its_data_and_its_time(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.events(ORDERS) as stream:
        await stream.own("live")
        event = await live.publish(ORDER, {"a": "line\nbreak"}, name="order-status")
        block = await stream.block()
        assert block == {
            "id": str(event.cursor),
            "event": "order-status",
            "data": '{"a":"line\\nbreak"}',
            "time": str(int(event.published_at * 1000)),
        }


async def test_a_stream_may_be_neither_kept_nor_buffered(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, server.events(ORDERS) as stream:
        headers = stream.headers
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store, no-transform", "no")
        assert "content-encoding" not in headers
        assert "content-length" not in headers


async def old_stream(server: MemoryServer) -> ClientEnd:
    stream = server.connect()
    await stream.send_all(f"GET {ORDERS} HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n".encode())
    return stream


async def test_a_client_of_http_1_0_gets_no_chunks_and_the_end_with_the_connection(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        stream = await old_stream(server)
        found = b""
        while b"triolet.live" not in found:
            found += await stream.receive_some()
        await live.publish(ORDER, "hello")
        await trio.testing.wait_all_tasks_blocked()
        server.stop.set()
        while data := await stream.receive_some():
            found += data
        head, _, body = found.partition(b"\r\n\r\n")
        assert b"chunked" not in head.lower()
        blocks = body.decode().split("\n\n")
        assert blocks[0].startswith("retry: 1000\nid: ")
        assert 'data: "hello"' in blocks[2]
        assert "event: triolet.bye" in blocks[3]
        assert blocks[4] == ""
        # One without data is nothing by the standard, and an empty event to some parsers.
        assert all("\ndata: " in block for block in blocks[:4])


async def test_a_draining_server_says_bye_and_ends_the_stream_well(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, server.events(ORDERS) as stream:
        await stream.own("live")
        server.stop.set()
        bye = await stream.own("bye")
        assert bye is not None
        assert (bye["code"], bye["reason"]) == (1012, "restarting")
        assert 0 <= bye["retry"] <= 5_000
        assert await stream.block() is None  # the last chunk came, or h11 would have raised
        await server.ended.wait()
        assert trio.current_time() < 3


async def test_events_and_the_bye_come_in_order_to_a_client_that_is_behind(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.events(f"{ORDERS}?after=0", kernel_bytes=2_000) as stream:
        await live.publish_many(ORDER, ["x" * 300] * 20)
        await trio.sleep(1)
        server.stop.set()
        heard = []
        while (block := await stream.block()) is not None:
            heard.append(block.get("event"))
        assert heard[-1] == "triolet.bye"
        assert heard.count("message") <= 20


async def test_a_stream_whose_log_cannot_be_read_is_answered_503(autojump_clock: MockClock) -> None:
    class FailingLog(MemoryLog):
        async def status(self, *args: object) -> Status:
            raise LogBusy("locked")

    app, _ = make_shop(log=FailingLog())
    async with serve(app) as server:
        answer = await server.request("GET", ORDERS, {"accept": "text/event-stream"})
        assert (answer.status, answer.json["error"]) == (503, "log")
        upgrade = await server.upgrade(ORDERS)
        assert (upgrade.status, upgrade.json["error"]) == (503, "log")


async def test_a_stream_whose_log_fails_later_says_bye_with_a_time_to_come_back(autojump_clock: MockClock) -> None:
    class FailingLog(MemoryLog):
        async def read(self, *args: object, **options: object) -> Page:
            raise LogBusy("locked")

    limits = Limits(window_events=1)
    app, live = make_shop(limits, log=FailingLog(limits))
    async with serve(app) as server, server.events(ORDERS) as stream:
        await stream.own("live")
        await live.publish_many(ORDER, [1, 2, 3])
        bye = await stream.own("bye")
        assert bye is not None
        assert (bye["code"], bye["retry"] is None) == (1011, False)
        assert await stream.block() is None


async def test_a_client_that_goes_leaves_nothing(autojump_clock: MockClock) -> None:
    app, _live = make_shop()
    async with serve(app) as server:
        async with server.events(ORDERS) as stream:
            await stream.own("live")
            assert (server.connections, server.followers) == (1, 1)
        await trio.sleep(3)
        assert (server.connections, server.followers) == (0, 0)


@pytest.mark.parametrize("size", [10, 70_000])
async def test_a_big_event_comes_whole(size: int, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.events(ORDERS, kernel_bytes=3_000) as stream:
        await stream.own("live")
        for _ in range(3):
            await live.publish(ORDER, "x" * size)
        for _ in range(3):
            event = await stream.event()
            assert event is not None
            assert event["data"] == "x" * size


async def test_a_request_behind_a_stream_waits_for_its_end(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        stream = server.connect()
        await stream.send_all(f"GET {ORDERS} HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n".encode())
        await stream.send_all(b"GET /page HTTP/1.1\r\nHost: test\r\n\r\n")
        found = b""
        while b"triolet.live" not in found:
            found += await stream.receive_some()
        await live.publish(ORDER, 1)
        while b"data: 1" not in found:
            found += await stream.receive_some()
        assert b"a page" not in found
        assert found.count(b"HTTP/1.1") == 1
