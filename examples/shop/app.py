"""A shop whose orders are live: one log, and four clients that listen to it in four ways.

Run it with ``make demo``, or in this folder with ``triolet serve app:app``. The log is kept in ``shop.db`` beside this
file, or where the environment's ``SHOP_DB`` says. Stop the server as roughly as you like: it goes on where it was.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import trio
from orders import PEOPLE, channel_of, history, is_order, next_state, positions
from quart import Response, abort, jsonify, session
from quart_trio import QuartTrio

from triolet import Command, Cursor, Event, LogError, Triolet

POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
MOST_POSITIONS = 60

app = QuartTrio(__name__)
app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 0  # or browsers keep pages and scripts for twelve hours
app.secret_key = os.environ.get("SHOP_SECRET") or "for a demo: keep yours out of the code"
database = Path(os.environ.get("SHOP_DB") or Path(__file__).with_name("shop.db")).resolve()
live = Triolet(app, log=f"sqlite:///{database}")
changing = trio.Lock()


# --- what is live ------------------------------------------------------------------------------------------


def visitor(order_id: str) -> str | None:
    """Who looks at an order, as the others see it. A script, which has no session, looks unseen."""
    return session.get("visitor")


@live.channel("/orders/<order_id>/events", member=visitor)
async def order_events(order_id: str) -> str:
    """All that happens to one order."""
    if not is_order(order_id):
        abort(404)
    return channel_of(order_id)


@live.channel("/orders/<order_id>/presence")
async def order_presence(order_id: str) -> str:
    """Who comes to look at it, and who leaves."""
    if not is_order(order_id):
        abort(404)
    return live.presence(channel_of(order_id)).channel


@live.channel("/tasks/events")
async def task_events() -> str:
    """What the warehouse has to do, and what it has done."""
    return "tasks"


live.socket("/live")
"""One WebSocket for all that a page follows, and for its commands."""


# --- what is asked for: once, however often it is said ------------------------------------------------------


@live.command("/orders/<order_id>/<any(paid, packed, shipped, delivered):state>")
async def advance(order_id: str, state: str, command: Command) -> Any:
    """Move the order on. Two people may want the same at once, by two commands: it happens once all the same."""
    if not is_order(order_id):
        abort(404)
    await open_order(order_id)
    event = await reach(order_id, state)
    if event is None:
        states, _ = await states_of(order_id)
        due = next_state(states) or "nothing"
        return {"error": "order", "message": f"{order_id} is not ready for this: next comes {due}"}, 409
    return {"id": str(event.cursor), "state": state}


@live.command("/orders/<order_id>/positions")
async def move_courier(order_id: str, command: Command) -> Any:
    """Publish many small events: ``{"count": 40}``. They are stored with the answer, so a repeat publishes none."""
    if not is_order(order_id):
        abort(404)
    match command.data:
        case {"count": int(count)} if 1 <= count <= MOST_POSITIONS:
            for text in positions(count):
                await command.publish(channel_of(order_id), {"text": text}, name="position")
            return {"count": count}
    return {"error": "count", "message": f"how many? 1 to {MOST_POSITIONS}"}, 400


# --- what is looked at -------------------------------------------------------------------------------------


@app.before_serving
async def begin() -> None:
    """The demo's order is there from the start, whoever asks first."""
    await open_order("A123")


@app.get("/")
async def index() -> Response:
    """The page, and a name for whoever opens it."""
    session.setdefault("visitor", f"{secrets.choice(PEOPLE)} {secrets.randbelow(90) + 10}")
    return await app.send_static_file("index.html")


@app.get("/orders/<order_id>")
async def show(order_id: str) -> Any:
    """What a page needs to know before it follows the order: the order as it was at ``cursor``."""
    if not is_order(order_id):
        abort(404)
    await open_order(order_id)
    states, cursor = await states_of(order_id)
    return {"order": order_id, "states": states, "cursor": str(cursor), "you": session.get("visitor")}


@app.after_request
async def harden(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


@app.errorhandler(LogError)
async def not_stored(error: LogError) -> Any:
    """The log could not take it: nothing was announced to anyone, and the client may try again."""
    return jsonify(error="log", message=str(error)), 503


# --- the orders --------------------------------------------------------------------------------------------


async def open_order(order_id: str) -> None:
    """Give an order that nobody has seen yet its history, in one transaction."""
    async with changing:
        if (await live.log.head(channel_of(order_id))).offset == 0:
            await live.publish_many(channel_of(order_id), list(history()))


async def states_of(order_id: str) -> tuple[dict[str, int], Cursor]:
    """Read from the log what the order has been through, with the times (ms), and how far that was read."""
    states: dict[str, int] = {}
    cursor = Cursor("", 0)
    while True:
        page = await live.log.read(channel_of(order_id), cursor, limit=1_000, max_bytes=1 << 20)
        for event in page.events:
            if event.name == "order-status":
                states[event.data["state"]] = round(event.published_at * 1_000)
        if not page.events or page.events[-1].cursor == page.head:
            return states, page.head
        cursor = page.events[-1].cursor


async def reach(order_id: str, state: str) -> Event | None:
    """Publish that the order has come to this state, once; None where another state comes first.

    The log holds the order's whole truth: there is no table of orders beside it that could disagree. What is asked of
    it here decides what is published, so that is stored while the lock is held, and not with the command's answer. The
    warehouse's task is published first: killed in between, the server is asked again, and ``dedupe`` keeps both from
    happening twice.
    """
    async with changing:
        states, _ = await states_of(order_id)
        if state not in states and state != next_state(states):
            return None
        if state in ("paid", "packed"):
            task = {"order": order_id, "task": "pick", "done": state == "packed"}
            await live.publish("tasks", task, name="task", dedupe=f"{order_id}:{state}")
        return await live.publish(channel_of(order_id), {"state": state}, name="order-status", dedupe=state)
