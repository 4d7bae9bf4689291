"""Hostile frames and messages on an open WebSocket of each kind."""

from __future__ import annotations

import json
import struct

from ..raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_frame, frame
from .probe import (
    Expectation,
    Probe,
    Step,
    again,
    closed,
    drip,
    end_sending,
    ends,
    reset,
    says,
    unharmed,
    unread,
    until,
    upgraded,
)

EVENTS = "/c/x/events"

PROTOCOL: dict[str, tuple[list[Step], Expectation]] = {
    "unmasked frame": ([frame(TEXT, b"hello", masked=False)], closed(1002)),
    "first reserved bit": ([frame(TEXT, b"hello", reserved=4)], closed(1002)),
    "second reserved bit": ([frame(TEXT, b"hello", reserved=2)], closed(1002)),
    "third reserved bit": ([frame(TEXT, b"hello", reserved=1)], closed(1002)),
    "reserved bit of a ping": ([frame(PING, b"hello", reserved=4)], closed(1002)),
    **{f"opcode {code}": ([frame(code, b"hello")], closed(1002)) for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "ping of 126 bytes": ([frame(PING, b"x" * 126)], closed(1002)),
    "ping of 64 KiB": ([frame(PING, b"x" * 65_536)], closed(1002)),
    "ping in fragments": ([frame(PING, b"x", fin=False)], closed(1002)),
    "close in fragments": ([frame(CLOSE, b"", fin=False)], closed(1002)),
    "close of one byte": ([frame(CLOSE, b"\x03")], closed(1002)),
    "close of 126 bytes": ([close_frame(1000, b"x" * 124)], closed(1002)),
    **{
        f"close code {code}": ([close_frame(code)], closed(1002))
        for code in (0, 999, 1004, 1005, 1006, 1015, 1100, 2000, 2999, 5000, 65_535)
    },
    "close reason not UTF-8": ([close_frame(1000, b"\xff\xfe")], closed(1002, 1007)),
    "close, then more": ([close_frame(1000) + frame(TEXT, b"x") * 100], ends),
    "close twice": ([close_frame(1000) * 2], ends),
    "close, then RST": ([close_frame(1001), reset], unharmed),
    "continuation of nothing": ([frame(CONTINUATION, b"x")], closed(1002)),
    "text inside a text": ([frame(TEXT, b"x", fin=False) + frame(TEXT, b"y")], closed(1002)),
    "text not UTF-8": ([frame(TEXT, b"\xff\xfe")], closed(1007)),
    "text with a surrogate": ([frame(TEXT, b"\xed\xa0\x80")], closed(1007)),
    "text of an overlong slash": ([frame(TEXT, b"\xc0\xaf")], closed(1007)),
    "text cut in a character": ([frame(TEXT, b"\xe2\x82")], closed(1007)),
    "fragments not UTF-8": ([frame(TEXT, b"\xe2\x82", fin=False) + frame(CONTINUATION, b"\x28")], closed(1007)),
    "length wider than needed": ([frame(TEXT, b"hello", width=16)], closed(1002)),
    "length much wider": ([frame(TEXT, b"hello", width=64)], closed(1002)),
    "length with its first bit": ([frame(TEXT, b"x", length=1 << 63, width=64)], closed(1002, 1009)),
    "length of 4 EiB": ([frame(TEXT, b"x", length=1 << 62, width=64)], closed(1009)),
    "length of 1 GiB": ([frame(TEXT, b"x", length=1 << 30)], closed(1009)),
    "binary of 1 GiB": ([frame(BINARY, b"x", length=1 << 30)], closed(1009, 1003)),
    "message over the limit": ([frame(TEXT, b'"' + b"x" * (1 << 20) + b'"')], closed(1009)),
    "fragments over the limit": (
        [frame(TEXT, b"x" * 600_000, fin=False) + frame(CONTINUATION, b"x" * 600_000)],
        closed(1009),
    ),
    "fragment that says 1 GiB": (
        [frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", length=1 << 30)],
        closed(1009),
    ),
    "10,000 fragments": ([frame(TEXT, b"x", fin=False), again(frame(CONTINUATION, b"x", fin=False), 10_000)], ends),
    "10,000 empty fragments": ([frame(TEXT, fin=False), again(frame(CONTINUATION, fin=False), 10_000)], ends),
    "half a head, then FIN": ([frame(TEXT, b"x" * 300)[:3], end_sending], ends),
    "half a frame, then FIN": ([frame(TEXT, b"hello")[:-2], end_sending], ends),
    "half a frame, then RST": ([frame(TEXT, b"hello")[:-2], reset], unharmed),
    "FIN without close": ([end_sending], ends),
    "RST without close": ([reset], unharmed),
    "noise": ([bytes(range(255, -1, -1)) * 64], ends),
    "HTTP in place of frames": ([b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20], ends),
    "5,000 empty pings": ([again(frame(PING), 5_000)], ends),
    "5,000 pongs": ([again(frame(PONG, b"unasked"), 5_000)], ends),
    "pings between fragments": (
        [frame(TEXT, b"x", fin=False), again(frame(PING, b"x" * 125), 2_000)],
        ends,
    ),
}
"""What RFC 6455 forbids, and what the limits forbid, on any route."""

UNFINISHED: dict[str, tuple[list[Step], Expectation]] = {
    "message without an end": ([frame(TEXT, b"x", fin=False)], closed(1002, 1008)),
    "frame without an end": ([frame(TEXT, b"x" * 1_000)[:500]], closed(1002, 1008)),
    "message too slow": ([drip(frame(TEXT, b"x" * 300), 0.02)], closed(1002, 1008)),
}
"""``limits.message_seconds``: from a message's first byte to its last, on routes of ours."""


def _text(value: object) -> bytes:
    return frame(TEXT, value if isinstance(value, bytes) else json.dumps(value).encode())


def _follow(url: object, **more: object) -> bytes:
    return _text({"type": "follow", "url": url, **more})


def _nested(depth: int) -> bytes:
    return b'{"type":"message","data":' + b"[" * depth + b"]" * depth + b"}"


BAD = closed(1008)
REFUSED = says(b'"refused"')


def refused_or_bad(wire: object) -> str:
    """Turned down in band, or closed as a bad message."""
    return REFUSED(wire) and BAD(wire)  # type: ignore[arg-type]  # a Wire, which this file does not import


MESSAGES: dict[str, tuple[list[Step], Expectation]] = {
    "binary": ([frame(BINARY, b"{}")], closed(1003)),
    "empty text": ([frame(TEXT)], BAD),
    "no JSON": ([_text(b"{")], BAD),
    "two values": ([_text(b"{}{}")], BAD),
    "a list": ([_text([])], BAD),
    "a word": ([_text("follow")], BAD),
    "null": ([_text(None)], BAD),
    "no type": ([_text({})], BAD),
    "unknown type": ([_text({"type": "launch"})], BAD),
    "type of a number": ([_text({"type": 7})], BAD),
    "type of a server's": ([_text({"type": "event", "channel": "c/x", "id": "1", "data": 1})], BAD),
    "NaN": ([_text(b'{"type":"message","data":NaN}')], BAD),
    "number of 5,000 digits": ([_text(b'{"type":"message","data":' + b"9" * 5_000 + b"}")], unharmed),
    "number without end": ([_text(b'{"type":"message","data":1e999999}')], unharmed),
    "lone surrogate": ([_text(b'{"type":"message","data":"\\ud800"}')], unharmed),
    "escaped NUL": ([_text({"type": "message", "data": "\x00"})], says(b"u0000")),
    "key twice": ([_text(b'{"type":"message","type":"follow","data":1}')], unharmed),
    "depth 33": ([_text(_nested(33))], BAD),
    "depth 1,000": ([_text(_nested(1_000))], BAD),
    "depth 400,000": ([_text(_nested(400_000))], BAD),
    "depth of brackets in text": ([_text({"type": "message", "data": "[" * 1_000})], says(b"[[[")),
    "depth without an end": ([_text(b'{"type":"message","data":' + b'[{"a":' * 100_000)], BAD),
    "30,000 keys": ([_text({"type": "message", "data": {str(n): n for n in range(30_000)}})], unharmed),
    "follow without url": ([_text({"type": "follow"})], BAD),
    "follow a number": ([_follow(7)], BAD),
    "follow null": ([_follow(None)], BAD),
    "follow nothing": ([_follow("")], refused_or_bad),
    "follow another host": ([_follow("http://evil.example/c/x/events")], refused_or_bad),
    "follow without a scheme": ([_follow("//evil.example/c/x/events")], refused_or_bad),
    "follow with line breaks": ([_follow("/c/x\r\nHost: evil/events")], refused_or_bad),
    "follow with a NUL": ([_follow("/c/x\x00/events")], refused_or_bad),
    "follow an escaped break": ([_follow("/c/%0d%0a/events")], refused_or_bad),
    "follow bad escapes": ([_follow("/c/%ff%zz/events")], unharmed),
    "follow a long url": ([_follow("/c/" + "x" * 100_000 + "/events")], refused_or_bad),
    "follow a page": ([_follow("/")], REFUSED),
    "follow a POST route": ([_follow("/form")], REFUSED),
    "follow nothing of ours": ([_follow("/nothing")], REFUSED),
    "follow a forbidden one": ([_follow("/c/forbidden/events")], REFUSED),
    "follow an absent one": ([_follow("/c/absent/events")], REFUSED),
    "follow a socket": ([_follow("/talk")], REFUSED),
    "follow a long poll": ([_follow(EVENTS + "?wait=20")], unharmed),
    "follow with a dotted path": ([_follow("/c/../c/x/events")], unharmed),
    "follow with a bad cursor": ([_follow(EVENTS, after="-0")], refused_or_bad),
    "follow with a long cursor": ([_follow(EVENTS, after="9" * 5_000)], refused_or_bad),
    "follow with a number for cursor": ([_follow(EVENTS, after=5)], unharmed),
    "follow with a bad cursor in the url": ([_follow(EVENTS + "?after=-1")], unharmed),
    "follow with a future cursor": ([_follow(EVENTS, after=str(10**17))], says(b'"future"')),
    "follow twice": ([_follow(EVENTS) * 2], unharmed),
    "unfollow nothing": ([_text({"type": "unfollow", "channel": "c/x"})], unharmed),
    "unfollow a number": ([_text({"type": "unfollow", "channel": 7})], BAD),
    "follow and unfollow 400 times": (
        [again(_follow(EVENTS) + _text({"type": "unfollow", "channel": "c/x"}), 400)],
        unharmed,
    ),
    "200 follows": ([b"".join(_follow(f"/c/x{n}/events") for n in range(200))], refused_or_bad),
    "200 follows, then RST": ([b"".join(_follow(f"/c/x{n}/events") for n in range(200)), reset], unharmed),
    "5,000 messages": ([again(_text({"type": "message", "data": 1}), 5_000)], unharmed),
    "5,000 messages, then RST": ([again(_text({"type": "message", "data": 1}), 5_000), reset], unharmed),
}
"""What is no message of ours, on a JSON socket."""

_VALID = frame(TEXT, b'{"type":"message","data":"abc"}')

VALID = [
    Probe("talk byte by byte", [upgraded("/talk"), drip(_VALID)], says(b'"abc"'), tunnelled=True),
    Probe(
        "talk in 20 fragments with pings",
        [
            upgraded("/talk"),
            frame(TEXT, b'{"type":"message","data":', fin=False),
            (frame(CONTINUATION, b" ", fin=False) + frame(PING, b"p")) * 20 + frame(CONTINUATION, b'"abc"}'),
        ],
        says(b'"abc"'),
        tunnelled=True,
    ),
    Probe("mask of zeros", [upgraded("/echo"), b"\x81\x83\x00\x00\x00\x00abc"], says(b"abc"), tunnelled=True),
    Probe("empty binary", [upgraded("/echo"), frame(BINARY)], says(struct.pack("BB", 0x82, 0)), tunnelled=True),
    Probe("empty binary to quart", [upgraded("/quart/echo"), frame(BINARY)], unharmed),
]

SENDERS = [
    Probe(f"{target} {how}", [upgraded(target), until(b"xxxx"), *steps], expect, seconds=15)
    for target in ("/sender", "/quart/sender")
    for how, steps, expect in (
        ("then RST", [reset], unharmed),
        ("then FIN", [end_sending], ends),
        ("then close", [close_frame(1000)], ends),
        ("unread", [unread], ends),
        ("pinged 3,000 times", [again(frame(PING, b"x" * 100), 3_000)], unharmed),
    )
]
"""A handler that only sends must not starve the loop when its client is gone."""

SLEEPERS = [
    Probe(f"{target} {how}", [upgraded(target), *steps], unharmed)
    for target in ("/sleeper", "/quart/sleeper")
    for how, steps in (
        ("then RST", [reset]),
        ("then FIN", [end_sending]),
        ("then close", [close_frame(1000)]),
        ("with 3,000 messages", [again(_VALID, 3_000)]),
        ("with 20 MB of messages", [again(frame(TEXT, b'{"type":"message","data":"%s"}' % (b"x" * 60_000)), 330)]),
    )
]
"""A handler that never receives must not keep a client, nor what it sent."""


def _on(route: str, target: str, table: dict[str, tuple[list[Step], Expectation]]) -> list[Probe]:
    return [
        Probe(f"{route}: {name}", [upgraded(target), *steps], expect, tunnelled=True)
        for name, (steps, expect) in table.items()
    ]


PROBES = [
    *_on("socket", "/talk", {**PROTOCOL, **UNFINISHED, **MESSAGES}),
    *_on("raw", "/echo", {**PROTOCOL, **UNFINISHED}),
    *_on("channel", EVENTS, {**PROTOCOL, **UNFINISHED}),
    *VALID,
    *SENDERS,
    *SLEEPERS,
]
"""Frames on routes of ours."""

QUART_PROBES = [
    Probe(one.name, one.steps, ends if one.expect is not unharmed else unharmed)
    for one in _on("quart", "/quart/echo", PROTOCOL)
    if not one.name.endswith(("pongs", "pings"))
]
"""The same on Quart's own: it must end, how it says so is Hypercorn's."""
