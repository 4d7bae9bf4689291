"""The opening handshake of a WebSocket, as a server reads it (RFC 6455 section 4.2)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from hashlib import sha1
from typing import Final, NamedTuple

from .deflate import accept_offer
from .http_head import BadRequest

__all__ = ["Upgrade", "accept_token", "is_token", "subprotocols", "upgrade"]

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TOKEN: Final = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")


class Upgrade(NamedTuple):
    """A well-formed request for a WebSocket."""

    key: bytes
    subprotocols: tuple[str, ...]
    """Subprotocols in the order of the client's preference. What is no token of ASCII is left out."""
    deflate: bytes | None = None
    """The ``Sec-WebSocket-Extensions`` that agrees on permessage-deflate; None if no offer can be kept."""


def upgrade(headers: Sequence[tuple[bytes, bytes]], *, method: bytes, http_version: bytes) -> Upgrade | None:
    """Return the WebSocket that an HTTP/1 request asks for; None if it asks for none.

    Args:
        headers: as h11 gives them, names in lower case.

    Raises:
        BadRequest: the client's fault; it asks for one in a way that the standard forbids (400), or for another
            version of the protocol (426, RFC 6455 section 4.4).
    """
    if not any(name == b"upgrade" for name, _ in headers):
        return None
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value.strip())
    if b"websocket" not in _tokens(found, b"upgrade"):
        return None
    if method != b"GET" or http_version != b"1.1" or b"upgrade" not in _tokens(found, b"connection"):
        raise BadRequest(400, "a WebSocket opens with GET, HTTP/1.1 and Connection: Upgrade")
    if len(found.get(b"host", ())) != 1:
        raise BadRequest(400, "host")
    # A body beside an upgrade could smuggle a request past a proxy: where one of the two reads a body, the other reads
    # frames.
    if b"content-length" in found or b"transfer-encoding" in found:
        raise BadRequest(400, "a body beside an upgrade")
    if found.get(b"sec-websocket-version") != [b"13"]:
        raise BadRequest(426, "version", [(b"sec-websocket-version", b"13")])
    key = found.get(b"sec-websocket-key", [])
    if len(key) != 1 or not _is_key(key[0]):
        raise BadRequest(400, "key")
    return Upgrade(
        key[0],
        subprotocols(found.get(b"sec-websocket-protocol", ())),
        accept_offer(found.get(b"sec-websocket-extensions", ())),
    )


def subprotocols(values: Iterable[bytes]) -> tuple[str, ...]:
    """Return the tokens of ``Sec-WebSocket-Protocol`` headers, each once, in order."""
    offered = (token.strip() for value in values for token in value.split(b","))
    return tuple(dict.fromkeys(token.decode("ascii") for token in offered if _TOKEN.fullmatch(token)))


def is_token(name: str) -> bool:
    """Whether a name can stand in ``Sec-WebSocket-Protocol``."""
    return name.isascii() and _TOKEN.fullmatch(name.encode()) is not None


def accept_token(key: bytes) -> bytes:
    """Return the ``Sec-WebSocket-Accept`` that answers a key (RFC 6455 section 4.2.2)."""
    return base64.b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def _tokens(found: dict[bytes, list[bytes]], name: bytes) -> set[bytes]:
    return {token.strip().lower() for value in found.get(name, ()) for token in value.split(b",")}


def _is_key(key: bytes) -> bool:
    # 16 bytes, as section 4.1 demands. The key proves nothing, but a request without one is no client's that means it.
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False
