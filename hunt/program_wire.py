"""The connections of a program that uses the Python client, and what may stand in their way."""

from __future__ import annotations

from typing import Any

import trio

from triolet.testing.network import ClientEnd

__all__ = ["Wire"]

HALF_A_FRAME = b"\x81\x8e\x00\x00\x00"
UPGRADE = b"pgrade"
STREAM = b"text/event-stream"


class Wire(ClientEnd):
    """One connection, as the client has it.

    Args:
        end: the kit's.
        wall: what a proxy before the server does not let through: ``upgrades``, or ``streams``, which are neither
            upgraded nor, if they are HTTP, brought before they end. "": nothing stands there.

    Attributes:
        closed: whether the client has closed it.
    """

    def __init__(self, end: ClientEnd, wall: str) -> None:
        super().__init__(end.network, end.connection)
        self.closed = False
        self._wall = wall
        self._is_websocket = False
        self._collects = False

    async def send_all(self, data: Any) -> None:
        sent = bytes(data)
        if UPGRADE in sent and self._wall:
            sent = sent.replace(UPGRADE, b"pg-ade")
        elif UPGRADE in sent:
            self._is_websocket = True
        self._collects = self._wall == "streams" and STREAM in sent
        await super().send_all(sent)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = await super().receive_some(max_bytes)
        while self._collects and data:
            await trio.lowlevel.checkpoint()
            more = await super().receive_some()
            if not more:
                self._collects = False
                return data
            data += more
        return data

    def close(self) -> None:
        self.closed = True
        super().close()

    def lose(self, how: str) -> None:
        """Have the network lose it: ``reset``, ``fin``, ``mid-frame``; or ``silent``, of which nobody is told."""
        if self.closed:
            return
        if how == "silent":
            self.connection.swallow()
        elif how == "fin":
            self.connection.end()
        else:
            kernel = self.connection.client
            if how == "mid-frame" and self._is_websocket and kernel.writable and not kernel.reset:
                kernel.send(HALF_A_FRAME)
            self.reset()
