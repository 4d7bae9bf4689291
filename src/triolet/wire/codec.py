"""Codecs: the forms of events and messages on each wire. An event is encoded once per codec, never per client.

A codec turns an event into a *part* and joins parts into a *batch*, which is what an outlet takes: bytes on
a socket of ours, a tuple of texts where an ASGI server sends the frames.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from ..bounds import SSE_RETRY_MS
from ..event import Event
from .frames import encode_deflated, encode_text
from .messages import Beat, Bye, End, GapMessage, Message, Open, SnapshotMessage, encode_event, encode_message, end_of

__all__ = [
    "DONE",
    "JSON",
    "PLAIN",
    "SSE",
    "SSE_CHUNKED",
    "SSE_PLAIN",
    "SSE_PLAIN_CHUNKED",
    "WEBSOCKET",
    "WEBSOCKET_DEFLATED",
    "WEBSOCKET_TEXT",
    "Batch",
    "Codec",
    "Render",
    "Rendered",
    "is_event_stream",
    "size_of",
]

Batch: TypeAlias = "bytes | tuple[str, ...]"

Render: TypeAlias = Callable[[Event], "bytes | None"]
"""What makes of an event the UTF-8 that a stream has for it; None: nothing. It never raises."""

_LINE_ENDS: Final = re.compile(rb"\r\n|\r|\n")
"""Those of an event stream (HTML standard, section 9.2.6): what is no line end there stays within its line."""


def size_of(batch: Any) -> int:
    """Return the bytes of a batch; the characters of one that is made of texts."""
    return len(batch) if isinstance(batch, bytes) else sum(map(len, batch))


class Codec(ABC):
    """The contract of a codec: pure, without state, one object for all clients.

    A codec is also a key: windows keep encoded events by it, and live followers are grouped by it. So there is one
    object of each kind, and none is made for a connection.
    """

    @abstractmethod
    def event(self, event: Event) -> Any:
        """Encode an event as a part of a batch. It is done once, for all clients of this codec."""

    @abstractmethod
    def join(self, parts: Sequence[Any]) -> Any:
        """Join encoded events into a batch, which an outlet takes."""

    @abstractmethod
    def say(self, message: Message) -> Any:
        """Encode a message that is no event as a batch of its own."""

    def concat(self, batches: Sequence[Any]) -> Any:
        """Put batches one after the other, as one batch: one system call instead of several."""
        return b"".join(batches)


class _WebSocketCodec(Codec):
    """Each event and message as one unmasked text frame (RFC 6455 section 5.2; section 5.1: a server never masks)."""

    def event(self, event: Event) -> bytes:
        return encode_text(encode_event(event))

    def join(self, parts: Sequence[bytes]) -> bytes:
        return b"".join(parts)

    def say(self, message: Message) -> bytes:
        return encode_text(encode_message(message))


class _DeflatedWebSocketCodec(Codec):
    """The same frames for clients that agreed on permessage-deflate: deflated once, for all of them."""

    def event(self, event: Event) -> bytes:
        return encode_deflated(encode_event(event))

    def join(self, parts: Sequence[bytes]) -> bytes:
        return b"".join(parts)

    def say(self, message: Message) -> bytes:
        return encode_deflated(encode_message(message))


class _WebSocketTextCodec(Codec):
    """Only the texts, where the server between the app and the socket makes the frames."""

    def event(self, event: Event) -> str:
        return encode_event(event).decode()

    def join(self, parts: Sequence[str]) -> tuple[str, ...]:
        return tuple(parts)

    def say(self, message: Message) -> tuple[str, ...]:
        return (encode_message(message).decode(),)

    def concat(self, batches: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
        return tuple(text for batch in batches for text in batch)


class _JsonCodec(Codec):
    """A JSON array of event objects, for polls."""

    def event(self, event: Event) -> bytes:
        return encode_event(event)

    def join(self, parts: Sequence[bytes]) -> bytes:
        return b"[" + b",".join(parts) + b"]"

    def say(self, message: Message) -> bytes:
        return self.join([encode_message(message)])


class _SseCodec(Codec):
    """An event stream (HTML standard, section 9.2.6).

    Names and keys were checked when they were published and JSON has no raw line break, so no field can
    be forged. ``time``, ``key``, ``fold`` and ``folded`` are fields of our own: the standard tells browsers to ignore
    them.
    """

    def event(self, event: Event) -> bytes:
        if event.ends:
            return self._block(end_of(event))
        return b"id: %b\nevent: %b\ndata: %b\ntime: %d\n%b\n" % (
            str(event.cursor).encode(),
            event.name.encode(),
            event.json,
            int(event.published_at * 1000),
            b"" if event.key is None else _key_fields(event, event.key),
        )

    def join(self, parts: Sequence[bytes]) -> bytes:
        return b"".join(parts)

    def say(self, message: Message) -> bytes:
        return self.join([self._block(message)])

    def _block(self, message: Message) -> bytes:
        tag = str(message.__struct_config__.tag).encode()
        cursor = _cursor_of(message)
        # Without an id the browser keeps the one before: what says nothing of a place does not move the client.
        place = b"" if cursor is None else b"id: %b\n" % cursor.encode()
        retry = _retry_of(message)
        return b"%b%bevent: triolet.%b\ndata: %b\n\n" % (retry, place, tag, encode_message(message))


def _key_fields(event: Event, key: str) -> bytes:
    fields = b"key: %b\n" % key.encode()
    if event.fold is not None:  # which is of an event with a key
        fields += b"fold: %b\n" % event.fold.encode()
    return fields if event.folded == 1 else b"%bfolded: %d\n" % (fields, event.folded)


class _PlainSseCodec(_SseCodec):
    """The same for readers that take every ``data:`` for content: what is no event of the app's is a comment.

    A comment has no blank line behind it, and ``retry`` neither: it is the beginning of the next event's block. A blank
    line of its own would be nothing by the standard, and an empty event to some parsers, once they have an id. Nor does
    an ``id`` stand there: without a blank line no browser keeps it. What is written is whole lines, and an event is its
    whole block, so a comment never stands within an event. There is no field of our own, no ``time`` and no ``fold``:
    some readers take a line that they do not know for data.
    """

    def event(self, event: Event) -> bytes:
        if event.ends:
            return self._block(end_of(event))
        name = b"" if event.name == "message" else b"event: %b\n" % event.name.encode()
        return b"id: %b\n%bdata: %b\n\n" % (str(event.cursor).encode(), name, event.json)

    def _block(self, message: Message) -> bytes:
        tag = str(message.__struct_config__.tag).encode()
        return b": triolet.%b %b\n%b" % (tag, encode_message(message), _retry_of(message))


class _ChunkedSseCodec(_SseCodec):
    """The same event stream in chunks of an HTTP/1.1 body (RFC 9112 section 7.1), written past the HTTP library."""

    def join(self, parts: Sequence[bytes]) -> bytes:
        body = b"".join(parts)
        return b"%x\r\n%b\r\n" % (len(body), body) if body else b""  # an empty chunk would be the last


class _ChunkedPlainSseCodec(_ChunkedSseCodec, _PlainSseCodec):
    """The plain event stream in chunks."""


class _RenderedSseCodec(_PlainSseCodec):
    """The plain event stream of a route that says how its events look there: as HTML, say. Each line is a ``data:`` of
    its own, so whatever the text has in it is data, and no field."""

    def __init__(self, render: Render) -> None:
        self._render = render

    def event(self, event: Event) -> bytes:
        if event.ends:
            return super().event(event)
        text = self._render(event)
        if text is None:  # a comment: a part is never empty
            return b': triolet.omitted {"id":"%b"}\n' % str(event.cursor).encode()
        name = b"" if event.name == "message" else b"event: %b\n" % event.name.encode()
        data = b"".join(b"data: %b\n" % line for line in _LINE_ENDS.split(text))
        return b"id: %b\n%b%b\n" % (str(event.cursor).encode(), name, data)


class _ChunkedRenderedSseCodec(_ChunkedSseCodec, _RenderedSseCodec):
    """The same in chunks."""


class Rendered(NamedTuple):
    """The plain event streams of one route, made once: a codec is a key."""

    whole: Codec
    chunked: Codec

    @classmethod
    def by(cls, render: Render) -> Rendered:
        """Return those whose events look as a function says."""
        return cls(_RenderedSseCodec(render), _ChunkedRenderedSseCodec(render))

    def of(self, codec: Codec) -> Codec:
        """Return the one that takes the place of an event stream."""
        return self.chunked if codec is SSE_CHUNKED else self.whole


def is_event_stream(codec: Codec) -> bool:
    """Whether it is that of an event stream of one channel."""
    return isinstance(codec, _SseCodec)


def _retry_of(message: Message) -> bytes:
    """Return what a browser's EventSource obeys. In no block of its own, of which some parsers make an event."""
    retry = SSE_RETRY_MS if isinstance(message, Open) else message.retry if isinstance(message, Bye) else None
    return b"" if retry is None else b"retry: %d\n" % retry


