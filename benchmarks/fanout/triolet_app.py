"""Triolet as a user would write it: one channel, and a task that publishes to it.

Publishing is started and stopped over HTTP by the benchmark; it happens in the server's own process, as
Starlette's does, and its CPU counts.
"""

from __future__ import annotations

import trio
from quart import request
from quart_trio import QuartTrio

from benchmarks.fanout.payload import CHANNEL, data
from triolet import Triolet

app = QuartTrio(__name__)
live = Triolet(app, log="memory:")
published = 0
publishing = running = False


@live.channel("/events/<name>")
async def events(name: str) -> str:
    return name


@app.get("/bench/start")
async def start() -> dict[str, int]:
    global publishing
    publishing = True
    rate, burst = float(request.args["rate"]), int(request.args["burst"])
    app.nursery.start_soon(publish, request.args["transport"], rate, burst)
    return {}


@app.get("/bench/stop")
async def stop() -> dict[str, int]:
    global publishing
    publishing = False
    return {}


@app.get("/bench/state")
async def state() -> dict[str, int]:
    return {"published": published, "running": running}


async def publish(transport: str, rate: float, burst: int) -> None:
    """Publish until told to stop. Without a rate, one burst at each turn of the event loop."""
    global published, running
    running = True
    due = trio.current_time()
    while publishing:
        if burst == 1:
            await live.publish(CHANNEL, data(transport))
        else:
            await live.publish_many(CHANNEL, [data(transport) for _ in range(burst)])
        published += burst
        due += 1 / rate if rate else 0
        await trio.sleep(max(0.0, due - trio.current_time()) if rate else 0)
    running = False
