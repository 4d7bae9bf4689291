"""A client that speaks HTTP/1.1 by hand, over one connection: what it is answered, byte by byte."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from triolet.http.connection import GuardedServer
from triolet.testing.network import ClientEnd

__all__ = ["Raw", "Wire", "get", "through_hypercorn"]


class Raw(NamedTuple):
    """An answer as it came."""

    status_line: str
    headers: dict[str, str]
    body: bytes


def get(path: str, *lines: str, method: str = "GET") -> bytes:
    """A request without a body."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: test", *lines, "", ""]).encode()


class Wire:
    """One connection of a client's.

    Args:
        end: its end.
    """

    def __init__(self, end: ClientEnd) -> None:
        self.end = end
        self._read = b""

    async def ask(self, *requests: bytes, head_only: bool = False) -> Raw:
        """Send requests, and read the next answer."""
        for request in requests:
            await self.end.send_all(request)
        return await self.answer(head_only=head_only)

    async def answer(self, *, head_only: bool = False) -> Raw:
        """Read the next answer."""
        while b"\r\n\r\n" not in self._read:
            await self.more()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        status_line, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        size = 0 if head_only else int(headers.get("content-length", "0"))
        while len(self._read) < size:
            await self.more()
        body, self._read = self._read[:size], self._read[size:]
        return Raw(status_line, headers, body)

    async def rest(self) -> bytes:
        """What comes until the connection ends."""
        while data := await self.end.receive_some():
            self._read += data
        return self._read

    async def more(self) -> None:
        """Read once."""
        data = await self.end.receive_some()
        assert data, f"the connection ended after {self._read!r}"
        self._read += data


def through_hypercorn(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Note what reaches Hypercorn: the bytes that were read before it, an entry each time that it has a connection."""
    seen: list[bytes] = []
    run = GuardedServer.run

    async def noted(self: GuardedServer) -> None:
        seen.append(self._lent.unused)
        await run(self)

    monkeypatch.setattr(GuardedServer, "run", noted)
    return seen
