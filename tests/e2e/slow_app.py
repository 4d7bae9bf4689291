"""The app of ``test_slow`` and ``test_outrun``: publishes by itself, and watches how long its clients stall.

Served as ``triolet serve tests.e2e.slow_app:app --app-dir ROOT``; its channels and limits are those of ``apps``.
"""

from __future__ import annotations

import time
from typing import Any

import trio
from quart import request

from triolet.event import Draft
from triolet.hub.policies import Policy, block, disconnect, ladder, latest, skip

from .apps import app, live

POLICIES: dict[str, Policy] = {
    "latest": latest(events=100),
    "skip": skip(events=100),
    "disconnect": disconnect(events=2_000),
    "ladder": ladder(latest(events=200), skip(events=10_000), disconnect(seconds=30)),
    "block": block(events=200, seconds=4),
    "impatient": disconnect(seconds=1),
}
LOOK_SECONDS = 0.02
pending_since: dict[int, float] = {}
gone_after: list[float] = []
publishing = 0


def offer(name: str, policy: Policy) -> None:
    """Serve the channels of ``apps`` once more, under a policy."""

    @live.channel(f"/{name}/<channel>/events", policy=policy, endpoint=name)
    async def events(channel: str) -> str:
        return f"c/{channel}"


for name, policy in POLICIES.items():
    offer(name, policy)


@app.before_serving
async def begin() -> None:
    app.nursery.start_soon(watch)


async def watch() -> None:
    while True:
        await trio.sleep(LOOK_SECONDS)
        look()


def look() -> None:
    """Note of every connection that ended with something pending how long its kernel had taken nothing."""
    connections = live.service.context.registry.open
    for number in pending_since.keys() - connections.keys():
        gone_after.append(trio.current_time() - pending_since.pop(number))
    for number, conn in connections.items():
        if conn.outlet.pending:
            pending_since[number] = conn.outlet.progress_at
        else:
            pending_since.pop(number, None)


@app.get("/state")
async def state() -> dict[str, Any]:
    """Who is connected, who is live, what waits for whom, as of one moment."""
    look()
    context = live.service.context
    connections = list(context.registry.open.values())
    hub = context.hub.statistics()
    followers = [follower for conn in connections for follower in conn.followers.values()]
    return {
        "connections": len(connections),
        "followers": hub.followers,
        "live": hub.live,
        "pending": [conn.outlet.pending for conn in connections if conn.outlet.pending],
        "held": context.budget.held,
        "behind": max((follower.events_behind for follower in followers), default=0),
        "publishing": publishing,
        "gone_after": gone_after,
    }


@app.post("/c/<name>/publish")
async def publish_by_itself(name: str) -> dict[str, Any]:
    """Publish numbered events from now on, as the body says, and answer at once.

    ``{"count", "batch", "pause", "bytes", "keys"}``: so many events, so many at once, seconds between two batches
    (0: as fast as the log takes them), bytes of padding each, and how many keys they take in turn (0: none).
    """
    app.nursery.start_soon(publish_numbers, f"c/{name}", await request.get_json())
    return {}


async def publish_numbers(channel: str, plan: dict[str, Any]) -> None:
    global publishing
    publishing += 1
    pad = "x" * plan["bytes"]
    first = (await live.log.head(channel)).offset + 1
    for start in range(first, first + plan["count"], plan["batch"]):
        end = min(start + plan["batch"], first + plan["count"])
        await live.publish_many(channel, [numbered(number, pad, plan["keys"]) for number in range(start, end)])
        await trio.sleep(plan["pause"])
    publishing -= 1


def numbered(number: int, pad: str, keys: int) -> Draft:
    data = {"n": number, "at": time.monotonic(), "pad": pad}
    return Draft.of(data, key=f"k{number % keys}" if keys else None)
