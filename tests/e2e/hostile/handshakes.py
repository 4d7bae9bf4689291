"""Hostile requests to open a WebSocket, to each kind of route: JSON, raw, a channel's, and Quart's own."""

from __future__ import annotations

from ..raw import KEY, TEXT, frame, http, upgrade
from .probe import (
    Expectation,
    Probe,
    again,
    answered_with,
    drip,
    end_sending,
    ends,
    reset,
    says,
    turned_away,
    unharmed,
    until,
)

HELLO = frame(TEXT, b"hello")


def _plain(target: str, *headers: str, method: str = "GET") -> bytes:
    return http(target, *headers, method=method)


def not_opened(*allowed: int) -> Expectation:
    """A refusal in place of 101."""
    return answered_with(*(allowed or (400, 403, 404, 405, 426, 501)))


def _everywhere(target: str) -> list[Probe]:
    """What is the same for any WebSocket route."""
    key, version = f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13"
    both = ("Upgrade: websocket", "Connection: Upgrade")
    longest = "Sec-WebSocket-Protocol: " + ", ".join(f"protocol-{number}" for number in range(500))
    return [
        Probe("no key", [_plain(target, *both, version)], not_opened()),
        Probe("empty key", [upgrade(target, key="")], not_opened()),
        Probe("short key", [upgrade(target, key="AAAA")], not_opened()),
        Probe("key that is no base64", [upgrade(target, key="!" * 24)], not_opened()),
        Probe("two keys", [upgrade(target, key)], not_opened()),
        Probe("no version", [_plain(target, *both, key)], not_opened()),
        Probe("version 12", [upgrade(target, version="12")], not_opened(400, 426)),
        Probe("version abc", [upgrade(target, version="abc")], not_opened(400, 426)),
        Probe("versions 13, 8", [upgrade(target, version="13, 8")], unharmed),
        Probe("upgrade by POST", [_plain(target, *both, key, version, method="POST")], not_opened()),
        Probe("upgrade over HTTP/1.0", [upgrade(target).replace(b"HTTP/1.1", b"HTTP/1.0")], not_opened()),
        Probe("upgrade without Connection", [_plain(target, both[0], key, version)], unharmed),
        Probe("Connection: keep-alive, Upgrade", [upgrade(target, "Connection: keep-alive, Upgrade")], unharmed),
        Probe("capitals", [upgrade(target).replace(b": websocket", b": WebSocket")], says(b"HTTP/1.1 101")),
        Probe("upgrade with a length", [upgrade(target, "Content-Length: 5") + b"hello"], turned_away),
        Probe("upgrade with chunks", [upgrade(target, "Transfer-Encoding: chunked") + b"0\r\n\r\n"], turned_away),
        Probe("protocol of odd bytes", [upgrade(target, "Sec-WebSocket-Protocol: \udcff\udc80é")], unharmed),
        Probe("extension of odd bytes", [upgrade(target, "Sec-WebSocket-Extensions: \udcff\udc80é")], unharmed),
        Probe("protocols of commas", [upgrade(target, "Sec-WebSocket-Protocol: ,,, ,,")], unharmed),
        Probe("500 protocols", [upgrade(target, longest)], unharmed),
        Probe("foreign protocol", [upgrade(target, "Sec-WebSocket-Protocol: mqtt")], unharmed),
        Probe(
            "window bits abc",
            [upgrade(target, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=abc")],
            unharmed,
        ),
        Probe(
            "window bits 99",
            [upgrade(target, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99")],
            unharmed,
        ),
        Probe("extensions of noise", [upgrade(target, 'Sec-WebSocket-Extensions: ;;=",permessage-deflate=')], unharmed),
        Probe("eager byte", [upgrade(target) + b"x"], unharmed),
        Probe("eager frame", [upgrade(target) + HELLO], unharmed),
        Probe("eager half frame, then RST", [upgrade(target) + HELLO[:3], reset], unharmed),
        Probe("eager megabyte", [upgrade(target) + b"\xff" * (1 << 20)], ends),
        Probe("upgrade, then FIN", [upgrade(target), end_sending], ends),
        Probe("upgrade, then RST", [upgrade(target), reset], unharmed),
        Probe("upgrade byte by byte", [drip(upgrade(target), 0.001)], says(b"HTTP/1.1 101")),
        Probe("half an upgrade", [upgrade(target)[:-4]], ends),
        Probe("upgrade twice", [upgrade(target), until(b"\r\n\r\n"), upgrade(target)], ends),
        Probe("upgrade and HTTP", [upgrade(target), until(b"\r\n\r\n"), again(_plain("/"), 500)], ends),
    ]


def _named(route: str, probes: list[Probe]) -> list[Probe]:
    return [Probe(f"{route} {one.name}", one.steps, one.expect, one.tunnelled, one.hits, one.seconds) for one in probes]


PROBES = [
    *_named("socket", _everywhere("/talk")),
    *_named("channel", _everywhere("/c/x/events")),
    *_named("quart", _everywhere("/quart/echo")),
    Probe("upgrade of a page", [upgrade("/")], not_opened(400, 403, 404, 405, 426, 200)),
    Probe("upgrade of nothing", [upgrade("/nothing")], not_opened(403, 404)),
    Probe("upgrade of a POST route", [upgrade("/form")], not_opened(400, 403, 404, 405, 426)),
    Probe("upgrade of a forbidden channel", [upgrade("/c/forbidden/events")], answered_with(403)),
    Probe("upgrade of an absent channel", [upgrade("/c/absent/events")], answered_with(404)),
    Probe("upgrade with a bad cursor", [upgrade("/c/x/events?after=-0")], answered_with(400)),
    Probe("upgrade with a long cursor", [upgrade("/c/x/events?after=" + "9" * 5_000)], answered_with(400)),
    Probe("upgrade of a file", [upgrade("/triolet/triolet.js")], not_opened(200, 400, 403, 404, 405, 426)),
    Probe("upgrade to h2c and websocket", [upgrade("/talk", "Upgrade: h2c", "HTTP2-Settings: AAAA")], unharmed),
]
"""Every way to knock wrongly."""
