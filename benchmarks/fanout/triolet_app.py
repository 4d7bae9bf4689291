"""Triolet as a user would write it: channels, a socket to follow many of them, and a task that publishes.

Publishing is started and stopped over HTTP by the benchmark; it happens in the server's own process, as the
peers' does, and its CPU counts.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from functools import partial

import trio
from quart import request
from quart_trio import QuartTrio

from benchmarks.fanout.payload import CHANNEL, data
from triolet import Triolet

app = QuartTrio(__name__)
live = Triolet(app, log=os.environ.get("BENCH_LOG", "memory:"))
published = 0
publishing = running = False


@live.channel("/events/<name>")
async def events(name: str) -> str:
    return name


live.socket("/follow")


@app.get("/bench/start")
async def start() -> dict[str, int]:
    """Publish to ``channel``, or with ``channels`` to so many in turn, ``c0`` and on; with ``most``, so many events."""
    global publishing
    publishing = True
    options = request.args
    names = [f"c{number}" for number in range(int(options.get("channels", 0)))] or [options.get("channel", CHANNEL)]
    made = partial(data, options["transport"], int(options["size"]))
    most = float(options.get("most", "inf"))
    app.nursery.start_soon(publish, names, made, float(options["rate"]), int(options["burst"]), most)
    return {}


@app.get("/bench/stop")
async def stop() -> dict[str, int]:
    global publishing
    publishing = False
    return {}


@app.get("/bench/state")
async def state() -> dict[str, int]:
    live_now = live.service.context.hub.statistics().live
    return {"published": published, "running": running, "live": live_now}


async def publish(names: list[str], made: Callable[[], object], rate: float, burst: int, most: float) -> None:
    """Publish until told to stop. Without a rate, one burst at each turn of the event loop."""
    global published, running
    running = True
    channels = itertools.cycle(names)
    due, last = trio.current_time(), published + most
    while publishing and published < last:
        if burst == 1:
            await live.publish(next(channels), made())
        elif len(names) == 1:
            await live.publish_many(names[0], [made() for _ in range(burst)])
        else:
            for _ in range(burst):
                await live.publish(next(channels), made())
        published += burst
        due += 1 / rate if rate else 0
        await trio.sleep(max(0.0, due - trio.current_time()) if rate else 0)
    running = False
