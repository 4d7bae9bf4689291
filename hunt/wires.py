"""What a client reads, strictly: whatever a standard does not allow raises :class:`MalformedError`. All sans-IO."""

from __future__ import annotations

import base64
import codecs
import json
import re
import zlib
from collections.abc import Iterator
from hashlib import sha1
from typing import Any

from .history import Message

__all__ = ["EventStreamReader", "FrameReader", "MalformedError", "accept_for", "encode_frame", "read_head"]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
LAST_BYTES_OF_A_FLUSH = b"\x00\x00\xff\xff"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class MalformedError(Exception):
    """Bytes that no standard allows; the message says what and where."""


class FrameReader:
    """Reads a server's WebSocket frames (RFC 6455 section 5, RFC 7692 where ``deflate`` was agreed on)."""

    def __init__(self, *, deflate: bool = False) -> None:
        self._deflate = deflate
        self._buffer = bytearray()
        self._parts: list[bytes] | None = None
        self._closed = False

    @property
    def mid_frame(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take in bytes and yield whole messages, and control frames as messages of their own."""
        self._buffer += data
        while (frame := self._frame()) is not None:
            message = self._control(*frame) if frame[0] & 8 else self._data(*frame)
            if message is not None:
                yield message

    def _frame(self) -> tuple[int, bool, bool, bytes] | None:
        """The next whole frame: opcode, FIN, RSV1, payload."""
        held = self._buffer
        if len(held) < 2:
            return None
        if self._closed:
            raise MalformedError(f"bytes behind the close frame: {bytes(held[:20])!r}")
        opcode, size, at = held[0] & 15, held[1], 2
        if held[0] & 0x30 or (held[0] & 0x40 and not self._deflate):
            raise MalformedError(f"reserved bits are set: {held[0]:#04x}")
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise MalformedError(f"no frame has the opcode {opcode}")
        if size & 0x80:
            raise MalformedError("a server's frame is masked")
        if size > 125:
            at = 4 if size == 126 else 10
            if len(held) < at:
                return None
            size = int.from_bytes(held[2:at], "big")
            if size < (126 if at == 4 else 1 << 16):
                raise MalformedError("a frame's length is not in its shortest form")
        if opcode & 8 and (size > 125 or not held[0] & 0x80):
            raise MalformedError("a control frame is too long, or in pieces")
        if len(held) < at + size:
            return None
        found = (opcode, bool(held[0] & 0x80), bool(held[0] & 0x40), bytes(held[at : at + size]))
        del held[: at + size]
        return found

    def _control(self, opcode: int, fin: bool, rsv1: bool, payload: bytes) -> Message:
        if rsv1:
            raise MalformedError("a control frame is deflated")
        if opcode != CLOSE:
            return {"type": "ping" if opcode == PING else "pong", "payload": payload.decode("latin-1")}
        self._closed = True
        if len(payload) == 1:
            raise MalformedError("a close frame of one byte")
        code = int.from_bytes(payload[:2], "big") if payload else None
        return {"type": "close", "code": code, "reason": _text(payload[2:])}

    def _data(self, opcode: int, fin: bool, rsv1: bool, payload: bytes) -> Message | None:
        if (opcode == CONTINUATION) != (self._parts is not None):
            raise MalformedError("a message begins within another" if self._parts else "a continuation of nothing")
        if opcode == BINARY:
            raise MalformedError("a binary message")
        if rsv1:
            if not fin:
                raise MalformedError("a deflated message in pieces")
            payload = _inflated(payload)
        self._parts = [*(self._parts or []), payload]
        if not fin:
            return None
        whole, self._parts = b"".join(self._parts), None
        return _object(_text(whole))


class EventStreamReader:
    """Reads an event stream as the HTML standard says (section 9.2.6).

    Attributes:
        last_id: what a browser would send as ``Last-Event-ID``.
        retry: ms after which a browser would come back; None while it was told nothing.
    """

    def __init__(self) -> None:
        self.last_id: str | None = None
        self.retry: int | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._begun = False
        self._fields: dict[str, list[str]] = {}

    @property
    def mid_block(self) -> bool:
        """Whether a block has begun and not ended."""
        return bool(self._text or self._fields)

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take in bytes of the body and yield what is dispatched, in the shape that all transports share."""
        try:
            text = self._decoder.decode(data)
        except UnicodeDecodeError as error:
            raise MalformedError(f"no UTF-8: {error}") from None
        if text and not self._begun:
            self._begun = True
            text = text.removeprefix("\ufeff")
        *lines, self._text = re.split("\r\n|\n|\r", self._text + text)
        for line in lines:
            if line:
                self._line(line)
            elif self._fields:
                fields, self._fields = self._fields, {}
                if message := self._dispatch(fields):
                    yield message

    def _line(self, line: str) -> None:
        if line.startswith(":"):
            return
        name, _, value = line.partition(":")
        if name not in ("event", "data", "id", "retry", "time"):
            raise MalformedError(f"a line that we never write: {line[:60]!r}")
        self._fields.setdefault(name, []).append(value.removeprefix(" "))

    def _dispatch(self, fields: dict[str, list[str]]) -> Message | None:
        if "id" in fields and "\0" not in fields["id"][-1]:
            self.last_id = fields["id"][-1]
        if "retry" in fields:
            if not fields["retry"][-1].isdecimal():
                raise MalformedError(f"retry is no number: {fields['retry']}")
            self.retry = int(fields["retry"][-1])
        if any(len(values) > 1 for values in fields.values()):
            raise MalformedError(f"a field stands twice in one block: {fields}")
        if "data" not in fields:
            return None
        kind = fields.get("event", ["message"])[0]
        if kind.startswith("triolet."):
            told = _object(fields["data"][0])
            if told.get("type") != kind.removeprefix("triolet."):
                raise MalformedError(f"an event {kind} that says it is {told.get('type')!r}")
            return {**told, "last_id": self.last_id}
        found = {"type": "event", "event": kind, "id": fields.get("id", [""])[0], "last_id": self.last_id}
        return {**found, "data": _json(fields["data"][0])}


def read_head(data: bytes) -> tuple[int, dict[str, str], bytes] | None:
    """The status and headers of an answer, and what is behind them; None while it is not whole."""
    head, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    match = re.fullmatch(r"HTTP/1\.1 (\d{3}) ?[ -~]*", first)
    if match is None:
        raise MalformedError(f"no status line: {first[:80]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        field = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*", line)
        if field is None:
            raise MalformedError(f"no header: {line[:80]!r}")
        headers[field[1].lower()] = field[2]
    return int(match[1]), headers, rest


def accept_for(key: str) -> str:
    """What a server must answer to a ``Sec-WebSocket-Key`` (RFC 6455 section 4.2.2)."""
    return base64.b64encode(sha1(key.encode() + GUID, usedforsecurity=False).digest()).decode()


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """A client's frame, masked with zeros."""
    if len(payload) < 126:
        head = bytes((0x80 | opcode, 0x80 | len(payload)))
    elif len(payload) < 1 << 16:
        head = bytes((0x80 | opcode, 0x80 | 126)) + len(payload).to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + len(payload).to_bytes(8, "big")
    return head + bytes(4) + payload


def _inflated(payload: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=-15)
    try:
        return inflater.decompress(payload + LAST_BYTES_OF_A_FLUSH)
    except zlib.error as error:
        raise MalformedError(f"cannot be inflated: {error}") from None


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise MalformedError(f"no UTF-8: {error}") from None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise MalformedError(f"no JSON: {text[:80]!r}") from None


def _object(text: str) -> Message:
    found = _json(text)
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise MalformedError(f"no message: {text[:80]!r}")
    return found
