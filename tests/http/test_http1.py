"""HTTP/1.1 behind the guard: what stops, hangs or fools stock Hypercorn ends one connection here."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from triolet.bounds import CHUNKS_IN_A_ROW
from triolet.limits import Limits
from triolet.testing.network import ClientEnd
from triolet.wire.http_head import Body

from .guarding import Receive, Send, hosted, read_all, read_until, send_until_full
from .test_websocket import request as upgrade_request

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CLOSE = b"Connection: close\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def status(answer: bytes) -> int:
    return int(answer[9:12])


class TestRefusals:
    @pytest.mark.parametrize(
        "data",
        [
            POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
            POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd" + SMUGGLED,
            POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
            POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            CHUNKED + b"xyz\r\n",
            CHUNKED + b"3\nabc\r\n0\r\n\r\n" + SMUGGLED,
            CHUNKED + b"0\r\nX: a\r\n\r\n" + SMUGGLED,
            CHUNKED + b"3\r\nabcdef\r\n0\r\n\r\n",
            b"GET / HTTP/1.1\nHost: a\n\n" + SMUGGLED,
            b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET /\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\x00\xff" * 500,
        ],
    )
    async def test_a_bad_request_is_answered_400_once_and_the_connection_ends(
        self, data: bytes, autojump_clock: MockClock
    ) -> None:
        async with hosted() as host:
            answer = await host.ask(data)
            assert status(answer) == 400
            assert answer.count(b"HTTP/1.1") == 1
            await host.check()

    async def test_a_bad_request_after_a_good_one_is_refused_too(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            answer = await host.ask(HEAD + b"\r\n" + b"GET / HTTP/1.1\nHost: a\n\n")
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"HTTP/1.1 400" in answer
            await host.check()

    @pytest.mark.parametrize(
        ("line", "host_name"),
        [
            (b"GET http://a/ HTTP/1.1", b"a"),
            (b"GET http://a HTTP/1.1", b"a"),
            (b"GET HTTPS://a:99999999/?x HTTP/1.1", b"a:99999999"),
            (b"OPTIONS * HTTP/1.1", b"a"),
            (b"GET //a//b HTTP/1.1", b"a"),
            (b"GET /%00%ff%2e%2e%2f HTTP/1.1", b"a"),
            (b"GET / HTTP/1.1", b""),
            (b"GET / HTTP/1.1", b"[::1"),
            (b"GET / HTTP/1.1", b"a:b:c,d"),
            (b"BREW / HTTP/1.1", b"a"),
        ],
    )
    async def test_strange_targets_and_hosts_get_an_answer(
        self, line: bytes, host_name: bytes, autojump_clock: MockClock
    ) -> None:
        async with hosted() as host:
            assert status(await host.ask(line + b"\r\nHost: " + host_name + b"\r\n" + CLOSE)) < 500
            await host.check()

    async def test_a_head_over_the_bound_is_431(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(header_bytes=1_000)) as host:
            assert status(await host.ask(HEAD + b"X: " + b"a" * 2_000)) == 431
            await host.check()

    async def test_an_upgrade_to_h2c_is_ignored(self, autojump_clock: MockClock) -> None:
        upgrade = b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings, close\r\nHTTP2-Settings: \r\n\r\n"
        async with hosted() as host:
            assert status(await host.ask(HEAD + upgrade)) == 200
            await host.check()

    async def test_the_server_does_not_name_itself(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            for data in (HEAD + CLOSE, HEAD + b"X\r\n\r\n"):
                assert b"\r\nserver:" not in (await host.ask(data)).lower()


class TestBodies:
    @pytest.mark.parametrize(
        "body",
        [
            b"Content-Length: 5\r\n\r\nhello",
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        ],
    )
    async def test_a_body_reaches_the_app_and_the_next_request_is_read(
        self, body: bytes, autojump_clock: MockClock
    ) -> None:
        async with hosted() as host:
            answer = await host.ask(POST + body + POST + body + HEAD + CLOSE)
            assert [part[-1:] for part in answer.split(b"HTTP/1.1 200")] == [b"", b"5", b"5", b"0"]
            await host.check()

    async def test_a_body_byte_by_byte_is_the_same(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            client = host.connect()
            for byte in POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":
                await client.send_all(bytes((byte,)))
                await trio.testing.wait_all_tasks_blocked()
            assert (await read_all(client)).endswith(b"\r\n\r\n3")
            await client.aclose()
            await host.check()

    async def test_who_asks_whether_to_go_on_is_told(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            client = host.connect()
            await client.send_all(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            assert (await read_until(client, b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
            await client.send_all(b"ok")
            assert (await read_until(client, b"2")).startswith(b"HTTP/1.1 200")
            await client.aclose()
            await host.check()

    @pytest.mark.parametrize(
        "data",
        [
            POST + b"Content-Length: 1001\r\n\r\n",
            POST + b"Content-Length: 999999999999999999\r\n\r\n",
            CHUNKED + b"3e9\r\n",
            CHUNKED + b"fffffffffff\r\n",
            CHUNKED + b"1f4\r\n" + bytes(500) + b"\r\n1f5\r\n",
        ],
    )
    async def test_a_body_over_the_bound_is_413_before_it_is_taken(
        self, data: bytes, autojump_clock: MockClock
    ) -> None:
        async with hosted(limits=Limits(body_bytes=1_000)) as host:
            assert status(await host.ask(data)) == 413
            await host.check()

    async def test_a_body_in_countless_crumbs_is_413(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(body_bytes=2_000)) as host:
            client = host.connect()
            await client.send_all(CHUNKED)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_slowly, client, b"1\r\nx\r\n", 100, 0.1)
                assert status(await read_all(client)) == 413
                await client.aclose()
            await host.check()

    async def test_others_have_their_turn_between_tiny_chunks(
        self, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        in_a_row = [0]
        take = Body.take

        def counted(body: Body, data: Any) -> int:
            before = body.chunks
            taken = take(body, data)
            in_a_row[-1] += body.chunks - before
            return taken

        async def others() -> None:
            while True:
                in_a_row.append(0)
                await trio.lowlevel.checkpoint()

        monkeypatch.setattr(Body, "take", counted)
        async with hosted() as host, trio.open_nursery() as nursery:
            nursery.start_soon(others)
            client = host.connect()
            await client.send_all(CHUNKED + b"1\r\nx\r\n" * 7_000 + b"0\r\n\r\n")
            assert (await read_until(client, b"7000")).startswith(b"HTTP/1.1 200")
            nursery.cancel_scope.cancel()
        assert sum(in_a_row) == 7_001
        assert max(in_a_row) <= 2 * CHUNKS_IN_A_ROW  # last in one turn, first in the next

    @pytest.mark.parametrize(("size", "seconds"), [(1, 3), (51, 0.5), (103, 0), (500, 0)])
    async def test_chunks_that_bring_little_are_read_at_the_allowed_pace(
        self, size: int, seconds: float, autojump_clock: MockClock
    ) -> None:
        async with hosted(limits=Limits(messages_per_second=100)) as host:
            client = host.connect()
            chunk = b"%x\r\n%b\r\n" % (size, bytes(size))
            await client.send_all(CHUNKED + chunk * 5_000 + b"0\r\n\r\n")  # 2,000 at once, and 1,000 a second
            assert (await read_until(client, b"%d" % (5_000 * size))).startswith(b"HTTP/1.1 200")
            assert trio.current_time() == pytest.approx(seconds, abs=0.1)
            await client.aclose()
            await host.check()

    async def test_a_client_whose_chunks_are_slowed_down_is_seen_to_go(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(messages_per_second=1)) as host:
            client = host.connect()
            await client.send_all(CHUNKED + b"1\r\nx\r\n" * 5_000)
            await trio.sleep(1)
            client.reset()
            await host.check_empty()

    async def test_a_body_that_nobody_reads_ends_with_the_answer(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            answer = await host.ask(b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nabc" + SMUGGLED)
            assert (status(answer), answer.count(b"HTTP/1.1")) == (404, 1)
            await host.check()


class TestEndings:
    async def test_a_client_that_goes_ends_its_view_at_once(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            client = host.connect()
            await client.send_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            await trio.testing.wait_all_tasks_blocked()
            await client.aclose()
            await trio.testing.wait_all_tasks_blocked()
            assert host.links[0].closed
            await host.check()
            assert trio.current_time() < 1

    async def test_it_is_noticed_though_a_pipelined_request_waits(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            client = host.connect()
            await client.send_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + HEAD * 100)
            await trio.testing.wait_all_tasks_blocked()
            await client.aclose()
            await host.check()
            assert trio.current_time() < 1

    async def test_pipelined_requests_are_answered_in_turn(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            answer = await host.ask(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + (HEAD + b"\r\n") * 3 + HEAD + CLOSE)
            assert answer.count(b"HTTP/1.1 200") == 5
            assert answer.index(b"slow") < answer.index(b"200", 20)
            await host.check()

    async def test_what_is_pipelined_is_bounded(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            client = host.connect()
            await client.send_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            assert 64 << 10 <= await send_until_full(client, HEAD) <= 256 << 10
            client.reset()
            await trio.sleep(30)
            await host.check()

    async def test_an_idle_connection_is_closed_when_its_client_is(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            client = host.connect()
            await client.send_all(HEAD + b"\r\n")
            await read_until(client, b"0")
            await client.aclose()
            await host.check()
            assert trio.current_time() < 1

    async def test_an_idle_connection_is_closed_in_the_end(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            client = host.connect()
            await client.send_all(HEAD + b"\r\n")
            assert (await read_all(client)).startswith(b"HTTP/1.1 200")
            assert trio.current_time() == pytest.approx(host.config.keep_alive_timeout)
            await client.aclose()
            await host.check()

    async def test_a_connection_that_idles_within_its_limit_is_still_good(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(header_seconds=5)) as host:
            client = host.connect()
            for _ in range(3):
                await client.send_all(HEAD + b"\r\n")
                assert b"200" in await read_until(client, b"0")
                await trio.sleep(host.config.keep_alive_timeout - 0.1)
            await client.aclose()
            await host.check()

    async def test_a_head_that_trickles_in_is_not_waited_for(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(header_seconds=5)) as host:
            client = host.connect()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_slowly, client, b"X", 20)
                assert await read_all(client) == b""
            assert trio.current_time() <= 20
            await host.check()

    async def test_a_request_that_came_while_the_process_stood_still_is_answered(
        self, autojump_clock: MockClock
    ) -> None:
        async with hosted(limits=Limits(header_seconds=5)) as host:
            client = host.connect()
            for _ in range(3):
                client.connection.client.send(HEAD + b"\r\n")
                autojump_clock.jump(host.config.keep_alive_timeout + 1)
                assert b" 200 " in await read_until(client, b"0")
                await trio.testing.wait_all_tasks_blocked()
            await client.aclose()
            await host.check()

    async def test_a_request_that_was_read_ahead_is_answered_by_a_process_that_stands_still(
        self, autojump_clock: MockClock
    ) -> None:
        async def stands_still(scope: Any, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})
            autojump_clock.jump(6)  # its answer is complete, and the next request is looked at in a moment

        async with hosted(stands_still, limits=Limits(header_seconds=5)) as host:
            client = host.connect()
            await client.send_all(9 * (HEAD + b"\r\n"))
            heard = b""
            while heard.count(b" 200 ") < 9:
                more = await client.receive_some()
                assert more, heard
                heard += more
            await client.aclose()

    async def test_idle_connections_end_when_the_server_drains(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            idle, busy = host.connect(), host.connect()
            await idle.send_all(HEAD + b"\r\n")
            await read_until(idle, b"0")
            await busy.send_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            await trio.testing.wait_all_tasks_blocked()
            await host.context.terminated.set()
            assert await read_all(idle) == b""
            assert trio.current_time() < 1
            assert (await read_all(busy)).endswith(b"slow")
            assert host.context.idle == set()

    @pytest.mark.parametrize(("path", "code"), [(b"/nowhere", 404), (b"/", 400)])
    async def test_a_refused_upgrade_says_that_the_connection_closes(
        self, path: bytes, code: int, autojump_clock: MockClock
    ) -> None:
        async with hosted() as host:
            before = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
            answer = await host.ask(before + upgrade_request(path))
            first, _, second = answer.partition(b"HTTP/1.1 %d" % code)
            assert b"connection: close" not in first.lower()
            assert second.lower().count(b"connection: close") == 1

    async def test_the_last_answer_of_a_server_that_drains_says_so(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            client = host.connect()
            await client.send_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            await trio.sleep(1)
            await host.context.terminated.set()
            answer = await read_all(client)
            assert status(answer) == 200
            assert b"connection: close" in answer.lower()

    async def test_an_answer_to_half_a_body_says_so(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            answer = await host.ask(b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
            assert status(answer) in (404, 405)
            assert answer.lower().count(b"connection: close") == 1

    async def test_a_client_that_does_not_read_is_given_up(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(write_seconds=30)) as host:
            client = host.connect()
            await client.send_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
            await trio.sleep(40)
            await trio.testing.wait_all_tasks_blocked()
            await host.check()

    async def test_a_client_that_reads_slowly_is_waited_for(self, autojump_clock: MockClock) -> None:
        async with hosted(limits=Limits(write_seconds=30)) as host:
            client = host.connect()
            await client.send_all(b"GET /big HTTP/1.1\r\nHost: a\r\n" + CLOSE)
            data = b""
            while chunk := await client.receive_some(64 << 10):
                data += chunk
                await trio.sleep(3)
            assert trio.current_time() > 30
            assert len(data) > 1 << 20
            await client.aclose()
            await host.check()

    async def test_an_app_that_only_sends_starves_nobody_when_its_client_goes(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            client = host.connect()
            await client.send_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.receive_some()
            await client.aclose()
            await host.check()


class TestForeignApps:
    async def test_an_app_that_never_listens_is_cancelled(self, autojump_clock: MockClock) -> None:
        async def app(scope: object, receive: object, send: object) -> None:
            await trio.sleep_forever()

        async with hosted(app) as host:
            client = host.connect()
            await client.send_all(HEAD + b"\r\n")
            await trio.testing.wait_all_tasks_blocked()
            await client.aclose()
            await trio.testing.wait_all_tasks_blocked()
            assert host.links[0].closed
            await trio.sleep(2.1)
            await host.check_empty()

    async def test_an_app_that_only_sends_is_slowed_down_and_cancelled(self, autojump_clock: MockClock) -> None:
        sent = 0

        async def app(scope: object, receive: object, send: Send) -> None:
            nonlocal sent
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": bytes(1_000), "more_body": True})
                sent += 1

        async with hosted(app) as host:
            client = host.connect()
            await client.send_all(HEAD + b"\r\n")
            await client.receive_some()
            await client.aclose()
            await trio.testing.wait_all_tasks_blocked()
            assert host.links[0].closed
            before = sent
            await trio.sleep(3)
            assert sent - before < 50
            await host.check_empty()

    async def test_an_app_that_raises_is_answered_for(self, autojump_clock: MockClock) -> None:
        async def app(scope: object, receive: object, send: object) -> None:
            raise KeyError("secret")

        async with hosted(app) as host:
            assert status(await host.ask(HEAD + CLOSE)) == 500
            await host.check_empty()

    async def test_an_app_that_fails_within_its_answer_cuts_it(self, autojump_clock: MockClock) -> None:
        async def app(scope: object, receive: object, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
            await send({"type": "http.response.body", "body": b"abc", "more_body": True})
            raise ValueError("secret")

        async with hosted(app) as host:
            answer = await host.ask(HEAD + b"\r\n")
            assert answer.endswith(b"\r\n\r\nabc")
            await host.check_empty()

    async def test_a_write_cut_short_is_followed_by_no_other(self, autojump_clock: MockClock) -> None:
        async def app(scope: object, receive: object, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            with trio.move_on_after(5):
                await send({"type": "http.response.body", "body": b"a" * (1 << 20), "more_body": True})
            await send({"type": "http.response.body", "body": b"b"})

        async with hosted(app) as host:
            client = host.connect()
            await client.send_all(HEAD + b"\r\n")
            await trio.sleep(10)
            assert b"b" not in (await read_all(client)).rpartition(b"\r\n")[2]
            assert host.links[0].closed


async def send_slowly(client: ClientEnd, piece: bytes, times: int, seconds: float = 1) -> None:
    """Send until the server has had enough."""
    for _ in range(times):
        try:
            await client.send_all(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        await trio.sleep(seconds)
