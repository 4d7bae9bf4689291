"""An in-memory network under the whole server: bounded kernel buffers, and links that stall, cut and reset."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import trio

__all__ = ["ClientEnd", "MemoryLink", "link_pair"]

KERNEL_BYTES = 64 << 10


class _Pipe:
    """One direction: at most so many bytes that were sent and not yet read."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.bytes = bytearray()
        self.ended = False
        self.broken = False
        self._changed = trio.Event()

    def put(self, data: Any) -> int:
        """Take what fits. Raises as ``socket.send`` does."""
        if self.broken:
            raise ConnectionResetError("reset by the peer")
        if self.ended:
            raise BrokenPipeError("our side has ended")
        room = self.bound - len(self.bytes)
        if room <= 0:
            raise BlockingIOError
        taken = bytes(memoryview(data)[:room])
        self.bytes += taken
        self.wake()
        return len(taken)

    async def writable(self) -> None:
        await trio.lowlevel.checkpoint()
        while len(self.bytes) >= self.bound and not (self.broken or self.ended):
            await self._changed.wait()

    async def take(self, max_bytes: int) -> bytes:
        await trio.lowlevel.checkpoint()
        while not (self.bytes or self.ended or self.broken):
            await self._changed.wait()
        if self.broken:
            raise trio.BrokenResourceError("reset by the peer")
        return self.take_now(max_bytes)

    def take_now(self, max_bytes: int) -> bytes:
        taken = bytes(self.bytes[:max_bytes])
        del self.bytes[:max_bytes]
        self.wake()
        return taken

    def end(self) -> None:
        self.ended = True
        self.wake()

    def break_(self) -> None:
        self.broken = True
        self.bytes.clear()
        self.wake()

    def wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class MemoryLink:
    """The server's end: the same contract as a socket's link."""

    def __init__(self, up: _Pipe, down: _Pipe, peer: tuple[str, int], own: tuple[str, int]) -> None:
        self.family = int(socket.AF_INET)
        self.closed = False
        self._up = up
        self._down = down
        self._peer = peer
        self._own = own
        self._waiting = False
        self.send: Callable[[Any], int] = self._send

    def getpeername(self) -> Any:
        return self._peer

    def getsockname(self) -> Any:
        return self._own

    async def wait_writable(self) -> None:
        if self.closed:
            raise trio.ClosedResourceError("this link is closed")
        if self._waiting:
            raise trio.BusyResourceError("another task waits to write")
        self._waiting = True
        try:
            await self._down.writable()
        finally:
            self._waiting = False
        if self.closed:
            raise trio.ClosedResourceError("this link was closed")

    def receive_now(self, max_bytes: int) -> bytes:
        return self._up.take_now(max_bytes)

    async def receive_some(self, max_bytes: int) -> bytes:
        if self.closed:
            raise trio.ClosedResourceError("this link is closed")
        try:
            return await self._up.take(max_bytes)
        except trio.BrokenResourceError:
            if self.closed:
                raise trio.ClosedResourceError("this link was closed") from None
            raise

    def send_eof(self) -> None:
        self._down.end()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._down.end()
            self._up.break_()

    def abort(self) -> None:
        if not self.closed:
            self.closed = True
            self._down.break_()
            self._up.break_()

    def _send(self, data: Any) -> int:
        if self.closed:
            raise OSError("this link is closed")
        return self._down.put(data)


class ClientEnd(trio.abc.HalfCloseableStream):
    """The client's end, as a Trio stream. A client that does not call ``receive_some`` has stalled."""

    def __init__(self, up: _Pipe, down: _Pipe) -> None:
        self._up = up
        self._down = down

    async def send_all(self, data: Any) -> None:
        rest = memoryview(data)
        await trio.lowlevel.checkpoint()
        while rest:
            await self._up.writable()
            try:
                rest = rest[self._up.put(rest) :]
            except OSError:
                raise trio.BrokenResourceError("the server has closed") from None

    async def wait_send_all_might_not_block(self) -> None:
        await self._up.writable()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._down.take(max_bytes or 1 << 16)

    async def send_eof(self) -> None:
        self._up.end()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self._up.end()
        self._down.break_()
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """Go without goodbye, and the server's kernel is told."""
        self._up.break_()
        self._down.break_()


def link_pair(
    peer: tuple[str, int] = ("198.51.100.1", 50_000), kernel_bytes: int = KERNEL_BYTES
) -> tuple[ClientEnd, MemoryLink]:
    """Two ends of a connection. Each direction holds ``kernel_bytes`` that were sent and not yet read."""
    up, down = _Pipe(kernel_bytes), _Pipe(kernel_bytes)
    return ClientEnd(up, down), MemoryLink(up, down, peer, ("192.0.2.1", 80))
