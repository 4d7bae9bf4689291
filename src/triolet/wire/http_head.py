"""Framing of HTTP/1.1 requests, strictly (RFC 9112): the raw bytes are looked at before h11 reads them.

h11 forgives what a proxy in front may read differently: bare LF, folded lines, a Transfer-Encoding beside a
Content-Length, trailers. Two readers that disagree about where a request ends are how requests are smuggled. So
whatever could be read in two ways is refused here, and h11 only ever sees what is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ..bounds import CHUNK_LINE_BYTES, CHUNKS_IN_A_ROW
from ..closing import PROTOCOL_ERROR
from ..errors import RemoteError

__all__ = [
    "BadRequest",
    "Body",
    "Framing",
    "Head",
    "accepts",
    "check_head",
    "is_host",
    "read_head",
    "split_head",
    "weight",
]

_TOKEN: Final = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
_REQUEST_LINE: Final = re.compile(rb"(%s) ([!-~]+) HTTP/(1\.[01])" % _TOKEN)
_HEADERS: Final = re.compile(rb"(?:%s:[\t\x20-\x7e\x80-\xff]*\r\n)*" % _TOKEN)
# The forms of RFC 9112 section 3.2: origin, asterisk, and absolute with its host. The authority form is CONNECT's.
_TARGET: Final = re.compile(rb"/[^#]*|\*|https?://([^/?#@]+)(?:[/?][^#]*)?", re.IGNORECASE)
_NO_TEXT: Final = re.compile(rb"[^\t\r\n -~\x80-\xff]|^[^\r]*[\x80-\xff]")
_HOST: Final = re.compile(rb"(?:([-A-Za-z0-9._~!$&'()*+,;=%]*)|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
# As many digits as fit in 64 bits, and nothing else: `int` would also take a sign, underscores and other scripts.
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_WEIGHT: Final = re.compile(rb"(?:^|;)q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)(?:;|$)")


class BadRequest(RemoteError):
    """The client's fault: its request cannot be served. The connection ends with the answer.

    Attributes:
        status: the HTTP status to answer with.
        headers: headers that the answer has to carry beside the usual ones.
    """

    def __init__(self, status: int, message: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(PROTOCOL_ERROR, message)
        self.status = status
        self.headers = headers


class Framing(NamedTuple):
    """How the end of a request's body is found: after ``content_length`` bytes, or after the last chunk."""

    content_length: int
    chunked: bool


class Head(NamedTuple):
    """The head of a request, checked."""

    method: bytes
    target: bytes
    http_version: bytes
    headers: list[tuple[bytes, bytes]]
    """Names in lower case, values without the white space around them."""
    framing: Framing


def split_head(data: bytes | bytearray, max_bytes: int) -> int | None:
    """Find the end of the request head that ``data`` begins with.

    Args:
        data: everything since the head's first byte, each time.
        max_bytes: the longest head that is taken.

    Returns:
        The length of the head, its blank line included; None where more bytes are needed.

    Raises:
        BadRequest: the client's fault; this cannot become a head, or not one of at most ``max_bytes``.
    """
    end = data.find(b"\r\n\r\n", 0, max_bytes)
    if end >= 0:
        return end + 4
    # What follows finds early what can never become a head: a client that speaks TLS or binary, or sends one line
    # without end, need not be waited for.
    if data and data[0] < 0x21:
        raise BadRequest(400, "no request line")
    if data.count(b"\n") != data.count(b"\r\n"):
        raise BadRequest(400, "bare LF")
    if len(data) >= max_bytes:
        raise BadRequest(431, "head too large")
    if _NO_TEXT.search(data, 0, 256):
        raise BadRequest(400, "no request line")
    return None


def check_head(head: bytes) -> Framing:
    """Check a request head, and return how its body is framed.

    Raises:
        BadRequest: as :func:`read_head`.
    """
    return read_head(head).framing


def read_head(head: bytes) -> Head:
    """Read a request head, as :func:`split_head` found it.

    Raises:
        BadRequest: the client's fault; it could be read in more than one way, or asks for what this server never does.
    """
    request, _, block = head[:-2].partition(b"\r\n")
    match = _REQUEST_LINE.fullmatch(request)
    if match is None:
        raise BadRequest(400, "request line")
    # One pattern for all lines: it leaves no room for a folded line, a bare CR or LF, a space before the colon, or a
    # NUL, each of which some proxy reads in another way (RFC 9112 sections 2.2 and 5).
    if _HEADERS.fullmatch(block) is None:
        raise BadRequest(400, "header line")
    method, target, version = match.groups()
    headers, lengths, codings, hosts = [], [], [], []
    for line in block.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        headers.append((name, value))
        if name == b"content-length":
            lengths.append(value)
        elif name == b"transfer-encoding":
            codings.append(value.lower())
        elif name == b"host":
            hosts.append(value.lower())
    _check_target(method, target, hosts, version)
    return Head(method, target, version, headers, _framing(lengths, codings, version))


