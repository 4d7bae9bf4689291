"""The kit's clients are strict: what a standard, or the protocol, forbids is an error of whoever is sent it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock
from wsproto import ConnectionType, WSConnection
from wsproto import events as ws

from triolet.testing import MalformedError, Network
from triolet.testing.client_websocket import WebSocketClient
from triolet.testing.entrance import Entrance
from triolet.testing.network import MemoryLink
from triolet.testing.strict import BlockReader, Order, PlainReader, read_page

MESSAGE = b'{"type":"live","channel":"c","cursor":"a.1"}'


# --- event streams


def test_a_stream_byte_by_byte_with_a_mark_at_its_begin_and_all_line_ends() -> None:
    data = "\ufeffid: 1\ndata:a\rdata:  b\n\n: hello\n\nevent: é\ndata\n\n".encode()
    reader = BlockReader()
    found = [block for byte in data for block in reader.feed(bytes((byte,)))]
    assert found == [{"id": "1", "data": "a\n b"}, {"": "hello"}, {"event": "é", "data": ""}]
    reader.end()


@pytest.mark.parametrize(
    "data",
    [
        b"id: 1\nid: 2\n\n",
        b"what: 1\n\n",
        b"data: \xff\n\n",
        b"retry: soon\n\n",
        b"0\r\n\r\n",
        b"event: a\nevent: b\n\n",
    ],
)
def test_lines_that_are_never_written(data: bytes) -> None:
    with pytest.raises(MalformedError):
        list(BlockReader().feed(data))


@pytest.mark.parametrize("data", [b"id: 1", b"id: 1\n"])
def test_a_stream_that_ends_within_a_block(data: bytes) -> None:
    reader = BlockReader()
    assert list(reader.feed(data)) == []
    with pytest.raises(MalformedError):
        reader.end()


def test_a_plain_stream_byte_by_byte() -> None:
    words = (
        b": triolet.a 1\nretry: 1\n: triolet.b 2\n",
        b": triolet.c 3\nretry: 2\nretry: 3\n",
        b": triolet.d 4\nretry: 4\n",
    )
    data = words[0] + b"id: 1\ndata: x\n\n" + words[1] + b"data: [DONE]\n\n" + words[2]
    reader = PlainReader()
    found = [block for byte in data for block in reader.feed(bytes((byte,)))]
    a, b, c, d = ({"event": f"triolet.{name}", "data": text} for name, text in ("a1", "b2", "c3", "d4"))
    assert found == [a, b, {"retry": "1", "id": "1", "data": "x"}, c, {"retry": "3", "data": "[DONE]"}, d]
    reader.end()


@pytest.mark.parametrize(
    "data",
    [
        b"id: 1\n: triolet.a 1\ndata: x\n\n",
        b"data: x\n: triolet.a 1\n\n",
        b": triolet.a 1\n\n",
        b": a\n",
        b"event: triolet.a\ndata: 1\n\n",
        b"retry: 1\n\n",
        b"id: 1\n\n",
        b"event: x\n\n",
        b"id: 1\nretry: 1\nretry: 2\ndata: x\n\n",
        b"data: x\ntime: 1\n\n",
        b"\n",
    ],
)
def test_lines_that_are_never_written_in_a_plain_stream(data: bytes) -> None:
    with pytest.raises(MalformedError):
        list(PlainReader().feed(data))


def test_a_plain_stream_that_ends_within_a_block() -> None:
    reader = PlainReader()
    assert list(reader.feed(b"retry: 1\nid: 1\n")) == []
    with pytest.raises(MalformedError):
        reader.end()


# --- polls


def page(**changes: Any) -> bytes:
    right: dict[str, Any] = {"channel": "c", "cursor": "a.1", "events": [], "gap": None, "live": True, "retry": 0}
    return json.dumps({**right, **changes}).encode()


def test_a_page_that_is_right() -> None:
    assert read_page(page())["cursor"] == "a.1"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        page(cursor="first"),
        page(cursor=1),
        page(events={}),
        page(events=[1]),
        page(events=[{"type": "live"}]),
        page(gap=1),
        page(live=1),
        page(retry=None),
    ],
)
def test_a_page_that_is_none(body: bytes) -> None:
    with pytest.raises(MalformedError):
        read_page(body)


# --- the order of messages


def told(kind: str, cursor: str, channel: str | None = "c", **more: Any) -> dict[str, Any]:
    field = {"event": "id", "gap": "to"}.get(kind, "cursor")
    return {"type": kind, "channel": channel, field: cursor, **more}


def beat(cursor: str, channel: str = "c") -> dict[str, Any]:
    return {"type": "beat", "time": 1, "cursors": {channel: cursor}}


@pytest.mark.parametrize(
    "messages",
    [
        [told("event", "a.1")],
        [told("live", "a.1")],
        [told("open", "a.1"), told("event", "a.1")],
        [told("open", "a.1"), told("event", "a.2"), told("event", "a.2")],
        [told("open", "a.1"), told("event", "a.2"), told("live", "a.1")],
        [told("open", "a.1"), told("open", "a.9", "d"), told("event", "a.9", "d")],
        [told("open", "a.5"), told("gap", "a.9", reason="conflated"), told("event", "a.5")],
        [told("open", "a.1"), told("event", "a.3")],
        [told("open", "a.1"), told("live", "a.2")],
        [told("open", "a.1"), told("gap", "a.5", reason="conflated"), told("event", "a.4"), told("event", "a.6")],
        [told("open", "a.1", filtered=True), told("event", "a.4"), told("event", "a.4")],
        [told("open", "a.1", filtered=True), told("event", "a.4"), told("event", "a.3")],
        [told("open", "a.1", filtered=True), told("event", "a.4"), beat("a.3")],
        [told("open", "a.1", filtered=True), beat("a.9"), told("event", "a.9")],
        [told("open", "a.1", filtered=True), told("open", "a.1", "d"), told("event", "a.3", "d")],
        [told("open", "a.1", filtered=True), told("open", "a.1"), told("event", "a.3")],
    ],
)
def test_what_cannot_come_now(messages: list[dict[str, Any]]) -> None:
    order = Order()
    for message in messages[:-1]:
        order.take(message)
    with pytest.raises(MalformedError):
        order.take(messages[-1])


def test_what_can() -> None:
    order = Order()
    for message in (
        told("open", "a.1"),
        told("event", "a.2"),
        told("event", "a.3", None),
        told("gap", "a.9", reason="conflated"),
        told("event", "a.6"),
        told("live", "a.6"),
        told("gap", "a.2", reason="future"),
        told("event", "b.1"),
        {"type": "beat", "cursors": {}},
        {"type": "event", "id": 7},  # of the app's own
        told("open", "a.0"),
        told("event", "a.1"),
    ):
        order.take(message)


def test_what_can_where_the_client_may_not_see_every_event() -> None:
    order = Order()
    for message in (
        told("open", "a.1", filtered=True),
        told("event", "a.4"),
        told("live", "a.6"),
        beat("a.6"),
        beat("a.9", "another"),
        beat("a.9"),
        told("event", "a.12"),
        told("gap", "b.3", reason="epoch"),
        told("event", "b.7"),
    ):
        order.take(message)


def told_to(sub: str, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """What is for one name: behind a bracket, where its `open` names it."""
    named = [{**message, "sub": sub} if message["type"] == "open" else message for message in messages]
    return [{"type": "for", "subs": [sub], "next": len(messages)}, *named]


def places(**cursors: str) -> dict[str, Any]:
    return {"type": "beat", "time": 1, "cursors": {}, "places": cursors}


def test_a_beat_tells_the_place_of_a_name() -> None:
    order = Order()
    for message in (
        *told_to("a", told("open", "a.1", filtered=True)),
        *told_to("b", told("open", "a.1")),
        places(a="a.7", b="a.1", left="a.9"),
        *told_to("a", told("event", "a.9")),
        places(a="b.9", b="b.1"),  # another epoch, where nothing was lost with the former one
    ):
        order.take(message)
    for wrong in (places(a="b.8"), places(b="a.2"), places(b="no cursor")):
        with pytest.raises(MalformedError):
            order.take(wrong)
    bracket, event = told_to("a", told("event", "b.9"))
    order.take(bracket)
    with pytest.raises(MalformedError):
        order.take(event)


# --- WebSockets


def frame(payload: bytes = MESSAGE, first: int = 0x81) -> bytes:
    return bytes((first, len(payload))) + payload


class Says(Entrance):
    """A server that agrees to a WebSocket, sends what it is given, and ends."""

    def __init__(self, nursery: trio.Nursery, data: bytes) -> None:
        super().__init__(Network(), nursery)
        self._data = data

    def enter(self, link: MemoryLink, address: str) -> None:
        self.start_soon(self._answer, link)

    async def _answer(self, link: MemoryLink) -> None:
        wire = WSConnection(ConnectionType.SERVER)
        wire.receive_data(await link.receive_some(1 << 16))
        assert isinstance(next(wire.events()), ws.Request)
        link.send(wire.send(ws.AcceptConnection()) + self._data)
        link.send_eof()


async def heard(data: bytes) -> tuple[list[Any], str | None]:
    """What a client hears that is sent these bytes, and how that ends."""
    found: list[Any] = []
    failed: Exception | None = None
    async with trio.open_nursery() as nursery:
        client = WebSocketClient(Says(nursery, data), "/c")
        try:
            async with client:
                found += [message async for message in client]
        except MalformedError as error:
            failed = error  # to be raised as it is, not in a group
        nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed
    return found, client.closed


async def test_messages_in_pieces_with_a_ping_between_them(autojump_clock: MockClock) -> None:
    text = b'{"type":"open","channel":"c","cursor":"a.1"}'
    data = frame(text[:5], 0x01) + frame(b"x", 0x89) + frame(text[5:], 0x80) + frame() + frame(b"\x03\xf4bye", 0x88)
    found, closed = await heard(data)
    assert [message["type"] for message in found] == ["open", "live"]
    assert closed == "closed by the server: 1012 bye"


async def test_an_end_within_a_message(autojump_clock: MockClock) -> None:
    assert (await heard(frame(MESSAGE[:5], 0x01)))[1] == "the connection ended within a message"


@pytest.mark.parametrize(
    "data",
    [
        frame(first=0xC1),
        frame(first=0xA1),
        frame(first=0x83),
        frame(first=0x80),
        frame(first=0x01) + frame(),
        b"\x81\x9d\0\0\0\0" + MESSAGE,
        b"\x81\x7e\x00\x1d" + MESSAGE,
        b"\x81\x7f" + (200).to_bytes(8, "big") + b"x" * 200,
        frame(b"", 0x09),
        b"\x89\x7e\x00\x80" + b"x" * 128,
        frame(b"x", 0x88),
        frame(b"\xff\xff"),
        frame(),
    ],
)
async def test_frames_that_rfc_6455_or_the_protocol_forbids(data: bytes, autojump_clock: MockClock) -> None:
    with pytest.raises(MalformedError):
        await heard(data)
