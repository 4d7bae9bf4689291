"""The operator's listener: metrics and health over HTTP, apart from where clients come in.

It is no part of the app and of no use to clients, so it has a listener of its own, by default none. It answers one
request a connection, takes few of them at once, and none of it can hold up the worker: it is cancelled with it.
"""

from __future__ import annotations

import logging
import socket
from functools import partial
from typing import Protocol

import trio

from ..bounds import (
    STATUS_BACKLOG,
    STATUS_CONNECTIONS,
    STATUS_HEAD_BYTES,
    STATUS_PAUSE_SECONDS,
    STATUS_READ_BYTES,
    STATUS_SECONDS,
)
from .acceptor import OUT_OF_DESCRIPTORS
from .isolation import isolated
from .listeners import listen

__all__ = ["Observed", "serve_status", "serve_status_on"]

logger = logging.getLogger("triolet.server")


TEXT = "text/plain; charset=utf-8"
_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Observed(Protocol):
    """What there is to see: a worker, or several."""

    @property
    def ready(self) -> bool:
        """Whether new clients should be sent here."""

    async def exposition(self) -> tuple[str, bytes] | None:
        """The metrics as a content type and a body; None where the app has none."""


async def serve_status_on(listener: socket.socket, observed: Observed) -> None:
    """Answer on a bound socket until cancelled. The caller closes it.

    Bounds: ``STATUS_CONNECTIONS`` connections, each for ``STATUS_SECONDS``; where there is one more, the oldest is cut
    off, so that clients that only hold a connection cannot keep a scrape waiting.
    """
    listen(listener, STATUS_BACKLOG)
    accepting = trio.socket.from_stdlib_socket(listener)
    scopes: dict[trio.CancelScope, None] = {}
    async with trio.open_nursery() as nursery:
        while True:
            stream = await _accept(accepting)
            if len(scopes) >= STATUS_CONNECTIONS:
                oldest = next(iter(scopes))
                oldest.cancel()
                del scopes[oldest]
            nursery.start_soon(_serve_in_scope, stream, observed, scopes)


async def serve_status(stream: trio.abc.Stream, observed: Observed) -> None:
    """Answer one request and close: ``/metrics``, ``/health/live`` and ``/health/ready``.

    Cancellation: the stream is closed all the same.
    """
    try:
        with trio.move_on_after(STATUS_SECONDS):
            head = await _read_head(stream)
            if head is not None:
                await stream.send_all(await _answer(head, observed))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the client is gone
    finally:
        await trio.aclose_forcefully(stream)


async def _accept(listener: trio.socket.SocketType) -> trio.SocketStream:
    while True:
        try:
            connected, _ = await listener.accept()
            return trio.SocketStream(connected)
        except OSError as error:
            if error.errno in OUT_OF_DESCRIPTORS:
                await trio.sleep(STATUS_PAUSE_SECONDS)


async def _serve_in_scope(stream: trio.abc.Stream, observed: Observed, scopes: dict[trio.CancelScope, None]) -> None:
    with trio.CancelScope() as scope:
        scopes[scope] = None
        try:
            await isolated(partial(serve_status, stream, observed), _was_logged)
        finally:
            scopes.pop(scope, None)


async def _read_head(stream: trio.abc.Stream) -> bytes | None:
    """The head of a request; None where it is too long, or was never finished."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some(STATUS_READ_BYTES)
        if not more or len(data) > STATUS_HEAD_BYTES:
            return None
        data += more
    return data


async def _answer(head: bytes, observed: Observed) -> bytes:
    method, _, rest = head.partition(b" ")
    if method not in (b"GET", b"HEAD"):
        return _response(405, b"only GET\n", more="Allow: GET, HEAD\r\n")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    return await _look(path, observed, with_body=method == b"GET")


async def _look(path: bytes, observed: Observed, *, with_body: bool) -> bytes:
    if path == b"/metrics" and (found := await observed.exposition()) is not None:
        return _response(200, found[1], kind=found[0], with_body=with_body)
    if path == b"/health/live":
        return _response(200, b"live\n", with_body=with_body)
    if path == b"/health/ready":
        ready = observed.ready
        return _response(200 if ready else 503, b"ready\n" if ready else b"not ready\n", with_body=with_body)
    return _response(404, b"/metrics, /health/live, /health/ready\n", with_body=with_body)


def _response(status: int, body: bytes, *, kind: str = TEXT, more: str = "", with_body: bool = True) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"Cache-Control: no-store\r\n{more}Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + (body if with_body else b"")


def _was_logged() -> None:
    """Nothing more is to be done about it."""
