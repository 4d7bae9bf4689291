"""One URL, four transports: what a request asks for, and from where."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import Limits
from triolet.testing.clients import POLLS, TRANSPORTS
from triolet.testing.http import RefusedError
from triolet.testing.server import Answer, MemoryServer, serve
from triolet.transports.negotiate import Ask, AskError, parse_ask


async def ask(server: MemoryServer, transport: str, query: str = "", **headers: str) -> Answer:
    """Ask for a transport, and return what is answered at once (101 and 200 are without their body)."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if transport == "websocket":
        return await server.upgrade(f"{ORDERS}?{query}", sent)
    if transport == "sse":
        async with server.events(f"{ORDERS}?{query}", headers=sent) as stream:
            if stream.status == 200:
                return Answer(200, stream.headers, b"")
        return await server.request("GET", f"{ORDERS}?{query}", {"accept": "text/event-stream", **sent})
    return await server.request("GET", f"{ORDERS}?{query}" + ("&wait=1" if transport == "long poll" else ""), sent)


@pytest.mark.parametrize(
    ("accept", "query", "status", "kind", "seconds"),
    [
        (None, "", 200, "application/json", 0),
        ("*/*", "", 200, "application/json", 0),
        ("application/json", "", 200, "application/json", 0),
        ("text/html, text/event-stream", "", 200, "text/event-stream", 0),
        ("text/html, text/event-streams", "", 200, "application/json", 0),
        ("text/event-stream;q=0", "", 200, "application/json", 0),
        ("application/json, text/event-stream ; Q=0.000", "", 200, "application/json", 0),
        ("text/event-stream;q=0.001", "", 200, "text/event-stream", 0),
        ("*/*, text/event-stream;charset=utf-8;q=1", "", 200, "text/event-stream", 0),
        ("text/event-stream", "", 200, "text/event-stream", 0),
        ("text/event-stream;q=0.5, application/json", "", 200, "application/json", 0),
        ("application/json;q=0.9, text/event-stream;q=0.1", "wait=3", 200, "application/json", 3),
        ("application/json, text/event-stream", "", 200, "text/event-stream", 0),
        ("text/event-stream;q=2, application/json;q=1", "", 200, "text/event-stream", 0),
        ("TEXT/Event-Stream;q=0.5, */*", "", 200, "text/event-stream", 0),
        ("text/event-stream", "wait=10", 200, "text/event-stream", 0),
        (None, "wait=3", 200, "application/json", 3),
        (None, "wait=0.5", 200, "application/json", 0.5),
        (None, "wait=0", 200, "application/json", 0),
        (None, "wait=", 200, "application/json", 25),
        (None, "wait=1000", 200, "application/json", 25),
        (None, "wait=3&wait=9", 200, "application/json", 3),
    ],
)
async def test_a_request_gets_the_transport_it_asks_for(
    accept: str | None, query: str, status: int, kind: str, seconds: float, autojump_clock: MockClock
) -> None:
    app, _ = make_shop(Limits(wait_seconds=25))
    async with serve(app) as server:
        headers = {} if accept is None else {"accept": accept}
        async with server.events(f"{ORDERS}?{query}", headers={"accept": "", **headers}) as stream:
            assert stream.status == status
            assert stream.headers["content-type"].split(";")[0] == kind
            assert trio.current_time() == pytest.approx(seconds)


