"""The app of the run: a channel under two policies, published to by itself, and what its server holds."""

from __future__ import annotations

import time
from typing import Any

import trio
from quart_trio import QuartTrio

from triolet import Triolet, policies
from triolet.event import Draft

EVENTS_A_SECOND = 25
EVENT_BYTES = 1_000
KEYS = 20
LATEST = policies.latest(events=40)

app = QuartTrio(__name__)
live = Triolet(app)


@live.channel("/catch_up/events")
async def every_event() -> str:
    return "prices"


@live.channel("/latest/events", policy=LATEST)
async def newest_events() -> str:
    return "prices"


@app.before_serving
async def begin() -> None:
    app.nursery.start_soon(publish)


async def publish() -> None:
    pad = "x" * EVENT_BYTES
    number = 0
    due = trio.current_time()
    while True:
        due += 1 / EVENTS_A_SECOND
        await trio.sleep_until(due)
        number += 1
        price = Draft.of({"t": time.monotonic(), "pad": pad}, key=f"share {number % KEYS}")
        await live.publish_many("prices", [price])


@app.get("/state")
async def state() -> dict[str, Any]:
    """What is held in all, and of each connection: its number, how many events it is behind, what waits for it."""
    return {
        "held": live.service.server.budget.held,
        "connections": [
            (seen.id, sum(follower.events_behind for follower in seen.followers), seen.pending_bytes)
            for seen in live.connections()
        ],
    }
