"""The app that the clients come to and leave, and that says what it still holds of them."""

from __future__ import annotations

import ctypes
import gc
import os
from collections import Counter
from pathlib import Path
from typing import Any

import trio
from quart import request
from quart_trio import QuartTrio

from triolet import Connection, Limits, Triolet

PUBLISH_SECONDS = 0.1
CHANNEL = "churn"

app = QuartTrio(__name__)
live = Triolet(app, limits=Limits(keep_events=200, connections=5_000, connections_per_address=5_000))


@live.channel("/c/events")
async def events() -> str:
    return CHANNEL


@live.channel("/c/members", member=lambda: request.args.get("name", "ada"))
async def members() -> str:
    return "members"


@live.socket("/socket")
async def socket(conn: Connection) -> None:
    await conn.follow(CHANNEL)
    async for message in conn:
        if message == "bye":
            return
        await conn.send(message)


@app.get("/page")
async def page() -> str:
    return "<p>page</p>" * 100


@app.post("/body")
async def body() -> dict[str, int]:
    return {"bytes": len(await request.get_data())}


@app.get("/fails")
async def fails() -> str:
    raise RuntimeError("as an app may fail")


@app.get("/held")
async def held() -> dict[str, Any]:
    """What is held for clients, the one that asks among them; and how many objects there are, ours by type."""
    gc.collect()
    _trim()
    things = gc.get_objects()
    ours = Counter(type(thing).__qualname__ for thing in things if str(type(thing).__module__).startswith("triolet."))
    seen = live.statistics().held
    return {
        "connections": {stage: number for stage, number in seen.connections.items() if number},
        "things": dict(seen.things),
        "bytes": dict(seen.bytes),
        "objects": len(things),
        "ours": ours,
        "rss": _resident(),
    }


def _trim() -> None:
    """Have the C library give back what it keeps for later: how much that is depends on how many came at once."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@app.before_serving
async def begin() -> None:
    app.nursery.start_soon(_publish)


async def _publish() -> None:
    while True:
        await live.publish(CHANNEL, "x" * 100)
        await trio.sleep(PUBLISH_SECONDS)
