"""The ways in: what a test can do to whatever serves an app, the server itself or a proxy before it."""

from __future__ import annotations

import json as json_
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias, Unpack
from urllib.parse import urlencode

import trio

from .client_poll import LongPollClient, ShortPollClient
from .client_sse import PlainSseClient, SseClient
from .client_websocket import FollowClient, WebSocketClient
from .clients import Client, ClientOptions
from .cookies import Cookies
from .entrance import ADDRESS, Entrance
from .http import PATIENCE_SECONDS, Answer, EventStream, ask, read_answer
from .network import ClientEnd, Line, MemoryLink

__all__ = ["ADDRESS", "Reach", "User"]

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

Form: TypeAlias = Mapping[str, str | Sequence[str]]
"""The fields of a form, as a page posts them; one that stands there several times has several values."""


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
        form: Form | None = None,
        address: str = ADDRESS,
    ) -> Answer:
        """Send one request on a connection of its own and read the whole answer. What redirects is not followed.

        Args:
            json: a body to be sent as JSON, in place of ``body``.
            form: fields to be sent as a page's form sends them, in place of ``body``.

        Raises:
            TypeError: the body is no bytes, or there is more than one.
            trio.BrokenResourceError: the connection was reset, or nobody listens any more.
            trio.TooSlowError: there was no whole answer within an hour.
        """
        if not isinstance(body, (bytes, bytearray, memoryview)):
            what = type(body).__name__
            raise TypeError(f"the body of a request is bytes, not {what}: a JSON value is given as json=")
        if (body != b"") + (json is not None) + (form is not None) > 1:
            raise TypeError("a request has one body: bytes, json= or form=")
        asked = dict(headers or {})
        if json is not None:
            body = json_.dumps(json, allow_nan=False).encode()
            asked.setdefault("content-type", "application/json")
        if form is not None:
            body = urlencode(form, doseq=True).encode()
            asked.setdefault("content-type", "application/x-www-form-urlencoded")
        stream = self.connect(address=address)
        try:
            with trio.fail_after(PATIENCE_SECONDS):
                connection, response = await ask(stream, method, path, asked, body, cookies=self.cookies)
                return await read_answer(stream, connection, response)
        finally:
            stream.reset()

    async def get(self, path: str, **headers: str) -> Answer:
        """GET; a header ``last_event_id`` is sent as ``Last-Event-ID``. See :meth:`request`."""
        return await self.request("GET", path, {name.replace("_", "-"): text for name, text in headers.items()})

    async def post(self, path: str, body: bytes = b"", *, json: Any = None, form: Any = None, **headers: str) -> Answer:
        """POST. See :meth:`request` and :meth:`get`."""
        # Were `form` a Form here, type checkers would refuse the headers of a dict: `**headers`.
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return await self.request("POST", path, named, body, json=json, form=form)

    async def upgrade(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        """Ask for a WebSocket, return what was answered (101, or a refusal with its body), and go."""
        return await self.request("GET", path, {**UPGRADE, **(headers or {})})

    # --- users, and clients

    def user(self, cookies: Mapping[str, str] | None = None) -> User:
        """Somebody with a browser: requests and clients of theirs, on every transport, share their cookies.

        What is asked of the server itself (``server.get``, ``server.client``) is asked by nobody in particular, and
        keeps no cookies.

        Args:
            cookies: those that they have already: of a user from before a restart, say.
        """
        return User(self, cookies or {})

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
            connection, response = await ask(stream, "GET", path, asked, cookies=self.cookies)
            yield EventStream(stream, connection, response)
        finally:
            stream.reset()


class User(Reach):
    """Somebody with a browser: all that the server is asked by, with the cookies that its answers have set.

    A ``cookie`` among the headers of a request or a client goes in place of them.

    Attributes:
        cookies: by name: ``ann.cookies["session"]``.
    """

    cookies: Cookies

    def __init__(self, reach: Reach, cookies: Mapping[str, str]) -> None:
        super().__init__(reach.network, reach._nursery)
        self.began = reach.began
        self.cookies = Cookies(cookies)
        self._reach = reach

    def connect(
        self, *, address: str = ADDRESS, line: Line | None = None, kernel_bytes: int | None = None
    ) -> ClientEnd:
        """See :meth:`Entrance.connect`: the server's connection, and this user's."""
        return self._keep(self._reach.connect(address=address, line=line, kernel_bytes=kernel_bytes))

    def enter(self, link: MemoryLink, address: str) -> None:
        """See :meth:`Entrance.enter`."""
        self._reach.enter(link, address)
