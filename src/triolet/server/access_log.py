"""The access log: a line for each request, when it has been answered or its stream has ended."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

import trio

from ..sockets.server_state import leave_status

__all__ = ["AccessLog", "Line", "write_refusal"]

logger = logging.getLogger("triolet.access")

App: TypeAlias = "Callable[..., Awaitable[Any]]"
NOT_ANSWERED: Final = 499
"""For a request whose client went before its answer began, as nginx has it."""
_STATUS: Final = {"http.response.start", "websocket.http.response.start"}


class Line:
    """One request, from its head to its end. A path is logged, and no query: that is where tickets and tokens are. What
    the client chose stands between quotes, and has none itself: it could end there, and say another status."""

    __slots__ = ("_asked", "_client", "_since", "_written", "status")

    def __init__(self, scope: MutableMapping[str, Any]) -> None:
        client = scope.get("client")
        self._client = client[0] if client else "unix"
        path = (scope.get("raw_path") or scope["path"].encode("utf-8", "replace")).decode("latin-1")
        self._asked = f"{scope.get('method', 'GET')} {path}".replace('"', "%22")
        self._since = trio.current_time()
        self._written = False
        self.status = NOT_ANSWERED

    def write(self) -> None:
        """Write it, once."""
        if self._written:
            return
        self._written = True
        seconds = trio.current_time() - self._since
        logger.info('%s "%s" %d %.3f', self._client, self._asked, self.status, seconds)


def write_refusal(client: Any, status: int) -> None:
    """Write the line of :meth:`AccessLog.refused`: a function, since whoever is told of refusals outlives a server."""
    logger.info('%s "-" %d 0.000', client[0] if client else "unix", status)


class AccessLog:
    """Writes a line for each request, or none at all.

    Args:
        on: whether.
    """

    def __init__(self, on: bool) -> None:
        self._on = on

    def refused(self, client: Any, status: int) -> None:
        """Write a line for what was no request, or was refused before an app had it. It has no path: what the client
        sent may be anything.

        Args:
            client: its address, as ASGI has it.
            status: what it was answered.
        """
        if self._on:
            write_refusal(client, status)

    def begin(self, scope: MutableMapping[str, Any]) -> Line | None:
        """A line for a request that is served straight on its socket: its transport leaves its status there."""
        if not self._on:
            return None
        line = Line(scope)
        leave_status(scope["state"], line)
        return line

    def around(self, app: App) -> App:
        """An ASGI app whose requests are logged."""
        if not self._on:
            return app

        async def logged(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
            if scope["type"] not in ("http", "websocket"):
                await app(scope, receive, send)
                return
            line = Line(scope)

            async def note(message: Any) -> None:
                kind = message["type"]
                if kind in _STATUS:
                    line.status = message["status"]
                elif kind == "websocket.accept":
                    line.status = 101
                elif kind == "websocket.close" and line.status == NOT_ANSWERED:
                    line.status = 403
                await send(message)

            try:
                await app(scope, receive, note)
            finally:
                line.write()

        return logged
