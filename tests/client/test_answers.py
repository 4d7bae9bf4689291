"""Whatever answers in place of a server: the client tries again or says why, and a library ends no program by it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from triolet.client import ClientError, Events, open_client

from .stage import BASE, WAYS, options_of


def http(status: str, body: bytes = b"", kind: str = "application/json", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"

PASSING = {
    "nothing": b"",
    "no HTTP": b"\x00\xff\xfe garbage\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-",
    "heads for ever": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000,
    "an upgrade to somebody else": UPGRADED + b"sec-websocket-accept: bm9ib2R5\r\n\r\n",
    "an upgrade without a proof": UPGRADED + b"\r\n",
    "null": http("200 OK", b"null"),
    "a list": http("200 OK", b"[]"),
    "half of JSON": http("200 OK", b'{"events":['),
    "no cursor": http("200 OK", b'{"channel":"c","events":[],"cursor":"?","gap":null,"live":true,"retry":2000}'),
    "a stream of no JSON": STREAM + b"event: triolet.open\ndata: {\n\n",
    "a stream of no text": STREAM + b"event: triolet.open\ndata: \xff\xff\n\n",
    "a stream that does not begin": STREAM + b"id: e.1\nevent: x\ndata: 1\n\n",
    "an error": http("500 Internal Server Error", b"x" * 100_000),
}

FINAL = {
    "a page": (http("200 OK", b"<p>", "text/html"), "login", 200),
    "a redirect": (http("302 Found", more="location: /login\r\n"), "login", 302),
    "a redirect to another server": (http("303 See Other", more="location: https://login.example/\r\n"), "login", 303),
    "a redirect to nowhere": (http("308 Permanent Redirect", more="location: http://[\r\n"), "login", 308),
    "no longer": (http("401 Unauthorized", b"{}"), "expired", 401),
    "no": (http("403 Forbidden", b"{}"), "refused", 403),
}


def answering(nursery: trio.Nursery, answer: bytes, dialled: list[float]) -> Any:
    """A network on which whoever is connected to answers so, and has done."""

    async def serve(stream: trio.abc.Stream) -> None:
        async with stream:
            try:
                asked = b""
                while b"\r\n\r\n" not in asked:
                    asked += await stream.receive_some(65_536) or b"\r\n\r\n"
                await stream.send_all(answer)
            except trio.BrokenResourceError:
                pass  # it has heard enough

    async def dial(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        dialled.append(trio.current_time())
        ours, theirs = memory_stream_pair()
        nursery.start_soon(serve, theirs)
        return ours

    return dial


@pytest.mark.parametrize("answer", PASSING)
@pytest.mark.parametrize("way", WAYS)
async def test_what_may_pass_is_tried_again(way: str, answer: str, autojump_clock: MockClock) -> None:
    dialled: list[float] = []
    async with trio.open_nursery() as nursery:
        dial = answering(nursery, PASSING[answer], dialled)
        async with (
            open_client(BASE, dial=dial, random=lambda: 0.5, **options_of(way)) as client,
            client.follow("/c") as events,
        ):
            await trio.sleep(60)
            assert (events.state, events.error is None) == ("connecting", False)
        nursery.cancel_scope.cancel()
    assert 2 <= len(dialled) <= 20, "it comes back, and ever less often"


@pytest.mark.parametrize("way", ["poll", "long-poll"])
@pytest.mark.parametrize("retry", ["", ',"retry":null', ',"retry":1000'])
async def test_who_does_not_say_when_to_poll_again_is_not_asked_without_a_pause(
    retry: str, way: str, autojump_clock: MockClock
) -> None:
    page = http("200 OK", f'{{"channel":"c","events":[],"cursor":"e.1","gap":null,"live":true{retry}}}'.encode())
    asked = 0

    async def serve(stream: trio.abc.Stream) -> None:
        nonlocal asked
        while await stream.receive_some(65_536):
            asked += 1
            assert asked < 100
            await stream.send_all(page)

    async with trio.open_nursery() as nursery:

        async def dial(host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            ours, theirs = memory_stream_pair()
            nursery.start_soon(serve, theirs)
            return ours

        async with open_client(BASE, dial=dial, transports=[way]) as client, client.follow("/c") as events:
            await trio.sleep(30.5)
            assert events.state == "live"
        nursery.cancel_scope.cancel()
    assert 30 <= asked <= 32


@pytest.mark.parametrize("answer", FINAL)
@pytest.mark.parametrize("way", [way for way in WAYS if not way.startswith("shared")])
async def test_what_is_final_is_said(way: str, answer: str, autojump_clock: MockClock) -> None:
    told, kind, status = FINAL[answer]
    async with trio.open_nursery() as nursery:
        dial = answering(nursery, told, [])
        async with open_client(BASE, dial=dial, **options_of(way)) as client, client.follow("/c") as events:
            with pytest.raises(ClientError) as caught:
                await next_of(events)
        nursery.cancel_scope.cancel()
    assert (caught.value.kind, caught.value.status) == (kind, status)


async def next_of(events: Events) -> None:
    with trio.fail_after(60):
        await anext(events)
