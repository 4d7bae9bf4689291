"""The same app behind another server: Hypercorn's own ``TCPServer``, over the in-memory network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from triolet.budget import Budget
from triolet.sockets.stream import ClientStream
from triolet.testing.network import ClientEnd, Line, MemoryLink, Network
from triolet.testing.reach import ADDRESS
from triolet.testing.server import MemoryServer

__all__ = ["StockServer", "serve_stock"]


class StockServer(MemoryServer):
    """Reached like a MemoryServer; there is no front, no guard and no worker of ours."""

    def __init__(self, app: Any, nursery: trio.Nursery) -> None:
        super().__init__(app, cast(Any, None), Network(), nursery)
        self.hub = app.extensions["triolet"].context.hub
        self._wrapped = ASGIWrapper(app)
        self._config = Config()
        self._context = WorkerContext(None)
        self._running = 0

    @property
    def connections(self) -> int:
        return self._running

    def connect(
        self, *, address: str = ADDRESS, line: Line | None = None, kernel_bytes: int | None = None
    ) -> ClientEnd:
        def accept(link: MemoryLink) -> None:
            self.start_soon(self._run, ClientStream(link, Budget(1 << 30)))

        return self.network.connect(address, accept, line if kernel_bytes is None else Line.holding(kernel_bytes))

    async def _run(self, stream: ClientStream) -> None:
        self._running += 1
        state = ConnectionState(cast(Any, {}))
        try:
            await TCPServer(self._wrapped, self._config, self._context, state, cast(Any, stream)).run()
        finally:
            self._running -= 1


@asynccontextmanager
async def serve_stock(app: Any) -> AsyncIterator[StockServer]:
    """Serve an app as ``hypercorn -k trio`` does; at the end no follower may be left."""
    lifespan = Lifespan(ASGIWrapper(app), Config(), cast(Any, {}))
    async with trio.open_nursery() as nursery:
        await nursery.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        async with trio.open_nursery() as connections:
            server = StockServer(app, connections)
            yield server
            server.network.vanish()
            await trio.sleep(10)
            assert (server.connections, server.followers) == (0, 0)
        await lifespan.wait_for_shutdown()
        nursery.cancel_scope.cancel()
