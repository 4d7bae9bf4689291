"""An app that says who it takes its client for; served as ``triolet serve who_app:app``."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import trio
from quart import request, url_for
from quart_trio import QuartTrio

from triolet import Limits, Triolet

app = QuartTrio("who")
LIMITS = Limits(idle_seconds=float(os.environ.get("IDLE_SECONDS", "150")))
live = Triolet(app, log=os.environ.get("E2E_LOG", "memory:"), limits=LIMITS)


@app.get("/who")
async def who() -> dict[str, Any]:
    return {
        "client": request.remote_addr,
        "scheme": request.scheme,
        "host": request.host,
        "url": url_for("who"),
        "pid": os.getpid(),
    }


@app.get("/swallow")
async def swallow() -> str:
    """Never ends, whatever happens."""
    print("asked", flush=True)  # noqa: T201 - the test waits for it
    while True:
        with suppress(trio.Cancelled):
            await trio.sleep(1)


@live.channel("/c/<name>")
async def events(name: str) -> str:
    return name


@live.socket("/crash")
async def crash(conn: Any) -> None:
    raise ValueError("a bug\nin a handler")


@live.socket("/follows")
async def follows(conn: Any) -> None:
    async for _ in conn:
        pass
