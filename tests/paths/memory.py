"""The paths that can be had in memory: the whole server, over an in-memory network, on Trio's virtual clock."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import trio
from quart_trio import QuartTrio

from tests.paths.app import make_app
from tests.paths.ground import Ground
from tests.paths.http2 import Http2End
from tests.paths.standalone import serve_standalone
from tests.paths.stock import serve_stock
from tests.paths.table import Cell
from triolet.testing.network import ClientEnd
from triolet.testing.server import MemoryServer, serve

__all__ = ["IN_MEMORY", "MemoryGround", "Seen", "TlsEnd", "anonymous", "in_memory", "served"]

IN_MEMORY: Final = ("http1", "tls", "http2", "middleware", "http2 middleware", "hypercorn", "standalone")


class MemoryGround(Ground):
    """A path in memory, and a server of its own."""

    reach: MemoryServer

    async def stop(self) -> None:
        self.reach.stop.set()
        await trio.lowlevel.checkpoint()


class Seen:
    """Middleware that counts what passes through it."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.requests = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.requests += scope["type"] != "lifespan"
        await self.app(scope, receive, send)


class TlsEnd:
    """A client's end, through TLS."""

    def __init__(self, end: ClientEnd, protocol: str = "http/1.1") -> None:
        self.reset = end.reset
        secure = trio.SSLStream(end, anonymous(ssl.PROTOCOL_TLS_CLIENT, protocol), https_compatible=True)
        self.send_all = secure.send_all
        self.receive_some = secure.receive_some
        self.aclose = secure.aclose


def anonymous(side: Any, *protocols: str) -> ssl.SSLContext:
    """TLS without a certificate: there is nobody here to prove anything to."""
    context = ssl.SSLContext(side)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AECDH-AES256-SHA:@SECLEVEL=0")
    context.set_alpn_protocols(list(protocols or ("http/1.1",)))
    return context


@asynccontextmanager
async def served(app: QuartTrio, path: str, **settings: Any) -> AsyncIterator[MemoryServer]:
    """Serve an app on a server of ours so that its clients reach it by a path; ``settings`` are the worker's."""
    if "middleware" in path:
        app.asgi_app = Seen(app.asgi_app)  # type: ignore[method-assign]  # how middleware is put in
    if path == "tls" or "http2" in path:
        settings["tls"] = anonymous(ssl.PROTOCOL_TLS_SERVER, "http/1.1" if path == "tls" else "h2")
    async with serve(app, **settings) as server:
        if path == "tls":
            _let_through(server, TlsEnd)
        elif "http2" in path:
            _let_through(server, lambda end: Http2End(TlsEnd(end, "h2")))
        yield server
        if "middleware" in path:
            assert cast(Any, app.asgi_app).requests >= 1


@asynccontextmanager
async def in_memory(cell: Cell) -> AsyncIterator[MemoryGround]:
    """Serve the table's app so that a cell's clients reach it by the cell's path."""
    if cell.path == "standalone":
        async with serve_standalone() as standalone:
            yield MemoryGround(cell, standalone)
        return
    app = make_app()
    if cell.path == "hypercorn":
        async with serve_stock(app) as stock:
            yield MemoryGround(cell, stock)
        return
    async with served(app, cell.path) as server:
        yield MemoryGround(cell, server)


def _let_through(server: MemoryServer, wrap: Callable[[ClientEnd], Any]) -> None:
    """Let all that connects to a server from now on go through this."""
    connect = server.connect
    server.connect = lambda **options: cast(ClientEnd, wrap(connect(**options)))  # type: ignore[method-assign]
