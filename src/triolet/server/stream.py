"""A link and its outlet as a Trio stream: what Hypercorn and ``trio.SSLStream`` are given to write through."""

from __future__ import annotations

from typing import Any

import trio

from .link import Link
from .outlet import LinkOutlet

__all__ = ["DRAINING_KEY", "STREAM_KEY", "ClientStream"]

STREAM_KEY = "triolet.stream"
"""Where an ASGI scope's ``state`` holds the stream beneath, on a server of ours."""


DRAINING_KEY = "triolet.draining"
"""Where the ``state`` of an app's lifespan holds the event that the server drains."""


class ClientStream(trio.abc.HalfCloseableStream):
    """Everything Hypercorn writes goes through the same outlet as everything that Triolet writes.

    ``send_all`` may be cancelled without harm: what was begun is finished before any later byte.
    """

    def __init__(self, link: Link) -> None:
        self.socket = link
        """Under the name by which Hypercorn asks for addresses."""
        self.outlet = LinkOutlet(link)
        self._lock = trio.Lock()

    async def send_all(self, data: Any) -> None:
        async with self._lock:
            await self.outlet.send_all(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await self.outlet.drained()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self.socket.receive_some(max_bytes or 1 << 16)

    async def send_eof(self) -> None:
        await self.outlet.drained()
        self.socket.send_eof()

    async def aclose(self) -> None:
        self.socket.close()
        await trio.lowlevel.checkpoint()

    def abort(self) -> None:
        """Reset the connection at once."""
        self.outlet.abort()
