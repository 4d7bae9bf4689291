"""The ways in: what a test can do to whatever serves an app, the server itself or a proxy before it."""

from __future__ import annotations

import json as json_
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Unpack

import trio

from .client_poll import LongPollClient, ShortPollClient
from .client_sse import SseClient
from .client_websocket import FollowClient, WebSocketClient
from .clients import Client, ClientOptions
from .http import PATIENCE_SECONDS, Answer, EventStream, ask, read_answer
from .network import ClientEnd, Line, MemoryLink, Network

__all__ = ["ADDRESS", "Reach"]

ADDRESS: Final = "198.51.100.1"
"""Where requests come from that say nothing else."""

CLIENTS: Final[dict[str, type[Client]]] = {
    client.transport: client for client in (WebSocketClient, SseClient, LongPollClient, ShortPollClient, FollowClient)
}
UPGRADE: Final = {
    "connection": "upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Reach(ABC):
    """Requests to a served app, and clients of it.

    Attributes:
        network: what its clients are connected through: faults may be done to it.
        began: the moment in Trio's seconds from which its clients' dialogues count.
    """

    def __init__(self, network: Network, nursery: trio.Nursery) -> None:
        self.network = network
        self.began = trio.current_time()
        self._nursery = nursery
        self._ends: list[ClientEnd] = []
        self._sweep_at = 32

    @abstractmethod
    def enter(self, link: MemoryLink, address: str) -> None:
        """Take in a connection that has arrived; the client's end finds it reset where nobody listens any more."""

    def connect(
        self, *, address: str = ADDRESS, line: Line | None = None, kernel_bytes: int | None = None
    ) -> ClientEnd:
        """Open a connection and return the client's end of it, at once.

        Args:
            address: the client's, as the server sees it.
            line: what the connection runs over; None: the network's.
            kernel_bytes: short for the line that holds so many bytes each way.
        """
        if kernel_bytes is not None:
            line = Line.holding(kernel_bytes)
        end = self.network.connect(address, lambda link: self.enter(link, address), line)
        self._ends.append(end)
        if len(self._ends) >= self._sweep_at:
            self._ends = [end for end in self._ends if not end.connection.over]
            self._sweep_at = 2 * len(self._ends) + 32
        return end

    def vanish(self) -> None:
        """End all connections to it on both sides at once, whatever is wrong with the network."""
        for end in self._ends:
            end.connection.vanish()

    def start_soon(self, work: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Do a client's own work beside the test; it ends with the server at the latest."""
        self._nursery.start_soon(work, *args)

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
            trio.BrokenResourceError: the connection was reset, or nobody listens any more.
            trio.TooSlowError: there was no whole answer within an hour.
        """
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
        """A client over a transport: ``"websocket"``, ``"sse"``, ``"long poll"``, ``"short poll"`` or ``"follow"``.

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
