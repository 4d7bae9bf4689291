"""Serve an app with the guard alone, in memory: no door in front, so that every byte reaches Hypercorn's classes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from quart import Response, request, websocket
from quart_trio import QuartTrio

from triolet.budget import Budget
from triolet.http.app_task import bounded_websockets
from triolet.http.connection import GuardedContext, GuardedServer
from triolet.limits import Limits
from triolet.server.isolation import isolated
from triolet.sockets.stream import ClientStream
from triolet.testing.network import KERNEL_BYTES, ClientEnd, MemoryLink, link_pair

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Tls(ClientStream):
    """A stream that has spoken about HTTP/2, without the cryptography."""

    secure = True

    def __init__(self, link: MemoryLink, budget: Budget, alpn: str) -> None:
        super().__init__(link, budget)
        self._alpn = alpn

    @property
    def protocol(self) -> str | None:
        return self._alpn


class Host:
    """A process with guarded connections.

    Attributes:
        budget: where all of them count what they hold.
        crashes: connections that ended with an error of ours.
        running: connections whose task has not ended.
    """

    def __init__(self, app: Any, limits: Limits, nursery: trio.Nursery) -> None:
        self.app = ASGIWrapper(app)
        self.config = host_config()
        self.context = GuardedContext()
        self.budget = Budget(limits.memory_bytes)
        self.crashes = 0
        self.running = 0
        self.links: list[MemoryLink] = []
        self._limits = limits
        self._nursery = nursery

    def connect(self, alpn: str = "", kernel_bytes: int = KERNEL_BYTES) -> ClientEnd:
        """Open a connection; ``alpn`` is what TLS would have agreed on."""
        client, link = link_pair(kernel_bytes=kernel_bytes)
        self.links.append(link)
        stream = Tls(link, self.budget, alpn) if alpn else ClientStream(link, self.budget)
        self._nursery.start_soon(self._serve, stream)
        return client

    async def ask(self, data: bytes, alpn: str = "") -> bytes:
        """Send bytes on a connection of their own, and return all that comes back until it is closed."""
        client = self.connect(alpn)
        await client.send_all(data)
        answer = await read_all(client)
        await client.aclose()
        return answer

    async def check(self) -> None:
        """A bystander is served, and nothing of anybody else is left."""
        answer = await self.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        await self.check_empty()

    async def check_empty(self) -> None:
        """Nothing of anybody is left."""
        await trio.testing.wait_all_tasks_blocked()
        assert (self.crashes, self.running) == (0, 0)
        assert all(link.closed for link in self.links)
        assert (self.context.served, self.budget.accounts, self.budget.held) == (set(), set(), 0)

    async def _serve(self, stream: Any) -> None:
        server = GuardedServer(self.app, self.config, self.context, {}, stream, limits=self._limits)
        self.running += 1
        try:
            await isolated(server.run, self._crashed)
        finally:
            self.running -= 1

    def _crashed(self) -> None:
        self.crashes += 1


@asynccontextmanager
async def hosted(app: Any = None, limits: Limits | None = None) -> AsyncIterator[Host]:
    """Serve an app for the time of an ``async with`` block; without one, ``demo_app()``."""
    async with trio.open_nursery() as nursery:
        yield Host(app or demo_app(), limits or Limits(), nursery)
        nursery.cancel_scope.cancel()


def host_config() -> Config:
    config = Config()
    config.include_server_header = False
    config.errorlog = None
    return config


def demo_app() -> QuartTrio:
    """A Quart app with a route of each kind that the cases need."""
    app = QuartTrio(__name__)
    app.websocket_class = bounded_websockets(app.websocket_class)

    @app.route("/", methods=["GET", "POST"])
    async def index() -> str:
        return str(len(await request.get_data()))

    @app.get("/big")
    async def big() -> bytes:
        return bytes(1 << 20)

    @app.route("/slow", methods=["GET", "POST"])
    async def slow() -> str:
        await trio.sleep(25)
        return "slow"

    @app.get("/endless")
    async def endless() -> Response:
        async def body() -> AsyncIterator[bytes]:
            while True:
                yield bytes(1_000)

        response = Response(body())
        response.timeout = None
        return response

    @app.websocket("/echo")
    async def echo() -> None:
        while True:
            await websocket.send(await websocket.receive())

    @app.websocket("/deaf")
    async def deaf() -> None:
        await websocket.accept()
        await trio.sleep(1_000)

    @app.websocket("/brief")
    async def brief() -> None:
        await websocket.accept()
        await trio.sleep(1)

    @app.websocket("/chatty")
    async def chatty() -> None:
        while True:
            await websocket.send("x" * 1_000)

    return app


async def read_all(client: ClientEnd, bound: int = 10 << 20) -> bytes:
    """All that comes until the server closes; a reset is an end too."""
    data = b""
    try:
        while chunk := await client.receive_some():
            data += chunk
            assert len(data) < bound
    except trio.BrokenResourceError:
        pass
    return data


async def read_until(client: ClientEnd, end: bytes) -> bytes:
    """All that comes until it ends like this."""
    data = b""
    while not data.endswith(end):
        chunk = await client.receive_some()
        assert chunk, data
        data += chunk
    return data


async def send_until_full(client: ClientEnd, piece: bytes, seconds: float = 10) -> int:
    """Send until the server has taken nothing for so long, or has had enough. Returns how many bytes went out."""
    sent = 0
    with trio.CancelScope() as scope:
        while True:
            scope.deadline = trio.current_time() + seconds
            try:
                await client.send_all(piece)
            except trio.BrokenResourceError:
                break
            sent += len(piece)
    return sent
