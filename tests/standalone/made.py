"""A server that is made of a file, and the app that its callbacks ask."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from pathlib import Path
from typing import Any

import jwt
import trio
from quart import Response, request
from quart_trio import QuartTrio

from triolet import Triolet
from triolet.clock import wall_time
from triolet.standalone.app import make_app
from triolet.standalone.settings import read_settings
from triolet.testing import MemoryServer, serve

KEY = "the key of a standalone server's tokens"


def bearer(subject: str = "ann", seconds: float = 900, **claims: Any) -> dict[str, str]:
    """The header of a client with a token."""
    return {"authorization": f"Bearer {jwt.encode({'sub': subject, 'exp': wall_time() + seconds, **claims}, KEY)}"}


async def post(server: MemoryServer, url: str, data: Any, id: str = "one", **headers: str) -> Any:
    """Publish by a POST."""
    return await server.request("POST", url, {"idempotency-key": f'"{id}"', **headers}, json.dumps(data).encode())


class Backend:
    """The app behind a callback: it says what the test wants, and keeps what it was asked.

    Attributes:
        says: the body of its answer, as JSON, or a whole response, or a function that makes one.
        asked: the bodies and headers that came.
        away: whether nobody answers its port.
        most: how many it answered at the same time.
    """

    def __init__(self) -> None:
        self.says: Any = {"allow": True}
        self.asked: list[tuple[dict[str, Any], dict[str, str]]] = []
        self.away = False
        self.most = 0
        self._now = 0
        self.app = QuartTrio("backend")
        self.app.add_url_rule("/may", "may", self._may, methods=["GET", "POST"])
        self._server: MemoryServer | None = None

    @property
    def last(self) -> dict[str, Any]:
        return self.asked[-1][0]

    async def _may(self) -> Any:
        self.asked.append((await request.get_json(), {name.lower(): text for name, text in request.headers.items()}))
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            says = await self.says() if isinstance(self.says, Callable) else self.says  # type: ignore[arg-type]  # a class of typing's
        finally:
            self._now -= 1
        return (
            says if isinstance(says, Response | tuple) else Response(json.dumps(says), content_type="application/json")
        )

    def leave(self) -> None:
        """It ends, and all that is connected with it."""
        assert self._server is not None
        self.away = True
        self._server.vanish()

    async def dial(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if self.away:
            raise OSError("nobody is there")
        assert self._server is not None
        assert (host, port) == ("backend.example", 80)
        # Another process, as it were: its tasks do not hold on to the request that asks.
        return Context().run(self._server.connect)


@asynccontextmanager
async def made(
    folder: Path,
    text: str,
    backend: Backend | None = None,
    add: Callable[[QuartTrio, Triolet], None] | None = None,
) -> AsyncIterator[MemoryServer]:
    """Serve what a file describes, beside its backend; ``add`` gives the app more routes."""
    file = folder / "channels.toml"
    file.write_text(text, encoding="utf-8")
    settings = read_settings(str(file))
    app, live = make_app(settings, None if backend is None else backend.dial)
    if add is not None:
        add(app, live)
    if backend is None:
        async with serve(app) as server:
            yield server
        return
    async with serve(backend.app) as behind, serve(app) as server:
        backend._server = behind
        yield server
