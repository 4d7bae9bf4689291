"""The heads of HTTP/1.1 answers that are written straight to a stream: 101, an event stream's, polls', and refusals.

A name or value that would split a head (response splitting) is refused here. Where an app's answer comes in,
:func:`check_head` refuses it before anything of it is written or kept: over HTTP/2 one such header would end all
streams of its connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from ..errors import DataError
from .handshake import accept_token

__all__ = ["accept_response", "check_head", "date", "reason", "refusal", "response", "stream_response"]

_TOKEN: Final = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_SWITCHING: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n"
)
_FRAMING: Final = frozenset({b"connection", b"content-length", b"transfer-encoding", b"upgrade"})
"""Headers that only the server sets: an app's own would contradict how the answer is framed (RFC 9112 section 6)."""

_BODILESS: Final = frozenset({204, 304})
"""Statuses of answers without content, and without a word on its length (RFC 9110 section 8.6)."""

Headers = Iterable[tuple[bytes, bytes]]


def check_head(status: int, headers: Headers) -> None:
    """Refuse what no answer can begin with: a status that is no final one of three digits (RFC 9110 section 15), or a
    header that would split the head.

    Raises:
        DataError: the app's fault. A header's value is not quoted: it may be a session's cookie.
    """
    if not isinstance(status, int) or not 200 <= status <= 999:
        raise DataError(f"no answer has the status {status!r:.40}: it is a number of three digits, from 200 on")
    for name, value in headers:
        if not isinstance(name, bytes | bytearray) or not _TOKEN.fullmatch(name):
            raise DataError(f"no header of an answer is called {name!r:.80}: use letters, digits and hyphens")
        if not isinstance(value, bytes | bytearray) or _CONTROL.search(value):
            raise DataError(f"no header of an answer holds a control character, as {name!r:.80} does: leave it out")


def accept_response(key: bytes, subprotocol: str | None = None, extra_headers: Headers = ()) -> bytes:
    """Return the head that opens the WebSocket: 101 Switching Protocols (RFC 6455 section 4.2.2).

    Args:
        key: the client's ``Sec-WebSocket-Key``.
        subprotocol: the one that was chosen; None if none was.
        extra_headers: the app's own.

    Raises:
        DataError: the app's fault; a header's name or value cannot stand in a head.
    """
    headers = []
    if subprotocol is not None:
        headers.append((b"Sec-WebSocket-Protocol", subprotocol.encode("ascii")))
    headers += [header for header in extra_headers if header[0].lower() not in _FRAMING]
    return _SWITCHING % accept_token(key) + _fields(headers)


def stream_response(headers: Headers) -> bytes:
    """Return the head of a chunked answer (RFC 9112 section 7.1) that ends with its connection.

    Raises:
        DataError: the app's fault; a header's name or value cannot stand in a head.
    """
    kept = [header for header in headers if header[0].lower() not in _FRAMING]
    return _head(200, [*kept, (b"transfer-encoding", b"chunked"), (b"connection", b"close")])


def response(
    status: int, headers: Headers = (), body: bytes = b"", *, close: bool = False, head_only: bool = False
) -> bytes:
    """Return a whole response.

    Args:
        status: its status.
        headers: but for those that frame it.
        body: its body; of 204 and 304 there is none.
        close: whether it ends the connection.
        head_only: whether it answers a HEAD request: all is said as for a GET, and the body left out.

    Raises:
        DataError: the app's fault; a header's name or value cannot stand in a head.
    """
    kept = [header for header in headers if header[0].lower() not in _FRAMING]
    if status not in _BODILESS:
        kept.append((b"content-length", b"%d" % len(body)))
    if close:
        kept.append((b"connection", b"close"))
    head = _head(status, kept)
    return head if head_only or status in _BODILESS else head + body


def refusal(status: int, headers: Headers = (), body: bytes = b"") -> bytes:
    """Return a response that ends the connection. Raises DataError as :func:`response`."""
    return response(status, headers, body, close=True)


@lru_cache(maxsize=2)
def date(second: int) -> bytes:
    """Return a second since 1970 as the ``Date`` header has it (RFC 9110 section 5.6.7)."""
    return formatdate(second, usegmt=True).encode("ascii")


RENAMED: Final = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
"""Phrases of RFC 9110 section 15.5 for which Pythons before 3.13 have those of its forerunner."""


def reason(status: int) -> str:
    """Return the phrase behind a status; one that has no name has none. It may always be missing (RFC 9112 section 4),
    but some clients fail then."""
    if status in RENAMED:
        return RENAMED[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _head(status: int, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    return f"HTTP/1.1 {status} {reason(status)}\r\n".encode() + _fields(headers)


def _fields(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    check_head(200, headers)
    return b"".join(b"%b: %b\r\n" % header for header in headers) + b"\r\n"
