"""A client on an event stream, which behaves as a browser's EventSource does."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import h11
import trio

from .clients import Client, ClientOptions, Message, with_after
from .entrance import Entrance
from .http import EventStream, RefusedError, ask
from .many import following, placed
from .strict import BlockReader, MalformedError, PlainReader, read_json

__all__ = ["PlainSseClient", "SseClient"]


class SseClient(Client):
    """A client on an event stream (SSE).

    It comes back as EventSource does: the URL stays, and ``Last-Event-ID`` says how far it has come. What the wire
    leaves out of an event because the stream is of one channel (``channel``) is filled in. One that follows many
    (``follow``) is at a socket's URL.

    Attributes:
        response_headers: of the stream, by name in lower case.
        last_event_id: the last ``id:`` that came on this connection; None while there was none.
    """

    transport: ClassVar[str] = "sse"
    reader: ClassVar[type[BlockReader]] = BlockReader

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.response_headers: dict[str, str] = {}
        self.last_event_id: str | None = None
        self._stream: EventStream | None = None
        self._channel: str | None = None

    async def connect(self) -> None:
        """Ask for the stream. See :meth:`Client.connect`."""
        target = with_after(following(self.path, self.urls), self.start)
        headers = {"accept": "text/event-stream", **self.headers}
        if self.cursor is not None and self.cursor != self.start:
            headers["last-event-id"] = self.cursor
        end = self.dial()
        told = f" last-event-id={self.cursor}" if "last-event-id" in headers else ""
        self.transcript.said(trio.current_time(), f"GET {target}{told}")
        connection, response = await ask(end, "GET", target, headers, cookies=self.reach.cookies)
        self._stream = EventStream(end, connection, response, self.reader())
        self.response_headers = self._stream.headers
        streams = self.response_headers.get("content-type", "").startswith("text/event-stream")
        if self._stream.status != 200 or not streams:
            raise RefusedError(f"sse {target}", await self._stream.answer())

    async def read(self) -> str:
        """Read block by block. See :meth:`Client.read`."""
        assert self._stream is not None
        self.last_event_id = None
        try:
            while (block := await self._stream.block()) is not None:
                self.last_event_id = block.get("id", self.last_event_id)
                if "data" in block:
                    self.receive(self._message(block))
        except h11.RemoteProtocolError:
            return "the connection ended within the stream"
        return "the stream ended"

    def keep_cursor(self, message: Message) -> None:
        """A beat of one channel has an ``id:`` too, and EventSource goes by that; ``live`` has none."""
        if self.urls:
            super().keep_cursor(message)
            return
        if message["type"] != "live":
            super().keep_cursor(message)
        if message["type"] == "beat" and len(message["cursors"]) == 1:
            (self.cursor,) = message["cursors"].values()

    def _message(self, block: dict[str, str]) -> Message:
        kind = block.get("event", "message")
        data = read_json(block["data"])
        if self.urls:
            said = data.get("type") if isinstance(data, dict) else None
            if said is None or kind != ("message" if said == "event" else f"triolet.{said}"):
                raise MalformedError(f"a block of many channels that is none of their messages: {block}")
            return placed(data, block.get("id"))
        if kind.startswith("triolet."):
            if not isinstance(data, dict) or data.get("type", kind[8:]) != kind[8:]:
                raise MalformedError(f"an event {kind} that says something else: {block}")
            self._channel = data.get("channel", self._channel)
            return {**data, "type": kind.removeprefix("triolet.")}
        message = {"type": "event", "channel": self._channel, "id": block.get("id"), "event": kind, "data": data}
        if self._channel is None:
            raise MalformedError(f"an event before the open of its channel: {block}")
        message |= {name: block[name] for name in ("key", "fold") if name in block}
        return message | {name: int(block[name]) for name in ("time", "folded") if name in block}


class PlainSseClient(SseClient):
    """A client on a plain event stream (``?format=plain``), which looks at the comments as well.

    It hears what any other client hears, and once more a message ``done`` where the stream ends with ``[DONE]``. It
    comes back as EventSource does, to which comments say nothing: where the last event was, or where it began.
    """

    transport: ClassVar[str] = "plain sse"
    reader: ClassVar[type[BlockReader]] = PlainReader

    def __init__(self, reach: Entrance, path: str, **options: Unpack[ClientOptions]) -> None:
        super().__init__(reach, f"{path}{'&' if '?' in path else '?'}format=plain", **options)

    def keep_cursor(self, message: Message) -> None:
        """Only an event has an ``id:``."""
        if message["type"] in ("event", "bye"):
            super().keep_cursor(message)

    def _message(self, block: dict[str, str]) -> Message:
        return {"type": "done"} if block == {"data": "[DONE]"} else super()._message(block)
