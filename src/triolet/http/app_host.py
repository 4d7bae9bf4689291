"""An app behind Hypercorn's protocol code, for the rest of the server, which knows nothing of Hypercorn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.typing import ConnectionState

from ..limits import Limits
from ..sockets.stream import ClientStream
from ..wire.http_head import Head
from .config import http_config
from .connection import GuardedContext, GuardedServer, Lent
from .lifespan import AppLifespan

__all__ = ["AppHost"]


class AppHost:
    """What the connections of one worker share behind the front.

    Args:
        app: the ASGI app.
        limits: the bounds of each connection.
        root_path: as ASGI's.
        state: what the app's lifespan leaves for its requests. Each request has a copy, made when its connection began.
    """

    def __init__(self, app: Any, limits: Limits, root_path: str, state: dict[str, Any]) -> None:
        self._app = ASGIWrapper(app)
        self._limits = limits
        self._config = http_config(limits, root_path)
        self._context = GuardedContext()
        self._state = state

    def lifespan(self) -> AppLifespan:
        """A life of the app, not begun yet."""
        return AppLifespan(self._app, self._config, self._state)

    async def serve(self, stream: ClientStream, first: bytes, gives_back: Callable[[Head], bool]) -> bytes | None:
        """Serve HTTP/1.1 or, where TLS has agreed on it, HTTP/2 on a connection, until it ends, and close it.

        Returns what came from a request on that is given back, where the connection goes on; else None.

        Args:
            stream: the client's.
            first: bytes of the client that were read before.
            gives_back: whether a request of HTTP/1.1 that comes behind another is to be given back.
        """
        state = ConnectionState(self._state.copy())
        lent = Lent(first, gives_back)
        await GuardedServer(self._app, self._config, self._context, state, stream, limits=self._limits, lent=lent).run()
        return lent.unused if lent.returned else None

    @property
    def idle(self) -> int:
        """How many connections wait for a request."""
        return len(self._context.idle)

    async def drain(self) -> None:
        """End the connections that wait for a request, and each of the others after its answer."""
        await self._context.terminated.set()
