"""The kit's clients over real sockets: plain, TLS, or HTTP/2 over TLS."""

from __future__ import annotations

import socket
import struct
from typing import Any, NoReturn, cast

import trio

from tests.e2e.raw import trusting
from tests.paths.http2 import Http2End
from triolet.testing.network import ClientEnd, Network
from triolet.testing.reach import Reach

__all__ = ["SocketReach"]

RESET = struct.pack("ii", 1, 0)


class SocketEnd:
    """A client's end of a connection, which is made when it is used first.

    Args:
        address: of the server.
        protocol: what TLS is to agree on; None: no TLS.
        kernel_bytes: what its kernel is to hold of what was not read; None: what it likes.
    """

    def __init__(self, address: tuple[str, int], protocol: str | None, kernel_bytes: int | None) -> None:
        self._address = address
        self._protocol = protocol
        self._socket = trio.socket.socket()
        if kernel_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, kernel_bytes)
        self._stream: Any = None
        self._opening = trio.Lock()

    async def send_all(self, data: Any) -> None:
        """Send, on a connection that is made if there is none yet."""
        await (await self._opened()).send_all(bytes(data))

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What has come, or ``b""`` at the end."""
        return bytes(await (await self._opened()).receive_some(max_bytes or 1 << 16))

    def reset(self) -> None:
        """Go without goodbye."""
        if self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._socket.close()

    async def aclose(self) -> None:
        """Close."""
        self._socket.close()
        await trio.lowlevel.checkpoint()

    async def _opened(self) -> Any:
        async with self._opening:
            if self._stream is None:
                try:
                    await self._socket.connect(self._address)
                except OSError as error:
                    raise trio.BrokenResourceError(f"not connected: {error}") from None
                self._stream = self._over(trio.SocketStream(self._socket))
        return self._stream

    def _over(self, plain: trio.SocketStream) -> Any:
        if self._protocol is None:
            return plain
        context = trusting()
        context.set_alpn_protocols([self._protocol])
        return trio.SSLStream(plain, context, https_compatible=True)


class SocketReach(Reach):
    """A server, or a proxy before it, at an address.

    Args:
        address: where it listens.
        protocol: what TLS agrees on, ``http/1.1`` or ``h2``; None: no TLS.
        nursery: for the clients' tasks.
    """

    def __init__(self, address: tuple[str, int], protocol: str | None, nursery: trio.Nursery) -> None:
        super().__init__(Network(), nursery)
        self._address = address
        self._protocol = protocol

    def connect(self, *, kernel_bytes: int | None = None, **_: Any) -> ClientEnd:
        """The client's end of a connection that is still to be made."""
        end: Any = SocketEnd(self._address, self._protocol, kernel_bytes)
        return cast(ClientEnd, Http2End(end) if self._protocol == "h2" else end)

    def enter(self, *_: Any) -> NoReturn:
        """Nobody comes in by this way."""
        raise NotImplementedError
