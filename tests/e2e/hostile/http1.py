"""Hostile requests of HTTP/1.1: request lines, headers, bodies, cursors, clients that dawdle or vanish."""

from __future__ import annotations

from urllib.parse import quote

from ..raw import http
from .probe import (
    Probe,
    again,
    answered,
    answered_with,
    drip,
    end_sending,
    ends,
    pause,
    reset,
    says,
    turned_away,
    unharmed,
    unread,
    until,
)

EVENTS = "/c/x/events"
FORM = "application/x-www-form-urlencoded"
SSE = "Accept: text/event-stream"
STREAM = http(EVENTS, SSE)


def _head(line: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([line, *headers, b"", b""])


def _get(*headers: bytes) -> bytes:
    return _head(b"GET / HTTP/1.1", b"Host: localhost", *headers)


def _post(*headers: bytes, body: bytes = b"") -> bytes:
    return _head(b"POST /body HTTP/1.1", b"Host: localhost", *headers) + body


CHUNKED = b"Transfer-Encoding: chunked"

REQUEST_LINES = [
    Probe("noise", [bytes(range(256)) * 8 + b"\r\n\r\n"], turned_away),
    Probe("noise without an end of line", [b"\xff\x00\x80" * 30_000], turned_away),
    Probe("method alone", [b"GET\r\n\r\n"], turned_away),
    Probe("no version", [b"GET /\r\n\r\n"], turned_away),
    Probe("lower-case version", [_head(b"GET / http/1.1", b"Host: a")], turned_away),
    Probe("version 9.9", [_head(b"GET / HTTP/9.9", b"Host: a")], turned_away),
    Probe("version 1.1 with a tail", [_head(b"GET / HTTP/1.1x", b"Host: a")], turned_away),
    Probe("spaces in the target", [_head(b"GET /a b c HTTP/1.1", b"Host: a")], turned_away),
    Probe("tab for a space", [_head(b"GET\t/\tHTTP/1.1", b"Host: a")], turned_away),
    Probe("bare LF", [b"GET / HTTP/1.1\nHost: localhost\n\n"], turned_away),
    Probe("bare LF after a header", [b"GET / HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n"], turned_away),
    Probe("bare CR", [b"GET / HTTP/1.1\rHost: localhost\r\r"], turned_away),
    Probe("NUL in the target", [_head(b"GET /\x00 HTTP/1.1", b"Host: a")], turned_away),
    Probe("bytes over 127 in the target", [_head(b"GET /\xc3\xa4\xff HTTP/1.1", b"Host: a")], turned_away),
    Probe("bytes over 127 in the method", [_head(b"G\xc3\x8bT / HTTP/1.1", b"Host: a")], turned_away),
    Probe("method of 5,000 letters", [_head(b"A" * 5_000 + b" / HTTP/1.1", b"Host: a")], unharmed),
    Probe("target of 64 KiB", [_head(b"GET /" + b"a" * 65_536 + b" HTTP/1.1", b"Host: a")], turned_away),
    Probe("query of 12 KiB", [_head(b"GET /?" + b"a=%ff&" * 2_000 + b" HTTP/1.1", b"Host: a")], unharmed),
    Probe("CONNECT", [_head(b"CONNECT localhost:443 HTTP/1.1", b"Host: localhost:443")], turned_away),
    Probe("CONNECT with a path", [_head(b"CONNECT / HTTP/1.1", b"Host: localhost")], turned_away),
    Probe("TRACE", [_head(b"TRACE / HTTP/1.1", b"Host: localhost")], answered_with(400, 405, 501)),
    Probe("OPTIONS *", [_head(b"OPTIONS * HTTP/1.1", b"Host: localhost")], unharmed),
    Probe("absolute target", [_head(b"GET http://evil.example/ HTTP/1.1", b"Host: localhost")], unharmed),
    Probe("target without a slash", [_head(b"GET c/x/events HTTP/1.1", b"Host: localhost")], unharmed),
    Probe("empty lines first", [b"\r\n" * 1_000 + _get()], unharmed),
    Probe("HTTP/1.0", [b"GET / HTTP/1.0\r\n\r\n"], answered(200)),
    Probe("PRI of HTTP/2 with a target", [_head(b"PRI / HTTP/2.0", b"Host: a")], turned_away),
    Probe("TLS to cleartext", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x11" * 506], turned_away),
    Probe("PROXY protocol", [b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + _get()], turned_away),
]

HEADERS = [
    Probe("no Host", [_head(b"GET / HTTP/1.1")], turned_away),
    Probe("two Hosts", [_get(b"Host: evil.example")], turned_away),
    Probe("Host of odd bytes", [_head(b"GET / HTTP/1.1", b"Host: \xff\xfe<script>")], unharmed),
    Probe("Host with a bad port", [_head(b"GET / HTTP/1.1", b"Host: localhost:99999999")], unharmed),
    Probe("Host with an empty label", [_head(b"GET / HTTP/1.1", b"Host: a..b")], unharmed),
    Probe("Host with a long label", [_head(b"GET / HTTP/1.1", b"Host: " + b"a" * 64)], unharmed),
    Probe("Host with an open bracket", [_head(b"GET / HTTP/1.1", b"Host: [::1")], unharmed),
    Probe("header without a colon", [_get(b"nonsense")], turned_away),
    Probe("header without a name", [_get(b": x")], turned_away),
    Probe("space in a name", [_get(b"Bad Name: x")], turned_away),
    Probe("space before the colon", [_get(b"X-A : x")], turned_away),
    Probe("NUL in a name", [_get(b"X-\x00: x")], turned_away),
    Probe("NUL in a value", [_get(b"X-A: a\x00b")], turned_away),
    Probe("CR in a value", [_get(b"X-A: a\rb")], turned_away),
    Probe("bytes over 127 in a name", [_get(b"X-\xff\xc3: x")], turned_away),
    Probe("bytes over 127 in a value", [_get(b"X-A: \xff\xc3\x28")], unharmed),
    Probe("folded header", [_get(b"X-A: a\r\n b")], unharmed),
    Probe("fold before any header", [_head(b"GET / HTTP/1.1", b" x", b"Host: a")], turned_away),
    Probe("header of 64 KiB", [_get(b"X-A: " + b"a" * 65_536)], turned_away),
    Probe("header name of 64 KiB", [_get(b"a" * 65_536 + b": x")], turned_away),
    Probe("10,000 headers", [_get(*[b"X-%d: y" % number for number in range(10_000)])], turned_away),
    Probe("headers without an end", [_get()[:-2], again(b"X-A: b\r\n", 500_000)], turned_away),
    Probe("cookies of odd bytes", [_get(b"Cookie: session=\xff\x01; ;;=;a=\xc3")], unharmed),
    Probe("session cookie made up", [_get(b"Cookie: session=eyJhIjoxfQ.ZZZZ.AAAA")], unharmed),
    Probe("Accept of 2,000 parts", [http(EVENTS, "Accept: " + "text/*;q=0.1," * 1_000)], answered(200)),
    Probe("Accept of odd bytes", [http(EVENTS, "Accept: ;;q=abc, /, \xff*/\x0c")], unharmed),
    Probe("Range", [http(EVENTS, "Range: bytes=0-18446744073709551615,-1,5-2")], unharmed),
    Probe("If-None-Match of odd bytes", [http(EVENTS, 'If-None-Match: W/"', "If-Match: \x0c,,")], unharmed),
    Probe("If-Modified-Since of no date", [http("/", "If-Modified-Since: yesterday-ish")], unharmed),
    Probe("Expect nonsense", [_get(b"Expect: the-unexpected")], unharmed),
    Probe("Expect and no body", [_post(b"Expect: 100-continue", b"Content-Length: 5"), reset], unharmed),
    Probe("Connection names Host", [_get(b"Connection: close, host, content-length")], unharmed),
    Probe("Upgrade to nonsense", [_get(b"Upgrade: teapot", b"Connection: Upgrade")], answered_with(200, 400)),
    Probe("forwarded headers made up", [_get(b"X-Forwarded-For: ::\xff, x", b"Forwarded: for=;")], unharmed),
]

BODIES = [
    Probe("length -1", [_post(b"Content-Length: -1", body=b"x")], turned_away),
    Probe("length +1", [_post(b"Content-Length: +1", body=b"x")], turned_away),
    Probe("length 0x1", [_post(b"Content-Length: 0x1", body=b"x")], turned_away),
    Probe("length 1_0", [_post(b"Content-Length: 1_0", body=b"x" * 10)], turned_away),
    Probe("length of other digits", [_post("Content-Length: ٣".encode(), body=b"xxx")], turned_away),
    Probe("empty length", [_post(b"Content-Length:", body=b"x")], turned_away),
    Probe("length of 5,000 digits", [_post(b"Content-Length: " + b"9" * 5_000)], turned_away),
    Probe("length of 10 GB", [_post(b"Content-Length: 10000000000", body=b"x" * 1_000)], unharmed),
    Probe("body over the limit", [_post(b"Content-Length: 3000000"), again(b"x" * 1_000, 3_000)], unharmed),
    Probe("chunks over the limit", [_post(CHUNKED), again(b"3e8\r\n" + b"x" * 1_000 + b"\r\n", 3_000)], unharmed),
    Probe("body cut by FIN", [_post(b"Content-Length: 10", body=b"abc"), end_sending], ends),
    Probe("body cut by RST", [_post(b"Content-Length: 10", body=b"abc"), reset], unharmed),
    Probe("chunk size zz", [_post(CHUNKED, body=b"zz\r\nabc\r\n0\r\n\r\n")], turned_away),
    Probe("chunk size -1", [_post(CHUNKED, body=b"-1\r\nabc\r\n0\r\n\r\n")], turned_away),
    Probe("chunk size of 17 digits", [_post(CHUNKED, body=b"1" + b"0" * 16 + b"\r\nabc")], unharmed),
    Probe("chunk size of 1,000 digits", [_post(CHUNKED, body=b"1" * 1_000 + b"\r\nabc")], turned_away),
    Probe("chunk without its end", [_post(CHUNKED, body=b"3\r\nabcdef\r\n0\r\n\r\n")], turned_away),
    Probe("chunk extension of 1 MB", [_post(CHUNKED, body=b"3;"), again(b"a" * 1_000, 1_000)], turned_away),
    Probe("trailers without an end", [_post(CHUNKED, body=b"0\r\n"), again(b"X-A: b\r\n", 200_000)], turned_away),
    Probe("chunks cut by FIN", [_post(CHUNKED, body=b"5\r\nab"), end_sending], ends),
    Probe("chunks cut by RST", [_post(CHUNKED, body=b"5\r\nab"), reset], unharmed),
    Probe("chunks of one byte", [_post(CHUNKED), again(b"1\r\na\r\n", 20_000), b"0\r\n\r\n"], answered(200)),
    Probe(
        "form of 50,000 fields",
        [
            http("/form", f"Content-Type: {FORM}", "Content-Length: 200000", method="POST"),
            again(b"a=b&", 50_000),
        ],
        unharmed,
    ),
    Probe(
        "multipart without a boundary",
        [http("/form", "Content-Type: multipart/form-data", "Content-Length: 4", method="POST", body=b"--x\r")],
        unharmed,
    ),
    Probe(
        "multipart without an end",
        [
            http("/form", "Content-Type: multipart/form-data; boundary=x", "Content-Length: 7", method="POST"),
            b"--x\r\nA:",
        ],
        unharmed,
    ),
    Probe("body that nobody asked for", [http("/", "Content-Length: 100000", body=b"x" * 100_000)], unharmed),
]

_CURSORS = {
    "of 5,000 digits": "9" * 5_000,
    "negative": "-0",
    "with an exponent": "1e5",
    "of other digits": "٣",
    "of two dots": "a.b.3",
    "without an epoch": ".5",
    "without an offset": "abc.",
    "of a long epoch": "e" * 33 + ".5",
    "of 19 digits": "9" * 19,
    "with a NUL": "1\x00",
    "with a line break": "1\r\nX: y",
    "with a space": "1 2",
    "of an emoji": "🎵",
    "of markup": "<script>",
    "with a quote": "1'; drop table events",
    "with a slash": "../1",
}

CURSORS = [
    *(
        Probe(f"{where} cursor {what}", [http(f"{EVENTS}?after={quote(text)}", *headers)], answered(400))
        for what, text in _CURSORS.items()
        for where, headers in (("poll", ()), ("SSE", (SSE,)))
    ),
    *(
        # A browser sends what another server has told it, and gives up for good at a 400: it is told a gap instead.
        Probe(f"Last-Event-ID {what}", [http(EVENTS, SSE, f"Last-Event-ID: {text}")], answered_with(200))
        for what, text in _CURSORS.items()
        if "\r" not in text and "\x00" not in text
    ),
    *(
        Probe(f"wait {text[:9]}", [http(f"{EVENTS}?after=0&wait={text}")], answered(400))
        for text in ("nan", "inf", "-1", "1e309", "abc", "9" * 5_000, "1,5", "%00", "0x10", "٣")
    ),
    Probe("cursor twice", [http(f"{EVENTS}?after=1&after=zz")], answered_with(200, 400)),
    Probe("empty cursor", [http(f"{EVENTS}?after=")], answered_with(200, 400)),
    Probe("future cursor", [http(f"{EVENTS}?after={10**17}")], says(b'"future"')),
    Probe("foreign epoch", [http(f"{EVENTS}?after=someoneelse.5")], says(b'"epoch"')),
    Probe("wait of a million", [http(f"{EVENTS}?wait=1000000")], answered(200)),
]

CHANNELS = [
    Probe(f"channel named {name[:12]}", [http(f"/c/{name}/events", *headers)], unharmed)
    for name in ("%00", "%0d%0aevent:x", "%ff%fe", "%e2%80%a8", "%ed%a0%80", "%", "%zz", "..", "a" * 3_000, "%2f%2f")
    for headers in ((), (SSE,))
] + [
    Probe("forbidden", [http("/c/forbidden/events")], answered(403)),
    Probe("absent", [http("/c/absent/events", SSE)], answered(404)),
    Probe("POST to a channel", [http(EVENTS, "Content-Length: 0", method="POST")], answered(405)),
    Probe("HEAD of a stream", [http(EVENTS, SSE, method="HEAD")], unharmed),
    Probe("file outside the folder", [http("/triolet/..%2f..%2f..%2fpyproject.toml")], answered_with(404, 400)),
    Probe("file with an absolute name", [http("/triolet//etc/passwd")], answered_with(404, 400, 308)),
]

DAWDLERS = [
    Probe("nothing, then FIN", [end_sending], ends),
    Probe("nothing, then RST", [reset], unharmed),
    Probe("nothing at all", [], ends),
    Probe("half a request", [b"GET / HT"], ends),
    Probe("half a request, then FIN", [b"GET / HT", end_sending], ends),
    Probe("half a request, then RST", [b"GET / HTTP/1.1\r\nHo", reset], unharmed),
    Probe("half the headers", [_get()[:-2]], ends),
    Probe("slow headers", [drip(b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 40, 0.006)], ends),
    Probe("byte by byte", [drip(_get())], answered(200)),
    Probe("half a second request", [_get(), until(b"a page"), b"GET / HT"], ends, seconds=12),
    Probe("100 requests at once", [_get() * 100], answered(*[200] * 100), seconds=15),
    Probe("2,000 requests at once, then RST", [again(_get(), 2_000), reset], unharmed),
    Probe("2,000 requests at once, then FIN", [again(_get(), 2_000), end_sending], unharmed),
    Probe("request, then FIN", [_get(), end_sending], unharmed),
    Probe("request, then RST", [_get(), reset], unharmed),
    Probe("stream, then RST", [STREAM, until(b"triolet.live"), reset], unharmed),
    Probe("stream, then FIN", [STREAM, until(b"triolet.live"), end_sending], ends),
    Probe("stream and a second request", [STREAM, until(b"triolet.live"), _get()], unharmed),
    Probe("stream and then noise", [STREAM, until(b"triolet.live"), again(b"\xff\x00", 500_000)], unharmed),
    Probe("stream over HTTP/1.0", [b"GET /c/x/events HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n"], unharmed),
    Probe("long poll, then RST", [http(f"{EVENTS}?wait=20"), pause(0.05), reset], unharmed),
    Probe("long poll, then FIN", [http(f"{EVENTS}?wait=20"), pause(0.05), end_sending], unharmed),
    Probe("long poll and a second request", [http(f"{EVENTS}?wait=1") + _get()], answered(200, 200)),
    Probe("endless answer, then RST", [http("/quart/stream"), until(b"xxxx"), reset], unharmed),
    Probe("endless answer, then FIN", [http("/quart/stream"), until(b"xxxx"), end_sending], unharmed),
    Probe("endless answer, unread", [http("/quart/stream"), unread], ends, seconds=15),
]

PROBES = [*REQUEST_LINES, *HEADERS, *BODIES, *CURSORS, *CHANNELS, *DAWDLERS]
"""What one connection of HTTP/1.1 can send."""
