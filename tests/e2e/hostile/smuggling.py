"""Requests that two servers in a row could cut at different places, so that one of them hides in a body.

Each hides ``GET /hit/TOKEN``: it must not arrive. Behind a proxy, which may have made an unambiguous request of it,
as many must be answered as arrived.
"""

from __future__ import annotations

from ..raw import upgrade
from .probe import Expectation, Probe, answered, turned_away, unharmed

HIDDEN = b"GET /hit/TOKEN HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"


def _post(headers: list[bytes], body: bytes, version: bytes = b"1.1") -> bytes:
    return b"\r\n".join([b"POST /body HTTP/" + version, b"Host: localhost", *headers, b"", body])


def _length(body: bytes | int) -> bytes:
    return b"Content-Length: %d" % (body if isinstance(body, int) else len(body))


def _behind_chunks(transfer_encoding: bytes) -> bytes:
    """Who counts chunks is done after the first five bytes; who counts bytes takes all for the body."""
    body = b"0\r\n\r\n" + HIDDEN
    return _post([_length(body), transfer_encoding], body)


def _behind_bytes(transfer_encoding: bytes) -> bytes:
    """Who counts bytes is done after the first line; who counts chunks takes all for the body."""
    line = b"%x\r\n" % len(HIDDEN)
    return _post([_length(line), transfer_encoding], line + HIDDEN + b"\r\n0\r\n\r\n")


ENCODINGS: dict[str, tuple[bytes, Expectation]] = {
    "plain": (CHUNKED, turned_away),
    "in capitals": (b"TRANSFER-ENCODING: CHUNKED", turned_away),
    "with spaces after": (b"Transfer-Encoding: chunked  ", turned_away),
    "with a tab": (b"Transfer-Encoding:\tchunked", turned_away),
    "with a space before the colon": (b"Transfer-Encoding : chunked", turned_away),
    "with a vertical tab": (b"Transfer-Encoding: \x0bchunked", turned_away),
    "unknown": (b"Transfer-Encoding: xchunked", turned_away),
    "identity": (b"Transfer-Encoding: identity", turned_away),
    "chunked, identity": (b"Transfer-Encoding: chunked, identity", turned_away),
    "gzip, chunked": (b"Transfer-Encoding: gzip, chunked", turned_away),
    "quoted": (b'Transfer-Encoding: "chunked"', turned_away),
    "twice": (CHUNKED + b"\r\n" + CHUNKED, turned_away),
    "twice, differing": (CHUNKED + b"\r\nTransfer-Encoding: identity", turned_away),
    "folded": (b"Transfer-Encoding:\r\n chunked", turned_away),
    "behind a bare LF": (b"X: y\nTransfer-Encoding: chunked", turned_away),
    "behind a bare CR": (b"X: y\rTransfer-Encoding: chunked", turned_away),
    "behind a NUL": (b"X: y\x00\r\nTransfer-Encoding: chunked", turned_away),
    "empty": (b"Transfer-Encoding:", turned_away),
}

_TWO = b"0\r\n\r\n" + HIDDEN

OTHERS = [
    Probe("lengths differ", [_post([_length(0), _length(HIDDEN)], HIDDEN)], turned_away),
    Probe("lengths differ in a list", [_post([b"Content-Length: 0, 41"], HIDDEN)], turned_away),
    Probe("length with a sign", [_post([b"Content-Length: +0"], HIDDEN)], turned_away),
    Probe("length folded", [_post([b"Content-Length:\r\n 0"], HIDDEN)], unharmed, hits=1),
    Probe("length behind a bare LF", [_post([b"X: y\nContent-Length: 0", _length(HIDDEN)], HIDDEN)], turned_away),
    Probe("chunks over HTTP/1.0", [_post([CHUNKED, b"Connection: keep-alive"], _TWO, b"1.0")], turned_away),
    Probe("chunk size with a space", [_post([CHUNKED], b"0 \r\n\r\n" + HIDDEN)], unharmed, hits=1),
    Probe("chunk size 0x0", [_post([CHUNKED], b"0x0\r\n\r\n" + HIDDEN)], turned_away),
    Probe("chunk size with a bare LF", [_post([CHUNKED], b"2\nab\r\n" + _TWO)], turned_away),
    Probe("chunk extension with a LF", [_post([CHUNKED], b"2;a\nb\r\nab\r\n" + _TWO)], turned_away),
    Probe("chunk ends with LF", [_post([CHUNKED], b"2\r\nab\n" + _TWO)], turned_away),
    Probe("two requests, two answers", [_post([_length(2)], b"ab" + HIDDEN)], answered(200, 200), hits=1),
    Probe("chunks, two answers", [_post([CHUNKED], b"2\r\nab\r\n" + _TWO)], answered(200, 200), hits=1),
    Probe("body of a GET", [b"GET / HTTP/1.1\r\nHost: a\r\n" + _length(HIDDEN) + b"\r\n\r\n" + HIDDEN], unharmed),
    Probe("behind a refused upgrade", [upgrade("/talk", version="777") + HIDDEN], unharmed, hits=1),
    Probe("behind an upgrade", [upgrade("/talk") + HIDDEN], unharmed),
    Probe("body of an upgrade", [upgrade("/talk", _length(HIDDEN).decode()) + HIDDEN], turned_away),
    Probe("chunks of an upgrade", [upgrade("/talk", CHUNKED.decode()) + _TWO], turned_away),
]

PROBES = [
    *(Probe(f"behind chunks, {what}", [_behind_chunks(line)], expect) for what, (line, expect) in ENCODINGS.items()),
    *(Probe(f"behind bytes, {what}", [_behind_bytes(line)], expect) for what, (line, expect) in ENCODINGS.items()),
    *OTHERS,
]
"""More than forty ways to hide a request."""
