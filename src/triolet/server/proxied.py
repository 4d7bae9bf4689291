"""Whose a connection is that a proxy brings, and how many of one client's there may be.

A peer is counted by its address when it connects, before a byte of it is read. The address of a proxy says nothing of
its clients, though, and one bound for all of them is none. So the connections of a listed proxy are let in up to
``limits.connections``, and what it brings is counted by the client that it tells of: with a PROXY header the
connection, as long as it is open; with ``X-Forwarded-For`` each request, as long as it is served. (A stream, a
WebSocket and a poll that waits have a connection of the proxy's for themselves meanwhile; an idle one is nobody's.)

None of that can be forged. Who is not listed is counted as ever, whatever it sends; and of a listed proxy's chain of
addresses the nearest counts that is no listed proxy's. Where everybody is listed (``*``) nobody is known to be a proxy,
and peers are counted.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias, TypeVar

from ..closing import OVERLOADED
from ..counters import Metrics
from .admission import Admission
from .forwarded import Forwarded, Scope, rooted

__all__ = ["Proxied", "say_busy"]

App: TypeAlias = Callable[..., Awaitable[Any]]
Result = TypeVar("Result")


class Proxied:
    """Counts the clients of listed proxies by their addresses.

    Args:
        forwarded: which peers are listed.
        admission: counts.
        metrics: where those are counted that are turned away.
    """

    def __init__(self, forwarded: Forwarded, admission: Admission, metrics: Metrics) -> None:
        self._forwarded = forwarded
        self._admission = admission
        self._metrics = metrics

    def around(self, app: App, busy: App) -> App:
        """An ASGI app before which the scope of each request is put right (see :class:`.Forwarded`); those of an
        address that has as many as it may are given to ``busy``."""

        async def put_right(scope: Scope, receive: Any, send: Any) -> None:
            if scope["type"] not in ("http", "websocket"):
                await app(scope, receive, send)
                return
            peer = scope.get("client")
            self._forwarded.apply(scope)
            address = self._forwarded.client_behind(peer, scope.get("client"))
            scope = rooted(scope)
            if address is None:
                await app(scope, receive, send)
            else:
                await self.serve(address, partial(app, scope, receive, send), partial(busy, scope, receive, send))

        return put_right

    async def serve(
        self, address: str, serve: Callable[[], Awaitable[Result]], refuse: Callable[[], Awaitable[Result]]
    ) -> Result:
        """Serve a client's request, or refuse it where there are as many of its address as there may be."""
        if not self._admission.take(address):
            self._metrics.refused += 1
            return await refuse()
        try:
            serving = serve()
            del serve  # a connection lives long, and this holds what was made of its head
            return await serving
        finally:
            self._admission.give_back(address)


async def say_busy(scope: Scope, receive: Any, send: Any) -> None:
    """An ASGI app that answers 503, and when to come back."""
    assert OVERLOADED.retry is not None
    seconds = random.randint(*OVERLOADED.retry) // 1_000
    headers = [(b"retry-after", b"%d" % seconds), (b"content-length", b"0")]
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        if kind not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1000})
            return
    await send({"type": f"{kind}.start", "status": 503, "headers": headers})
    await send({"type": f"{kind}.body", "body": b""})
