"""A link and its outlet as a Trio stream, through which Hypercorn reads and writes."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import trio

from ..budget import Budget
from .direct_outlet import DirectOutlet
from .link import Link

__all__ = ["ClientStream"]


class ClientStream(trio.abc.HalfCloseableStream):
    """A client's stream. All that Hypercorn writes goes through the same outlet as all that Triolet writes.

    ``send_all`` may be cancelled without harm: what was begun is finished before any later byte.
    """

    __slots__ = ("_lock", "outlet", "socket")

    secure = False
    """Whether the stream is encrypted with TLS."""

    def __init__(self, link: Link, budget: Budget) -> None:
        self.socket = link
        """The link, under the name by which Hypercorn asks for addresses."""
        self.outlet = DirectOutlet(link, budget)
        self._lock: trio.Lock | None = None

    @property
    def protocol(self) -> str | None:
        """The protocol that TLS has agreed on (ALPN, RFC 7301): ``"h2"`` or ``"http/1.1"``; None if on none."""
        return None

    async def send_all(self, data: Any) -> None:
        # Hypercorn writes from several tasks. In turns, as they came: two that wait in the outlet at once could
        # overtake each other.
        if self._lock is None:
            self._lock = trio.Lock()
        async with self._lock:
            await self.outlet.send_all(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await self.outlet.drained()

    def receive_now(self, max_bytes: int) -> bytes:
        """Return what has come already, if that can be said without waiting; else ``b""``. Nothing is lost."""
        return self.socket.receive_now(max_bytes)

    def receive_some(self, max_bytes: int | None = None) -> Coroutine[Any, Any, bytes]:
        # Not `async def`: the link's coroutine is passed on, without one of ours around it for every read.
        return self.socket.receive_some(max_bytes or 1 << 16)

    async def send_eof(self) -> None:
        await self.outlet.drained()
        self.socket.send_eof()

    async def aclose(self) -> None:
        self.socket.close()
        await trio.lowlevel.checkpoint()

    def abort(self) -> None:
        """Reset the connection at once."""
        self.outlet.abort()
