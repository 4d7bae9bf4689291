"""A client's socket, as the rest of the server sees it: non-blocking to write, awaitable to read, abortable.

Tests put an in-memory link in its place and run everything above it unchanged.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import trio

__all__ = ["Link", "SocketLink"]

NOTSENT_LOWAT = 16 << 10
"""Bytes the kernel takes beyond what it has sent: a stalled client costs some 130 kB of kernel memory and not
3.9 MB, and is noticed as soon. The value is Trio's own for its streams."""

_RESET = struct.pack("ii", 1, 0)


class Link(Protocol):
    """The contract."""

    family: int
    send: Callable[[Any], int]
    """Take what fits at once; BlockingIOError where nothing does, another OSError where the peer is gone."""

    def getpeername(self) -> Any:
        """The client's address, as ``socket.getpeername`` gives it."""

    def getsockname(self) -> Any:
        """Our own address."""

    async def wait_writable(self) -> None:
        """Wait until ``send`` will take something. One task at a time."""

    async def receive_some(self, max_bytes: int) -> bytes:
        """Bytes, or ``b""`` at the end. Raises BrokenResourceError where the connection was reset."""

    def send_eof(self) -> None:
        """Tell the peer that nothing more comes."""

    def close(self) -> None:
        """Close in order: what the kernel has taken is still sent."""

    def abort(self) -> None:
        """Reset the connection at once; what the kernel holds is thrown away."""


class SocketLink:
    """A link over a connected TCP or Unix socket, which it owns from now on.

    Raises:
        OSError: the peer has reset the connection already; the socket is still the caller's.
    """

    __slots__ = ("_own", "_peer", "_socket", "_stdlib", "family", "send")

    def __init__(self, connected: socket.socket, user_timeout_seconds: float) -> None:
        connected.setblocking(False)
        # Asked now: a socket that was reset has no peer any more. OSError if it was reset already.
        self._peer = connected.getpeername()
        self._own = connected.getsockname()
        self.family = int(connected.family)
        if connected.family != socket.AF_UNIX:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOTSENT_LOWAT)
            # The kernel gives up on a peer that acknowledges nothing: an SSE client has no other way to be
            # found gone (RFC 5482).
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(user_timeout_seconds * 1000))
        self._stdlib = connected
        self._socket = trio.socket.from_stdlib_socket(connected)
        self.send: Callable[[Any], int] = connected.send

    def getpeername(self) -> Any:
        return self._peer

    def getsockname(self) -> Any:
        return self._own

    async def wait_writable(self) -> None:
        await trio.lowlevel.wait_writable(self._stdlib)

    async def receive_some(self, max_bytes: int) -> bytes:
        try:
            return await self._socket.recv(max_bytes)
        except OSError as error:
            if self._stdlib.fileno() < 0:
                raise trio.ClosedResourceError("this link is closed") from None
            raise trio.BrokenResourceError(f"reset by the peer: {type(error).__name__}") from None

    def send_eof(self) -> None:
        with suppress(OSError):  # it is gone already
            self._stdlib.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()

    def abort(self) -> None:
        with suppress(OSError):  # closed before, or a Unix socket that knows no linger
            self._stdlib.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._socket.close()
