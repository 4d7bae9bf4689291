"""ASGI middleware before an app, for tests of the way that does not go straight on the socket."""

from __future__ import annotations

from typing import Any

from quart_trio import QuartTrio

__all__ = ["stand_before"]


def stand_before(app: QuartTrio) -> None:
    """Put middleware before an app, that passes everything on."""
    below = app.asgi_app

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        await below(scope, receive, send)

    app.asgi_app = middleware  # type: ignore[method-assign]  # as Quart's own documentation does
