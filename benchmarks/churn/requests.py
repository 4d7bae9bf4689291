"""The bytes that clients send, and where in them they leave."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

import hpack
import msgspec

__all__ = ["FINS", "Visit", "http2_visits", "visits"]

FINS: Final = ("fin", "half", "reset")
"""How a client leaves: it closes; it says that it sends no more, reads to the end, and closes; it resets."""

MASK: Final = b"\x37\xfa\x21\x3d"
TEXT, CLOSE, PING = 1, 8, 9
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, WINDOW_UPDATE, GOAWAY = 0, 1, 4, 8, 7


class Visit(msgspec.Struct, frozen=True):
    """What one client does before it leaves: it sends, waits for a mark in what comes, and so on.

    Attributes:
        name: what it asks for, and where it leaves.
        steps: bytes to send, and behind each the mark to wait for; an empty one is not waited for.
        tls: ``""`` without TLS, ``"hello"`` for one that leaves within the handshake, else the protocol to agree on.
    """

    name: str
    steps: tuple[tuple[bytes, bytes], ...] = ()
    tls: str = ""


def visits(tls: str = "") -> Iterator[Visit]:
    """Every visit of HTTP/1.1, to everything there is, left at every stage."""
    yield Visit("nothing", (), tls)
    for name, head, ready in _REQUESTS:
        half = len(head) // 2
        yield Visit(f"{name}: in the head", ((head[:half], b""),), tls)
        yield Visit(f"{name}: before the last byte of the head", ((head[:-1], b""),), tls)
        yield Visit(f"{name}: behind the head", ((head, b""),), tls)
        yield Visit(f"{name}: in the answer", ((head, b"H"),), tls)
        yield Visit(f"{name}: ready", ((head, ready),), tls)
        yield Visit(f"{name}: in the next head", ((head, ready), (head[:half], b"")), tls)
    for name, last in _FRAMES.items():
        yield Visit(f"websocket: {name}", ((_upgrade("/socket"), b"101"), last), tls)
        yield Visit(f"websocket of a channel: {name}", ((_upgrade("/c/events"), b'"live"'), last), tls)
    post = _http("/body", "Content-Length: 1000", method="POST")
    chunked = _http("/body", "Transfer-Encoding: chunked", method="POST")
    for name, sent in {
        "before it": post,
        "in it": post + b"x" * 10,
        "before its last byte": post + b"x" * 999,
        "in a chunk's head": chunked + b"5",
        "in a chunk": chunked + b"5\r\nab",
        "before the last chunk": chunked + b"5\r\nabcde\r\n",
    }.items():
        yield Visit(f"body: {name}", ((sent, b""),), tls)
    yield Visit("body: answered", ((post + b"x" * 1000, b"1000}"),), tls)
    yield Visit("refused", ((b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),), tls)


def http2_visits() -> Iterator[Visit]:
    """Every visit of HTTP/2."""
    begin = PREFACE + _frame2(SETTINGS)
    yield Visit("h2: in the preface", ((PREFACE[:10], b""),), "h2")
    yield Visit("h2: settings", ((begin, b""),), "h2")
    for name, path, accept in (
        ("page", "/page", "*/*"),
        ("sse", "/c/events", "text/event-stream"),
        ("long poll", "/c/events?wait=20", "application/json"),
        ("short poll", "/c/events?after=0", "application/json"),
        ("members", "/c/members", "text/event-stream"),
    ):
        ask = _ask2(path, ("accept", accept))
        yield Visit(f"h2 {name}: in the head", ((begin + ask[:-5], b""),), "h2")
        yield Visit(f"h2 {name}: behind the head", ((begin + ask, b""),), "h2")
        if name != "long poll":
            yield Visit(f"h2 {name}: in the answer", ((begin + ask, b"\x00\x00\x01"),), "h2")
        stalled = begin + _frame2(SETTINGS, 0, 0, b"\x00\x04\x00\x00\x00\x00") + ask
        yield Visit(f"h2 {name}: with a closed window", ((stalled, b""),), "h2")
    post = _ask2("/body", method="POST", end=False)
    yield Visit("h2 body: before it", ((begin + post, b""),), "h2")
    yield Visit("h2 body: in it", ((begin + post + _frame2(DATA, 0, 1, b"x" * 100), b""),), "h2")
    yield Visit("h2 body: in a frame of it", ((begin + post + _frame2(DATA, 0, 1, b"x" * 100)[:40], b""),), "h2")
    socket = _connect2("/socket")
    yield Visit("h2 websocket: behind the head", ((begin + socket, b""),), "h2")
    for name, (sent, _) in _FRAMES.items():
        yield Visit(f"h2 websocket: {name}", ((begin + socket + _frame2(DATA, 0, 1, sent), b""),), "h2")
    yield Visit("h2: goodbye", ((begin + _frame2(GOAWAY, 0, 0, bytes(8)), b""),), "h2")


def _http(target: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def _upgrade(target: str) -> bytes:
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    return _http(target, "Upgrade: websocket", "Connection: Upgrade", key, "Sec-WebSocket-Version: 13")


def _frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    masked = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))
    return bytes([(0x80 if fin else 0) | opcode, 0x80 | len(payload)]) + MASK + masked


def _frame2(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _headers2(*headers: tuple[str, str], end: bool) -> bytes:
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return _frame2(HEADERS, 4 | end, 1, encoder.encode(list(headers), huffman=False))


def _ask2(path: str, *more: tuple[str, str], method: str = "GET", end: bool = True) -> bytes:
    plain = ((":method", method), (":scheme", "https"), (":path", path), (":authority", "localhost"))
    return _headers2(*plain, *more, end=end)


def _connect2(path: str) -> bytes:
    plain = ((":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", path))
    return _headers2(*plain, (":authority", "localhost"), ("sec-websocket-version", "13"), end=False)


_REQUESTS: Final = (
    ("page", _http("/page"), b"</p>"),
    ("failing page", _http("/fails"), b"500"),
    ("sse", _http("/c/events", "Accept: text/event-stream"), b"live"),
    ("members", _http(f"/c/members?name=m{os.getpid() % 7}", "Accept: text/event-stream"), b"live"),
    ("sse behind a page", _http("/page") + _http("/c/events", "Accept: text/event-stream"), b"live"),
    ("long poll", _http("/c/events?wait=20"), b"cursor"),
    ("short poll", _http("/c/events?after=0"), b"cursor"),
    ("websocket", _upgrade("/c/events"), b'"live"'),
    ("refused websocket", _upgrade("/c/none"), b"404"),
)

_HELLO: Final = b'{"type":"message","data":"hello"}'
_BYE: Final = b'{"type":"message","data":"bye"}'
_FRAMES: Final[dict[str, tuple[bytes, bytes]]] = {
    "in a frame's head": (_frame(TEXT, _HELLO)[:3], b""),
    "in a frame": (_frame(TEXT, _HELLO)[:12], b""),
    "in a message": (_frame(TEXT, _HELLO[:9], fin=False), b""),
    "behind a message": (_frame(TEXT, _HELLO), b""),
    "behind a ping": (_frame(PING, b"?"), b""),
    "in a goodbye of its own": (_frame(CLOSE, b"\x03\xe8"), b""),
    "in a goodbye of the handler's": (_frame(TEXT, _BYE), b""),
    "behind what is no message": (_frame(TEXT, b"{"), b""),
}
