"""An in-memory network under the whole server: bounded kernel buffers, and lines which are slow, stall, cut and reset.

Over a line with no latency and no limit, what is sent arrives at once, in the sender's own task. Else one task of the
network's brings what is due.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from itertools import count, cycle
from math import inf
from random import Random
from typing import Any

import trio

from .kernel import Kernel
from .line import KERNEL_BYTES, Connection, Line
from .schedule import Schedule

__all__ = ["KERNEL_BYTES", "ClientEnd", "Line", "MemoryLink", "Network", "link_pair"]

SERVER = ("192.0.2.1", 80)
FIRST_PORT = 50_000
READS_A_SECOND = 10
"""How often one reads that reads slowly, where that is a byte or more at a time."""


async def _pass(ready: bool) -> None:
    """Let others run. As with a socket that is ready, a deadline that passes in the same moment does not end it."""
    await trio.lowlevel.checkpoint_if_cancelled()
    await trio.lowlevel.cancel_shielded_checkpoint() if ready else await trio.lowlevel.checkpoint()


def _received(kernel: Kernel, max_bytes: int) -> bytes:
    if kernel.reset and not kernel.finished:
        raise trio.BrokenResourceError("reset by the peer")
    return kernel.read(max_bytes)


class MemoryLink:
    """The server's end: the same contract as a socket's link."""

    def __init__(self, connection: Connection, peer: tuple[str, int]) -> None:
        self.family = int(socket.AF_INET)
        self._kernel = connection.server
        self._peer = peer
        self._waiting = False
        self.send: Callable[[Any], int] = self._send

    @property
    def closed(self) -> bool:
        """Whether it was closed or aborted here."""
        return self._kernel.closed

    def getpeername(self) -> Any:
        return self._peer

    def getsockname(self) -> Any:
        return SERVER

    async def wait_writable(self) -> None:
        await _pass(self._kernel.writable)
        if self._waiting:
            raise trio.BusyResourceError("another task waits to write")
        self._waiting = True
        try:
            while not (self._kernel.writable or self._kernel.closed):
                await self._kernel.changed()
        finally:
            self._waiting = False
        self._check_open()

    def receive_now(self, max_bytes: int) -> bytes:
        return self._kernel.read(max_bytes)

    async def receive_some(self, max_bytes: int) -> bytes:
        await _pass(self._kernel.readable)
        while not self._kernel.readable:
            await self._kernel.changed()
        self._check_open()
        return _received(self._kernel, max_bytes)

    def send_eof(self) -> None:
        self._kernel.end()

    def close(self) -> None:
        self._kernel.close()

    def abort(self) -> None:
        if not self._kernel.closed:
            self._kernel.abort()

    def _send(self, data: Any) -> int:
        if self._kernel.closed:
            raise OSError("this link is closed")
        return self._kernel.send(data)

    def _check_open(self) -> None:
        if self._kernel.closed:
            raise trio.ClosedResourceError("this link is closed")


class ClientEnd(trio.abc.HalfCloseableStream):
    """The client's end, as a Trio stream. A client that does not call ``receive_some`` has stalled.

    Attributes:
        network: what it is connected through.
        address: the client's.
    """

    def __init__(self, network: Network, connection: Connection) -> None:
        self.network = network
        self.address = connection.address
        self.connection = connection
        self._kernel = connection.client
        self._reads_at = -inf

    async def send_all(self, data: Any) -> None:
        """Send, and wait until the client's kernel has taken all.

        Raises:
            BrokenResourceError: the connection is reset, or our side has ended.
            ClosedResourceError: it was closed here.
        """
        rest = memoryview(data)
        await trio.lowlevel.checkpoint()
        while rest:
            await self.wait_send_all_might_not_block()
            try:
                rest = rest[self._kernel.send(rest) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from None

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the kernel takes something, or the connection is found broken."""
        await trio.lowlevel.checkpoint()
        while not (self._kernel.writable or self._kernel.closed):
            await self._kernel.changed()
        self._check_open()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What has come, or ``b""`` at the end.

        Raises:
            BrokenResourceError: the connection is reset.
            ClosedResourceError: it was closed here.
        """
        await trio.lowlevel.checkpoint()
        while not (self._kernel.readable and self._may_read):
            with trio.CancelScope(deadline=inf if self._may_read else self._reads_at):
                await self._kernel.changed()
        self._check_open()
        return self._read(max_bytes or 1 << 16)

    async def send_eof(self) -> None:
        """Tell the server that nothing more comes."""
        self._kernel.end()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Close in order; with something unread it is a reset."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """What :meth:`aclose` does, at once."""
        self._kernel.close()

    def reset(self) -> None:
        """Go without goodbye, and the server's kernel is told. Whoever waits here finds the connection broken."""
        if not self._kernel.closed:
            self._kernel.abort()
            self._kernel.closed = False

    @property
    def _may_read(self) -> bool:
        """Whether one that reads slowly reads again."""
        kernel = self._kernel
        return kernel.reset or kernel.closed or not self.connection.rates or trio.current_time() >= self._reads_at

    def _read(self, max_bytes: int) -> bytes:
        if not self.connection.rates:
            return _received(self._kernel, max_bytes)
        rate = min(self.connection.rates)
        taken = _received(self._kernel, min(max_bytes, max(1, int(rate / READS_A_SECOND))))
        self._reads_at = trio.current_time() + len(taken) / rate
        return taken

    def _check_open(self) -> None:
        if self._kernel.closed:
            raise trio.ClosedResourceError("this end is closed")


