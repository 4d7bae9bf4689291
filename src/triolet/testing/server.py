"""The whole server in memory: the door, Hypercorn's protocol code, Quart, hub and outlets, on Trio's virtual clock."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import h11
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from ..hub import Hub
from ..server.worker import Settings, Worker
from .network import KERNEL_BYTES, ClientEnd, link_pair

__all__ = ["Answer", "EventStream", "MemoryServer", "WebSocketClient", "serve"]

HANDSHAKE_SECONDS = 60
"""Within which a server must answer an upgrade, or its client fails."""


class Answer:
    """An HTTP response, read to its end."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class MemoryServer:
    """A served app, and ways to reach it.

    Attributes:
        worker: the real one.
        hub: the app's, if it has a Triolet.
        stop: set it, and the server drains. ``stop_now`` ends it at once, once it drains.
        ended: set when the server has ended.
    """

    def __init__(self, app: Any, worker: Worker, hub: Hub | None) -> None:
        self.app = app
        self.worker = worker
        self.hub = hub
        self.stop = trio.Event()
        self.stop_now = trio.Event()
        self.ended = trio.Event()
        self._clients: list[ClientEnd] = []

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return self.worker.admission.connections

    @property
    def followers(self) -> int:
        """How many followers there are, and long polls that wait."""
        return 0 if self.hub is None else self.hub.statistics().followers

    def connect(self, *, address: str = "198.51.100.1", kernel_bytes: int = KERNEL_BYTES) -> ClientEnd:
        """Open a connection and return the client's end of it. A server that drains listens no longer."""
        client, link = link_pair((address, 50_000), kernel_bytes)
        self._clients.append(client)
        if self.worker.draining.is_set():
            link.abort()
        else:
            self.worker.enter(link, address)
        return client

    async def request(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        """Send one request on a connection of its own and read the whole answer."""
        stream = self.connect()
        try:
            connection, response = await _ask(stream, method, path, headers or {}, body)
            return await _read_answer(stream, connection, response)
        finally:
            stream.reset()

    async def get(self, path: str, **headers: str) -> Answer:
        """GET; a header ``last_event_id`` is sent as ``Last-Event-ID``."""
        return await self.request("GET", path, {name.replace("_", "-"): text for name, text in headers.items()})

    async def post(self, path: str, body: bytes = b"") -> Answer:
        """POST."""
        return await self.request("POST", path, body=body)

    async def upgrade(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        """Ask for a WebSocket, return what was answered (101, or a refusal with its body), and go."""
        stream = self.connect()
        asked = {
            "connection": "upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            **(headers or {}),
        }
        try:
            connection, response = await _ask(stream, "GET", path, asked, b"")
            return await _read_answer(stream, connection, response)
        finally:
            stream.reset()

    @asynccontextmanager
    async def websocket(
        self, path: str, *, headers: dict[str, str] | None = None, kernel_bytes: int = KERNEL_BYTES
    ) -> AsyncIterator[WebSocketClient]:
        """Open a WebSocket with trio-websocket, an independent client."""
        stream = self.connect(kernel_bytes=kernel_bytes)
        extra = [(name.encode(), text.encode()) for name, text in (headers or {}).items()]
        async with trio.open_nursery() as nursery:
            with trio.fail_after(HANDSHAKE_SECONDS):
                connection = await wrap_client_stream(nursery, cast(Any, stream), "test", path, extra_headers=extra)
            try:
                yield WebSocketClient(connection, stream)
            finally:
                stream.reset()
                nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def events(
        self, path: str, *, headers: dict[str, str] | None = None, kernel_bytes: int = KERNEL_BYTES
    ) -> AsyncIterator[EventStream]:
        """Open an event stream (SSE)."""
        stream = self.connect(kernel_bytes=kernel_bytes)
        asked = {"accept": "text/event-stream", **(headers or {})}
        try:
            connection, response = await _ask(stream, "GET", path, asked, b"")
            yield EventStream(stream, connection, response)
        finally:
            stream.reset()


class WebSocketClient:
    """A WebSocket with JSON messages."""

    def __init__(self, connection: WebSocketConnection, stream: ClientEnd) -> None:
        self.connection = connection
        self.stream = stream

    async def next(self) -> dict[str, Any]:
        """The next message."""
        message: dict[str, Any] = json.loads(await self.connection.get_message())
        return message

    async def event(self) -> dict[str, Any]:
        """The next message that is an event."""
        while (message := await self.next())["type"] != "event":
            pass
        return message

    async def say(self, **message: Any) -> None:
        """Send a message."""
        await self.connection.send_message(json.dumps(message))

    async def until(self, kind: str) -> dict[str, Any]:
        """The next message of a type."""
        while (message := await self.next())["type"] != kind:
            pass
        return message

    async def ended(self) -> tuple[int, str]:
        """Read on to the end of the connection: its close code and reason, as the server gave them."""
        try:
            while True:
                await self.connection.get_message()
        except ConnectionClosed as end:
            return (1006, "") if end.reason is None else (end.reason.code, end.reason.reason or "")


class EventStream:
    """An event stream, read block by block. ``status`` and ``headers`` are the response's."""

    def __init__(
        self,
        stream: ClientEnd,
        connection: h11.Connection,
        response: h11.Response | h11.InformationalResponse,
    ) -> None:
        self.stream = stream
        self.status = response.status_code
        self.headers = {name.decode().lower(): value.decode() for name, value in response.headers}
        self._connection = connection
        self._text = ""

    async def block(self) -> dict[str, str] | None:
        """The fields of the next block; None at the end of the stream."""
        while "\n\n" not in self._text:
            event = await _next(self.stream, self._connection)
            if not isinstance(event, h11.Data):
                return None
            self._text += bytes(event.data).decode()
        block, _, self._text = self._text.partition("\n\n")
        return dict(line.split(": ", 1) for line in block.split("\n"))

    async def event(self) -> dict[str, Any] | None:
        """The next event that is none of Triolet's own: ``id``, ``event``, ``data``. None at the end."""
        while (block := await self.block()) is not None:
            if "event" in block and not block["event"].startswith("triolet."):
                return {**block, "data": json.loads(block["data"])}
        return None

    async def own(self, name: str) -> dict[str, Any] | None:
        """The data of the next event of Triolet's own with a name: ``open``, ``live``, ``gap``, ``beat``, ``bye``."""
        while (block := await self.block()) is not None:
            if block.get("event") == f"triolet.{name}":
                data: dict[str, Any] = json.loads(block["data"])
                return data
        return None


@asynccontextmanager
async def serve(app: Any, **settings: Any) -> AsyncIterator[MemoryServer]:
    """Serve an app in memory for the time of an ``async with`` block; it drains at the end.

    Args:
        app: the ASGI app, usually a QuartTrio with a Triolet.
        settings: of :class:`triolet.server.worker.Settings`; the limits are those of the app's Triolet.

    Raises:
        AssertionError: at the end of a block that ends well, if a connection outlives its client, or a follower
            its connection.
    """
    service = getattr(app, "extensions", {}).get("triolet")
    if service is not None:
        service.random.seed(0)  # beats and returns are drawn; the same on every run
    chosen = Settings(**settings)
    if service is not None and "limits" not in settings:
        chosen = replace(chosen, limits=service.limits)
    worker = Worker(app, chosen)
    server = MemoryServer(app, worker, None)

    async def stop() -> None:
        await (server.stop_now if server.stop.is_set() else server.stop).wait()

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        try:
            await worker.run([], stop, task_status=task_status)
        finally:
            server.ended.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        if service is not None:
            server.hub = service.surroundings.hub
        try:
            yield server
            await _check_all_leave(server, chosen.limits.goodbye_seconds)
        finally:
            server.stop.set()
    assert server.followers == 0, f"{server.followers} followers are left"


async def _check_all_leave(server: MemoryServer, goodbye_seconds: float) -> None:
    """Once its client has gone, a connection may take the time of a goodbye, and the app's task as much again."""
    for client in server._clients:
        client.reset()
    if server.connections:
        await trio.sleep(3 * goodbye_seconds)
    assert server.connections == 0, f"{server.connections} connections are left"
    assert server.followers == 0, f"{server.followers} followers are left"


async def _ask(
    stream: ClientEnd, method: str, path: str, headers: dict[str, str], body: bytes
) -> tuple[h11.Connection, h11.Response | h11.InformationalResponse]:
    connection = h11.Connection(h11.CLIENT)
    asked = {"host": "test", **headers}
    if body or method == "POST":
        asked["content-length"] = str(len(body))
    fields = [(name.encode("ascii"), value.encode("latin-1")) for name, value in asked.items()]
    await stream.send_all(connection.send(h11.Request(method=method, target=path, headers=fields)) or b"")
    if body:
        await stream.send_all(connection.send(h11.Data(data=body)) or b"")
    await stream.send_all(connection.send(h11.EndOfMessage()) or b"")
    response = await _next(stream, connection)
    assert isinstance(response, h11.Response | h11.InformationalResponse), response
    return connection, response


async def _read_answer(
    stream: ClientEnd, connection: h11.Connection, response: h11.Response | h11.InformationalResponse
) -> Answer:
    parts = []
    if isinstance(response, h11.Response):
        while isinstance(event := await _next(stream, connection), h11.Data):
            parts.append(bytes(event.data))
    found = {name.decode().lower(): value.decode("latin-1") for name, value in response.headers}
    return Answer(response.status_code, found, b"".join(parts))


async def _next(stream: ClientEnd, connection: h11.Connection) -> Any:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await stream.receive_some())
    return event
