"""Servers, and proxies before them, whose every answer brings nothing and asks for more: no client is made to spin."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from triolet.client import Unanswered, open_client

from .stage import BASE, options_of

MINUTE = 60
MOST = 130
"""What one may ask in a minute of a server that brings nothing: twice a second, and the first ones faster."""
ENOUGH = 1_000
"""So far a client that spins is let go on."""

OPEN = {"type": "open", "channel": "c", "cursor": "e.1"}
LIVE = {"type": "live", "channel": "c", "cursor": "e.1"}
PAGE: dict[str, Any] = {"channel": "c", "events": [], "cursor": "e.1", "gap": None, "live": True, "retry": 0, "time": 0}
EVENT = {"channel": "c", "id": "e.1", "event": "x", "data": 1, "time": 0}
MANY: dict[str, Any] = {"follows": [], "events": [], "gaps": [], "refused": [], "live": True, "retry": 0, "time": 0}

Answer = Callable[[int, bytes], bytes]
"""What somebody says to the request of a number, and then: closes the connection, or waits for the next."""


def http(body: bytes = b"", status: str = "200 OK", kind: str = "application/json", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body


def page(**more: Any) -> Answer:
    return lambda number, head: http(json.dumps({**PAGE, **more}).encode())


def alternating(number: int, head: bytes) -> bytes:
    return page(live=number % 2 == 0)(number, head)


def then(status: str, more: str = "") -> Answer:
    return lambda number, head: page()(1, head) if number == 1 else http(status=status, more=more)


def stream(*messages: dict[str, Any]) -> Answer:
    blocks = "".join(f"event: triolet.{one['type']}\ndata: {json.dumps(one)}\n\n" for one in messages)
    return lambda number, head: http(b"retry: 0\n\n" + blocks.encode(), kind="text/event-stream")


def socket(*messages: dict[str, Any]) -> Answer:
    """A WebSocket that is opened, says something and breaks."""

    def answer(number: int, head: bytes) -> bytes:
        found = re.search(rb"(?i)sec-websocket-key: (.*?)\r", head)
        assert found is not None
        accept = base64.b64encode(hashlib.sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
        said = f"HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {accept}\r\n"
        if b"triolet.1" in head:
            said += "sec-websocket-protocol: triolet.1\r\n"
        texts = [json.dumps(one).encode() for one in messages]
        return said.encode() + b"\r\n" + b"".join(bytes([0x81, len(text)]) + text for text in texts)

    return answer


def bye(retry: int) -> dict[str, Any]:
    return {"type": "bye", "code": 1012, "reason": "x", "retry": retry}


def refused(number: int, head: bytes) -> bytes:
    found = re.findall(rb"follow=([^& ]+)", head)
    said = [{"type": "refused", "url": url.decode().replace("%2F", "/"), "reason": "x", "retry": 0} for url in found]
    return http(json.dumps({**MANY, "refused": said}).encode())


LUMPS: list[dict[str, Any]] = [{"type": "beat", "time": time, "cursors": {}} for time in (0, 5_000, 10_000)]

WAYS: dict[str, tuple[str, Answer]] = {
    "polls that say 0": ("poll", page()),
    "polls that say less": ("poll", page(retry=-5)),
    "polls that say nothing, and that there is more": ("poll", page(live=False)),
    "polls that are answered alike, whatever was had": ("poll", page(events=[EVENT], live=False)),
    "polls that are answered 304": ("poll", then("304 Not Modified")),
    "long polls that are answered at once": ("long-poll", page()),
    "long polls that are answered 304 at once": ("long-poll", then("304 Not Modified")),
    "long polls that are up to date each other time": ("long-poll", alternating),
    "long polls of several that are refused": ("shared long-poll", refused),
    "streams that say goodbye, and 0": ("sse", stream(OPEN, LIVE, bye(0))),
    "streams that say goodbye, and less": ("sse", stream(OPEN, LIVE, bye(-1))),
    "streams that end": ("sse", stream()),
    "streams that are up to date, and end": ("sse", stream(OPEN, LIVE)),
    "WebSockets that break": ("websocket", socket()),
    "WebSockets that are up to date, and break": ("websocket", socket(OPEN, LIVE)),
    "WebSockets that say goodbye, and 0": ("websocket", socket(OPEN, LIVE, bye(0))),
    "WebSockets of another library that say goodbye, and 0": ("websockets", socket(OPEN, LIVE, bye(0))),
    "sockets that say goodbye, and 0": ("socket", socket(OPEN, LIVE, bye(0))),
    "WebSockets whose beats come all at once": ("websocket", socket(*LUMPS)),
}


class Server:
    """Answers each request so, and ends a WebSocket with it."""

    def __init__(self, nursery: trio.Nursery, answer: Answer) -> None:
        self.asked = 0
        self._nursery = nursery
        self._answer = answer

    async def dial(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(self._serve, theirs)
        return ours

    async def _serve(self, stream: trio.abc.Stream) -> None:
        async with stream:
            while head := await stream.receive_some(65_536):
                self.asked += 1
                if self.asked > ENOUGH:
                    await trio.sleep_forever()
                await stream.send_all(self._answer(self.asked, bytes(head)))
                if b"\r\nupgrade" in head.lower():
                    return


@pytest.mark.parametrize("drawn", [0.0, 0.99])
@pytest.mark.parametrize("what", WAYS)
async def test_a_server_that_brings_nothing_is_asked_with_pauses(
    what: str, drawn: float, autojump_clock: MockClock
) -> None:
    way, answer = WAYS[what]
    async with trio.open_nursery() as nursery:
        server = Server(nursery, answer)
        async with (
            open_client(BASE, dial=server.dial, random=lambda: drawn, **options_of(way)) as client,
            client.follow("/c", after="e.1"),
        ):
            await trio.sleep(MINUTE)
        nursery.cancel_scope.cancel()
    assert 4 <= server.asked <= MOST


async def test_a_command_that_is_to_be_asked_again_at_once_is_asked_with_pauses(autojump_clock: MockClock) -> None:
    hello = {"type": "open", "channel": None, "cursor": None}
    later = {"type": "reply", "id": "i", "status": 503, "retry": 0}
    asked = 0

    async def serve(stream: trio.abc.Stream) -> None:
        nonlocal asked
        head = bytes(await stream.receive_some(65_536))
        await stream.send_all(socket(hello)(1, head))
        while (await stream.receive_some(65_536)) and asked < ENOUGH:
            asked += 1
            text = json.dumps(later).encode()
            await stream.send_all(bytes([0x81, len(text)]) + text)

    async with trio.open_nursery() as nursery:

        async def dial(host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            ours, theirs = memory_stream_pair()
            nursery.start_soon(serve, theirs)
            return ours

        options = options_of("socket")
        async with open_client(BASE, dial=dial, random=lambda: 0.0, **options) as client, client.messages() as messages:
            await messages.ready()
            with pytest.raises(Unanswered):
                await client.send("/pick", 1, id="i", timeout=MINUTE)
        nursery.cancel_scope.cancel()
    assert 4 <= asked <= MOST


async def test_a_poll_that_brings_something_is_asked_again_at_once(autojump_clock: MockClock) -> None:
    def answer(number: int, head: bytes) -> bytes:
        event = {**EVENT, "id": f"e.{number + 1}"}
        return page(events=[event], cursor=event["id"], live=False)(number, head)

    async with trio.open_nursery() as nursery:
        server = Server(nursery, answer)
        async with (
            open_client(BASE, dial=server.dial, transports=["poll"]) as client,
            client.follow("/c", after="e.1") as events,
        ):
            begun = trio.current_time()
            for _ in range(100):
                await anext(events)
            assert trio.current_time() == begun
        nursery.cancel_scope.cancel()
