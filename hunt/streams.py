"""Clients that hold a stream: a channel's WebSocket, a socket that follows many channels, an event stream."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

import h11
import trio
import trio.lowlevel

from .client import Client, CutShortError, Talk
from .history import Answered, Asked, Message, Said
from .plan import ClientPlan
from .stage import channel_name
from .wires import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    EventStreamReader,
    FrameReader,
    MalformedError,
    accept_for,
    encode_frame,
    read_head,
)

if TYPE_CHECKING:
    from .world import World

__all__ = ["EventStreamClient", "SocketClient", "WebSocketClient"]

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{more}\r\n"
)
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"


class WebSocketClient(Client):
    """A WebSocket on a channel's URL."""

    def __init__(self, world: World, plan: ClientPlan, address: str) -> None:
        super().__init__(world, plan, address)
        self._outgoing: deque[bytes] = deque()
        self._wake = trio.Event()
        self._sent = 0
        self.up = False

    def ask(self, number: int) -> Asked:
        plan, after = self.plan, self.cursors[self.channel]
        now = self.world.history.now
        return Asked(now, number, plan.name, self.server, plan.transport, self.channel, plan.route, after)

    @property
    def caught_up(self) -> bool:
        return self.talk is not None and all(
            cursor == str(self.world.head(channel)) for channel, cursor in self.cursors.items()
        )

    async def converse(self, talk: Talk) -> None:
        self._outgoing.clear()
        more = DEFLATE if self.plan.deflate else ""
        await self.send(talk, UPGRADE.format(path=self._path(talk.asked), key=KEY, more=more).encode())
        data = b""
        while (answer := read_head(data)) is None:
            chunk = await self.read(talk)
            if not chunk:
                if data:
                    raise CutShortError("the head")
                return
            data += chunk
        status, headers, rest = answer
        self.world.history.add(Answered(self.world.history.now, talk.number, status))
        if status != 101:
            return
        if headers.get("sec-websocket-accept") != accept_for(KEY):
            raise MalformedError("not our key's Sec-WebSocket-Accept")
        frames = FrameReader(deflate="permessage-deflate" in headers.get("sec-websocket-extensions", ""))
        failed: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, talk)
            self.up = True
            try:
                self.greet(talk)
                await self._listen(talk, frames, rest)
            except Exception as error:
                failed = error  # to be raised as what it is, not in the nursery's group
            finally:
                self.up = False
            nursery.cancel_scope.cancel()
        if failed is not None:
            raise failed

    def _path(self, asked: Asked) -> str:
        return f"/r{self.plan.route}/{asked.channel}" + ("" if asked.after is None else f"?after={asked.after}")

    def greet(self, talk: Talk) -> None:
        """Say what is to be said first."""

    async def _listen(self, talk: Talk, frames: FrameReader, data: bytes) -> None:
        while True:
            for message in frames.feed(data):
                if self.talk is not talk:
                    return
                self.hear(message)
                if message["type"] == "ping" and not self.plan.mute:
                    self.put(PONG, message["payload"].encode("latin-1"))
                elif message["type"] == "close":
                    self.put(CLOSE, (message["code"] or 1000).to_bytes(2, "big"))
                    await trio.lowlevel.checkpoint()
            data = await self.read(talk)
            if not data:
                if frames.mid_frame:
                    raise CutShortError("a frame")
                return

    def put(self, opcode: int, payload: bytes) -> None:
        """Send a frame, behind those that wait already."""
        self._outgoing.append(encode_frame(opcode, payload))
        self._wake.set()

    def say(self, **message: Any) -> None:
        """Say a message, and have it recorded."""
        if self.talk is not None and self.up:
            self.world.history.add(Said(self.world.history.now, self.talk.number, message))
            self.put(TEXT, json.dumps(message).encode())

    def ping(self, count: int) -> None:
        """Ping so many times."""
        for _ in range(count):
            if self.talk is not None and self.up:
                self._sent += 1
                self.world.history.add(
                    Said(self.world.history.now, self.talk.number, {"type": "ping", "payload": str(self._sent)})
                )
                self.put(PING, str(self._sent).encode())

    def go(self, talk: Talk, how: str) -> None:
        if how == "mid-frame":
            kernel = talk.end.connection.client
            if kernel.writable and not kernel.reset:
                kernel.send(encode_frame(TEXT, b'{"type":"ack"}')[:5])
        super().go(talk, how)

    async def _write(self, talk: Talk) -> None:
        try:
            while True:
                while self._outgoing:
                    await talk.end.send_all(self._outgoing.popleft())
                self._wake = trio.Event()
                await self._wake.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # whoever reads finds out too, when it has read what came before


