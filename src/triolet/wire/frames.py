"""WebSocket frames (RFC 6455 section 5): the server's are written by hand, the client's are read with wsproto.

Writing is the hot path of the whole product, so a frame is a head from a table and one addition. Reading
looks at a frame's head before any of its payload is taken: what is over a bound costs nothing. A frame that
lies whole in what came in is unmasked here. Fragments, frames that arrive in pieces and all that is illegal
go through wsproto, which holds at most one message and is dropped with it: an idle connection has no parser.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import msgspec
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.frame_protocol import XorMaskerSimple

from ..bounds import CRUMB_BYTES
from ..closing import BAD_MESSAGE, NOT_UTF8, PROTOCOL_ERROR, TOO_BIG, Closing
from ..errors import RemoteError
from ..limits import Limits
from .deflate import Inflate, deflate

__all__ = [
    "Binary",
    "Close",
    "Event",
    "FrameReader",
    "Ping",
    "Pong",
    "Text",
    "encode_binary",
    "encode_close",
    "encode_deflated",
    "encode_ping",
    "encode_pong",
    "encode_text",
]

_TEXT: Final = 0x81
_BINARY: Final = 0x82
_CLOSE: Final = 0x88
_PING: Final = 0x89
_PONG: Final = 0x8A
_DEFLATED: Final = 0x40
_MESSAGES: Final = frozenset({_TEXT, _BINARY})
"""First bytes of the frames that are a whole message."""

_WHOLE: Final = _MESSAGES | {_PING, _PONG}
"""First bytes of the frames that are read here when they are whole."""

_CONTROL: Final = frozenset({_CLOSE, _PING, _PONG})
"""Frames that are read only when they are whole. They have 125 bytes at most (RFC 6455 section 5.5)."""

_UNSENDABLE: Final = frozenset({1005, 1006, 1015})
"""Codes that say that there was none (RFC 6455 section 7.4.1); they must not stand in a frame."""

_CLOSINGS: Final[dict[int, Closing]] = {1007: NOT_UTF8, 1009: TOO_BIG}
"""The closing for each code that wsproto gives its errors; all others are 1002."""

_KEYS: Final = tuple(sum(1 << 32 * word for word in range((size + 3) // 4)) for size in range(126))
"""For each size of a short payload, what its mask is multiplied with to be as long: one bit in each four bytes."""

_TEXT_HEADS: Final = tuple(bytes((_TEXT, size)) for size in range(126))
_TWO_BYTES: Final = struct.Struct("!BBH").pack
_EIGHT_BYTES: Final = struct.Struct("!BBQ").pack


def encode_text(data: bytes) -> bytes:
    """Return a text message of one frame.

    Args:
        data: the text as UTF-8. It is not checked: the caller vouches for it.
    """
    # A length must stand in its shortest form (RFC 6455 section 5.2).
    size = len(data)
    if size < 126:
        return _TEXT_HEADS[size] + data
    if size < 65_536:
        return _TWO_BYTES(_TEXT, 126, size) + data
    return _EIGHT_BYTES(_TEXT, 127, size) + data


def encode_deflated(data: bytes, *, binary: bool = False) -> bytes:
    """Return a message of one frame for clients that agreed on permessage-deflate; deflated if that is smaller."""
    deflated = deflate(data)
    if len(deflated) >= len(data):
        return encode_binary(data) if binary else encode_text(data)
    # RSV1 says that it is deflated. The head's other bytes do not depend on the kind of the message.
    return bytes((_DEFLATED | (_BINARY if binary else _TEXT),)) + encode_text(deflated)[1:]


def encode_binary(data: bytes) -> bytes:
    """Return a binary message of one frame."""
    size = len(data)
    if size < 126:
        return bytes((_BINARY, size)) + data
    if size < 65_536:
        return _TWO_BYTES(_BINARY, 126, size) + data
    return _EIGHT_BYTES(_BINARY, 127, size) + data


def encode_ping(payload: bytes = b"") -> bytes:
    """Return a ping. ``payload`` is at most 125 bytes."""
    return _control(_PING, payload)


def encode_pong(payload: bytes = b"") -> bytes:
    """Return a pong. ``payload`` is that of the ping it answers, at most 125 bytes."""
    return _control(_PONG, payload)


def encode_close(code: int | None = None, reason: str = "") -> bytes:
    """Return a close frame (RFC 6455 section 5.5.1).

    Args:
        code: None, and the codes that mean "there was none", give a frame without a code.
        reason: cut to 123 bytes of UTF-8, never within a character.
    """
    if code is None or code in _UNSENDABLE:
        return _control(_CLOSE, b"")
    text = reason.encode()[:123].decode(errors="ignore").encode()
    return _control(_CLOSE, code.to_bytes(2, "big") + text)


def _control(first: int, payload: bytes) -> bytes:
    if len(payload) > 125:
        raise ValueError(f"a control frame holds 125 bytes, not {len(payload)}")
    return bytes((first, len(payload))) + payload


class Text(msgspec.Struct, frozen=True):
    """A whole text message."""

    data: str


class Binary(msgspec.Struct, frozen=True):
    """A whole binary message; an empty one is ``b""``."""

    data: bytes


class Ping(msgspec.Struct, frozen=True):
    """A ping, to be answered with a pong of the same data."""

    data: bytes


class Pong(msgspec.Struct, frozen=True):
    """A pong, whether it was asked for or not."""

    data: bytes


class Close(msgspec.Struct, frozen=True):
    """The client's close frame. Nothing that comes after it is read. ``code`` is None if the frame has none."""

    code: int | None
    reason: str


