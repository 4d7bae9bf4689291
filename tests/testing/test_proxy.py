"""The proxy in memory: what it passes on, what it keeps back, and what it gives up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h11
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.peer import TEXT, UPGRADE, encode
from tests.shop import ORDER, ORDERS, make_shop
from triolet import Limits, Triolet
from triolet.testing import Proxy, proxy
from triolet.testing.faults import half_open, reordered_accepts, slow_reader, stalled
from triolet.testing.network import ClientEnd, Line, Network
from triolet.testing.seed import current, play
from triolet.testing.server import MemoryServer, serve


class Mirror:
    """An ASGI app that answers with what it was asked, or misbehaves, as its path says."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, Any], bytes]] = []
        self.left = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError("no lifespan")
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append((headers, body))
        await getattr(self, scope["path"].strip("/") or "page")(receive, send)

    async def page(self, receive: Any, send: Any) -> None:
        await head(send, (b"content-length", b"4"), (b"x-own", b"1"), (b"connection", b"x-hop"), (b"x-hop", b"1"))
        await more(send, b"page", last=True)

    async def stream(self, receive: Any, send: Any) -> None:
        await head(send)
        for _ in range(10):
            await more(send, b"x" * 100)
            await trio.sleep(10)
        await more(send, last=True)

    async def accelerated(self, receive: Any, send: Any) -> None:
        await head(send, (b"x-accel-buffering", b"no"))
        await more(send, b"x" * 100)
        await trio.sleep(50)
        await more(send, last=True)

    async def late(self, receive: Any, send: Any) -> None:
        await trio.sleep(90)
        await self.page(receive, send)

    async def falls_silent(self, receive: Any, send: Any) -> None:
        await head(send)
        await more(send, b"x" * 100)
        await trio.sleep(90)

    async def big(self, receive: Any, send: Any) -> None:
        await head(send)
        for _ in range(100):
            await more(send, b"x" * 10_000)
        await more(send, last=True)

    async def crashes(self, receive: Any, send: Any) -> None:
        await head(send, (b"content-length", b"4"))
        await more(send, b"pa")
        raise ValueError("for the test")

    async def waits_for_the_end(self, receive: Any, send: Any) -> None:
        await head(send)
        await more(send, b"x")
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left += 1