class SocketClient(WebSocketClient):
    """A socket that follows channels by their URLs, and talks to the app."""

    def __init__(self, world: World, plan: ClientPlan, address: str) -> None:
        super().__init__(world, plan, address)
        self._opened: set[str] = set()
        self._said = 0

    def ask(self, number: int) -> Asked:
        plan, now = self.plan, self.world.history.now
        return Asked(now, number, plan.name, self.server, plan.transport, None, plan.route, None)

    def _path(self, asked: Asked) -> str:
        return "/talk"

    def greet(self, talk: Talk) -> None:
        self._opened.clear()
        for channel in list(self.cursors):
            self._follow(channel)

    def hear(self, message: Message) -> None:
        if message.get("channel", "") is None or message.get("channel", channel_name(0)) in self.cursors:
            super().hear(message)
        else:
            assert self.talk is not None
            self.world.hear(self.talk.number, message)  # of a channel that is followed no longer
        if message["type"] == "open" and message["channel"] is not None:
            self._opened.add(message["channel"])

    def follow(self, channel: str) -> None:
        """Follow one more, or the same anew."""
        if channel in self.cursors and channel not in self._opened:
            return  # it is asked for already
        self.cursors.setdefault(channel, self.plan.start)
        self._follow(channel)

    def unfollow(self, channel: str) -> None:
        """Follow one no longer; never the last."""
        if channel in self._opened and len(self.cursors) > 1 and self.up:
            self._opened.discard(channel)
            del self.cursors[channel]
            self.say(type="unfollow", channel=channel)

    def echo(self, count: int, size: int) -> None:
        """Say messages that are to come back."""
        for _ in range(count):
            self._said += 1
            self.say(type="message", data=[self._said, "y" * size])

    def acknowledge(self) -> None:
        """Say what was applied."""
        for channel, cursor in self.cursors.items():
            if cursor is not None and cursor != "0":
                self.say(type="ack", channel=channel, cursor=cursor)

    def _follow(self, channel: str) -> None:
        self._opened.discard(channel)
        self.say(type="follow", url=f"/r{self.plan.route}/{channel}", after=self.cursors[channel])


class EventStreamClient(Client):
    """An event stream; ``sse behind``: on a connection on which something else was asked first."""

    def ask(self, number: int) -> Asked:
        plan, after = self.plan, self.cursors[self.channel]
        now = self.world.history.now
        return Asked(now, number, plan.name, self.server, plan.transport, self.channel, plan.route, after)

    @property
    def caught_up(self) -> bool:
        return self.talk is not None and self.cursors[self.channel] == str(self.world.head(self.channel))

    async def converse(self, talk: Talk) -> None:
        http = h11.Connection(h11.CLIENT)
        if self.plan.transport == "sse behind":
            if not await self._page(talk, http):
                return
            http.start_next_cycle()
        await self._send(talk, http, self._request(talk.asked))
        answer = await self._next(talk, http)
        if not isinstance(answer, h11.Response):
            return
        self.world.history.add(Answered(self.world.history.now, talk.number, answer.status_code))
        if answer.status_code != 200:
            return
        reader = EventStreamReader()
        while isinstance(event := await self._next(talk, http), h11.Data):
            for message in reader.feed(bytes(event.data)):
                if self.talk is not talk:
                    return
                self.hear(message)
        if isinstance(event, h11.EndOfMessage) and reader.mid_block:
            raise MalformedError("the stream's end within a block")
        if event is None:
            raise CutShortError("the body")

    def _request(self, asked: Asked) -> h11.Request:
        """As an EventSource: the URL says where the page began, and a header where it goes on."""
        start = self.plan.start if asked.after is not None else None
        back = [] if asked.after in (None, start) else [("last-event-id", asked.after)]
        target = f"/r{self.plan.route}/{self.channel}" + ("" if start is None else f"?after={start}")
        return h11.Request(
            method="GET", target=target, headers=[("host", "test"), ("accept", "text/event-stream"), *back]
        )

    async def _page(self, talk: Talk, http: h11.Connection) -> bool:
        await self._send(talk, http, h11.Request(method="GET", target="/page", headers=[("host", "test")]))
        while not isinstance(event := await self._next(talk, http), h11.EndOfMessage):
            if event is None:
                return False
        return http.our_state is h11.DONE and http.their_state is h11.DONE

    async def _send(self, talk: Talk, http: h11.Connection, request: h11.Request) -> None:
        await self.send(talk, (http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))

    async def _next(self, talk: Talk, http: h11.Connection) -> Any:
        """The next event; None where the connection ends before its answer does."""
        try:
            while (event := http.next_event()) is h11.NEED_DATA:
                data = await self.read(talk)
                if not data:
                    return None
                http.receive_data(data)
        except h11.RemoteProtocolError as error:
            raise MalformedError(str(error)) from None
        return event