async def test_an_upgrade_gets_a_websocket_whatever_else_it_asks(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        answer = await server.upgrade(f"{ORDERS}?wait=5", {"accept": "text/event-stream"})
        assert answer.status == 101
        assert "sec-websocket-extensions" not in answer.headers


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [("triolet.1", "triolet.1"), ("chat, triolet.1", "triolet.1"), ("chat", None), ("TRIOLET.1", None)],
)
async def test_a_websocket_speaks_the_subprotocol_or_none(
    offered: str, chosen: str | None, autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        answer = await server.upgrade(ORDERS, {"sec-websocket-protocol": offered})
        assert (answer.status, answer.headers.get("sec-websocket-protocol")) == (101, chosen)


async def test_a_sockets_url_speaks_websocket_only(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        for headers in ({}, {"accept": "text/event-stream"}):
            answer = await server.request("GET", "/warehouse", headers)
            assert (answer.status, answer.json["error"]) == (426, "upgrade")


async def test_a_channel_is_only_read(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        for method in ("POST", "PUT", "DELETE"):
            assert (await server.request(method, ORDERS)).status == 405


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("after", ["abc", "1.2.3", "-0", "9" * 5_000, "e.", "%0a1", "1%20", "é", "%ff", "1e9"])
async def test_what_is_no_cursor_is_a_bad_request_that_says_what_one_looks_like(
    transport: str, after: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        answer = await ask(server, transport, f"after={after.encode().decode('latin-1') if after != 'é' else '%C3%A9'}")
        assert answer.status == 400
        assert answer.headers["content-type"] == "application/json"
        assert answer.json["error"] == "cursor"
        assert "<epoch>.<offset>" in answer.json["message"]
        assert len(answer.body) < 400


@pytest.mark.parametrize("last", ["a b", "msg-17/3", "9" * 5_000, "0x1F", "a.b.c", "-1", "é"])
@pytest.mark.parametrize("transport", ["sse", "long poll", "short poll"])
async def test_a_last_event_id_of_another_server_is_answered_with_a_gap(
    transport: str, last: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        await live.publish(ORDER, "kept")
        async with server.client(transport, ORDERS, headers={"last-event-id": last}) as client:
            await client.expect("gap", reason="epoch", missed=None)
            await client.expect(data="kept")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_path_that_is_no_utf8_is_a_bad_request_and_no_channel(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        await live.publish("orders/\ufffd", "of the order that is called U+FFFD")
        for order in ("%ff", "%fe", "a%c3", "%ed%a0%80"):
            with pytest.raises(RefusedError) as refused:
                async with server.client(transport, f"/orders/{order}/events", after=0):
                    pass
            assert refused.value.status == 400
        async with server.client(transport, "/orders/%EF%BF%BD/events", after=0) as client:
            await client.expect(data="of the order that is called U+FFFD")


async def test_a_path_that_is_no_utf8_is_not_followed(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, server.websocket("/live") as socket:
        for order in ("%ff", "%fe"):
            with pytest.raises(RefusedError):
                await socket.follow(f"/orders/{order}/events")


@pytest.mark.parametrize("wait", ["x", "-1", "1e3", "nan", "inf", "1,5", "9" * 100, "1.2.3", ".", "٣"])
async def test_a_wait_that_is_no_number_of_seconds_is_a_bad_request(wait: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        answer = await server.get(f"{ORDERS}?wait={''.join(f'%{byte:02x}' for byte in wait.encode())}")
        assert (answer.status, answer.json["error"]) == (400, "wait")


@given(st.binary(max_size=200), st.binary(max_size=80), st.binary(max_size=40), st.booleans())
def test_whatever_is_asked_is_understood_or_refused(query: bytes, last: bytes, accept: bytes, upgrade: bool) -> None:
    headers = [(b"last-event-id", last), (b"accept", accept)]
    plain = (b"format=" + query, b"format=plain&done=" + query)
    for asked in (query, b"after=" + query, b"wait=" + query, b"after=1&wait=" + query, *plain):
        found: Ask | AskError
        try:
            found = parse_ask({"query_string": asked, "headers": headers}, Limits(), upgrade=upgrade)
        except AskError as error:
            found = error
        if isinstance(found, AskError):
            assert (found.status, found.error in ("cursor", "wait", "format", "done")) == (400, True)
            assert json.loads(found.answer.body)["message"]
        else:
            assert 0 <= found.wait <= Limits().wait_seconds
            assert found.after is None or len(str(found.after)) <= 64


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("header", "query", "first"), [(3, 1, 4), (3, None, 4), (None, 1, 2), (None, 0, 1), ("", 1, 2), (1, "junk", 2)]
)
async def test_the_last_event_id_wins_over_the_query(
    transport: str, header: Any, query: Any, first: int, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    headers = {} if header is None else {"last-event-id": str(header)}
    path = ORDERS + ("" if query is None else f"?after={query}")
    async with serve(app) as server:
        await live.publish_many(ORDER, [1, 2, 3, 4])
        if transport == "websocket":
            async with server.websocket(path, headers=headers) as client:
                found = (await client.event())["data"]
        elif transport == "sse":
            async with server.events(path, headers=headers) as stream:
                event = await stream.event()
                assert event is not None
                found = event["data"]
        else:
            wait = "" if transport == "short poll" else ("&wait=5" if "?" in path else "?wait=5")
            found = (await server.request("GET", path + wait, headers)).json["events"][0]["data"]
        assert found == first


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_without_a_cursor_one_hears_from_now(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        await live.publish_many(ORDER, [1, 2, 3])
        async with server.client(transport, ORDERS) as client:
            assert (await client.until("live"))["cursor"].endswith(".3")
            assert [message["type"] for message in client.heard] == ["open", "live"]
            await live.publish(ORDER, 4)
            await client.expect(data=4)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_after_zero_is_from_the_oldest_that_is_kept(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(keep_events=3, window_events=1))
    async with serve(app) as server:
        await live.publish_many(ORDER, [1, 2, 3, 4, 5])
        async with server.client(transport, ORDERS, after=0) as client:
            await client.until("live")
            assert [event["data"] for event in client.events] == [3, 4, 5]
            assert "gap" not in {message["type"] for message in client.heard}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("order", ["secret", "absent"])
async def test_forbidden_and_absent_are_whatever_the_view_answers(
    transport: str, order: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        path = f"/orders/{order}/events"
        if transport == "websocket":
            status = (await server.upgrade(path)).status
        else:
            headers = {"accept": "text/event-stream"} if transport == "sse" else {}
            query = "?wait=5" if transport == "long poll" else ""
            status = (await server.request("GET", path + query, headers)).status
        assert status == {"secret": 403, "absent": 404}[order]
        assert trio.current_time() == 0


@pytest.mark.parametrize("transport", ["sse", *POLLS])
async def test_head_answers_the_head_alone(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        await live.publish(ORDER, 1)
        headers = {"accept": "text/event-stream"} if transport == "sse" else {}
        path = f"{ORDERS}?after=0" + ("&wait=5" if transport == "long poll" else "")
        answer = await server.request("HEAD", path, headers)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-type"].startswith(
            "text/event-stream" if transport == "sse" else "application/json"
        )


async def test_many_requests_on_one_connection_change_transports(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        stream = server.connect()
        request = f"GET {ORDERS}?after=0 HTTP/1.1\r\nHost: test\r\n"
        await live.publish(ORDER, 1)
        for _ in range(3):
            await stream.send_all(f"{request}\r\n".encode())
            _, _, body = (await stream.receive_some()).partition(b"\r\n\r\n")
            assert json.loads(body or await stream.receive_some())["events"][0]["data"] == 1
        await stream.send_all(f"{request}Accept: text/event-stream\r\n\r\n".encode())
        found = b""
        while b"triolet.live" not in found:
            found += await stream.receive_some()
        assert b"transfer-encoding: chunked" in found.lower()
        assert found.count(b"event: message") == 1
