"""Hypercorn's WebSocket, guarded: our frames, no extension, bounds before bytes are taken, closes that tell the truth.

It serves Quart's own WebSocket routes, and Triolet's where there is no raw socket: over HTTP/2.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import time
from typing import Any

import trio
from hypercorn.protocol.events import Body, Data, EndData, Request, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WSStream

from ..bounds import READ_IN_A_ROW
from ..closing import CRASHED, SILENT, Closing
from ..errors import RemoteError
from ..limits import Limits
from ..wire.frames import Binary, Close, Text, encode_binary, encode_ping, encode_text
from ..wire.handshake import subprotocols
from ..wire.session import Answer, Session
from ..wire.session import Event as SessionEvent
from .app_task import Inbox, send_to_nobody
from .keepalive import Keepalive
from .pause import Pause

__all__ = ["GuardedWebSocket", "Owed"]


class Owed(Data):
    """A frame that answers a client's: a pong, or a close. Nobody who reads waits until it is taken: over HTTP/2 only
    reading on can open the window that it waits for."""


class GuardedWebSocket(WSStream):
    """One WebSocket.

    Bounds: one unfinished message, of ``limits.message_bytes``; what the app has not taken is held to the inbox's
    bounds, and then nothing more is decoded. It is pinged, and ends once nothing was heard of its client for
    ``limits.silence_seconds``.

    Attributes:
        messages: how many have come.
    """

    app_put: Any
    """An Inbox, as soon as the app runs."""
    task_group: Any
    """An AppGroup."""

    def __init__(
        self,
        *args: Any,
        limits: Limits,
        on_ready: Callable[[], None],
        caught_up: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(*args)
        self._caught_up = caught_up or self._read_first
        self._on_ready = on_ready
        self._session = Session(limits)
        self._ahead = bytearray()  # what came in events, over HTTP/2; its flow control bounds it
        self._held = 0
        self._reads = 0
        self._one_at_a_time = trio.Lock()
        self._watching: trio.CancelScope | None = None
        self.messages = 0
        self._in_a_row = 0
        self._pause = Pause(self.task_group.spawn, on_ready)
        self._keepalive = Keepalive(limits, self.probe, lambda: self.full, self.client, self._caught_up)

    @property
    def full(self) -> bool:
        """Whether nothing can be read now: not accepted yet, or the app has too much to take, or the client has sent
        too much at once."""
        waits = self.state is ASGIWebsocketState.HANDSHAKE or bool(self._pause)
        return waits or (isinstance(self.app_put, Inbox) and self.app_put.full)

    async def handle(self, event: StreamEvent) -> None:
        """Take in an event of the client's."""
        if self.closed:
            return
        if isinstance(event, Request):
            await super().handle(_plain(event))
        elif isinstance(event, Body | Data):
            self._ahead += event.data
            self._hold(self._held + len(event.data))
            await self.read(self._ahead)
        elif isinstance(event, StreamClosed):
            self.closed = True
            self._session.end()
            self._hold(0)
            self._keepalive.stop()
            self._pause.give_up()
            if self._watching is not None:
                self._watching.cancel()
            if self.app_put is not None:
                self.app_put.give_up()
                await self.app_put({"type": "websocket.disconnect", "code": self._session.code})

    async def read(self, ahead: bytearray) -> None:
        """Decode the bytes, and what was left the last time, for as long as there is room."""
        if ahead:
            self._reads += 1
            self._keepalive.heard()
        async with self._one_at_a_time:
            while not self.full and not self.closed:
                data = bytes(ahead)
                ahead.clear()
                await self._decode(data)
                if not self._session.behind:
                    break
                await trio.lowlevel.checkpoint()
        if self._session.deadline < math.inf and self._watching is None and not self.full and not self.closed:
            self._watching = trio.CancelScope()
            self.task_group.spawn(self._watch, self._watching)

    async def _decode(self, data: bytes) -> None:
        try:
            for event in self._session.receive(data, trio.current_time()):
                await self._take(event)
                self._session.now = trio.current_time()
                if self.full or self.closed:
                    break
        except RemoteError as error:
            await self._fail(error.closing, Owed)
        finally:
            self._hold(self._session.held)

    def _hold(self, held: int) -> None:
        """Count what is held of messages that are not whole."""
        self.task_group.hold(held - self._held)
        self._held = held

    async def read_on(self) -> None:
        """There is room again for what came in events."""
        await self.read(self._ahead)

    async def probe(self) -> None:
        """Ping the client: one that has frozen answers nothing, and one that has gone is found by writing."""
        if self.state is ASGIWebsocketState.CONNECTED:
            await self.send(Data(self.stream_id, encode_ping()))

    async def app_send(self, message: Any) -> None:
        """Send what the app sends: ASGI's ``send``. To a client that is gone it does nothing, slowly."""
        if self.closed:
            await send_to_nobody(message)
        elif self.state is ASGIWebsocketState.CLOSED and message is not None:
            await trio.lowlevel.checkpoint()  # a close is out already, ours or the answer to the client's
        elif self.state is not ASGIWebsocketState.CONNECTED:
            await super().app_send(message)
        elif message is None:  # it returned without a word
            await self._fail(CRASHED)
        elif message["type"] == "websocket.send":
            data, text = message.get("bytes"), message.get("text")
            frame = encode_text(text.encode()) if data is None else encode_binary(bytes(data))
            await self.send(Data(self.stream_id, frame))
        elif message["type"] == "websocket.close":
            await self._close(int(message.get("code") or 1000), message.get("reason") or "")
            await self.send(EndData(self.stream_id))
        else:
            await super().app_send(message)

    async def _accept(self, message: Any) -> None:
        """Accept, after the app's headers were found good: an app that fails here can still be answered for."""
        status, headers, _ = self.handshake.accept(message.get("subprotocol"), message.get("headers", []))
        await self.send(Response(self.stream_id, headers, status))
        self.state = ASGIWebsocketState.CONNECTED
        await self.config.log.access(self.scope, {"status": status, "headers": []}, time() - self.start_time)
        self._on_ready()
        self.task_group.spawn(self._keep)

    async def _keep(self) -> None:
        """See to it that a client that has frozen goes. It may be a member of something."""
        if await self._keepalive.run() and self.state is ASGIWebsocketState.CONNECTED:
            await self._fail(SILENT)

    async def _take(self, event: SessionEvent) -> None:
        if isinstance(event, Close):
            await self._close(event.code, kind=Owed)
            await self.send(StreamClosed(self.stream_id))
        elif self.state is not ASGIWebsocketState.CONNECTED:
            pass  # the app has refused it: what an eager client sent is nobody's
        elif isinstance(event, Answer):
            await self.send(Owed(self.stream_id, event.frame))
        else:
            await self._deliver(event)

    async def _deliver(self, message: Text | Binary) -> None:
        data, text = (message.data, None) if isinstance(message, Binary) else (None, message.data)
        await self.app_put({"type": "websocket.receive", "bytes": data, "text": text})
        self.messages += 1
        self._in_a_row += self._session.weight
        if self._session.early:
            self._pause.begin(self._session.early)  # too many are slowed down, not refused
        elif self._in_a_row >= READ_IN_A_ROW:
            await trio.lowlevel.checkpoint()
            self._in_a_row = 0

    async def _close(self, code: int | None, reason: str = "", kind: type[Data] = Data) -> None:
        """Send our close frame, if one is owed: there is none before the app has accepted."""
        if self.state is ASGIWebsocketState.CONNECTED:
            self.state = ASGIWebsocketState.CLOSED
            await self.send(kind(self.stream_id, self._session.close(code, reason)))

    async def _fail(self, closing: Closing, kind: type[Data] = Data) -> None:
        """Close from our side, for a reason of ours. The connection is read on for a moment, so that it arrives."""
        await self._close(closing.code, closing.reason, kind)
        await self.send(StreamClosed(self.stream_id))

    async def _read_first(self) -> None:
        """Let what has come by now be read, by the task that reads, until there is no more: this one may be late."""
        before = None
        while before != self._reads:
            before = self._reads
            for _ in range(3):  # one read takes two turns, of which the first may have begun: for the socket, the lock
                await trio.lowlevel.checkpoint()

    async def _watch(self, watching: trio.CancelScope) -> None:
        """See to it that a message that was begun ends in time."""
        with watching:
            while (deadline := self._session.deadline) < math.inf:
                await trio.sleep_until(deadline)
                await self._caught_up()
                if self._session.deadline == deadline:
                    break
            self._watching = None
            if self._session.deadline < math.inf:
                await self._fail(self._session.late().closing)


def _plain(request: Request) -> Request:
    """The request without what Hypercorn would stumble over or agree to: extensions, and words that are not ASCII.

    That it is an upgrade was checked before (:func:`triolet.wire.handshake.upgrade`).
    """
    dropped = {b"connection", b"upgrade", b"sec-websocket-extensions", b"sec-websocket-protocol"}
    headers = [pair for pair in request.headers if pair[0] not in dropped]
    offered = subprotocols(value for name, value in request.headers if name == b"sec-websocket-protocol")
    if offered:
        headers.append((b"sec-websocket-protocol", ", ".join(offered).encode()))
    if request.http_version == "1.1":
        headers += [(b"upgrade", b"websocket"), (b"connection", b"Upgrade")]
    return replace(request, headers=headers)
