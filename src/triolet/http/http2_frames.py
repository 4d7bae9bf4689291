"""What a client's frames cost, and where each ends: HTTP/2 below h2, which takes whatever comes.

Every frame costs us more than its sender, but what is known to be content. To list what is costly would leave out what
nobody has thought of; so it is not a list of kinds. A frame is handed to h2 alone, and what comes of it says what it
was worth: a request, bytes of a body, or the end of one. All else is paid for out of a budget.

Bytes of a body are content in proportion. A frame of one byte costs us what one of 1 KiB does, and counts as a message
would: who sends too many is not ended but slowed down, since that is no fault.

One kind of frame is honest in any number: a client that takes content must give the windows back. So content that was
sent earns such frames. A client that gives back byte by byte earns nothing by it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

import h2.events
import h2.settings
from h2.errors import ErrorCodes

from ..wire.rate_limit import Rate
from .bounds import (
    HTTP2_CRUMB_BYTES,
    HTTP2_CRUMB_COST,
    HTTP2_EARNED_BY_FRAME,
    HTTP2_EARNED_EVERY_BYTES,
    HTTP2_EARNING_BYTES,
    HTTP2_FRAMES_AT_ONCE,
    HTTP2_FRAMES_PER_SECOND,
    HTTP2_RESETS_AT_ONCE,
    HTTP2_RESETS_PER_SECOND,
    HTTP2_STREAMS_A_FRAME,
)

__all__ = ["PING", "Frames", "Spending", "TooMuchError", "goaway", "is_plain"]

PREFACE_BYTES: Final = 24
"""What a client begins with (RFC 9113 section 3.4)."""
HEAD_BYTES: Final = 9
"""Of each frame (RFC 9113 section 4.1)."""

PING: Final = b"triolet?"
"""What a ping of ours says, in the eight bytes that it has."""

_HEADERS: Final = 1
_SETTINGS: Final = 4
_PUSH_PROMISE: Final = 5
_GOAWAY: Final = 7
_CONTINUATION: Final = 9
_ACK: Final = 1
_END_HEADERS: Final = 4

_SETTINGS_KNOWN: Final = frozenset(h2.settings.SettingCodes)

_METHOD: Final = re.compile(rb"[A-Za-z][-A-Za-z]{0,31}")
_PATH: Final = re.compile(rb"/[!\"$-~]*|\*")


class TooMuchError(Exception):
    """The connection ends, with this code."""

    def __init__(self, code: ErrorCodes) -> None:
        super().__init__(code)
        self.code = code


class Frames:
    """Cuts what is read into frames.

    h2 would wait for the end of a frame of 16 MiB before it finds it too large, and keep a megabyte of headers that
    do not end.

    Args:
        header_bytes: the largest head of a request, in all its frames.
        frame_bytes: the largest frame.

    Bounds: one frame that is not whole, and one head.
    """

    def __init__(self, header_bytes: int, frame_bytes: int) -> None:
        self._header_bytes = header_bytes
        self._frame_bytes = frame_bytes
        self._preface = PREFACE_BYTES
        self._begun = False  # with SETTINGS, which end the preface: h2 would serve a request before them
        self._ahead = b""
        self._head = 0

    @property
    def held(self) -> int:
        """Bytes that wait for others, here and in h2."""
        return len(self._ahead) + self._head

    def split(self, data: bytes) -> Iterator[bytes]:
        """Yield the whole frames, one by one; the preface comes in what pieces it comes.

        Raises:
            TooMuchError: one is too large, or the first are no SETTINGS (RFC 9113 section 3.4).
        """
        data = self._ahead + data
        at = min(self._preface, len(data))
        if at:
            self._preface -= at
            yield data[:at]
        while (end := self._end(data, at)) <= len(data):
            if not self._begun and data[at + 3] != _SETTINGS:
                raise TooMuchError(ErrorCodes.PROTOCOL_ERROR)
            self._begun = True
            self._count_head(data[at + 3], data[at + 4], end - at)
            yield _known_settings(data[at:end]) if data[at + 3] == _SETTINGS else data[at:end]
            at = end
        self._ahead = data[at:]

    def _end(self, data: bytes, at: int) -> int:
        if len(data) < at + HEAD_BYTES:
            return at + HEAD_BYTES
        size = int.from_bytes(data[at : at + 3], "big")
        if size > self._frame_bytes:
            raise TooMuchError(ErrorCodes.FRAME_SIZE_ERROR)
        return at + HEAD_BYTES + size

    def _count_head(self, kind: int, flags: int, size: int) -> None:
        if kind not in (_HEADERS, _PUSH_PROMISE, _CONTINUATION):
            return
        self._head += size
        if flags & _END_HEADERS:
            self._head = 0
        elif self._head > self._header_bytes:
            raise TooMuchError(ErrorCodes.ENHANCE_YOUR_CALM)


def _known_settings(frame: bytes) -> bytes:
    """A SETTINGS frame without what nobody here knows, which is to be ignored (RFC 9113 section 6.5.2). h2 keeps each
    number that it has ever heard, at 800 bytes: all 65,536 of them would be 50 MB."""
    if (len(frame) - HEAD_BYTES) % 6 or frame[4] & _ACK:
        return frame  # an acknowledgement; or one that h2 refuses
    said = dict(struct.iter_unpack(">HI", frame[HEAD_BYTES:]))  # of several the last is meant
    kept = b"".join(struct.pack(">HI", name, value) for name, value in said.items() if name in _SETTINGS_KNOWN)
    return len(kept).to_bytes(3, "big") + frame[3:HEAD_BYTES] + kept


class Spending:
    """What one client's frames have cost, and what it has earned."""

    def __init__(self) -> None:
        self._rate = Rate(HTTP2_FRAMES_PER_SECOND, HTTP2_FRAMES_AT_ONCE)
        self._resets = Rate(HTTP2_RESETS_PER_SECOND, HTTP2_RESETS_AT_ONCE)
        self._earned = 0

    def pay(self, now: float, events: list[h2.events.Event], waiting: Callable[[int | None], int]) -> None:
        """Pay for a frame, unless it was content.

        Args:
            events: what came of it.
            waiting: tells how many streams wait for the window of a stream, or of the connection.

        Raises:
            TooMuchError: there is nothing left to pay with.
        """
        if _is_content(events):
            return
        for event in events:
            if isinstance(event, h2.events.StreamReset):
                if self._resets.take(now) > 0:
                    raise TooMuchError(ErrorCodes.ENHANCE_YOUR_CALM)
                return
            if isinstance(event, h2.events.WindowUpdated):
                self.give_back(now, event.delta, waiting(event.stream_id))
                return
        woken = waiting(None) if any(_changes_windows(event) for event in events) else 0
        self.spend(now, 1 + woken // HTTP2_STREAMS_A_FRAME)

    def earn(self, size: int, whole: bool) -> None:
        """A frame of content was sent.

        Args:
            size: its bytes.
            whole: whether it ends a batch. Else a window has cut it.
        """
        if whole or size >= HTTP2_EARNING_BYTES:
            self._earned = min(
                self._earned + HTTP2_EARNED_BY_FRAME + size // HTTP2_EARNED_EVERY_BYTES, HTTP2_FRAMES_AT_ONCE
            )

    def spend(self, now: float, cost: int = 1) -> None:
        """Pay for a frame. Raises TooMuchError where that is not possible."""
        if cost and self._rate.take(now, cost) > 0:
            raise TooMuchError(ErrorCodes.ENHANCE_YOUR_CALM)

    def give_back(self, now: float, delta: int, waiting: int) -> None:
        """Pay for a window that is given back: out of what was earned, as far as that goes.

        Args:
            delta: the bytes that are given.
            waiting: the streams that wait for it. Each is woken.

        Raises:
            TooMuchError: there is nothing left to pay with.
        """
        cost = 1 + waiting // HTTP2_STREAMS_A_FRAME
        if waiting and delta < HTTP2_CRUMB_BYTES:
            cost += HTTP2_CRUMB_COST - 1
        earned = min(cost, self._earned)
        self._earned -= earned
        self.spend(now, cost - earned)


def _is_content(events: list[Any]) -> bool:
    """Whether what came of a frame is what HTTP is for: a request, bytes of a body, or the end of one."""
    return any(
        isinstance(event, h2.events.RequestReceived)
        or (isinstance(event, h2.events.DataReceived) and (event.data or event.stream_ended is not None))
        for event in events
    )


def goaway(last_stream: int) -> bytes:
    """A GOAWAY without an error (RFC 9113 section 6.8): streams up to this one are answered, later ones may be asked
    again elsewhere. h2 makes one only together with the end of all streams."""
    return struct.pack(">BHBBIII", 0, 8, _GOAWAY, 0, 0, last_stream, ErrorCodes.NO_ERROR)


def _changes_windows(event: h2.events.Event) -> bool:
    """Whether it may wake the streams that wait for a window, each of them."""
    return (
        isinstance(event, h2.events.RemoteSettingsChanged)
        and h2.settings.SettingCodes.INITIAL_WINDOW_SIZE in event.changed_settings
    )


def is_plain(pseudo: dict[bytes, bytes]) -> bool:
    """Whether a request's pseudo-headers are such as HTTP/1.1 could say, or open a WebSocket (RFC 8441)."""
    method, protocol = pseudo.get(b":method", b""), pseudo.get(b":protocol")
    if method == b"CONNECT" and protocol != b"websocket":
        return False
    return (
        (protocol is None or method == b"CONNECT")
        and _METHOD.fullmatch(method) is not None
        and _PATH.fullmatch(pseudo.get(b":path", b"")) is not None
    )
