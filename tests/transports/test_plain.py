"""Plain event streams: only the app's events are events, for readers that take every ``data:`` for content."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import trio
from quart import request
from trio.testing import MockClock

from tests.paths.memory import served
from tests.paths.stock import serve_stock
from tests.shop import ORDER, ORDERS, make_shop
from triolet import ConfigError, Draft, Identity, Limits, Triolet, policies
from triolet.closing import CRASHED, NORMAL, REFUSED, Closing
from triolet.log import MemoryLog
from triolet.testing.clients import Client
from triolet.testing.faults import stalled
from triolet.testing.server import MemoryServer, serve

PLAIN = f"{ORDERS}?format=plain"
WAYS = ("http1", "tls", "http2", "middleware", "http2 middleware")


async def ask(server: MemoryServer, path: str, *headers: str) -> Any:
    """Ask for an event stream over HTTP/1.0, whose body is the stream as it is."""
    stream = server.connect()
    lines = (f"GET {path} HTTP/1.0", "Host: test", "Accept: text/event-stream", *headers, "", "")
    await stream.send_all("\r\n".join(lines).encode())
    return stream


async def body(stream: Any, until: bytes = b"\0") -> str:
    """What comes until there is that, or the stream ends, without the answer's head."""
    found = b""
    while until not in found and (data := await stream.receive_some()):
        found += data
    return found.partition(b"\r\n\r\n")[2].decode()


def end(live: Triolet, closing: Closing) -> None:
    """End all that is connected."""
    for conn in tuple(live.service.context.registry.open.values()):
        conn.end(closing)


def told(client: Client) -> list[str]:
    return [message["type"] for message in client.heard]


async def test_a_plain_stream_as_it_is_on_the_wire(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(beat_seconds=10), log=MemoryLog(epoch="e"))
    async with serve(app, grace=5) as server:
        stream = await ask(server, PLAIN)
        await trio.testing.wait_all_tasks_blocked()
        await live.publish(ORDER, {"a": "line\nbreak"})
        await live.publish(ORDER, 2, name="order-status")
        await trio.sleep(10)
        server.stop.set()
        said = await body(stream)
    beat, bye = re.findall(r": triolet\.(?:beat|bye) (.*)\n", said)
    assert said == (
        ': triolet.open {"type":"open","channel":"orders/A123","cursor":"e.0"}\n'
        "retry: 1000\n"
        ': triolet.live {"type":"live","channel":"orders/A123","cursor":"e.0"}\n'
        'id: e.1\ndata: {"a":"line\\nbreak"}\n\n'
        "id: e.2\nevent: order-status\ndata: 2\n\n"
        f": triolet.beat {beat}\n"
        f": triolet.bye {bye}\n"
        f"retry: {json.loads(bye)['retry']}\n"
    )


