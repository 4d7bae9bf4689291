"""One client, four transports: each hears the same messages, in the same shape."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from tests.peer import CLOSE, TEXT, Peer, peer
from triolet.testing.network import KERNEL_BYTES
from triolet.testing.server import EventStream, MemoryServer

__all__ = ["POLLS", "STREAMS", "TRANSPORTS", "Listener", "listening"]

STREAMS = ("websocket", "sse")
POLLS = ("long poll", "short poll")
TRANSPORTS = (*STREAMS, *POLLS)

Message = dict[str, Any]


class Listener(ABC):
    """A client that hears ``open``, ``event``, ``gap``, ``live``, ``beat`` and ``bye``, each with its fields.

    ``cursor`` is where it would go on from; None while it was told none.
    """

    def __init__(self, cursor: str | None) -> None:
        self.cursor = cursor

    async def next(self) -> Message | None:
        """The next message; None at the end of the connection."""
        message = await self.hear()
        if message is None:
            return None
        place = {"open": "cursor", "event": "id", "gap": "to"}.get(message["type"])
        if place is not None:
            self.cursor = message[place]
        return message

    async def until(self, *kinds: str) -> list[Message]:
        """All messages up to the next of these types."""
        heard = []
        while (message := await self.next()) is not None:
            heard.append(message)
            if message["type"] in kinds:
                return heard
        raise EOFError(f"ended after {heard}")

    @abstractmethod
    async def hear(self) -> Message | None: ...

    @abstractmethod
    def cut(self) -> None:
        """The network is gone, and the server is told."""


class WebSocketListener(Listener):
    def __init__(self, opened: Peer, cursor: str | None) -> None:
        super().__init__(cursor)
        self._peer = opened

    async def hear(self) -> Message | None:
        while (frame := await self._peer.frame()) is not None and frame.opcode != CLOSE:
            message: Message = json.loads(frame.payload) if frame.opcode == TEXT else {}
            if message and message.get("channel", "") is not None:  # a socket's greeting is about no channel
                return message
        return None

    def cut(self) -> None:
        self._peer.stream.reset()


class SseListener(Listener):
    def __init__(self, stream: EventStream, cursor: str | None) -> None:
        super().__init__(cursor)
        self._stream = stream

    async def hear(self) -> Message | None:
        while (block := await self._stream.block()) is not None:
            kind = block.get("event", "")
            if kind.startswith("triolet."):
                data = json.loads(block["data"])
                if "id" in block:
                    self.cursor = block["id"]
                return {**data, "type": kind.removeprefix("triolet.")}
            if kind:
                return {"type": "event", "id": block["id"], "event": kind, "data": json.loads(block["data"])}
        return None

    def cut(self) -> None:
        self._stream.stream.reset()


class PollListener(Listener):
    """Asks again when it is told to, with the tag it was given."""

    def __init__(self, server: MemoryServer, path: str, wait: str, cursor: str | None) -> None:
        super().__init__(cursor)
        self._server = server
        self._path = path
        self._wait = wait
        self._tag = ""
        self._retry = 0.0
        self._heard: deque[Message] = deque()
        self._scope = trio.CancelScope()

    async def hear(self) -> Message | None:
        while not self._heard:
            with trio.CancelScope() as self._scope:
                await trio.sleep(self._retry)
                await self._poll()
            if self._scope.cancel_called:
                return None
        return self._heard.popleft()

    async def _poll(self) -> None:
        after = "" if self.cursor is None else f"after={self.cursor}"
        headers = {"if-none-match": self._tag} if self._tag and not self._wait else {}
        answer = await self._server.request("GET", f"{self._path}?{after}{self._wait}", headers)
        if answer.status == 304:
            return
        assert answer.status == 200, answer.body
        first = not self._tag
        self._tag = answer.headers["etag"]
        body = answer.json
        self._retry = body["retry"] / 1000
        self.cursor = body["cursor"]
        if body["gap"] is not None:
            self._heard.append({**body["gap"], "type": "gap"})
        self._heard += body["events"]
        if body["live"] and (first or self._heard):
            self._heard.append({"type": "live", "channel": body["channel"], "cursor": body["cursor"]})

    def cut(self) -> None:
        self._scope.cancel()


@asynccontextmanager
async def listening(
    server: MemoryServer, transport: str, path: str, after: object = None, *, kernel_bytes: int = KERNEL_BYTES
) -> AsyncIterator[Listener]:
    """Follow a channel over a transport, from a cursor or from now. ``follow`` is by URL, on a socket."""
    cursor = None if after is None else str(after)
    query = "" if cursor is None else f"?after={cursor}"
    if transport == "websocket":
        async with peer(server, path + query, kernel_bytes=kernel_bytes) as opened:
            yield WebSocketListener(opened, cursor)
    elif transport == "follow":
        async with peer(server, "/live", kernel_bytes=kernel_bytes) as opened:
            await opened.say(type="follow", url=path, after=cursor)
            yield WebSocketListener(opened, cursor)
    elif transport == "sse":
        headers = {} if cursor is None else {"last-event-id": cursor}
        async with server.events(path, headers=headers, kernel_bytes=kernel_bytes) as stream:
            assert stream.status == 200
            yield SseListener(stream, cursor)
    else:
        yield PollListener(server, path, "&wait=" if transport == "long poll" else "", cursor)
