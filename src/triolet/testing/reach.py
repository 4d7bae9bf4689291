"""The ways in: what a test can do to whatever serves an app, the server itself or a proxy before it."""

from __future__ import annotations

import json as json_
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Unpack

import trio

from .client_poll import LongPollClient, ShortPollClient
from .client_sse import PlainSseClient, SseClient
from .client_websocket import FollowClient, WebSocketClient
from .clients import Client, ClientOptions
from .entrance import ADDRESS, Entrance
from .http import PATIENCE_SECONDS, Answer, EventStream, ask, read_answer

__all__ = ["ADDRESS", "Reach"]

CLIENTS: Final[dict[str, type[Client]]] = {
    client.transport: client
    for client in (WebSocketClient, SseClient, PlainSseClient, LongPollClient, ShortPollClient, FollowClient)
}
UPGRADE: Final = {
    "connection": "upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Reach(Entrance):
    """Requests to a served app, and clients of it."""

    # --- single requests

    async def request(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        *,
        json: Any = None,
        address: str = ADDRESS,
    ) -> Answer:
        """Send one request on a connection of its own and read the whole answer.

        Args:
            json: a body to be sent as JSON, in place of ``body``.

        Raises:
            TypeError: the body is no bytes.
            trio.BrokenResourceError: the connection was reset, or nobody listens any more.
            trio.TooSlowError: there was no whole answer within an hour.
        """
        if not isinstance(body, (bytes, bytearray, memoryview)):
            what = type(body).__name__
            raise TypeError(f"the body of a request is bytes, not {what}: a JSON value is given as json=")
        asked = dict(headers or {})
        if json is not None:
            body = json_.dumps(json).encode()
            asked.setdefault("content-type", "application/json")
        stream = self.connect(address=address)
        try:
            with trio.fail_after(PATIENCE_SECONDS):
                connection, response = await ask(stream, method, path, asked, body)
                return await read_answer(stream, connection, response)
        finally:
            stream.reset()

    async def get(self, path: str, **headers: str) -> Answer:
        """GET; a header ``last_event_id`` is sent as ``Last-Event-ID``. See :meth:`request`."""
        return await self.request("GET", path, {name.replace("_", "-"): text for name, text in headers.items()})

    async def post(self, path: str, body: bytes = b"", *, json: Any = None, **headers: str) -> Answer:
        """POST. See :meth:`request` and :meth:`get`."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return await self.request("POST", path, named, body, json=json)

    async def upgrade(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        """Ask for a WebSocket, return what was answered (101, or a refusal with its body), and go."""
        return await self.request("GET", path, {**UPGRADE, **(headers or {})})

    # --- clients

    def client(self, transport: str, path: str, **options: Unpack[ClientOptions]) -> Client:
        """A client over a transport: ``"websocket"``, ``"sse"``, ``"plain sse"``, ``"long poll"``, ``"short poll"`` or
        ``"follow"``.

        Args:
            path: the channel's URL.
            options: ``after=`` and others, see :class:`ClientOptions`.

        Returns:
            An async context manager: ``async with server.client("sse", path) as client``.

        Raises:
            ValueError: no such transport.
        """
        if transport not in CLIENTS:
            raise ValueError(f"{transport!r} is no transport: {', '.join(CLIENTS)}")
        return CLIENTS[transport](self, path, **options)

    def websocket(
        self, path: str, *, subprotocols: tuple[str, ...] = (), **options: Unpack[ClientOptions]
    ) -> WebSocketClient:
        """A client on a WebSocket: a channel's URL, or any socket of the app's. See :meth:`client`."""
        return WebSocketClient(self, path, subprotocols=subprotocols, **options)

    def sse(self, path: str, **options: Unpack[ClientOptions]) -> SseClient:
        """A client on an event stream, as a browser's EventSource. See :meth:`client`."""
        return SseClient(self, path, **options)

    def long_poll(self, path: str, *, wait: float | None = None, **options: Unpack[ClientOptions]) -> LongPollClient:
        """A client whose polls wait for an event, ``wait`` seconds at most. See :meth:`client`."""
        return LongPollClient(self, path, wait=wait, **options)

    def short_poll(self, path: str, **options: Unpack[ClientOptions]) -> ShortPollClient:
        """A client that asks again as often as the server says. See :meth:`client`."""
        return ShortPollClient(self, path, **options)

    def follow(self, path: str, *, through: str = "/live", **options: Unpack[ClientOptions]) -> FollowClient:
        """A client that follows a channel by its URL on a socket of the app's, at ``through``. See :meth:`client`."""
        return FollowClient(self, path, through=through, **options)

    @asynccontextmanager
    async def events(
        self, path: str, *, headers: dict[str, str] | None = None, kernel_bytes: int | None = None
    ) -> AsyncIterator[EventStream]:
        """Open an event stream and read it as it is on the wire; a refusal is not raised. See :meth:`sse`."""
        stream = self.connect(kernel_bytes=kernel_bytes)
        asked = {"accept": "text/event-stream", **(headers or {})}
        try:
            connection, response = await ask(stream, "GET", path, asked)
            yield EventStream(stream, connection, response)
        finally:
            stream.reset()