@pytest.mark.parametrize("way", WAYS)
async def test_one_that_comes_back_goes_on_behind_its_last_event(way: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with served(app, way) as server, server.client("plain sse", ORDERS) as client:
        await client.until("live")
        await live.publish_many(ORDER, [1, 2])
        await client.expect(data=1)
        await client.expect(data=2)
        client.cut()
        await live.publish_many(ORDER, [3, 4])
        await client.reconnect()
        await client.until("live")
        assert [event["data"] for event in client.events] == [1, 2, 3, 4]


async def test_one_that_has_seen_no_event_goes_on_from_where_its_url_says(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        event = await live.publish(ORDER, 0)
        async with server.client("plain sse", ORDERS, after=event.cursor) as client:
            await client.until("live")
            client.cut()
            await live.publish_many(ORDER, [1, 2])
            await client.reconnect()
            await client.until("live")
            assert [event["data"] for event in client.events] == [1, 2]


async def test_all_that_is_no_event_is_told_in_comments(autojump_clock: MockClock) -> None:
    limits = Limits(keep_events=3, window_events=1, expiry_warning_seconds=30)
    app, live = make_shop(limits, log=MemoryLog(limits, epoch="e"))

    @live.identify
    async def who(token: str | None) -> Identity:
        return Identity("ann", expires_at=live.service.context.now() + 100)

    @live.channel("/even", allow=lambda event, _: event.data % 2 == 0)
    async def even() -> str:
        return ORDER

    async with serve(app) as server:
        await live.publish_many(ORDER, [1, 2, 3, 4, 5, 6])
        async with server.client("plain sse", "/even", after="e.1") as client:
            assert (await client.next())["filtered"] is True  # type: ignore[index]  # it is no end
            await client.expect("gap", reason="expired", to="e.3", missed=2)
            await client.until("live")
            assert [event["data"] for event in client.events] == [4, 6]
            warning = await client.until("expiring", within=100)
            answer = await server.request("POST", "/triolet/renew", {"authorization": "Bearer x"}, json=warning)
            assert answer.status == 204
            await client.until("renewed", within=5)
            bye = await client.until("bye", within=1_000)
            assert (bye["code"], bye["retry"]) == (4401, None)
            assert "beat" in told(client)


async def test_newest_states_are_told_behind_a_comment(autojump_clock: MockClock) -> None:
    limits = Limits(window_events=2, page_events=50)
    app, live = make_shop(limits, policy=policies.latest(events=5), log=MemoryLog(limits, epoch="e"))
    async with serve(app) as server, server.client("plain sse", ORDERS, kernel_bytes=2_000) as client:
        await client.until("live")
        with stalled(client):
            for n in range(40):
                await live.publish(ORDER, [n, "x" * 500], key=str(n % 2))
        gap = await client.until("gap")
        assert gap["reason"] == "conflated"
        await client.until("live")
        assert [event["data"][0] for event in client.events][-2:] == [38, 39]


async def test_publishers_that_wait_are_told_of_in_a_comment(autojump_clock: MockClock) -> None:
    app, live = make_shop(policy=policies.block(events=2, seconds=1_000))
    async with serve(app) as server, server.client("plain sse", ORDERS, kernel_bytes=2_000) as client:
        await client.until("live")

        async def publish() -> None:
            for n in range(20):
                await live.publish(ORDER, [n, "x" * 600])
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            with stalled(client):
                nursery.start_soon(publish)
                await trio.sleep(5)
        assert (await client.until("lag"))["step"] == "block"


@pytest.mark.parametrize("way", WAYS)
async def test_a_stream_that_ends_for_good_ends_with_done_where_that_was_asked(
    way: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with (
        served(app, way) as server,
        server.client("plain sse", f"{ORDERS}?done=1") as asks,
        server.client("plain sse", ORDERS) as does_not,
    ):
        await asks.until("live")
        await does_not.until("live")
        await live.publish(ORDER, 1)
        await trio.testing.wait_all_tasks_blocked()
        end(live, NORMAL)
        for client in (asks, does_not):
            while await client.next(within=10) is not None:
                pass
        assert told(asks) == ["open", "live", "event", "bye", "done"]
        assert told(does_not) == ["open", "live", "event", "bye"]
        assert asks.closed == does_not.closed == "the stream ended"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("closing", [CRASHED, REFUSED, None])
async def test_one_that_ends_otherwise_does_not(closing: Closing | None, way: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with served(app, way) as server, server.client("plain sse", f"{ORDERS}?done=1") as client:
        await client.until("live")
        if closing is None:
            server.stop.set()
        else:
            end(live, closing)
        bye = await client.until("bye")
        assert (bye["code"], await client.next(within=10)) == (1012 if closing is None else closing.code, None)


async def test_done_stands_behind_the_goodbye(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        stream = await ask(server, f"{PLAIN}&done=1")
        await trio.testing.wait_all_tasks_blocked()
        end(live, NORMAL)
        assert (await body(stream)).endswith(
            '\n: triolet.bye {"type":"bye","code":1000,"reason":"done","retry":null}\ndata: [DONE]\n\n'
        )


@pytest.mark.parametrize("way", WAYS)
async def test_a_channel_that_ends_is_told_of_in_a_comment(way: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with served(app, way) as server:
        async with server.client("plain sse", f"{ORDERS}?done=1") as client:
            await client.until("live")
            await live.publish(ORDER, 1)
            await live.end(ORDER, "all of it")
            while await client.next(within=10) is not None:
                pass
            assert told(client) == ["open", "live", "event", "end", "bye", "done"]
        async with server.client("plain sse", f"{ORDERS}?done=1", after=0) as late:
            while await late.next(within=10) is not None:
                pass
            assert told(late) == ["open", "event", "end", "bye", "done"]


async def test_what_was_missed_comes_folded_and_only_as_data(autojump_clock: MockClock) -> None:
    app, live = make_shop(log=MemoryLog(epoch="e"))
    async with serve(app, grace=5) as server:
        await live.publish_many(ORDER, [Draft.of(text, key="text", fold="concat") for text in ("a", "b", "c")])
        stream = await ask(server, f"{PLAIN}&after=0&fold=1")
        await trio.testing.wait_all_tasks_blocked()
        await live.publish_many(ORDER, [Draft.of("d", key="text", fold="concat")])
        await trio.testing.wait_all_tasks_blocked()
        server.stop.set()
        lines = [line for line in (await body(stream)).split("\n") if not line.startswith((":", "retry: "))]
        assert lines == ["id: e.3", 'data: "abc"', "", "id: e.4", 'data: "d"', "", ""]


async def test_a_route_may_be_plain(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.channel("/answers", format="plain", done=True)
    async def answers() -> str:
        return ORDER

    @live.channel("/orders", done=True)
    async def orders() -> str:
        return ORDER

    async with serve(app) as server:
        for path, plain, done in (
            ("/answers", True, True),
            ("/answers?done=0", True, False),
            ("/answers?format=plain", True, True),
            ("/answers?format=triolet", False, False),
            ("/answers?format=triolet&done=1", False, False),
            ("/orders", False, False),
            ("/orders?format=plain", True, True),
            ("/orders?format=plain&done=0", True, False),
            ("/orders?done=1", False, False),
        ):
            stream = await ask(server, path)
            await trio.testing.wait_all_tasks_blocked()
            end(live, NORMAL)
            said = await body(stream)
            assert ("\n: triolet.bye" in said, "event: triolet.bye" in said, "[DONE]" in said) == (
                plain,
                not plain,
                done,
            )


@pytest.mark.parametrize("transport", ["websocket", "long poll", "short poll"])
async def test_only_event_streams_are_plain(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    seen = []

    @live.channel("/mine", format="plain", done=True)
    async def mine() -> str:
        seen.append(request.args["format"])
        return ORDER

    async with serve(app) as server:
        # What the app means by a name of its own is its affair, where there is no event stream.
        async with server.client(transport, "/mine?format=csv&done=maybe") as client:
            await client.until("live")
            await live.publish(ORDER, 1)
            await client.expect(data=1)
        assert set(seen) == {"csv"}


@pytest.mark.parametrize(
    ("query", "error", "said"),
    [
        ("format=csv", "format", "format is 'plain' or 'triolet', not 'csv'"),
        ("format=", "format", "format is 'plain' or 'triolet', not ''"),
        ("format=PLAIN", "format", "format is 'plain' or 'triolet', not 'PLAIN'"),
        ("format=plain&done=yes", "done", "done is 1 or 0, not 'yes'"),
        ("format=plain&done=", "done", "done is 1 or 0, not ''"),
    ],
)
@pytest.mark.parametrize("way", ["http1", "http2", "middleware"])
async def test_what_is_no_form_is_refused(
    way: str, query: str, error: str, said: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    async with served(app, way) as server:
        answer = await server.request("GET", f"{ORDERS}?{query}", {"accept": "text/event-stream"})
        assert (answer.status, answer.json) == (400, {"error": error, "message": said})
        assert server.followers == 0


def test_a_route_has_no_other_form() -> None:
    _, live = make_shop()
    with pytest.raises(ConfigError, match="format is 'plain' or 'triolet', not 'sse'"):
        live.channel("/x", format="sse")  # type: ignore[arg-type]  # that is what is tried


async def test_behind_hypercorn_a_plain_stream_is_the_same(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve_stock(app) as server, server.client("plain sse", f"{ORDERS}?done=1") as client:
        await client.until("live")
        await live.publish(ORDER, 1)
        await client.expect(data=1)
        await client.until("beat", within=60)
        end(live, NORMAL)
        await client.until("bye")
        assert (await client.next(), await client.next()) == ({"type": "done"}, None)


async def test_a_plain_stream_is_an_event_stream_to_operators(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.client("plain sse", ORDERS) as client:
        await client.until("live")
        (conn,) = live.connections()
        assert conn.transport == "sse"


async def test_plain_streams_are_encoded_together_and_apart_from_others(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with (
        serve(app) as server,
        server.client("plain sse", ORDERS) as one,
        server.client("plain sse", ORDERS) as other,
        server.client("sse", ORDERS) as full,
    ):
        for client in (one, other, full):
            await client.until("live")
        await live.publish_many(ORDER, list(range(5)))
        for client in (one, other, full):
            for n in range(5):
                await client.expect(data=n)
        audience = live.service.context.hub.windows.find(ORDER)
        assert audience is not None
        assert [len(group.followers) for group in audience.live.values()] == [2, 1]
