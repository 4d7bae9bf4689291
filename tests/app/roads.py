"""The roads on which a client comes in, and one question that is asked on each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from quart_trio import QuartTrio

from tests.middleware import stand_before
from tests.paths.stock import serve_stock
from triolet.testing.server import Answer, MemoryServer, serve

__all__ = ["ROADS", "ask", "served"]

ROADS = ["direct", "asgi", "stock"]
"""Straight on the socket, through ASGI behind middleware, and on another server."""


@asynccontextmanager
async def served(app: QuartTrio, road: str) -> AsyncIterator[MemoryServer]:
    """Serve an app so that clients come in on a road."""
    if road == "stock":
        async with serve_stock(app) as stock:
            yield stock
        return
    if road == "asgi":
        stand_before(app)
    async with serve(app) as server:
        yield server


async def ask(server: MemoryServer, transport: str, path: str, headers: dict[str, str] | None = None) -> Answer:
    """Ask for a transport; a stream that is opened has no body."""
    if transport == "websocket":
        return await server.upgrade(path, headers)
    if transport == "sse":
        async with server.events(path, headers=headers) as stream:
            if stream.status == 200:
                return Answer(stream.status, stream.headers, b"")
        return await server.request("GET", path, {"accept": "text/event-stream", **(headers or {})})
    wait = ("&" if "?" in path else "?") + "wait=1"
    return await server.request("GET", path + (wait if transport == "long poll" else ""), headers)
