"""Hostile HTTP/2: over TLS where it was asked for, and on cleartext where it must not be spoken at all."""

from __future__ import annotations

import struct

from ..raw import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    H2_CONTINUATION,
    H2_PING,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    TEXT,
    WINDOW_UPDATE,
    Wire,
    frame,
    h2,
    h2_get,
    h2_headers,
    http,
    read_h2,
)
from .probe import (
    Expectation,
    Probe,
    Step,
    again,
    answered_with,
    end_sending,
    ends,
    h2_refused,
    pause,
    reset,
    turned_away,
    unharmed,
)

SETTINGS_FRAME = h2(SETTINGS)
START = PREFACE + SETTINGS_FRAME
CANCEL = struct.pack(">I", 8)
WEBSOCKET = (
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "https"),
    (":authority", "localhost"),
)
VERSION = ("sec-websocket-version", "13")
GET = ((":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "localhost"))
POST = ((":method", "POST"), (":scheme", "https"), (":path", "/body"), (":authority", "localhost"))
SSE = ("accept", "text/event-stream")


def _setting(number: int, value: int) -> bytes:
    return h2(SETTINGS, payload=struct.pack(">HI", number, value))


def _window(stream: int, by: int) -> bytes:
    return h2(WINDOW_UPDATE, stream=stream, payload=struct.pack(">I", by))


def _rapid_reset(streams: int) -> bytes:
    return b"".join(
        h2_get(stream) + h2(RST_STREAM, stream=stream, payload=CANCEL) for stream in range(1, 2 * streams, 2)
    )


def _open_streams(count: int, path: str, *headers: tuple[str, str]) -> bytes:
    return b"".join(h2_get(stream, path, *headers) for stream in range(1, 2 * count, 2))


def _indexed_bomb(streams: int) -> bytes:
    """One header of 4,000 bytes put into the table, and then named 3,000 times by one byte each."""
    put = b"\x40\x01a\x7f" + struct.pack("B", 4_000 - 127 & 0x7F | 0x80) + struct.pack("B", 4_000 - 127 >> 7)
    block = put + b"b" * 4_000 + b"\xbe" * 3_000
    return b"".join(h2(HEADERS, END_HEADERS | END_STREAM, stream, block) for stream in range(1, 2 * streams, 2))


def _websocket(path: str, *more: tuple[str | bytes, str | bytes], flags: int = END_HEADERS) -> bytes:
    return h2_headers(1, *WEBSOCKET, (":path", path), VERSION, *more, flags=flags)


def _carried(data: bytes) -> bytes:
    """Bytes of a WebSocket on stream 1."""
    return b"".join(h2(DATA, 0, 1, data[start : start + 16_384]) for start in range(0, len(data), 16_384))


def _answers(wire: Wire) -> str:
    return "" if any(kind == HEADERS for kind, *_ in read_h2(wire.received)) else "no answer"


SPOKEN: dict[str, tuple[list[Step], Expectation]] = {
    "an honest GET": ([h2_get(1)], _answers),
    "3,000 rapid resets": ([_rapid_reset(3_000)], unharmed),
    "200 streams": ([_open_streams(200, "/")], unharmed),
    "200 event streams, then RST": ([_open_streams(200, "/c/x/events", SSE), reset], unharmed),
    "CONTINUATION without an end": (
        [h2_headers(1, *GET, flags=0), again(h2(H2_CONTINUATION, 0, 1, b"\x00\x01a\x01b"), 20_000)],
        ends,
    ),
    "empty CONTINUATIONs": ([h2_headers(1, *GET, flags=0), again(h2(H2_CONTINUATION, 0, 1), 20_000)], ends),
    "1,000 PRIORITY frames": (
        [b"".join(h2(PRIORITY, 0, s, struct.pack(">IB", 0, 16)) for s in range(1, 2_001, 2)), h2_get(2_003)],
        unharmed,
    ),
    "PRIORITY on itself": ([h2(PRIORITY, 0, 1, struct.pack(">IB", 1, 16))], h2_refused),
    "20,000 SETTINGS": ([again(SETTINGS_FRAME, 20_000)], unharmed),
    "20,000 pings": ([again(h2(H2_PING, payload=b"12345678"), 20_000)], unharmed),
    "ping of 7 bytes": ([h2(H2_PING, payload=b"1234567")], h2_refused),
    "20,000 empty DATA": ([h2_headers(1, *POST), again(h2(DATA, 0, 1), 20_000)], unharmed),
    "DATA after the answer": ([h2_get(1, end=False), pause(0.2), again(h2(DATA, 0, 1, b"x" * 100), 50)], unharmed),
    "DATA after the end": ([h2_get(1), again(h2(DATA, 0, 1, b"x"), 10)], unharmed),
    "DATA on stream 0": ([h2(DATA, 0, 0, b"x")], h2_refused),
    "DATA on an idle stream": ([h2(DATA, 0, 7, b"x")], h2_refused),
    "DATA of too much padding": ([h2_headers(1, *POST), h2(DATA, 8, 1, b"\xff123")], h2_refused),
    "DATA over the window": ([h2_headers(1, *POST), again(h2(DATA, 0, 1, b"x" * 16_384), 20)], unharmed),
    "body shorter than it says": (
        [h2_headers(1, *POST, ("content-length", "10")), h2(DATA, END_STREAM, 1, b"abc")],
        h2_refused,
    ),
    "body longer than it says": (
        [h2_headers(1, *POST, ("content-length", "1")), h2(DATA, END_STREAM, 1, b"abc")],
        h2_refused,
    ),
    "window of 0": ([_window(1, 0)], h2_refused),
    "window of 0 on the connection": ([_window(0, 0)], h2_refused),
    "window overflows": ([_window(0, 0x7FFFFFFF)], h2_refused),
    "initial window overflows": ([_setting(4, 0x80000000)], h2_refused),
    "initial window of 0, stream": ([_setting(4, 0), h2_get(1, "/c/x/events", SSE), pause(0.2), reset], unharmed),
    "initial window of 0, endless": ([_setting(4, 0), h2_get(1, "/quart/stream"), pause(0.2), reset], unharmed),
    "initial window of 1, endless": (
        [_setting(4, 1), h2_get(1, "/quart/stream"), again(_window(1, 1), 2_000)],
        unharmed,
    ),
    "endless answer, then RST": ([h2_get(1, "/quart/stream"), pause(0.1), reset], unharmed),
    "endless answer, then RST_STREAM": (
        [h2_get(1, "/quart/stream"), pause(0.1), h2(RST_STREAM, stream=1, payload=CANCEL)],
        unharmed,
    ),
    "endless answer, then GOAWAY": ([h2_get(1, "/quart/stream"), h2(GOAWAY, payload=bytes(8))], unharmed),
    "frame size setting of 0": ([_setting(5, 0)], h2_refused),
    "frame size setting of 4 GiB": ([_setting(5, 0xFFFFFFFF)], h2_refused),
    "push setting of 7": ([_setting(2, 7)], h2_refused),
    "table size of 4 GiB": ([_setting(1, 0xFFFFFFFF), h2_get(1)], unharmed),
    "SETTINGS of 5 bytes": ([h2(SETTINGS, payload=b"12345")], h2_refused),
    "SETTINGS on a stream": ([h2(SETTINGS, stream=1)], h2_refused),
    "SETTINGS ack with a payload": ([h2(SETTINGS, ACK, 0, b"123456")], h2_refused),
    "2,000 settings": ([h2(SETTINGS, payload=b"".join(struct.pack(">HI", 99, n) for n in range(2_000)))], unharmed),
    "frame over the size": ([h2(DATA, 0, 1, length=0xFFFFFF) + b"x" * 1_000], h2_refused),
    "unknown frame": ([h2(0x77, 0xFF, 1, b"x" * 100), h2_get(1)], _answers),
    "push of a client": ([h2(PUSH_PROMISE, END_HEADERS, 1, b"\x00\x00\x00\x02")], h2_refused),
    "RST_STREAM of an idle stream": ([h2(RST_STREAM, stream=9, payload=CANCEL)], h2_refused),
    "RST_STREAM of stream 0": ([h2(RST_STREAM, payload=CANCEL)], h2_refused),
    "even stream": ([h2_get(2)], h2_refused),
    "stream 0": ([h2_get(0)], h2_refused),
    "streams going down": ([h2_get(5), h2_get(3)], h2_refused),
    "stream of the last number": ([h2_get(0x7FFFFFFF)], unharmed),
    "stream used twice": ([h2_get(1), h2_get(1)], h2_refused),
    "HEADERS in between": ([h2_headers(1, *GET, flags=END_STREAM), h2_get(3)], h2_refused),
    "ping in between": ([h2_headers(1, *GET, flags=END_STREAM), h2(H2_PING, payload=b"1" * 8)], h2_refused),
    "CONTINUATION of nothing": ([h2(H2_CONTINUATION, END_HEADERS, 1)], h2_refused),
    "HPACK of noise": ([h2(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff" * 100)], h2_refused),
    "HPACK index of nothing": ([h2(HEADERS, END_HEADERS | END_STREAM, 1, b"\xfe")], h2_refused),
    "HPACK integer without an end": ([h2(HEADERS, 5, 1, b"\x00\x7f" + b"\xff" * 10_000)], h2_refused),
    "HPACK bomb": ([_indexed_bomb(30)], unharmed),
    "HPACK table resize without an end": ([h2(HEADERS, 5, 1, b"\x3f\xe1\x1f" * 5_000)], h2_refused),
    "no pseudo-headers": ([h2_headers(1, ("a", "b"), flags=5)], h2_refused),
    "no path": ([h2_headers(1, *GET[:2], GET[3], flags=5)], h2_refused),
    "no method": ([h2_headers(1, *GET[1:], flags=5)], h2_refused),
    "empty path": ([h2_get(1, "")], h2_refused),
    "path twice": ([h2_get(1, "/", (":path", "/form"))], h2_refused),
    "pseudo-header last": ([h2_headers(1, *GET[:3], ("a", "b"), GET[3], flags=5)], h2_refused),
    "unknown pseudo-header": ([h2_headers(1, *GET, (":evil", "x"), flags=5)], h2_refused),
    "capitals in a name": ([h2_get(1, "/", ("X-Evil", "x"))], h2_refused),
    "line breaks in a value": ([h2_get(1, "/", ("x", "a\r\nhost: evil"))], unharmed),
    "NUL in a value": ([h2_get(1, "/", ("x", "a\x00b"))], unharmed),
    "line breaks in a name": ([h2_get(1, "/", ("x\r\ny", "a"))], unharmed),
    "connection header": ([h2_get(1, "/", ("connection", "upgrade"))], h2_refused),
    "transfer-encoding": ([h2_get(1, "/", ("transfer-encoding", "chunked"))], h2_refused),
    "te of nonsense": ([h2_get(1, "/", ("te", "gzip"))], h2_refused),
    "host that differs": ([h2_get(1, "/", ("host", "evil.example"))], unharmed),
    "header of 64 KiB": ([h2_get(1, "/", *((f"x{n}", "y" * 3_000) for n in range(5)))], unharmed),
    "path of odd bytes": ([h2_headers(1, *GET[:2], (":path", b"/\xff\xc3\xa4"), GET[3], flags=5)], unharmed),
    "method of odd bytes": ([h2_headers(1, (":method", b"G\xc3\x8bT"), *GET[1:], flags=5)], unharmed),
    "authority of odd bytes": ([h2_headers(1, *GET[:3], (":authority", b"\xff\xfe@:"), flags=5)], unharmed),
    "scheme of odd bytes": ([h2_headers(1, GET[0], (":scheme", b"\xff"), *GET[2:], flags=5)], unharmed),
    "path without a slash": ([h2_get(1, "c/x/events")], unharmed),
    "CONNECT without a path": ([h2_headers(1, (":method", "CONNECT"), (":authority", "a:1"), flags=4)], unharmed),
    "CONNECT with a path": ([h2_headers(1, (":method", "CONNECT"), *GET[1:], flags=4)], unharmed),
    "trailers with a path": ([h2_headers(1, *POST), h2_headers(1, (":path", "/"), flags=5)], h2_refused),
    "trailers without an end": ([h2_headers(1, *POST), h2_headers(1, ("a", "b"), flags=4)], h2_refused),
    "preface twice": ([PREFACE], h2_refused),
    "HTTP/1.1 after the preface": ([http("/")], h2_refused),
    "websocket and noise": (
        [_websocket("/talk"), pause(0.1), h2(DATA, 0, 1, b"\xff" * 500)],
        unharmed,
    ),
    "websocket of Quart's and noise": (
        [_websocket("/quart/echo"), pause(0.1), h2(DATA, 0, 1, b"\xff" * 500)],
        unharmed,
    ),
    "websocket, eager": (
        [_websocket("/talk"), h2(DATA, 0, 1, b"\x81\x05hello")],
        unharmed,
    ),
    "websocket ended at once": ([_websocket("/talk", flags=5)], unharmed),
    "websocket, then RST": ([_websocket("/talk"), pause(0.1), reset], unharmed),
    "websocket on a page": ([_websocket("/")], unharmed),
    "websocket without a version": ([h2_headers(1, *WEBSOCKET, (":path", "/talk"))], unharmed),
    "websocket of odd bytes": (
        [_websocket("/talk", ("sec-websocket-protocol", b"\xff\xfe"))],
        unharmed,
    ),
    "websocket without masks": ([_websocket("/talk"), pause(0.1), _carried(b"\x81\x05hello")], unharmed),
    "websocket of 5,000 fragments": (
        [_websocket("/talk"), pause(0.1), _carried(frame(TEXT, b"x", fin=False) * 5_000)],
        unharmed,
    ),
    "websocket that says 1 GiB": ([_websocket("/talk"), _carried(frame(TEXT, b"x", length=1 << 30))], unharmed),
    "websocket of 2,000 pings": ([_websocket("/talk"), _carried(frame(PING, b"x" * 20) * 2_000)], unharmed),
    "websocket, half a frame, then the end": (
        [_websocket("/talk"), pause(0.1), h2(DATA, END_STREAM, 1, frame(TEXT, b"hello")[:4])],
        unharmed,
    ),
    "websocket of a sender, unread, then RST": (
        [_setting(4, 0), _websocket("/sender"), pause(0.3), reset],
        unharmed,
    ),
    "websocket of Quart's sender, then RST": ([_websocket("/quart/sender"), pause(0.3), reset], unharmed),
    "websocket of Quart's sleeper, then RST_STREAM": (
        [_websocket("/quart/sleeper"), pause(0.1), h2(RST_STREAM, stream=1, payload=CANCEL)],
        unharmed,
    ),
    "protocol of nonsense": (
        [h2_headers(1, (":method", "CONNECT"), (":protocol", "teapot"), *GET[1:])],
        unharmed,
    ),
    "half a frame, then FIN": ([h2_get(1)[:-3], end_sending], ends),
    "half a frame, then RST": ([h2_get(1)[:-3], reset], unharmed),
}
"""After preface and settings, on a connection where HTTP/2 was agreed on."""

PROBES = [
    *(Probe(name, [START, *steps], expect) for name, (steps, expect) in SPOKEN.items()),
    Probe("preface without settings", [PREFACE, h2_get(1)], h2_refused),
    Probe("half the preface, then FIN", [PREFACE[:10], end_sending], ends),
    Probe("half the preface", [PREFACE[:10]], ends, seconds=12),
    Probe("no preface", [SETTINGS_FRAME, h2_get(1)], ends),
    Probe("wrong preface", [PREFACE.replace(b"SM", b"XX"), h2_get(1)], ends),
    Probe("noise", [bytes(range(256)) * 100], ends),
    Probe("nothing, then FIN", [end_sending], ends),
]
"""Over TLS, with ``h2`` agreed on."""


def no_http2(wire: Wire) -> str:
    """No frame of HTTP/2 comes, and the connection ends."""
    if any(kind == SETTINGS for kind, *_ in read_h2(wire.received)):
        return "HTTP/2 was spoken"
    return turned_away(wire)


def no_switch(wire: Wire) -> str:
    """The upgrade is refused or ignored."""
    if b" 101 " in wire.received:
        return "switched"
    return answered_with(200, 400, 403, 404, 426)(wire)


H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")

CLEARTEXT = [
    Probe("prior knowledge", [START + h2_get(1)], no_http2),
    Probe("prior knowledge, slowly", [PREFACE[:16], pause(0.1), PREFACE[16:] + SETTINGS_FRAME], no_http2),
    Probe("after a request", [http("/"), START + h2_get(1)], unharmed),
    Probe("upgrade to h2c", [http("/", *H2C)], no_switch, tunnelled=True),
    Probe("upgrade to h2c, eagerly", [http("/", *H2C) + START + h2_get(3)], unharmed),
    Probe(
        "upgrade to h2c with a body", [http("/body", *H2C, "Content-Length: 3", method="POST", body=b"abc")], no_switch
    ),
    Probe("upgrade to h2c without settings", [http("/", *H2C[:2])], no_switch, tunnelled=True),
    Probe("upgrade to h2c with bad settings", [http("/", *H2C[:2], "HTTP2-Settings: !!!")], no_switch, tunnelled=True),
    Probe("upgrade to h2c and a hidden request", [http("/", *H2C) + http("/hit/TOKEN")], unharmed, hits=1),
    Probe("upgrade to h2", [http("/", "Connection: Upgrade", "Upgrade: h2")], no_switch, tunnelled=True),
    Probe("upgrade of a channel to h2c", [http("/c/x/events", *H2C)], no_switch, tunnelled=True),
    Probe("upgrade to h2c over HTTP/1.0", [http("/", *H2C).replace(b"/1.1", b"/1.0", 1)], no_switch, tunnelled=True),
]
"""On cleartext: never spoken."""