def _cursor_of(message: Message) -> str | None:
    """Return the cursor of a client after a message: browsers keep it as the last event's id, and send it back."""
    if isinstance(message, Open | End | SnapshotMessage):
        return message.cursor
    if isinstance(message, GapMessage):
        # After a conflated gap the newest event of each key is still to come: a client that is cut off before it must
        # ask for these again, and so stays where it was.
        return message.after if message.reason == "conflated" else message.to
    if isinstance(message, Beat) and len(message.cursors) == 1:  # with several, one id could not say all of them
        return next(iter(message.cursors.values()))
    return None


JSON = _JsonCodec()
WEBSOCKET = _WebSocketCodec()
WEBSOCKET_DEFLATED = _DeflatedWebSocketCodec()
WEBSOCKET_TEXT = _WebSocketTextCodec()
SSE = _SseCodec()
SSE_CHUNKED = _ChunkedSseCodec()
SSE_PLAIN = _PlainSseCodec()
SSE_PLAIN_CHUNKED = _ChunkedPlainSseCodec()

PLAIN: Final[dict[Codec, Codec]] = {SSE: SSE_PLAIN, SSE_CHUNKED: SSE_PLAIN_CHUNKED}
"""The plain form of each event stream."""

DONE: Final = b"data: [DONE]\n\n"
"""The last block of a plain stream that has ended for good, where its client asked for it: what readers of language
models' answers wait for."""
