"""An app whose clients' identities expire, and the ways on which they come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from quart import abort
from quart_trio import QuartTrio

from tests.paths import memory
from tests.paths.stock import serve_stock
from triolet import BadToken, Connection, EventLog, Identity, Limits, Triolet
from triolet.clock import wall_time
from triolet.testing.http import Answer
from triolet.testing.network import MemoryLink
from triolet.testing.server import MemoryServer

__all__ = [
    "ORDER",
    "ORDERS",
    "OWN_PATHS",
    "PATHS",
    "STREAMS",
    "Sent",
    "Shared",
    "bearer",
    "deadlines",
    "make_shop",
    "post",
    "sent",
    "served",
    "token",
]

PATHS = memory.IN_MEMORY
OWN_PATHS = [path for path in PATHS if path != "hypercorn"]
STREAMS = ["websocket", "sse"]
ORDERS = "/orders/7/events"
ORDER = "orders/7"


def bearer(subject: str, seconds: float | None = None) -> dict[str, str]:
    """The headers of a client that is somebody for so many seconds."""
    return {"authorization": f"Bearer {token(subject, seconds)}"}


def token(subject: str, seconds: float | None = None) -> str:
    """A token that says who it is, and until when."""
    return subject if seconds is None else f"{subject}@{wall_time() + seconds}"


def make_shop(
    limits: Limits | None = None, *, log: Any = "memory:", ask_seconds: float = 0
) -> tuple[QuartTrio, Triolet]:
    """An app with a channel, a socket to follow on, one that tells who its client is, and a raw one."""
    app = QuartTrio("orders")
    live = Triolet(app, limits=limits, log=log, origins=["https://shop.example"])

    @live.identify
    async def who(token: str | None) -> Identity | None:
        await trio.sleep(ask_seconds)
        if token is None:
            return None
        subject, _, until = token.partition("@")
        if subject == "blocked":
            abort(403)
        if subject == "broken":
            raise RuntimeError("a bug")
        if subject == "bad":
            raise BadToken("signature")
        return Identity(subject, expires_at=float(until) if until else None, claims={"role": "packer"})

    @live.channel("/orders/<order_id>/events")
    async def events(order_id: str) -> str:
        return f"orders/{order_id}"

    live.socket("/live")

    @live.socket("/who")
    async def tell(conn: Connection) -> None:
        async for _ in conn:
            await conn.send(None if conn.identity is None else conn.identity.subject)

    @live.socket("/raw", raw=True)
    async def echo(conn: Connection) -> None:
        async for message in conn:
            await conn.send(message)

    return app, live


@asynccontextmanager
async def served(app: QuartTrio, path: str = "http1", **settings: Any) -> AsyncIterator[MemoryServer]:
    """Serve an app on a path; ``settings`` are the worker's."""
    if path == "hypercorn":
        async with serve_stock(app) as stock:
            yield stock
        return
    async with memory.served(app, path, **settings) as server:
        yield server


async def post(server: MemoryServer, path: str, headers: dict[str, str], body: Any = None) -> Answer:
    """Post JSON, or nothing."""
    return await server.request("POST", path, headers, json=body)


def deadlines(server: MemoryServer) -> int:
    """How many connections are to end at a time."""
    assert server.hub is not None
    return len(server.hub.deadlines)


class Sent:
    """What the server's kernels were given, and when."""

    def __init__(self) -> None:
        self.pieces: list[tuple[float, bytes]] = []

    def since(self, time: float) -> bytes:
        """All that was sent from then on."""
        return b"".join(piece for at, piece in self.pieces if at >= time)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """Watches what the server sends."""
    seen = Sent()
    send = MemoryLink._send

    def note(self: MemoryLink, data: Any) -> int:
        taken = send(self, data)
        seen.pieces.append((trio.current_time(), bytes(data)[:taken]))
        return taken

    monkeypatch.setattr(MemoryLink, "_send", note)
    return seen


class Shared:
    """A log that is open already, for several processes."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    @asynccontextmanager
    async def open(self) -> AsyncIterator[EventLog]:
        yield self._log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)
