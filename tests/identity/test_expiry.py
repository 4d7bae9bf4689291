"""A connection ends when its client's identity does, and no byte of an event goes out at that moment or after it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.server.wire import Wire, get
from triolet import Limits
from triolet.closing import EXPIRED
from triolet.identity.deadlines import Deadlines
from triolet.testing.clients import Client
from triolet.testing.faults import slow_reader, stalled
from triolet.testing.http import RefusedError

from .shop import ORDER, ORDERS, OWN_PATHS, PATHS, STREAMS, Sent, bearer, deadlines, make_shop, sent, served

__all__ = ["sent"]  # a fixture

GOODBYE = 700
"""Bytes that a goodbye takes at most, with what carries it: TLS, HTTP/2."""


def told(client: Client) -> list[str]:
    """What it was told, without what only says how things stand."""
    return [message["type"] for message in client.heard if message["type"] not in ("open", "live", "beat")]


def let_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task that enforces deadlines gets to run much later."""
    run = Deadlines.run

    async def stands_still(self: Deadlines) -> None:
        await trio.sleep(60)
        await run(self)

    monkeypatch.setattr(Deadlines, "run", stands_still)


async def to_the_end(client: Client) -> None:
    while await client.next(within=1_000) is not None:
        pass


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("transport", STREAMS)
async def test_a_client_is_warned_once_and_ends_with_its_identity(
    transport: str, path: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with served(app, path) as server:
        client: Any
        async with server.client(transport, ORDERS, headers=bearer("ann", 100)) as client:
            began = trio.current_time()
            await client.until("live")
            warning = await client.until("expiring", within=1_000)
            assert trio.current_time() == pytest.approx(began + 70)
            assert warning["in"] == pytest.approx(30_000, abs=2)
            assert len(warning.get("key", "")) == (22 if transport == "sse" else 0)
            assert "refused" not in warning
            await trio.sleep(29.9)
            await live.publish(ORDER, 1)
            await to_the_end(client)
            assert trio.current_time() == pytest.approx(began + 100, abs=0.01)
            assert told(client) == ["expiring", "event", "bye"]
            bye = client.heard[-1]
            assert (bye["code"], bye["reason"], bye["retry"]) == EXPIRED
            if transport == "websocket":
                assert (client.code, client.reason) == (4401, "expired")
        assert live.statistics().counts.expired == 1
        assert live.statistics().counts.closed[("4401", "expired")] == 1


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("transport", STREAMS)
async def test_one_that_has_less_left_is_warned_at_once(transport: str, path: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with served(app, path) as server, server.client(transport, ORDERS, headers=bearer("ann", 7)) as client:
        await client.expect("expiring", in_=pytest.approx(7_000, abs=10), within=1)
        await to_the_end(client)
        assert told(client) == ["expiring", "bye"]


async def test_a_raw_socket_ends_and_is_told_nothing_in_between(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with served(app) as server, server.websocket("/raw", headers=bearer("ann", 40)) as client:
        await to_the_end(client)
        assert (client.heard, client.code) == ([], 4401)
        assert trio.current_time() == pytest.approx(40, abs=0.01)


async def test_a_client_that_does_not_expire_costs_nothing(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with served(app) as server, server.sse(ORDERS, headers=bearer("ann")) as one, server.sse(ORDERS) as other:
        await one.until("live")
        await other.until("live")
        assert deadlines(server) == 0
        await one.nothing_for(1_000)


@pytest.mark.parametrize("lags", [False, True])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("transport", STREAMS)
async def test_what_is_published_in_the_moment_of_the_end_is_not_sent(
    transport: str, path: str, lags: bool, sent: Sent, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, live = make_shop()
    if lags:
        let_lag(monkeypatch)
    async with served(app, path) as server:
        async with server.client(transport, ORDERS, headers=bearer("ann", 40)) as client:
            until = trio.current_time() + 40
            await client.until("live")
            if not lags:
                await client.until("expiring", within=1_000)
            await trio.sleep_until(until)
            await live.publish(ORDER, {"fill": "too late" * 1_000})
            await to_the_end(client)
            assert told(client)[-1] == "bye"
            assert "event" not in told(client)
        assert b"too late" not in sent.since(until)
        assert len(sent.since(until)) < GOODBYE


@pytest.mark.parametrize("lags", [False, True])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("transport", STREAMS)
async def test_a_channels_end_in_the_moment_of_the_identitys_is_told_to_who_comes_back(
    transport: str, path: str, lags: bool, sent: Sent, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, live = make_shop()
    if lags:
        let_lag(monkeypatch)
    async with served(app, path) as server:
        async with server.client(transport, ORDERS, headers=bearer("ann", 40)) as client:
            until = trio.current_time() + 40
            await client.until("live")
            if not lags:
                await client.until("expiring", within=1_000)
            await trio.sleep_until(until)
            end = await live.end(ORDER, {"outcome": "too late" * 1_000})
            await to_the_end(client)
            assert (told(client)[-1], client.heard[-1]["code"]) == ("bye", 4401), "nor is it said that all is over"
            assert "end" not in told(client)
            after = client.cursor
        assert b"too late" not in sent.since(until)
        async with server.client(transport, ORDERS, after=after, headers=bearer("ann", 40)) as client:
            assert (await client.until("end"))["cursor"] == str(end.cursor)
            await to_the_end(client)
            assert (client.heard[-1]["code"], client.heard[-1]["retry"]) == (1000, None)


@pytest.mark.parametrize("transport", STREAMS)
async def test_a_channels_end_right_before_the_identitys_is_the_last_that_is_told(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with served(app) as server, server.client(transport, ORDERS, headers=bearer("ann", 40)) as client:
        until = trio.current_time() + 40
        await client.until("live")
        await client.until("expiring", within=1_000)
        await trio.sleep_until(until - 0.01)
        await live.end(ORDER, None)
        await to_the_end(client)
        assert told(client)[-2:] == ["end", "bye"]
        assert client.heard[-1]["code"] == 1000


@pytest.mark.parametrize("path", OWN_PATHS)
@pytest.mark.parametrize("transport", STREAMS)
async def test_what_a_stalled_client_has_left_in_the_middle_is_never_sent(
    transport: str, path: str, sent: Sent, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(stall_seconds=1_000))
    async with served(app, path) as server:
        async with server.client(transport, ORDERS, headers=bearer("ann", 40), kernel_bytes=8 << 10) as client:
            until = trio.current_time() + 40
            await client.until("expiring", within=1_000)
            with stalled(client):
                await live.publish_many(ORDER, [{"fill": "left over" * 3_000}] * 4)
                await trio.sleep_until(until + 3)
            await to_the_end(client)
            assert "event" not in told(client)
        assert b"left over" not in sent.since(until)
        assert len(sent.since(until)) < GOODBYE


@pytest.mark.parametrize("path", OWN_PATHS)
@pytest.mark.parametrize("transport", STREAMS)
async def test_a_process_that_stood_still_sends_nothing_of_what_waits_for_a_client_that_reads_on(
    transport: str, path: str, sent: Sent, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(stall_seconds=1_000))
    async with served(app, path) as server:
        async with server.client(transport, ORDERS, headers=bearer("ann", 40), kernel_bytes=8 << 10) as client:
            until = trio.current_time() + 40
            await client.until("expiring", within=1_000)
            with stalled(client):
                await live.publish_many(ORDER, [{"fill": "left over" * 3_000}] * 4)
                await trio.sleep(3)
                autojump_clock.jump(60)  # between two steps, and past the end
            await to_the_end(client)
            assert "event" not in told(client)
        assert b"left over" not in sent.since(until)


@pytest.mark.parametrize("path", OWN_PATHS)
@pytest.mark.parametrize("transport", STREAMS)
async def test_a_client_that_is_catching_up_gets_no_further(
    transport: str, path: str, sent: Sent, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(page_events=2, window_events=4, stall_seconds=1_000))
    async with served(app, path) as server:
        await live.publish_many(ORDER, [{"n": n, "fill": "x" * 3_000} for n in range(60)])
        client = server.client(transport, ORDERS, headers=bearer("ann", 10), after=0, kernel_bytes=8 << 10)
        async with client:
            until = trio.current_time() + 10
            with slow_reader(client, bytes_per_second=5_000):
                await trio.sleep_until(until + 5)
            await to_the_end(client)
        assert 0 < len(client.events) < 40
        assert b"xxx" not in sent.since(until)


@pytest.mark.parametrize("path", PATHS)
async def test_a_process_that_stood_still_reads_no_page_for_a_client_whose_time_is_over(
    path: str, sent: Sent, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(page_events=2, window_events=4))
    async with served(app, path) as server:
        await live.publish_many(ORDER, [{"n": n, "fill": "x" * 300} for n in range(60)])
        read = live.log.read

        async def slowly(*args: Any, **options: Any) -> Any:
            page = await read(*args, **options)
            if args[1].offset >= 20:
                autojump_clock.jump(60)
            return page

        live.log.read = slowly  # type: ignore[method-assign]  # for this test
        async with server.websocket(ORDERS, headers=bearer("ann", 40), after=0) as client:
            until = trio.current_time() + 40
            await to_the_end(client)
        assert len(client.events) == 20
        assert b"xxx" not in sent.since(until)


@pytest.mark.parametrize("path", OWN_PATHS)
@pytest.mark.parametrize("transport", STREAMS)
async def test_a_server_that_drains_sends_nothing_of_what_waits_after_the_end(
    transport: str, path: str, sent: Sent, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(stall_seconds=1_000, goodbye_seconds=10))
    async with served(app, path) as server:
        async with server.client(transport, ORDERS, headers=bearer("ann", 40), kernel_bytes=8 << 10) as client:
            until = trio.current_time() + 40
            await client.until("expiring", within=1_000)
            with stalled(client):
                await live.publish_many(ORDER, [{"fill": "left over" * 3_000}] * 4)
                await trio.sleep_until(until - 1)
                app.extensions["triolet"].context.draining.set()
                await trio.sleep_until(until + 1)
            await to_the_end(client)
            assert "event" not in told(client)
        assert b"left over" not in sent.since(until)


@pytest.mark.parametrize("transport", STREAMS)
async def test_another_server_is_given_no_more_than_it_sends_already(
    transport: str, sent: Sent, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(stall_seconds=1_000))
    async with served(app, "hypercorn") as server:
        async with server.client(transport, ORDERS, headers=bearer("ann", 40), kernel_bytes=8 << 10) as client:
            until = trio.current_time() + 40
            await client.until("expiring")
            with stalled(client):
                await live.publish(ORDER, {"fill": "begun" * 10_000})
                await trio.sleep(1)
                await live.publish(ORDER, {"fill": "left over" * 3_000})
                await trio.sleep_until(until + 1)
            await to_the_end(client)
            assert told(client).count("event") <= 1
        assert b"left over" not in sent.since(0)


@pytest.mark.parametrize("path", ["http1", "middleware", "hypercorn"])
async def test_a_hundred_that_end_in_one_moment_end_then(path: str, sent: Sent, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with served(app, path) as server:
        clients = [server.client(STREAMS[n % 2], ORDERS, headers=bearer(f"ann {n}", 40)) for n in range(100)]
        until = trio.current_time() + 40
        for client in clients:
            await client.__aenter__()
        await trio.sleep_until(until - 1)
        await live.publish(ORDER, "in time")
        await trio.sleep_until(until)
        await live.publish(ORDER, "too late")
        for client in clients:
            await to_the_end(client)
            assert told(client) == ["expiring", "event", "bye"]
            await client.__aexit__(None, None, None)
        assert b"too late" not in sent.since(until)
        assert live.statistics().counts.expired == 100
        assert deadlines(server) == 0


@pytest.mark.parametrize("path", PATHS)
async def test_a_connection_that_ends_by_itself_is_forgotten(path: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with served(app, path) as server:
        for transport in STREAMS:
            async with server.client(transport, ORDERS, headers=bearer("ann", 40)) as client:
                await client.until("live")
                assert deadlines(server) == 1
        await trio.sleep(10)
        assert deadlines(server) == 0
        await trio.sleep(100)
        assert live.statistics().counts.expired == 0


@pytest.mark.parametrize("path", ["http1", "http2", "middleware", "hypercorn"])
async def test_a_poll_that_waits_ends_with_its_identity(path: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with served(app, path) as server:
        answer = await server.request("GET", f"{ORDERS}?wait=20", bearer("ann", 7))
        assert trio.current_time() == pytest.approx(7, abs=0.01)
        assert (answer.status, answer.json["error"]) == (401, "expired")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert (await server.request("GET", f"{ORDERS}?wait=5", bearer("ann", 7))).status == 200
        assert live.statistics().counts.expired == 1


@pytest.mark.parametrize("ends", [False, True])
async def test_a_poll_is_not_answered_with_what_came_in_the_moment_of_the_end(
    ends: bool, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with served(app) as server, trio.open_nursery() as nursery:

        async def ask() -> None:
            answer = await server.request("GET", f"{ORDERS}?wait=20&after=0", bearer("ann", 7))
            assert (answer.status, answer.json["error"]) == (401, "expired")

        nursery.start_soon(ask)
        await trio.sleep(7)
        await (live.end(ORDER, "too late") if ends else live.publish(ORDER, "too late"))


@pytest.mark.parametrize(("path", "events"), [("http1", 5), ("http1", 30), ("middleware", 30), ("behind a page", 30)])
@pytest.mark.parametrize("wait", ["", "&wait=20"])
async def test_nothing_of_a_polls_answer_that_is_read_slowly_goes_out_after_the_end(
    events: int, wait: str, path: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()

    @app.get("/page")
    async def page() -> str:
        return "a page"

    async with served(app, "http1" if path == "behind a page" else path) as server:
        await live.publish_many(ORDER, ["x" * 10_000] * events)
        wire = Wire(server.connect(kernel_bytes=4_000))
        if path == "behind a page":
            await wire.ask(get("/page"))
        headers = [f"{name}: {value}" for name, value in bearer("ann", 7).items()]
        await wire.end.send_all(get(f"{ORDERS}?after=0{wait}", *headers))
        read = 0
        with suppress(trio.BrokenResourceError):
            while trio.current_time() < 20:
                await trio.sleep(1)
                read += len(await wire.end.receive_some(4_000))
        assert trio.current_time() < 10, "it was reset"
        assert 20_000 < read < 9 * 4_000
        await wire.end.aclose()


@pytest.mark.parametrize("transport", [*STREAMS, "short poll"])
async def test_an_identity_that_has_expired_while_the_view_was_asked_is_not_let_in(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()

    @live.channel("/slow")
    async def slow() -> str:
        await trio.sleep(5)
        return ORDER

    async with served(app) as server:
        headers = {**bearer("ann", 4), **({"accept": "text/event-stream"} if transport == "sse" else {})}
        asked = server.upgrade("/slow", headers) if transport == "websocket" else server.get("/slow", **headers)
        answer = await asked
        assert (answer.status, answer.json["error"]) == (401, "expired")


async def test_an_operator_is_told_who_it_is_until_when_and_why_it_ended(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with (
        served(app) as server,
        server.websocket(ORDERS, headers=bearer("ann", 40)) as client,
        server.websocket(ORDERS) as nobody,
    ):
        await client.until("live")
        await nobody.until("live")
        one, other = live.connections()
        assert one.subject == "ann"
        assert one.expires_seconds == pytest.approx(40, abs=0.1)
        assert (other.subject, other.expires_seconds) == (None, None)
        assert "Its client is 'ann', for another 40.0 s." in live.explain(one.id).sentences
        assert "client is" not in str(live.explain(other.id))
        await to_the_end(client)
        told_then = live.explain(one.id).sentences
        assert "Its client was 'ann', until then." in told_then
        assert any("identity had expired, and was not renewed in time" in sentence for sentence in told_then)
        assert "packer" not in str(live.explain(one.id))  # a claim


@pytest.mark.parametrize("path", OWN_PATHS)
@pytest.mark.parametrize("transport", STREAMS)
async def test_one_whose_time_is_over_while_the_log_is_asked_is_not_let_in(
    transport: str, path: str, sent: Sent, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, live = make_shop()
    async with served(app, path) as server:
        await live.publish(ORDER, "too late")
        assert server.hub is not None
        follow = server.hub.follow

        async def slowly(*args: Any) -> Any:
            follower = await follow(*args)
            await trio.sleep(5)
            return follower

        monkeypatch.setattr(server.hub, "follow", slowly)
        client = server.client(transport, ORDERS, headers=bearer("ann", 4), after=0)
        with pytest.raises(RefusedError) as refused:
            await client.__aenter__()
        assert refused.value.status == 401
        assert b"too late" not in sent.since(0)
        await trio.sleep(10)
        assert server.followers == 0
