"""The other servers of the page "Migrate from another server", asked in this process: ASGI apps on asyncio."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["SAID", "STATES", "ask", "sse_events", "streaming"]

STATES = [("order-status", {"state": "paid"}), ("order-status", {"state": "packed"})]
"""What a page hears of an order on either server."""
SAID = {"by": "ann", "text": "Is there tea?"}
"""And of a chat."""


def _scope(method: str, path: str, body: bytes) -> dict[str, Any]:
    plain, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": plain,
        "raw_path": plain.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"host", b"shop.example"), (b"content-length", b"%d" % len(body))],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8000),
    }


@asynccontextmanager
async def streaming(app: Any, method: str, path: str, body: bytes = b"") -> AsyncIterator[asyncio.Queue[bytes]]:
    """Ask, and be given what is answered piece by piece; an empty one is the end. The client leaves with the block."""
    pieces: asyncio.Queue[bytes] = asyncio.Queue()
    asked, gone = asyncio.Event(), asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not asked.is_set():
            asked.set()
            return {"type": "http.request", "body": body, "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            if message.get("body"):
                pieces.put_nowait(message["body"])
            if not message.get("more_body"):
                pieces.put_nowait(b"")

    task = asyncio.create_task(app(_scope(method, path, body), receive, send))
    try:
        yield pieces
    finally:
        gone.set()
        task.cancel()
        await asyncio.wait([task])


async def ask(app: Any, method: str, path: str, body: bytes = b"") -> bytes:
    """Ask, and return the whole answer."""
    async with streaming(app, method, path, body) as pieces:
        whole = b""
        while piece := await asyncio.wait_for(pieces.get(), 20):
            whole += piece
        return whole


async def sse_events(app: Any, path: str, count: int, act: Callable[[], Any], begun: Callable[[], bool]) -> list[Any]:
    """Follow an event stream, act once the app knows it, and return the names and data of so many events."""
    async with streaming(app, "GET", path) as pieces:
        while not begun():  # noqa: ASYNC110  # the app that is asked is as its page shows it, and has no event for this
            await asyncio.sleep(0.001)
        await act()
        text = ""
        while text.count("data:") < count:
            text += (await asyncio.wait_for(pieces.get(), 20)).decode().replace("\r\n", "\n")
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.strip().split("\n\n")]
    return [(block["event"], json.loads(block["data"])) for block in blocks]
