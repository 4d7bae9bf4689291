"""One request and its answer in HTTP/1.1, and no other behind them: read strictly, as a client's is."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import trio

from ..bounds import ADMIN_BODY_BYTES, ADMIN_HEAD_BYTES, ADMIN_LINGER_SECONDS, ADMIN_READ_BYTES, ADMIN_SECONDS
from ..wire.http_answer import response, stream_response
from ..wire.http_head import BadRequest, Body, Framing, read_head, split_head
from .contract import Answer

__all__ = ["Exchange", "Request"]

_ALWAYS: Final = {
    b"cache-control": b"no-store",
    b"x-content-type-options": b"nosniff",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}
"""A browser neither keeps an answer, nor takes it for something else, nor shows it within a page of others."""


class Request(NamedTuple):
    """The head of a request.

    Attributes:
        method: as it was sent.
        path: the path.
        query: what is behind the question mark; empty where nothing is.
        headers: by name in lower case; of those that stand twice both, with a comma.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]


class Exchange:
    """The one request of a connection.

    Args:
        stream: the operator's.

    Bounds: ``ADMIN_HEAD_BYTES`` of head, ``ADMIN_BODY_BYTES`` of body, and what frames it in chunks.
    """

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self._stream = stream
        self._ahead = b""
        self._framing = Framing(0, False)
        self._is_read = False
        self._waits = False
        self._head_only = False

    async def head(self) -> Request | None:
        """Read the head; None where its client has gone before its end.

        Raises:
            BadRequest: it is none.
        """
        data = b""
        while (end := split_head(data, ADMIN_HEAD_BYTES)) is None:
            more = await self._stream.receive_some(ADMIN_READ_BYTES)
            if not more:
                return None
            data += more
        head = read_head(data[:end])
        self._ahead, self._framing = data[end:], head.framing
        self._head_only = head.method == b"HEAD"
        headers: dict[str, str] = {}
        for name, value in head.headers:
            key, text = name.decode("latin-1"), value.decode("utf-8", "surrogateescape")
            if key in headers and key.startswith("ce-"):
                raise BadRequest(400, f"an attribute of a CloudEvent stands twice: {key}")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        self._waits = headers.get("expect", "").lower() == "100-continue"
        target = head.target.decode("latin-1")
        if not target.startswith("/"):
            target = "/" + target.partition("://")[2].partition("/")[2]  # the absolute form, as to a proxy
        path, _, query = target.partition("?")
        return Request(head.method.decode("latin-1"), path, query, headers)

    @property
    def unread(self) -> bool:
        """Whether there is a body of which not all was read."""
        return not self._is_read and (self._framing.chunked or self._framing.content_length > 0)

    @property
    def is_short(self) -> bool:
        """Whether the body is no longer than what is read at once anyway."""
        return not self._framing.chunked and self._framing.content_length <= ADMIN_READ_BYTES

    async def body(self) -> bytes:
        """Read the body.

        Raises:
            BadRequest: it is too long, is cut short, or its chunks are none.
        """
        framing = self._framing
        if framing.content_length > ADMIN_BODY_BYTES:
            raise _too_long()
        if self._waits and not self._ahead:
            await self._stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")  # RFC 9110 section 10.1.1
        frame, raw = Body(framing), bytearray()
        while True:
            took = frame.take(self._ahead)
            raw += self._ahead[:took]
            self._ahead = self._ahead[took:]
            if frame.size > ADMIN_BODY_BYTES or len(raw) > 2 * ADMIN_BODY_BYTES:  # chunks of a byte each are six
                raise _too_long()
            if frame.finished:
                self._is_read = True
                return _unchunked(raw) if framing.chunked else bytes(raw)
            if self._ahead:
                await trio.lowlevel.checkpoint()  # others have their turn between many chunks
                continue
            self._ahead = bytes(await self._stream.receive_some(ADMIN_READ_BYTES))
            if not self._ahead:
                raise BadRequest(400, "the body is cut short")

    async def answer(self, answer: Answer) -> None:
        """Write an answer.

        Cancellation: a part of it is written.
        """
        headers = {**_ALWAYS, b"content-type": answer.kind.encode()}
        headers |= {name.lower().encode(): text.encode() for name, text in answer.headers.items()}
        if answer.retry is not None:
            headers[b"retry-after"] = b"%d" % answer.retry
        whole = response(answer.status, headers.items(), answer.body, close=True, head_only=self._head_only)
        await self._stream.send_all(whole)

    async def linger(self) -> None:
        """Read on for a moment, so that the answer is not lost with the rest of a body that was not read.

        Cancellation: nothing is lost but the answer, where it is still on its way.
        """
        if self.unread:
            await self._stream.send_eof()
            with trio.move_on_after(ADMIN_LINGER_SECONDS):
                while await self._stream.receive_some(ADMIN_READ_BYTES):
                    pass

    async def stream(self, kind: str, feed: Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]) -> None:
        """Write an answer that goes on, until its client has gone, or takes nothing for ``ADMIN_SECONDS``.

        Args:
            kind: its media type.
            feed: is given what sends a part of it, in chunks of HTTP already, and does so until it is cancelled.

        Cancellation: a part of it is written.
        """
        # A proxy that would hold a part back until it has more: nginx, or one that compresses.
        headers = {**_ALWAYS, b"cache-control": b"no-store, no-transform", b"x-accel-buffering": b"no"}
        await self._stream.send_all(stream_response([*headers.items(), (b"content-type", kind.encode())]))
        if self._head_only:
            return
        with trio.CancelScope() as scope:

            async def send(part: bytes) -> None:
                scope.deadline = trio.current_time() + ADMIN_SECONDS
                await self._stream.send_all(part)
                scope.deadline = math.inf

            await feed(send)


def _too_long() -> BadRequest:
    return BadRequest(413, f"a body has at most {ADMIN_BODY_BYTES} bytes: send several")


def _unchunked(raw: bytearray) -> bytes:
    """Return the content of a body in chunks that has been followed to its end (RFC 9112 section 7.1)."""
    parts: list[bytes] = []
    at = 0
    while True:
        end = raw.index(b"\n", at)
        size = int(bytes(raw[at:end]).partition(b";")[0], 16)
        if not size:
            return b"".join(parts)
        parts.append(bytes(raw[end + 1 : end + 1 + size]))
        if raw[end + 1 + size : end + 3 + size] != b"\r\n":
            raise BadRequest(400, "a chunk is longer than it says")
        at = end + 3 + size
