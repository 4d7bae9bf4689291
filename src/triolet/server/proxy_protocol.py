"""PROXY protocol: the first bytes of a connection say who the client is (haproxy's proxy-protocol.txt, 1 and 2)."""

from __future__ import annotations

import math
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any, Final

import trio

from ..bounds import PROXY_HEADER_BYTES
from ..sockets.link import Link
from ..sockets.patience import Patience
from ..wire.client_address import plain

__all__ = ["ProxiedLink", "ProxyProtocolError", "read_proxy_header"]

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
FIRST_BYTES: Final = 15
"""The shortest header of version 1 has so many, and version 2 more: nothing behind a header is ever read."""
LINE_BYTES: Final = 107
"""The longest of version 1."""
HEAD_BYTES: Final = 16
"""Of version 2, before its addresses."""


Read = Callable[[int], Awaitable[bytes]]
"""Reads so many bytes of a header."""


class ProxyProtocolError(Exception):
    """A connection does not begin as it must."""


class ProxiedLink:
    """A link whose peer is the client that a proxy has told of."""

    __slots__ = ("_link", "_peer", "send")

    def __init__(self, link: Link, peer: Any) -> None:
        self._link = link
        self._peer = peer
        self.send = link.send

    @property
    def family(self) -> int:
        return self._link.family

    def getpeername(self) -> Any:
        return self._peer

    def getsockname(self) -> Any:
        return self._link.getsockname()

    async def wait_writable(self) -> None:
        await self._link.wait_writable()

    def receive_now(self, max_bytes: int) -> bytes:
        return self._link.receive_now(max_bytes)

    async def receive_some(self, max_bytes: int) -> bytes:
        return await self._link.receive_some(max_bytes)

    def send_eof(self) -> None:
        self._link.send_eof()

    def close(self) -> None:
        self._link.close()

    def abort(self) -> None:
        self._link.abort()


async def read_proxy_header(link: Link, seconds: float = math.inf) -> Link:
    """Read the header, and nothing behind it. Returns the link with the client's address, or as it was where the proxy
    speaks for itself.

    Raises:
        ProxyProtocolError: there is none, after so many seconds.
        BrokenResourceError: the peer went.
    """
    read = partial(_read, link, Patience(trio.current_time() + seconds))
    first = await read(FIRST_BYTES)
    if first.startswith(b"PROXY "):
        peer = await _line(read, first)
    elif SIGNATURE.startswith(first[: len(SIGNATURE)]):
        peer = await _binary(read, first + await read(HEAD_BYTES - FIRST_BYTES))
    else:
        raise ProxyProtocolError("no PROXY header")
    return link if peer is None else ProxiedLink(link, peer)


async def _line(read: Read, line: bytes) -> tuple[str, int] | None:
    while not line.endswith(b"\r\n"):
        if len(line) >= LINE_BYTES or b"\n" in line:
            raise ProxyProtocolError("a PROXY line without an end")
        line += await read(1)
    words = line[:-2].split(b" ")
    if words[1] == b"UNKNOWN":
        return None
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise ProxyProtocolError("a PROXY line that says nothing known")
    try:
        address, port = ip_address(words[2].decode("ascii")), int(words[4])
    except ValueError:
        raise ProxyProtocolError("a PROXY line without an address") from None
    if address.version != int(words[1][3:]) or not 0 <= port <= 65_535:
        raise ProxyProtocolError("a PROXY line whose address is none")
    return plain(str(address)), port


async def _binary(read: Read, head: bytes) -> tuple[str, int] | None:
    command, family, size = struct.unpack("!BBH", head[len(SIGNATURE) :])
    if command not in (0x20, 0x21) or size > PROXY_HEADER_BYTES:
        raise ProxyProtocolError("a PROXY header of an unknown kind")
    rest = await read(size)
    if command == 0x20:  # LOCAL: the proxy itself, as a health check
        return None
    width = {0x11: 4, 0x21: 16}.get(family, 0)
    if not width:
        return None
    if size < 2 * width + 4:
        raise ProxyProtocolError("a PROXY header without its addresses")
    (port,) = struct.unpack_from("!H", rest, 2 * width)
    return plain(inet_ntop(AF_INET if width == 4 else AF_INET6, rest[:width])), port


async def _read(link: Link, patience: Patience, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await patience.wait(partial(link.receive_some, size - len(data)))
        if more is None:
            raise ProxyProtocolError("no PROXY header in time")
        if not more:
            raise trio.BrokenResourceError("the peer went within its PROXY header")
        data += more
    return data
