"""Triolet's side: a run is a channel, and a route with which it is followed. The log is that of ``RUNS_LOG``.

With ``RUNS_STATE=1`` the channels ``events/…`` have a state as well, kept by a Reducer.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import trio
from quart import request
from quart_trio import QuartTrio

from benchmarks.runs.model import Order, order, tokens
from triolet import Event, Reducer, Triolet

KEYS = 50
"""Parts that the state of ``events/…`` has; each event is of the next one."""

app = QuartTrio(__name__)
live = Triolet(app, log=os.environ.get("RUNS_LOG", "memory:"))
going = 0


def put(state: dict[str, Any], event: Event) -> dict[str, Any]:
    state[event.key or ""] = event.data
    return state


states = Reducer(put, initial={}, name="states", channels="events/*") if os.environ.get("RUNS_STATE") == "1" else None


@live.channel("/answers/<name>/events")
async def answer(name: str) -> str:
    return f"answers/{name}"


@live.channel("/events/<name>", snapshot=states)
async def events(name: str) -> str:
    return f"events/{name}"


async def begin(channel: str, source: AsyncIterator[str]) -> None:
    """Have a run go on by itself, whoever reads it."""
    await live.run(channel, source, key="text", fold="concat")


@app.get("/bench/start")
async def start() -> dict[str, Any]:
    """Begin runs, and answer before all of them have begun: the first ones are at work by then."""
    app.nursery.start_soon(begin_all, order(request.args))
    return {}


async def begin_all(wanted: Order) -> None:
    global going
    going += 1
    for number in range(wanted.runs):
        await begin(f"answers/{wanted.name}-{number}", tokens(wanted, number, trio.sleep))
    going -= 1


@app.get("/bench/publish")
async def publish() -> dict[str, Any]:
    """Publish so many events to channels in turn, ``events/0`` and on."""
    app.nursery.start_soon(publish_many, int(request.args["channels"]), int(request.args["events"]))
    return {}


async def publish_many(channels: int, count: int) -> None:
    global going
    going += 1
    for number in range(1, count // channels + 1):
        for channel in range(channels):
            await live.publish(f"events/{channel}", f"#{number} {'x' * 100}", key=f"part-{number % KEYS}")
    going -= 1


@app.get("/bench/state")
async def state() -> dict[str, bool]:
    return {"running": going > 0 or bool(live.runs())}