Event = Text | Binary | Ping | Pong | Close


class FrameReader:
    """Read a client's frames.

    Args:
        deflate: whether permessage-deflate was agreed on.

    Bounds: holds one message of at most ``limits.message_bytes`` in at most ``limits.message_fragments``, and
    what was fed and not yet taken from the iterator. The announced length of a frame counts: one over the
    bound is refused when its head is there, before any of its payload is kept.

    Attributes:
        crumbs: the fragments of the message that came out last, beyond its first and one for every ``CRUMB_BYTES``.
            Whoever has charged them sets it to 0.
    """

    __slots__ = (
        "_at",
        "_buffer",
        "_closed",
        "_deflate",
        "_fragments",
        "_max_bytes",
        "_max_fragments",
        "_message",
        "_missing",
        "_parser",
        "_size",
        "crumbs",
    )

    def __init__(self, limits: Limits, *, deflate: bool = False) -> None:
        self._deflate = deflate
        self._max_bytes = limits.message_bytes
        self._max_fragments = limits.message_fragments
        self._buffer = b""
        self._at = 0  # how far the buffer has been taken
        self._parser: Connection | None = None  # wsproto's, while a message or frame is unfinished
        self._missing = 0  # bytes of the frame that wsproto is in the middle of
        self._message = bytearray()  # what wsproto has decoded of the unfinished message
        self._size = 0  # and what its frames have announced
        self._fragments = 0
        self._closed = False
        self.crumbs = 0

    @property
    def mid_message(self) -> bool:
        """Whether a message or frame has begun and is not finished, in what was fed and taken.

        A client may begin its next message right behind this one: a caller that keeps a deadline starts it anew
        when a message came out.
        """
        return self._parser is not None or self._at < len(self._buffer)

    @property
    def held(self) -> int:
        """Bytes of the unfinished message or frame that are held."""
        return len(self._buffer) - self._at + len(self._message)

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take bytes and return an iterator over what they completed, decoded as it is taken.

        A caller that finds a flood so stops at its bound and pays for no more. What was not taken comes first
        the next time. After a Close nothing comes.

        Raises:
            RemoteError: the client broke a rule. Raised in its place, after the events before it; the reader
                is of no more use then.
        """
        if not self._closed:
            # Nearly always all was taken, and then the bytes that came are the buffer: nothing is copied.
            self._buffer = self._buffer[self._at :] + data if self._at < len(self._buffer) else data
            self._at = 0
        return self._events()

    def _events(self) -> Iterator[Event]:
        while not self._closed:
            if not self._missing:
                buffer, at = self._buffer, self._at
                # Nearly all messages are like this: of one frame, masked, short, and here.
                if len(buffer) - at >= 6 and buffer[at] in _MESSAGES and not self._fragments:
                    size = buffer[at + 1] - 0x80
                    end = at + 6 + size
                    if 0 <= size < 126 and size <= self._max_bytes and end <= len(buffer):
                        self._at = end
                        yield _event(buffer[at], buffer[at + 2 : at + 6], buffer[at + 6 : end])
                        continue
                frame = self._next_frame()
                if frame is None:
                    return
                if not isinstance(frame, int):
                    yield frame
                    continue
                self._missing = frame
            if self._at == len(self._buffer):
                return
            yield from self._parse()

    def _next_frame(self) -> Event | int | None:
        """Return the next frame as an event; its size if it is one for wsproto; None if bytes are missing."""
        # Only what is surely legal is read here. All else goes to wsproto, which knows each rule and says which one was
        # broken.
        buffer, at = self._buffer, self._at
        here = len(buffer) - at
        if here < 2:
            return None
        first, second = buffer[at], buffer[at + 1]
        size, head = second & 0x7F, 6 if second & 0x80 else 2
        legal = head == 6 and first in _WHOLE
        is_control = first & 0x08
        if size > 125:
            width = 2 if size == 126 else 8
            if here < 2 + width:
                return None
            head += width
            size = int.from_bytes(buffer[at + 2 : at + 2 + width], "big")
            # A length in a longer form than it needs is illegal (RFC 6455 section 5.2), as is a long control frame.
            legal = legal and not is_control and size > (125 if width == 2 else 65_535)
        if is_control:
            if first in _CONTROL and second & 0x7F < 126 and here < head + size:
                return None
        else:
            # Before a byte of the payload is taken: a frame that announces too much costs nothing.
            self._check_bounds(size)
            if here < head:
                return None
            legal = legal and not self._fragments  # a new message in the middle of one: wsproto refuses it
        if legal and here >= head + size:
            self._at = at + head + size
            return _event(first, buffer[at + head - 4 : at + head], buffer[at + head : self._at])
        if not is_control:
            self._size += size
            self._fragments += 1
        return head + size

    def _check_bounds(self, size: int) -> None:
        if self._size + size > self._max_bytes:
            raise RemoteError(TOO_BIG)
        if self._fragments >= self._max_fragments:
            raise RemoteError(BAD_MESSAGE, "too many fragments")

    def _parse(self) -> Iterator[Event]:
        """Give wsproto what there is of its frame, and yield what it makes of it."""
        if self._parser is None:
            self._parser = Connection(ConnectionType.SERVER, [Inflate(self._max_bytes)] if self._deflate else None)
        piece = self._buffer[self._at : self._at + self._missing]
        self._at += len(piece)
        self._missing -= len(piece)
        self._parser.receive_data(piece)
        for event in self._parser.events():
            if isinstance(event, TextMessage):
                self._message += event.data.encode()
                if event.message_finished:
                    yield Text(self._take_message().decode())
            elif isinstance(event, BytesMessage):
                self._message += event.data
                if event.message_finished:
                    yield Binary(self._take_message())
            elif isinstance(event, CloseConnection):
                yield self._close(self._parser, event)
                return

    def _take_message(self) -> bytes:
        message = bytes(self._message)
        self.crumbs = max(0, self._fragments - 1 - self._size // CRUMB_BYTES)
        # The parser goes with its message: ten thousand idle connections hold none.
        self._message = bytearray()
        self._size = self._fragments = 0
        self._parser = None
        return message

    def _close(self, parser: Connection, event: CloseConnection) -> Close:
        self._closed = True
        self._buffer, self._message, self._parser = b"", bytearray(), None
        # wsproto also gives this event for an error that it found; only a close that the client sent moves its state.
        if parser.state is not ConnectionState.REMOTE_CLOSING:
            raise RemoteError(_CLOSINGS.get(event.code, PROTOCOL_ERROR), event.reason or "")
        code = int(event.code)
        return Close(None if code in _UNSENDABLE else code, event.reason or "")


def _event(first: int, mask: bytes, masked: bytes) -> Event:
    size = len(masked)
    if size < 126:
        # XOR of two large integers: one operation in C for the whole payload.
        key = int.from_bytes(mask, "little") * _KEYS[size]
        payload = (int.from_bytes(masked, "little") ^ key).to_bytes((size + 3) & ~3, "little")[:size]
    else:
        payload = _unmask(mask, masked)
    if first == _TEXT:
        try:
            return Text(payload.decode())
        except UnicodeDecodeError:
            raise RemoteError(NOT_UTF8) from None
    if first == _BINARY:
        return Binary(payload)
    return Ping(payload) if first == _PING else Pong(payload)


def _unmask(mask: bytes, payload: bytes) -> bytes:
    size = len(payload)
    if size > 1_000:  # measured: from here on wsproto's slices are the faster way
        return bytes(XorMaskerSimple(mask).process(bytearray(payload)))
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")