async def head(send: Any, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def more(send: Any, body: bytes = b"", *, last: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": not last})


@asynccontextmanager
async def mirrored(**manner: Any) -> AsyncIterator[tuple[Mirror, Proxy]]:
    app = Mirror()
    async with serve(app, grace=5) as server, proxy(server, **manner) as front:
        yield app, front


async def read(end: ClientEnd, until: bytes) -> bytes:
    data = b""
    while until not in data:
        piece = await end.receive_some()
        assert piece, data
        data += piece
    return data


async def rest(end: ClientEnd) -> bytes:
    data = b""
    while piece := await end.receive_some():
        data += piece
    return data


GET = b"GET /%s HTTP/1.1\r\nHost: shop.example\r\n\r\n"


class TestPassingOn:
    async def test_the_server_is_told_who_asks_and_nothing_of_the_hop_before(self, autojump_clock: MockClock) -> None:
        async with mirrored() as (app, front):
            asked = {"host": "shop.example", "x-own": "1", "x-forwarded-for": "203.0.113.1", "te": "trailers"}
            hop = {"connection": "x-hop, keep-alive", "x-hop": "1", "x-forwarded-proto": "gopher"}
            assert (await front.request("GET", "/", asked | hop, address="198.51.100.9")).body == b"page"
        ((headers, _),) = app.asked
        assert headers["host"] == "shop.example"
        assert headers["x-own"] == "1"
        assert headers["x-forwarded-for"] == "203.0.113.1, 198.51.100.9"
        assert headers["x-forwarded-proto"] == "http"
        assert not {"te", "x-hop", "keep-alive"} & headers.keys()

    async def test_the_client_is_told_nothing_of_the_hop_behind(self, autojump_clock: MockClock) -> None:
        async with mirrored() as (_, front):
            answer = await front.get("/")
        assert (answer.status, answer.headers["x-own"]) == (200, "1")
        assert "x-hop" not in answer.headers

    async def test_a_body_is_passed_on(self, autojump_clock: MockClock) -> None:
        async with mirrored() as (app, front):
            await front.post("/", b"x" * 200_000)
            await front.post("/")
            end = front.connect()
            await end.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
            await read(end, b"page")
        assert [len(body) for _, body in app.asked] == [200_000, 0, 3]
        assert [headers["content-length"] for headers, _ in app.asked] == ["200000", "0", "3"]

    async def test_a_client_that_waits_to_send_its_body_is_told_to(self, autojump_clock: MockClock) -> None:
        async with mirrored() as (app, front):
            end = front.connect()
            await end.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            assert (await read(end, b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
            await end.send_all(b"abc")
            await read(end, b"page")
        assert app.asked[0][1] == b"abc"

    async def test_a_body_beyond_its_bound_is_413(self, autojump_clock: MockClock) -> None:
        async with mirrored() as (app, front):
            end = front.connect()
            await end.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 1_100_000)
            assert (await end.receive_some()).startswith(b"HTTP/1.1 413")
        assert app.asked == []

    async def test_a_clients_connection_is_kept(self, autojump_clock: MockClock) -> None:
        async with mirrored() as (app, front):
            end = front.connect()
            for _ in range(3):
                await end.send_all(GET % b"")
                await read(end, b"page")
            await end.send_all(GET % b"" + GET % b"")
            both = await read(end, b"page")
            if both.count(b"page") < 2:
                await read(end, b"page")
        assert len(app.asked) == 5

    async def test_an_old_client_is_served_and_left(self, autojump_clock: MockClock) -> None:
        async with mirrored() as (_, front):
            end = front.connect()
            await end.send_all(b"GET /stream HTTP/1.0\r\n\r\n")
            answer = await rest(end)
        assert answer.endswith(b"\r\n\r\n" + b"x" * 1_000)
        assert b"chunked" not in answer

    async def test_what_is_no_request_is_400(self, autojump_clock: MockClock) -> None:
        async with mirrored() as (_, front):
            end = front.connect()
            await end.send_all(b"hello\r\n\r\n")
            assert (await rest(end)).startswith(b"HTTP/1.1 400")

    async def test_a_proxy_may_stand_before_a_proxy(self, autojump_clock: MockClock) -> None:
        async with mirrored() as (app, inner), proxy(inner) as outer:
            await outer.request("GET", "/", address="198.51.100.9")
        assert app.asked[0][0]["x-forwarded-for"] == "198.51.100.9, 192.0.2.2"

    async def test_what_the_block_raises_comes_out_as_it_is(self, autojump_clock: MockClock) -> None:
        with pytest.raises(KeyError):
            async with mirrored() as (_, front), front.events("/waits_for_the_end"):
                raise KeyError

    async def test_who_arrives_when_it_has_gone_is_reset(self, autojump_clock: MockClock) -> None:
        network = Network(Line(latency=1))
        async with network.running(), serve(Mirror()) as server:
            async with proxy(server, network=network) as front:
                on_its_way = front.connect()
            late = front.connect()
            for end in (on_its_way, late):
                with pytest.raises(trio.BrokenResourceError):
                    await end.receive_some()
            await trio.sleep(10)


class TestServersThatFail:
    async def test_one_that_listens_no_longer_is_502(self, autojump_clock: MockClock) -> None:
        async with serve(Mirror(), grace=5) as server, proxy(server) as front:
            server.stop.set()
            await server.ended.wait()
            assert (await front.get("/")).status == 502

    async def test_one_that_says_nothing_in_time_is_504(self, autojump_clock: MockClock) -> None:
        async with mirrored() as (_, front):
            assert (await front.get("/late")).status == 504
            assert trio.current_time() == 60
        async with mirrored(idle_timeout=100) as (_, front):
            assert (await front.get("/late")).status == 200

    async def test_an_answer_that_falls_silent_is_cut_off(self, autojump_clock: MockClock) -> None:
        async with mirrored() as (_, front):
            end = front.connect()
            await end.send_all(GET % b"falls_silent")
            answer = await rest(end)
            assert trio.current_time() == 60
        assert b"x" * 100 in answer
        assert not answer.endswith(b"0\r\n\r\n")

    async def test_an_answer_that_goes_on_is_not(self, autojump_clock: MockClock) -> None:
        async with mirrored(idle_timeout=11) as (_, front):
            assert len((await front.get("/stream")).body) == 1_000

    async def test_an_answer_that_breaks_off_breaks_off(self, autojump_clock: MockClock) -> None:
        async with mirrored() as (_, front):
            with pytest.raises(h11.RemoteProtocolError):
                await front.get("/crashes")


class TestClientsThatFail:
    async def test_one_that_goes_takes_its_request_with_it(self, autojump_clock: MockClock) -> None:
        async with mirrored() as (app, front):
            for how in ("reset", "close", "end"):
                end = front.connect()
                await end.send_all(GET % b"waits_for_the_end")
                await read(end, b"x\r\n")
                if how == "reset":
                    end.reset()
                elif how == "close":
                    await end.aclose()
                else:
                    await end.send_eof()
                await trio.sleep(1)
            assert app.left == 3

    async def test_one_that_asks_nothing_is_closed(self, autojump_clock: MockClock) -> None:
        async with mirrored() as (_, front):
            assert await front.connect().receive_some() == b""
            assert trio.current_time() == 60

    async def test_one_that_takes_nothing_is_closed(self, autojump_clock: MockClock) -> None:
        async with mirrored() as (_, front):
            end = front.connect()
            await end.send_all(GET % b"big")
            await trio.sleep(59)
            assert not end.connection.server.closed
            await trio.sleep(2)
            assert end.connection.server.closed

    async def test_one_that_is_slow_holds_its_server_up(self, autojump_clock: MockClock) -> None:
        async with serve(Mirror(), grace=5) as server, proxy(server) as front:
            end = front.connect()
            await end.send_all(GET % b"big")
            await wait_all_tasks_blocked()
            assert server.connections == 1
            assert len(end.connection.client.incoming) < 200_000


class TestBuffering:
    async def test_an_answer_is_passed_on_as_it_comes(self, autojump_clock: MockClock) -> None:
        async with mirrored() as (_, front):
            end = front.connect()
            await end.send_all(GET % b"stream")
            await read(end, b"x" * 100)
            assert trio.current_time() == 0

    async def test_or_is_kept_back_until_it_is_whole(self, autojump_clock: MockClock) -> None:
        async with mirrored(buffers=True) as (_, front):
            end = front.connect()
            await end.send_all(GET % b"stream")
            await end.receive_some()
            assert trio.current_time() == 100

    async def test_or_until_the_buffer_is_full(self, autojump_clock: MockClock) -> None:
        async with mirrored(buffers=True, buffer_bytes=500) as (_, front):
            end = front.connect()
            await end.send_all(GET % b"stream")
            assert len(await end.receive_some()) >= 500
            assert 10 < trio.current_time() < 50
            assert (await read(end, b"0\r\n\r\n")).count(b"x") > 300

    async def test_an_answer_may_forbid_it(self, autojump_clock: MockClock) -> None:
        async with mirrored(buffers=True) as (_, front):
            end = front.connect()
            await end.send_all(GET % b"accelerated")
            await end.receive_some()
            assert trio.current_time() == 0

    async def test_which_may_be_ignored(self, autojump_clock: MockClock) -> None:
        async with mirrored(buffers=True, ignores_accel=True) as (_, front):
            end = front.connect()
            await end.send_all(GET % b"accelerated")
            await end.receive_some()
            assert trio.current_time() == 50

    async def test_what_was_kept_back_of_a_broken_answer_still_comes(self, autojump_clock: MockClock) -> None:
        async with mirrored(buffers=True) as (_, front):
            end = front.connect()
            await end.send_all(GET % b"falls_silent")
            assert b"x" * 100 in await rest(end)


@asynccontextmanager
async def fronted(limits: Limits | None = None, **manner: Any) -> AsyncIterator[tuple[Triolet, MemoryServer, Proxy]]:
    app, live = make_shop(limits)
    async with serve(app, grace=5) as server, proxy(server, **manner) as front:
        yield live, server, front


class TestTriolet:
    @pytest.mark.parametrize("transport", ["websocket", "sse", "long poll", "short poll", "follow"])
    async def test_every_transport_gets_through(self, transport: str, autojump_clock: MockClock) -> None:
        async with fronted() as (live, _, front), front.client(transport, ORDERS) as client:
            await client.expect("live")
            await trio.sleep(100)
            for number in range(3):
                await live.publish(ORDER, number)
                await client.expect(data=number)

    async def test_what_an_eager_client_sends_with_its_upgrade_gets_through(self, autojump_clock: MockClock) -> None:
        async with fronted() as (_, _, front):
            end = front.connect()
            await end.send_all(UPGRADE.format(path="/raw").encode() + encode(TEXT, "one"))
            await wait_all_tasks_blocked()
            await end.send_all(encode(TEXT, "two"))
            assert (await read(end, b"two")).endswith(b"\x81\x03one\x81\x03two")

    async def test_an_upgrade_may_be_refused(self, autojump_clock: MockClock) -> None:
        async with fronted(blocks_upgrade=True) as (_, server, front):
            assert (await front.upgrade(ORDERS)).status == 400
            assert server.connections == 0
            async with front.sse(ORDERS) as client:
                await client.expect("live")

    async def test_or_stripped_so_that_it_is_a_poll(self, autojump_clock: MockClock) -> None:
        async with fronted(strips_upgrade=True) as (_, _, front):
            answer = await front.upgrade(ORDERS)
            assert answer.status == 200
            assert answer.json["events"] == []

    async def test_a_refused_upgrade_is_an_answer(self, autojump_clock: MockClock) -> None:
        async with fronted() as (_, _, front):
            assert (await front.upgrade("/nowhere")).status == 404

    async def test_beats_keep_a_tunnel_and_a_stream_open(self, autojump_clock: MockClock) -> None:
        async with fronted(idle_timeout=60) as (_, server, front), front.websocket(ORDERS), front.sse(ORDERS):
            await trio.sleep(600)
            assert server.connections == 2

    @pytest.mark.parametrize("transport", ["websocket", "sse"])
    async def test_a_proxy_less_patient_than_the_beats_cuts_off(
        self, transport: str, autojump_clock: MockClock
    ) -> None:
        async with fronted(idle_timeout=10) as (_, _, front), front.client(transport, ORDERS) as client:
            await client.expect("live")
            heard = trio.current_time()
            while await client.next() is not None:  # a first beat may come before
                heard = trio.current_time()
            assert trio.current_time() == heard + 10

    async def test_a_stalled_client_behind_it_is_found(self, autojump_clock: MockClock) -> None:
        async with fronted() as (live, server, front), front.sse(ORDERS) as client:
            await client.expect("live")
            with stalled(client):
                for _ in range(300):
                    await live.publish(ORDER, "x" * 3_000)
                await trio.sleep(61)
            assert server.followers == 0

    async def test_its_clients_may_be_far_from_it(self, autojump_clock: MockClock) -> None:
        network = Network(Line(latency=0.5))
        async with fronted(network=network) as (_, _, front):
            assert (await front.get(ORDERS)).status == 200
            assert trio.current_time() == pytest.approx(2)

    async def test_a_client_that_closes_is_answered_through_the_tunnel(self, autojump_clock: MockClock) -> None:
        async with fronted() as (_, server, front), front.websocket(ORDERS) as client:
            await client.close(4_321, "enough")
            assert (await client.ended())[0] == 4_321
            await trio.sleep(1)
            assert server.connections == 0


async def rough_weather() -> list[Any]:
    """Clients far away, behind a proxy, through one fault after another; what came when."""
    network = Network(Line(latency=0.2, bandwidth=20_000, client_bytes=2_000), current().random("weather"))
    heard: list[Any] = []
    async with fronted(network=network) as (live, _, front), trio.open_nursery() as nursery:

        async def follow(number: int) -> None:
            async with front.sse(ORDERS) as client:
                while (message := await client.next()) is not None:
                    heard.append((trio.current_time(), number, message["type"], message.get("data")))

        with reordered_accepts(network):
            for number in range(5):
                nursery.start_soon(follow, number)
            await trio.sleep(1)
        await trio.sleep(1)
        with stalled(network):
            await live.publish(ORDER, 1)
            await trio.sleep(3)
        with slow_reader(network, bytes_per_second=300):
            await live.publish(ORDER, "x" * 500)
            await trio.sleep(3)
        with half_open(network):
            await live.publish(ORDER, 3)
            await trio.sleep(3)
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    return heard


def test_a_seed_decides_all_of_it() -> None:
    first, second, other = play(1, rough_weather), play(1, rough_weather), play(2, rough_weather)
    assert (first.result, first.digest) == (second.result, second.digest)
    assert first.digest != other.digest
    assert len(first.result) > 20
