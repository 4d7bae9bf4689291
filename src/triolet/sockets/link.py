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

from ..bounds import NOTSENT_BYTES
from .platform import tcp_options

__all__ = ["Link", "SocketLink", "prepare"]


# SO_LINGER with 0 seconds: closing throws away what was not sent, and resets the connection (socket(7), tcp(7)).
_RESET = struct.pack("ii", 1, 0)


class Link(Protocol):
    """The contract of a link: one client's socket, or what a test puts in its place."""

    @property
    def family(self) -> int:
        """The socket's address family."""

    send: Callable[[Any], int]
    """Takes what fits at once, and returns how many bytes that were. It raises BlockingIOError if nothing fits, and
    another OSError if the peer is gone."""

    def getpeername(self) -> Any:
        """Return the client's address, as ``socket.getpeername`` gives it."""

    def getsockname(self) -> Any:
        """Return the server's address, as ``socket.getsockname`` gives it."""

    async def wait_writable(self) -> None:
        """Wait until ``send`` will take something. One task at a time may wait.

        Raises:
            ClosedResourceError: the link was closed here.

        Cancellation: nothing is lost.
        """

    def receive_now(self, max_bytes: int) -> bytes:
        """Return what has come already; ``b""`` if nothing has, and at the end."""

    async def receive_some(self, max_bytes: int) -> bytes:
        """Wait for bytes, and return at most ``max_bytes`` of them; ``b""`` at the end.

        Raises:
            BrokenResourceError: the connection was reset.
            ClosedResourceError: the link was closed here.

        Cancellation: nothing is lost.
        """

    def send_eof(self) -> None:
        """Tell the peer that nothing more comes."""

    def close(self) -> None:
        """Close in order: what the kernel has taken is still sent."""

    def abort(self) -> None:
        """Reset the connection at once; what the kernel holds is thrown away."""


def prepare(listener: socket.socket, user_timeout_seconds: float) -> None:
    """Set the options that accepted sockets inherit from their listening one (tcp(7)): once, and not for each client.

    Args:
        listener: the listening socket.
        user_timeout_seconds: how long a peer may acknowledge nothing before the kernel gives it up (RFC 5482).
    """
    listener.setblocking(False)
    if listener.family != socket.AF_UNIX:
        # Without Nagle's delay (RFC 896): a batch is written whole, so there is nothing to wait for.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The kernel gives up on a peer that acknowledges nothing: an SSE client has no other way to be
        # found gone (RFC 5482).
        for option, value in tcp_options(NOTSENT_BYTES, user_timeout_seconds):
            listener.setsockopt(socket.IPPROTO_TCP, option, value)


class SocketLink:
    """A link over a connected TCP or Unix socket, which it owns from now on.

    Args:
        connected: the socket, accepted from a listening one that was prepared.
        peer: the client's address, as ``accept`` gave it: a socket that was reset meanwhile has none any more.
    """

    __slots__ = ("_peer", "_socket", "send")

    def __init__(self, connected: socket.socket, peer: Any) -> None:
        connected.setblocking(False)
        self._peer = peer
        self._socket = connected
        self.send: Callable[[Any], int] = connected.send  # the socket's own method: see DirectOutlet

    @property
    def family(self) -> int:
        return int(self._socket.family)

    def getpeername(self) -> Any:
        return self._peer

    def getsockname(self) -> Any:
        return self._socket.getsockname()

    async def wait_writable(self) -> None:
        if self._socket.fileno() < 0:
            raise trio.ClosedResourceError("this link is closed")
        await trio.lowlevel.wait_writable(self._socket)

    def receive_now(self, max_bytes: int) -> bytes:
        try:
            return self._socket.recv(max_bytes)
        except OSError:  # nothing has come; or an error, which `receive_some` will meet again and raise
            return b""

    async def receive_some(self, max_bytes: int) -> bytes:
        while self._socket.fileno() >= 0:
            try:
                await trio.lowlevel.wait_readable(self._socket)
                return self._socket.recv(max_bytes)
            except BlockingIOError:
                pass  # woken for nothing
            except OSError as error:
                raise trio.BrokenResourceError(f"reset by the peer: {type(error).__name__}") from None
        raise trio.ClosedResourceError("this link is closed")

    def send_eof(self) -> None:
        with suppress(OSError):  # it is gone already
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            # First: a task that waits for a closed descriptor would wait for ever, or for another client's socket that
            # got the same number.
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    def abort(self) -> None:
        with suppress(OSError):  # closed before, or a Unix socket that knows no linger
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()