def accepts(headers: Iterable[tuple[bytes, bytes]], media_type: bytes) -> bool:
    """Tell whether a request names a media type as one that it takes (RFC 9110 section 12.5.1): with ``q=0`` it does
    not. A wildcard names nothing.

    Args:
        headers: of the request, names in lower case.
        media_type: in lower case.
    """
    return weight(headers, media_type) > 0


def weight(headers: Iterable[tuple[bytes, bytes]], media_type: bytes) -> float:
    """How much a request wants a media type that it names, 0 to 1: its ``q``, which is 1 where it says none, or says
    what is none. Of a type that it does not name, 0. Arguments as of :func:`accepts`."""
    values = (value for name, value in headers if name == b"accept")
    ranges = (part.lower().replace(b" ", b"").replace(b"\t", b"") for value in values for part in value.split(b","))
    named = (rest for kind, _, rest in (part.partition(b";") for part in ranges) if kind == media_type)
    found = (_WEIGHT.search(rest) for rest in named)
    return max((1.0 if match is None else float(match[1]) for match in found), default=0.0)


def _check_target(method: bytes, target: bytes, hosts: list[bytes], version: bytes) -> None:
    if len(hosts) > 1 or (version == b"1.1" and not hosts) or not all(map(is_host, hosts)):
        raise BadRequest(400, "host")
    match = _TARGET.fullmatch(target)
    if method == b"CONNECT" or match is None or (target == b"*" and method != b"OPTIONS"):
        raise BadRequest(400, "request target")
    # The standard has a server prefer the target's host (RFC 9112 section 3.2.2). A proxy in front may have looked at
    # the other one; so they must agree.
    if match[1] is not None and hosts != [match[1].lower()]:
        raise BadRequest(400, "two hosts")


def is_host(host: bytes) -> bool:
    """Tell whether a Host header names a host, and perhaps a port: a name whose labels have 1 to 63 characters (RFC
    1035 section 2.3.4), or an address. An empty one is allowed (RFC 9110 section 7.2)."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    labels = (match[1] or b"").removesuffix(b".").split(b".")
    return labels == [b""] or all(0 < len(label) < 64 for label in labels)


def _framing(lengths: list[bytes], codings: list[bytes], version: bytes) -> Framing:
    # RFC 9112 section 6.1 lets a server take a Transfer-Encoding and ignore the Content-Length beside it. A proxy in
    # front that does the opposite is the classic way to smuggle a request; so both together are refused.
    if codings:
        if lengths or version != b"1.1" or codings != [b"chunked"]:
            raise BadRequest(400, "transfer-encoding")
        return Framing(0, True)
    # Two equal lengths are refused as well, which section 6.3 allows.
    if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
        raise BadRequest(400, "content-length")
    return Framing(int(lengths[0]) if lengths else 0, False)


class Body:
    """Follows the bytes of one request's body to its end. It keeps none of them.

    Args:
        framing: how its end is found.
        most: how many bytes its reader will take.

    Attributes:
        chunks: how many have begun.
        finished: whether the end was seen.
        size: bytes of content so far, as far as their chunks have been announced.
    """

    __slots__ = ("_chunked", "_last", "_left", "_line", "chunks", "finished", "most", "size")

    def __init__(self, framing: Framing, most: int = 0) -> None:
        self.most = most
        self._chunked = framing.chunked
        self._left = framing.content_length
        self._line = b""
        self._last = False
        self.chunks = 0
        self.size = framing.content_length
        self.finished = not framing.chunked and not framing.content_length

    def take(self, data: bytes | bytearray) -> int:
        """Return how many of the bytes belong to this body, up to the end of ``CHUNKS_IN_A_ROW``.

        Raises:
            BadRequest: the client's fault; a chunk that could be read in two ways, or a trailer.

        Bounds: holds one chunk line, of at most 256 bytes.
        """
        at, most = 0, self.chunks + CHUNKS_IN_A_ROW
        while at < len(data) and not self.finished and (self.chunks < most or self._left):
            if self._left:
                step = min(self._left, len(data) - at)
                at += step
                self._left -= step
                self.finished = not self._chunked and not self._left
            else:
                at = self._take_line(data, at)
        return at

    def _take_line(self, data: bytes | bytearray, at: int) -> int:
        # A chunk line may come in pieces, and the bound counts over all of them.
        end = data.find(b"\n", at) + 1
        self._line += data[at : end or at + CHUNK_LINE_BYTES + 1]
        if len(self._line) > CHUNK_LINE_BYTES or (self._last and self._line not in (b"\r", b"\r\n")):
            raise BadRequest(400, "chunk line")
        if not end:
            return len(data)
        if self._last:
            self.finished = True
        else:
            match = _CHUNK.fullmatch(self._line)
            if match is None:
                raise BadRequest(400, "chunk line")
            size = int(match[1], 16)
            self.size += size
            self.chunks += 1
            self._last = not size
            self._left = size + 2 if size else 0  # the data and its line end, which h11 checks
        self._line = b""
        return end
