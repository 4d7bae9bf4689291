"""A client on a WebSocket, with wsproto: on a channel's URL, on a socket of the app's, or following by URL."""

from __future__ import annotations

import json
from collections import deque
from contextlib import suppress
from typing import Any, ClassVar

import trio
from wsproto import ConnectionType, WSConnection
from wsproto import events as ws
from wsproto.connection import ConnectionState
from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from .clients import Client, Message, with_after
from .http import Answer, RefusedError, arrived
from .network import ClientEnd
from .strict import MalformedError

__all__ = ["FollowClient", "WebSocketClient"]

NO_CLOSE_FRAME = 1006
LOCAL_CLOSING = ConnectionState.LOCAL_CLOSING


class WebSocketClient(Client):
    """A client on a WebSocket, which can also speak.

    A message that is no JSON object with a ``type`` (a socket that is ``raw``, or the app's own) is heard as
    ``{"type": "text", "data": …}``, a binary one as ``{"type": "bytes", "data": …}``.

    Attributes:
        code, reason: of the server's close frame, once the connection has ended; 1006 where there was none.
        deflate: whether it offers permessage-deflate (RFC 7692), without context takeover.
    """

    transport: ClassVar[str] = "websocket"

    def __init__(self, *args: Any, subprotocols: tuple[str, ...] = (), deflate: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.urls:
            raise ValueError("a WebSocket follows many channels by saying so: await client.follow(url), for each")
        self.deflate = deflate
        self.subprotocols = subprotocols
        self.code = NO_CLOSE_FRAME
        self.reason = ""
        self._wire = WSConnection(ConnectionType.CLIENT)
        self._events: deque[ws.Event] = deque()
        self._parts: list[Any] = []
        self._speaking = trio.Lock()
        self._returning = trio.Lock()

    @property
    def stream(self) -> ClientEnd:
        """The client's end of its connection. Raises :exc:`trio.ClosedResourceError` where it has none any more."""
        if not self.ends:
            raise trio.ClosedResourceError("the client has no connection any more")
        return self.ends[-1]

    async def say(self, **message: Any) -> None:
        """Send a JSON message: ``say(type="follow", url="/orders/A123/events")``.

        Raises:
            trio.BrokenResourceError: the connection has ended.

        Cancellation: the connection is to be left; half of the message may have gone.
        """
        self.transcript.said(trio.current_time(), message)
        self._order.said(message)
        await self._say(json.dumps(message))

    async def send(self, data: str | bytes) -> None:
        """Send a text or binary message as it is, for a raw socket. Raises and cancels as :meth:`say`."""
        self.transcript.said(trio.current_time(), {"type": "text" if isinstance(data, str) else "bytes", "data": data})
        await self._say(data)

    async def follow(self, url: str, after: object = None, *, sub: str | None = None) -> Message:
        """Follow the channel of a URL on this socket; return its ``open``. What else comes meanwhile still waits.

        Args:
            url: the URL.
            after: the cursor to go on from; None is from now.
            sub: what this subscription is called. What comes for it names it, under the key ``for``.

        Raises:
            RefusedError: the app refused.
            AssertionError: it did not answer within a minute, or the connection ended.
        """
        __tracebackhide__ = True
        named = {} if sub is None else {"sub": sub}
        await self.say(type="follow", url=url, **({} if after is None else {"after": str(after)}), **named)
        answer = {"url": url, **named}
        message = await self.pick(lambda message: answer.items() <= message.items(), f"to follow {url}")
        if message["type"] == "refused":
            raise RefusedError(f"to follow {url}", None)
        return message

    async def ask_command(self, id: str, url: str, data: Any) -> Message | None:
        """Ask for a command once, on this WebSocket or on a new one where it has ended. See :meth:`command`."""
        try:
            async with self._returning:
                if self.closed is not None:
                    await self.reconnect()
                stream = self.stream
            await self._say(json.dumps({"type": "command", "id": id, "url": url, "data": data}))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return None
        while True:
            for message in self._waiting:
                if message["type"] == "reply" and message["id"] == id:
                    self._waiting.remove(message)
                    return self._taken(message)
            if stream not in self.ends:  # it has ended, and another command may have opened a new one
                return None
            await self._arrived.wait()

    async def event(self) -> Message:
        """The next message that is an event; others are passed over. See :meth:`until`."""
        return await self.until("event")

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye with a close frame. The server answers, and closes the connection."""
        self.transcript.said(trio.current_time(), f"close {code} {reason}".rstrip())
        await self._send(ws.CloseConnection(code=code, reason=reason))

    async def ended(self, *, within: float = 60) -> tuple[int, str]:
        """Take messages up to the end of the connection. Return its close code and reason, as the server gave them.

        Raises:
            AssertionError: it has not ended within so many seconds.
        """
        __tracebackhide__ = True
        _, ended = await self._pass(within, lambda _: True)
        if ended is None:
            raise AssertionError(f"expected  the end\nbut it did not come within {within:g} s\n\n{self.dialogue()}")
        return self.code, self.reason

    # --- the transport

    async def connect(self) -> None:
        """Upgrade. See :meth:`Client.connect`."""
        await self._upgrade(with_after(self.path, self.cursor))

    async def _upgrade(self, target: str) -> None:
        self.dial()
        self._wire = WSConnection(ConnectionType.CLIENT)
        self._speaking = trio.Lock()
        self._events.clear()
        self._parts.clear()
        self.code, self.reason = NO_CLOSE_FRAME, ""
        self.transcript.said(trio.current_time(), f"upgrade {target}")
        cookies = self.reach.cookies
        carried = {} if cookies is None or "cookie" in map(str.lower, self.headers) else cookies.sent_to(target)
        fields = {**carried, **self.headers}
        extra = [(name.encode("ascii"), value.encode("latin-1")) for name, value in fields.items()]
        offers: list[Extension] = [PerMessageDeflate(True, None, True)] if self.deflate else []
        asked = ws.Request("test", target, extensions=offers, subprotocols=list(self.subprotocols), extra_headers=extra)
        await self._send(asked)
        first = await self._event()
        if cookies is not None and isinstance(first, ws.AcceptConnection | ws.RejectConnection):
            cookies.take(target, first.extra_headers if isinstance(first, ws.AcceptConnection) else first.headers)
        if isinstance(first, ws.RejectConnection):
            raise RefusedError(f"{self.transport} {target}", await self._refusal(first))
        if not isinstance(first, ws.AcceptConnection):
            raise trio.BrokenResourceError(f"the connection ended before {target} was answered")

    async def _refusal(self, head: ws.RejectConnection) -> Answer:
        body = b""
        while head.has_body and isinstance(part := await self._event(), ws.RejectData) and not part.body_finished:
            body += part.data
        fields = {name.decode().lower(): value.decode("latin-1") for name, value in head.headers}
        return Answer(head.status_code, fields, body)

    async def read(self) -> str:
        """Read messages, and answer pings. See :meth:`Client.read`."""
        while (event := await self._event()) is not None:
            if isinstance(event, ws.Ping | ws.Pong):
                await self.beat(event)
            elif isinstance(event, ws.CloseConnection):
                await self.part(event)
                return f"closed by the server: {self.code} {self.reason}".rstrip()
            elif isinstance(event, ws.Message):
                self._take(event)
        return f"the connection ended {'within a message' if self._parts else 'without a close frame'}"

    async def beat(self, event: ws.Ping | ws.Pong) -> None:
        """Answer a ping."""
        if isinstance(event, ws.Ping) and self._wire.state is ConnectionState.OPEN:
            await self._send(event.response())

    async def part(self, event: ws.CloseConnection) -> None:
        """Answer a close frame, unless it is the answer to ours, and close."""
        self.code, self.reason = int(event.code), event.reason or ""
        with suppress(trio.BrokenResourceError):  # where it did not wait for our answer
            if self._wire.state is ConnectionState.REMOTE_CLOSING:
                await self._send(event.response())
            await self.stream.aclose()

    def _take(self, part: ws.Message[Any]) -> None:
        self._parts.append(part.data)
        if not part.message_finished:
            return
        data = ("" if isinstance(part, ws.TextMessage) else b"").join(self._parts)
        self._parts.clear()
        self.receive(_read(data))

    async def _say(self, data: str | bytes) -> None:
        await self._send(ws.TextMessage(data) if isinstance(data, str) else ws.BytesMessage(data))

    async def _send(self, event: ws.Event) -> None:
        if not self.ends:
            raise trio.BrokenResourceError(f"the connection has ended: {self.closed}")
        speaking, end = self._speaking, self.stream
        async with speaking:  # a pong is not to come amid a long message
            await self.transmit(end, self._wire.send(event))

    async def transmit(self, end: ClientEnd, data: bytes) -> None:
        """Send bytes, once those before have gone."""
        await end.send_all(data)

    async def _event(self) -> ws.Event | None:
        """The next event of wsproto's; None at the end of the stream."""
        await trio.lowlevel.checkpoint_if_cancelled()  # or it would read on at the end of a connection that came after
        while not self._events:
            data = await arrived(self.stream)
            if not data:
                return None
            try:
                self._wire.receive_data(data)
                self._events.extend(self._wire.events())
            except (RemoteProtocolError, LocalProtocolError) as error:  # the second: bytes behind the close frame
                raise MalformedError(f"no WebSocket: {error}") from None
        event = self._events.popleft()
        if isinstance(event, ws.CloseConnection) and self._wire.state in (ConnectionState.OPEN, LOCAL_CLOSING):
            raise MalformedError(f"no WebSocket: {event.reason}")  # wsproto makes it of what it cannot read
        return event


class FollowClient(WebSocketClient):
    """A client that follows one channel by its URL, on a socket of the app's (``live.socket``).

    Args:
        through: the socket's path.
        sub: what this subscription is called; None: it has no name.
    """

    transport: ClassVar[str] = "follow"

    def __init__(self, *args: Any, through: str = "/live", sub: str | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.through = through
        self.sub = sub

    async def connect(self) -> None:
        """Open the socket, say what to follow, and wait for the answer. See :meth:`Client.connect`."""
        await self._upgrade(self.through)
        named = {} if self.sub is None else {"sub": self.sub}
        await self.say(type="follow", url=self.path, **({} if self.cursor is None else {"after": self.cursor}), **named)
        while (event := await self._event()) is not None:
            if isinstance(event, ws.Message):
                self._take(event)
                if self._answered():
                    return
        raise trio.BrokenResourceError(f"the socket ended before the follow of {self.path} was answered")

    def hear(self, message: Message) -> None:
        """Take in a message, but not the socket's own greeting, which is about no channel."""
        if message.get("channel", "") is not None:
            super().hear(message)

    def keep_cursor(self, message: Message) -> None:
        """Go on from a message that is taken; see :meth:`Client.keep_cursor`. A beat may tell the place by its name."""
        super().keep_cursor(message)
        if message["type"] == "beat" and self.sub is not None:
            self.cursor = message.get("places", {}).get(self.sub, self.cursor)

    def _answered(self) -> bool:
        for message in self._waiting:
            if message["type"] == "refused":
                raise RefusedError(f"to follow {self.path}", None)
        return any(message["type"] == "open" for message in self._waiting)


def _read(data: str | bytes) -> Message:
    """A message of the protocol's, or what it is instead."""
    if isinstance(data, bytes):
        return {"type": "bytes", "data": data}
    try:
        message = json.loads(data)
    except ValueError:
        message = None
    ours = isinstance(message, dict) and isinstance(message.get("type"), str)
    return message if ours else {"type": "text", "data": data}