class Network:
    """What clients and servers are connected through.

    Args:
        line: what a connection runs over, unless it is told.
        random: what is drawn where something may come in any order. Without: the same on every run.

    Attributes:
        connections: those that are not over, the oldest first. (Some that are over may still be among them.)
        newcomers: what is done to each new connection before it is asked for: faults.
        arrival: what is done with one that reaches its server, if it does not just enter.
    """

    def __init__(self, line: Line = Line(), random: Random | None = None) -> None:  # noqa: B008  # it is frozen
        self.line = line
        self.random = Random(0) if random is None else random
        self.connections: list[Connection] = []
        self.newcomers: list[Callable[[Connection], None]] = []
        self.arrival: Callable[[Callable[[], None]], None] | None = None
        self._addresses = count(1)
        self._ports = cycle(range(FIRST_PORT, 1 << 16))
        self._sweep_at = 32
        self._schedule = Schedule()

    def connect(self, address: str, accept: Callable[[MemoryLink], None], line: Line | None = None) -> ClientEnd:
        """Connect. Returns the client's end at once; nothing leaves it before hands are shaken.

        Args:
            address: the client's.
            accept: given the server's end when the connection has reached the server, which may be at once.
            line: what it runs over.
        """
        port = next(self._ports)
        arrived = partial(self._arrived, accept, (address, port))
        connection = Connection(self._schedule.at, address, self.line if line is None else line, arrived)
        self._sweep()
        self.connections.append(connection)
        for meet in self.newcomers:
            meet(connection)
        connection.open()
        return ClientEnd(self, connection)

    def new_address(self) -> str:
        """An address that no client had yet: 198.18.0.1 and on, which RFC 2544 keeps for tests."""
        number = next(self._addresses)
        return f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"

    def running(self) -> AbstractAsyncContextManager[None]:
        """Run, for as long as the block lasts: without, there is neither latency nor bandwidth. May be nested."""
        return self._schedule.running()

    def vanish(self) -> None:
        """End every connection on both sides at once, faults or not: what a test does with what is left."""
        for connection in self.connections:
            connection.vanish()

    def _arrived(self, accept: Callable[[MemoryLink], None], peer: tuple[str, int], connection: Connection) -> None:
        enter = partial(accept, MemoryLink(connection, peer))
        if self.arrival is None:
            enter()
        else:
            self.arrival(enter)

    def _sweep(self) -> None:
        if len(self.connections) >= self._sweep_at:
            self.connections = [connection for connection in self.connections if not connection.over]
            self._sweep_at = 2 * len(self.connections) + 32


def link_pair(
    peer: tuple[str, int] = ("198.51.100.1", FIRST_PORT), kernel_bytes: int = KERNEL_BYTES
) -> tuple[ClientEnd, MemoryLink]:
    """Two ends of a connection. Each direction holds ``kernel_bytes`` that were sent and not yet read."""
    network = Network(Line.holding(kernel_bytes))
    client = network.connect(peer[0], lambda _: None)
    return client, MemoryLink(client.connection, peer)
