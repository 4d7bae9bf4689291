"""Many raw clients on one thread, each reading as fast as it is told: at once, so many bytes a second, or nothing."""

from __future__ import annotations

import json
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from .clients import Message
from .decoding import EventStreamDecoder, WebSocketDecoder
from .raw import PONG, TEXT, frame, http, upgrade
from .server import PATIENCE, Server

__all__ = ["KINDS", "Crowd", "Member"]

KINDS = ("websocket", "sse", "follow")
"""On a channel's URL; as an event stream; by URL on a socket."""

SMALL_BUFFER = 4_096
"""Bytes: what a client's own kernel takes for it when it does not read, so that it is slow at once."""


class Member:
    """One client. It keeps what it heard, with the time; of an event's data all but the padding.

    Attributes:
        pace: bytes a second; None is as fast as it can, 0 is not at all. To be changed with :meth:`Crowd.slow_down`.
        heard: when (``time.monotonic``), and which message.
        code: of the close frame, if one came.
        mute: whether it leaves pings unanswered, as one must in the middle of a frame.
    """

    def __init__(self, server: Server, kind: str, url: str, after: object, buffer: int | None) -> None:
        self.kind = kind
        self.pace: float | None = None
        self.heard: list[tuple[float, Message]] = []
        self.code: int | None = None
        self.mute = False
        self.ended = False
        self.socket = socket.socket()
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(PATIENCE)
        try:
            self.socket.connect(server.address)
            self.socket.sendall(_request(kind, url, after))
        except BaseException:
            self.socket.close()
            raise
        self.socket.setblocking(False)
        self._decoder = EventStreamDecoder() if kind == "sse" else WebSocketDecoder()
        self._head: bytes | None = b""
        self._unsent = bytearray()
        self._allowance = 0.0

    @property
    def events(self) -> list[Message]:
        return self.of("event")

    @property
    def last(self) -> int:
        """The offset that it has come to."""
        for _, message in reversed(self.heard):
            if message["type"] == "event":
                return offset(message["id"])
            if message["type"] == "gap" and message["reason"] != "conflated":
                return offset(message["to"])
        return 0

    def of(self, kind: str) -> list[Message]:
        return [message for _, message in self.heard if message["type"] == kind]

    def send(self, data: bytes) -> None:
        """Send what the kernel takes at once; the rest goes before whatever is sent later."""
        self._unsent += data
        with suppress(OSError):  # full, or gone
            del self._unsent[: self.socket.send(self._unsent)]

    def reset(self) -> None:
        """Drop the connection the hard way."""
        with suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
        self.ended = True

    def receive(self, most: int = 1 << 16) -> int:
        """Take what has come, up to so many bytes. Returns how many."""
        try:
            data = self.socket.recv(most)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        self.ended = not data
        now = time.monotonic()
        for message in self._decoder.feed(self._behind_head(data)):
            self._take(now, message)
        return len(data)

    def sip(self, seconds: float) -> None:
        """Take what its pace allows for so many seconds."""
        assert self.pace is not None
        self._allowance = min(self._allowance + self.pace * seconds, max(1, self.pace))
        if self._allowance >= 1:
            self._allowance -= self.receive(int(self._allowance))

    def _take(self, now: float, message: Message) -> None:
        if message["type"] == "ping":
            if not self.mute:
                self.send(frame(PONG))
            return
        if message["type"] == "close":
            self.code = message["code"]
        if isinstance(message.get("data"), dict):
            message["data"].pop("pad", None)
        self.heard.append((now, message))

    def _behind_head(self, data: bytes) -> bytes:
        """What of the data is not the answer's head."""
        if self._head is None:
            return data
        self._head, found, rest = (self._head + data).partition(b"\r\n\r\n")
        if found:
            assert self._head.startswith((b"HTTP/1.1 101", b"HTTP/1.1 200")), self._head
            self._head = None
        return rest


class Crowd:
    """Members, and the loop that reads for them. Used as a context manager: in the end all are gone."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.members: list[Member] = []
        self._selector = selectors.DefaultSelector()
        self._sipping: list[Member] = []
        self._sipped_at = time.monotonic()

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *error: object) -> None:
        for member in self.members:
            member.socket.close()
        self._selector.close()

    def join(
        self,
        count: int,
        url: str,
        kinds: Iterable[str] = KINDS,
        *,
        after: object = None,
        small: bool = False,
        pace: float | None = None,
    ) -> list[Member]:
        """Connect so many, of these kinds in turn. Those that read as fast as they can are live when this returns."""
        kinds = list(kinds)
        joined = []
        for number in range(count):
            member = Member(self.server, kinds[number % len(kinds)], url, after, SMALL_BUFFER if small else None)
            joined.append(member)
            self.members.append(member)
            self._selector.register(member.socket, selectors.EVENT_READ, member)
            if number % 64 == 63:
                self.turn()
        if pace is None:
            self.run(lambda: all(member.of("live") for member in joined), f"{count} live clients at {url}", 30)
        else:
            self.slow_down(joined, pace)
        return joined

    def slow_down(self, members: Iterable[Member], pace: float | None) -> None:
        """Have members read at another pace from now on."""
        for member in members:
            if member.pace is None and not member.ended:
                self._selector.unregister(member.socket)
            elif member in self._sipping:
                self._sipping.remove(member)
            member.pace = pace
            if pace is None:
                self._selector.register(member.socket, selectors.EVENT_READ, member)
            elif pace > 0:
                self._sipping.append(member)

    def drop(self, member: Member) -> None:
        """Reset one's connection."""
        self.slow_down([member], 0)
        member.reset()

    def run(self, until: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
        """Read until something is so; fail when the time is up."""
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, f"waited {seconds} s for: {what}"
            self.turn()

    def run_for(self, seconds: float) -> None:
        """Read for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.turn()

    def turn(self) -> None:
        """Read once for everybody who may."""
        for key, _ in self._selector.select(0.01):
            member: Member = key.data
            member.receive()
            if member.ended:
                self._selector.unregister(member.socket)
        now = time.monotonic()
        if now - self._sipped_at >= 0.02:
            for member in self._sipping:
                if not member.ended:
                    member.sip(now - self._sipped_at)
            self._sipped_at = now


def offset(cursor: str) -> int:
    """The offset of a cursor."""
    return int(cursor.rpartition(".")[2])


def _request(kind: str, url: str, after: object) -> bytes:
    query = "" if after is None else f"?after={after}"
    if kind == "sse":
        return http(url + query, "Accept: text/event-stream")
    if kind == "websocket":
        return upgrade(url + query)
    follow = {"type": "follow", "url": url} if after is None else {"type": "follow", "url": url, "after": str(after)}
    return upgrade("/talk") + frame(TEXT, json.dumps(follow).encode())
