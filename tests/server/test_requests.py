"""Requests that are answered straight on their connection, one after the other: polls, commands, and pages between."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.app.warehouse import Warehouse
from tests.server.wire import Wire, get, through_hypercorn
from tests.shop import ORDER, ORDERS, make_shop
from triolet import Limits
from triolet.bounds import DRAINED_POLL_SECONDS, READ_AHEAD_BYTES, READ_BYTES
from triolet.sockets.stages import Stage
from triolet.testing.server import serve

POLL = get(ORDERS)
HELD = get(f"{ORDERS}?wait=20")
PAGE = get("/page")
PICK = "POST /orders/A123/pick HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer ann\r\nIdempotency-Key: %s\r\n"


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    return through_hypercorn(monkeypatch)


# --- one connection, many requests


async def test_polls_of_one_connection_are_answered_on_it(behind: list[bytes], autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        wire, after = Wire(server.connect()), "0"
        for n in range(4):
            await live.publish(ORDER, n)
            answer = await wire.ask(get(f"{ORDERS}?after={after}"))
            assert answer.status_line == "HTTP/1.1 200 OK"
            assert "connection" not in answer.headers
            body = json.loads(answer.body)
            assert [event["data"] for event in body["events"]] == [n]
            after = body["cursor"]
        assert (behind, server.connections) == ([], 1)


async def test_polls_that_are_pipelined_are_answered_in_order(behind: list[bytes], autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        wire = Wire(server.connect())
        await wire.end.send_all(HELD + POLL + get("/orders/absent/events") + HELD)
        await trio.sleep(1)
        await live.publish(ORDER, "first")
        assert [event["data"] for event in json.loads((await wire.answer()).body)["events"]] == ["first"]
        assert trio.current_time() == pytest.approx(1)
        assert json.loads((await wire.answer()).body)["events"] == []
        assert (await wire.answer()).status_line == "HTTP/1.1 404 Not Found"
        await wire.answer()
        assert trio.current_time() == pytest.approx(21)
        assert behind == []


@pytest.mark.parametrize("at_once", [True, False])
async def test_pages_and_polls_share_a_connection(
    at_once: bool, behind: list[bytes], autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    requests = [POLL, PAGE, PAGE, POLL, HELD, PAGE, POLL]
    async with serve(app) as server:
        wire, found = Wire(server.connect()), []
        if at_once:
            await wire.end.send_all(b"".join(requests))
        for request in requests:
            if not at_once:
                await wire.end.send_all(request)
            found.append((await wire.answer()).body)
        assert [body[:6] for body in found] == [b"a page" if request == PAGE else b'{"chan' for request in requests]
        if not at_once:
            assert behind == [PAGE, PAGE], "Hypercorn has the connection for as long as pages are asked for"


async def test_a_stream_and_a_websocket_may_come_behind_polls_and_pages(
    behind: list[bytes], autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        wire = Wire(server.connect())
        await wire.ask(POLL)
        await wire.ask(PAGE)
        await wire.ask(POLL)
        await wire.end.send_all(get(ORDERS, "Accept: text/event-stream"))
        await wait_all_tasks_blocked()
        assert server.followers == 1
        assert behind == [PAGE]
        await wire.end.aclose()


async def test_a_client_that_asks_much_ahead_does_not_keep_others_from_being_served(
    autojump_clock: MockClock,
) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        greedy, other = Wire(server.connect()), Wire(server.connect())
        await greedy.end.send_all(POLL * 300)
        await other.ask(POLL)
        answered = (await greedy.end.receive_some()).count(b"HTTP/1.1 200")
        assert answered < 20, "both have their turns"
        greedy.end.reset()


async def test_what_is_no_request_behind_a_poll_is_refused(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        wire = Wire(server.connect())
        assert (await wire.ask(POLL + b"nonsense\r\n\r\n")).status_line == "HTTP/1.1 200 OK"
        answer = await wire.answer()
        assert (answer.status_line, answer.headers["connection"]) == ("HTTP/1.1 400 Bad Request", "close")
        assert await wire.rest() == b""


# --- one answer


async def test_a_poll_that_knows_all_is_answered_304(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        wire = Wire(server.connect())
        tag = (await wire.ask(POLL)).headers["etag"]
        answer = await wire.ask(get(ORDERS, f"If-None-Match: {tag}"))
        assert (answer.status_line, answer.headers["etag"]) == ("HTTP/1.1 304 Not Modified", tag)
        assert "content-length" not in answer.headers
        assert (await wire.ask(POLL)).status_line == "HTTP/1.1 200 OK"


async def test_head_has_the_head_alone(behind: list[bytes], autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        await live.publish(ORDER, 1)
        wire = Wire(server.connect())
        answer = await wire.ask(get(f"{ORDERS}?after=0", method="HEAD"), head_only=True)
        assert (answer.status_line, behind) == ("HTTP/1.1 200 OK", [])
        assert int(answer.headers["content-length"]) > 100
        assert json.loads((await wire.ask(POLL)).body)["events"] == []


@pytest.mark.parametrize("said", ["close", "Close", "te, close"])
async def test_a_client_that_wants_it_so_has_its_connection_closed(said: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        wire = Wire(server.connect())
        answer = await wire.ask(get(ORDERS, f"Connection: {said}"), POLL)
        assert answer.headers["connection"] == "close"
        assert await wire.rest() == b""


async def test_an_older_client_is_hypercorns(behind: list[bytes], autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        wire = Wire(server.connect())
        assert (await wire.ask(POLL.replace(b"HTTP/1.1", b"HTTP/1.0"))).status_line == "HTTP/1.1 200 OK"
        assert len(behind) == 1


async def test_each_request_has_its_line_in_the_access_log(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = make_shop()
    with caplog.at_level(logging.INFO, "triolet.access"):
        async with serve(app, access_log=True) as server:
            wire = Wire(server.connect(address="192.0.2.1"))
            await wire.ask(POLL)
            await wire.ask(PAGE)
            await wire.ask(get(f"{ORDERS}?wait=3"))
            await wire.ask(get("/orders/secret/events"))
            await wire.end.send_all(HELD)
            await trio.sleep(1)
            wire.end.reset()
            unclosed = Wire(server.connect(address="192.0.2.1"))
            await unclosed.ask(get(ORDERS, "Connection: close"))
            await trio.sleep(10)
    lines = [record.getMessage() for record in caplog.records if record.name == "triolet.access"]
    assert lines == [
        f'192.0.2.1 "GET {ORDERS}" 200 0.000',
        '192.0.2.1 "GET /page" 200 0.000',
        f'192.0.2.1 "GET {ORDERS}" 200 3.000',
        '192.0.2.1 "GET /orders/secret/events" 403 0.000',
        f'192.0.2.1 "GET {ORDERS}" 499 1.000',
        f'192.0.2.1 "GET {ORDERS}" 200 0.000',
    ]


async def test_a_path_cannot_end_its_place_in_the_access_log(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = make_shop()
    with caplog.at_level(logging.INFO, "triolet.access"):
        async with serve(app, access_log=True) as server:
            for path in ('/page" 200 0.001 "', '/orders/x" 200 0.001 "/events'):
                await Wire(server.connect()).ask(get(path.replace(" ", "%20")))
    lines = [record.getMessage() for record in caplog.records if record.name == "triolet.access"]
    assert len(lines) == 2
    for line in lines:
        assert line.count('"') == 2, line


# --- a poll that waits


async def test_a_poll_that_waits_has_no_task_but_its_connections(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:

        async def tasks(request: bytes) -> int:
            before = trio.lowlevel.current_statistics().tasks_living
            for _ in range(50):
                await server.connect().send_all(request)
            await wait_all_tasks_blocked()
            return trio.lowlevel.current_statistics().tasks_living - before

        assert await tasks(b"") == await tasks(HELD) == 50
        assert server.followers == 50


@pytest.mark.parametrize("how", ["reset", "end"])
@pytest.mark.parametrize("ahead", [b"", POLL])
async def test_a_client_that_goes_while_its_poll_waits_leaves_nothing(
    how: str, ahead: bytes, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        end = server.connect()
        await end.send_all(HELD + ahead)
        await wait_all_tasks_blocked()
        assert (server.connections, server.followers) == (1, 1)
        if how == "reset":
            end.reset()
        else:
            await end.send_eof()
        await wait_all_tasks_blocked()
        assert (server.connections, server.followers, trio.current_time()) == (0, 0, 0)
        await live.publish(ORDER, 1)


async def test_what_is_sent_ahead_of_a_waiting_poll_is_bounded_counted_and_answered(
    autojump_clock: MockClock,
) -> None:
    app, live = make_shop()
    long = get(ORDERS, f"X-Fill: {'x' * 4_000}")
    async with serve(app) as server:
        wire = Wire(server.connect())
        async with trio.open_nursery() as nursery:
            before = server.worker.budget.held
            nursery.start_soon(wire.end.send_all, HELD + 100 * long)
            await trio.sleep(1)
            held = server.worker.budget.held - before
            assert READ_AHEAD_BYTES <= held <= READ_AHEAD_BYTES + READ_BYTES
            await live.publish(ORDER, 1)
            for _ in range(101):
                assert (await wire.answer()).status_line == "HTTP/1.1 200 OK"
        await wait_all_tasks_blocked()
        assert server.worker.budget.held - before < 10_000  # the event


async def test_a_server_that_drains_answers_the_polls_that_wait_and_closes_what_is_idle(
    autojump_clock: MockClock,
) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        idle, held = Wire(server.connect()), Wire(server.connect())
        await idle.ask(POLL)
        await held.end.send_all(HELD + POLL)
        await trio.sleep(1)
        server.stop.set()
        assert await idle.rest() == b""
        assert trio.current_time() == pytest.approx(1)
        answer = await held.answer()
        assert (answer.status_line, answer.headers["connection"]) == ("HTTP/1.1 200 OK", "close")
        assert json.loads(answer.body)["retry"] > 0
        assert 1 <= trio.current_time() <= 1 + DRAINED_POLL_SECONDS
        assert await held.rest() == b""


async def test_a_client_that_has_just_connected_is_answered_although_the_server_drains(
    autojump_clock: MockClock,
) -> None:
    app, _ = make_shop(Limits(goodbye_seconds=2))
    async with serve(app) as server:
        asks, silent = Wire(server.connect()), Wire(server.connect())
        await wait_all_tasks_blocked()
        server.stop.set()
        await trio.sleep(1)  # what it has sent was on its way
        answer = await asks.ask(POLL)
        assert (answer.status_line, answer.headers["connection"]) == ("HTTP/1.1 200 OK", "close")
        with pytest.raises(trio.BrokenResourceError):
            await silent.rest()
        assert trio.current_time() == pytest.approx(2)


async def test_an_idle_connection_is_seen_and_has_its_time(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(idle_seconds=50, header_seconds=5))
    async with serve(app) as server:
        idle, slow = Wire(server.connect()), Wire(server.connect())
        await idle.ask(POLL)
        await slow.ask(POLL)
        await wait_all_tasks_blocked()
        assert server.worker.sockets().stages[Stage.IDLE] == 2
        await trio.sleep(40)
        await slow.end.send_all(POLL[:10])
        assert await slow.rest() == b""
        assert trio.current_time() == pytest.approx(45)
        assert await idle.rest() == b""
        assert trio.current_time() == pytest.approx(50)


async def test_an_answer_that_is_not_read_is_counted_and_its_client_cut(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(write_seconds=30))
    async with serve(app) as server:
        await live.publish_many(ORDER, ["x" * 10_000] * 30)
        await Wire(server.connect()).ask(get(f"{ORDERS}?after=0"))
        await wait_all_tasks_blocked()  # the answer was read, and is let go of after that
        before = server.worker.budget.held
        end = server.connect(kernel_bytes=4_000)
        await end.send_all(get(f"{ORDERS}?after=0"))
        await trio.sleep(1)
        assert 250_000 < server.worker.budget.held - before < 270_000, "a page"
        await trio.sleep(28)
        assert server.connections == 2
        await trio.sleep(2)
        assert (server.connections, server.worker.budget.held) == (1, before)
        end.reset()


async def test_an_answer_that_is_read_slowly_is_read_to_its_end(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(write_seconds=30))
    async with serve(app) as server:
        await live.publish_many(ORDER, ["x" * 10_000] * 30)
        wire = Wire(server.connect(kernel_bytes=4_000))
        await wire.end.send_all(get(f"{ORDERS}?after=0"))
        for _ in range(60):
            await trio.sleep(0.5)
            await wire.more()
        answer = await wire.answer()
        assert len(json.loads(answer.body)["events"]) == 26
        assert (await wire.ask(POLL)).status_line == "HTTP/1.1 200 OK"


async def test_an_app_that_revokes_cuts_off_an_answer_that_is_not_read(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        await live.publish_many(ORDER, ["x" * 10_000] * 30)
        end = server.connect(kernel_bytes=4_000)
        await end.send_all(get(f"{ORDERS}?after=0"))
        await trio.sleep(1)
        await live.revoke(channel=ORDER)
        await wait_all_tasks_blocked()
        assert server.connections == 0
        end.reset()


# --- commands


async def command(wire: Wire, id: str, body: bytes, *more: str, pause: float = 0) -> Any:
    head = PICK % id + "".join(f"{line}\r\n" for line in (f"Content-Length: {len(body)}", *more)) + "\r\n"
    if pause:
        await wire.end.send_all(head.encode())
        for at in range(0, len(body), 5):
            await trio.sleep(pause)
            await wire.end.send_all(body[at : at + 5])
        return await wire.answer()
    return await wire.ask(head.encode() + body)


async def test_commands_are_answered_on_their_connection(behind: list[bytes], autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with serve(shop.app) as server:
        wire = Wire(server.connect())
        answers = [
            await command(wire, "1", b'{"n": 1}'),
            await command(wire, "2", b'{"n": 2}', pause=0.1),
            await command(wire, "1", b'{"n": 1}'),
        ]
        assert [answer.status_line for answer in answers] == ["HTTP/1.1 200 OK"] * 3
        assert [answer.headers.get("idempotency-replayed") for answer in answers] == [None, None, "true"]
        assert [done[2] for done in shop.done] == [{"n": 1}, {"n": 2}]
        assert behind == []


async def test_a_command_that_is_refused_before_its_body_was_read_ends_the_connection(
    behind: list[bytes], autojump_clock: MockClock
) -> None:
    shop = Warehouse()
    async with serve(shop.app) as server:
        wire = Wire(server.connect())
        answer = await command(wire, "1", PAGE, "Origin: http://evil.example")
        assert (answer.status_line, answer.headers["connection"]) == ("HTTP/1.1 403 Forbidden", "close")
        assert await wire.rest() == b"", "no part of the body is a request"
        assert (shop.done, behind) == ([], [])


async def test_a_body_that_does_not_come_is_not_waited_for_long(autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with serve(shop.app) as server:
        wire = Wire(server.connect())
        answer = await wire.ask((PICK % "1" + "Content-Length: 5\r\n\r\n12").encode())
        assert answer.status_line == "HTTP/1.1 408 Request Timeout"
        assert await wire.rest() == b""


@pytest.mark.parametrize("line", ["Expect: 100-continue", "Content-Length: 9999999", "Transfer-Encoding: chunked"])
async def test_a_body_of_another_kind_is_hypercorns(line: str, behind: list[bytes], autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with serve(shop.app) as server:
        wire = Wire(server.connect())
        more = "Content-Length: 2\r\n" if line.startswith("Expect") else ""
        await wire.ask((PICK % "1" + f"{more}{line}\r\n\r\n").encode(), b"0\r\n\r\n")
        assert len(behind) == 1
        wire.end.reset()


async def test_a_client_that_goes_before_its_command_is_answered_leaves_nothing(autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with serve(shop.app) as server:
        end = server.connect()
        await end.send_all((PICK.replace("pick ", "pick?seconds=5 ") % "1" + "Content-Length: 0\r\n\r\n").encode())
        await trio.sleep(1)
        assert server.connections == 1
        end.reset()
        await wait_all_tasks_blocked()
        assert server.connections == 0
        await trio.sleep(5)
        assert len(shop.done) == 1, "what has begun goes on to its end"
