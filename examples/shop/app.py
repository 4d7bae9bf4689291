"""A shop whose orders are live: one log, and four clients that listen to it in four ways.

Run it with ``make demo``, or in this folder with ``triolet serve app:app``. The log is kept in ``shop.db`` beside this
file, or where the environment's ``SHOP_DB`` says. Stop the server as roughly as you like: it goes on where it was.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import trio
from orders import STATES, channel_of, history, is_order, next_state, positions
from quart import Response, abort, jsonify, request
from quart_trio import QuartTrio

from triolet import Connection, Cursor, Event, LogError, Triolet

POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
MOST_POSITIONS = 500

app = QuartTrio(__name__)
database = Path(os.environ.get("SHOP_DB") or Path(__file__).with_name("shop.db")).resolve()
live = Triolet(app, log=f"sqlite:///{database}")
changing = trio.Lock()


# --- what is live ------------------------------------------------------------------------------------------


@live.channel("/orders/<order_id>/events")
async def order_events(order_id: str) -> str:
    """All that happens to one order."""
    if not is_order(order_id):
        abort(404)
    return channel_of(order_id)


@live.channel("/tasks/events")
async def task_events() -> str:
    """What the warehouse has to do, and what it has done."""
    return "tasks"


@live.socket("/warehouse")
async def warehouse(conn: Connection) -> None:
    """The warehouse's dashboard: follows what it wants by URL, and sends ``{"pick": "A123"}`` for a picked task."""
    async for message in conn:
        order_id = message.get("pick") if isinstance(message, dict) else None
        if not is_order(order_id):
            await conn.send({"error": 'send {"pick": "A123"}'})
            continue
        event = await reach(order_id, "packed")
        await conn.send({"picked": order_id, "id": event and str(event.cursor)})


# --- what is asked and told --------------------------------------------------------------------------------


@app.before_serving
async def begin() -> None:
    """The demo's order is there from the start, whoever asks first."""
    await open_order("A123")


@app.get("/")
async def index() -> Response:
    return await app.send_static_file("index.html")


@app.get("/orders/<order_id>")
async def show(order_id: str) -> Any:
    """What a page needs to know before it follows the order: the order as it was at ``cursor``."""
    if not is_order(order_id):
        abort(404)
    await open_order(order_id)
    states, cursor = await states_of(order_id)
    return {"order": order_id, "states": states, "next": next_state(states), "cursor": str(cursor)}


@app.post("/orders/<order_id>/<state>")
async def advance(order_id: str, state: str) -> Any:
    """Moves the order on. Asked twice (a double click, a repeated request), it happens once."""
    if not is_order(order_id) or state not in STATES:
        abort(404)
    await open_order(order_id)
    event = await reach(order_id, state)
    if event is None:
        states, _ = await states_of(order_id)
        due = next_state(states) or "nothing"
        return {"error": "order", "message": f"{order_id} is not ready for this: next comes {due}"}, 409
    return {"id": str(event.cursor), "state": state}


@app.post("/orders/<order_id>/positions")
async def move_courier(order_id: str) -> Any:
    """Publishes many small events at once: ``?count=40``."""
    count = request.args.get("count", 1, type=int)
    if not is_order(order_id) or not 1 <= count <= MOST_POSITIONS:
        abort(404)
    events = await live.publish_many(channel_of(order_id), list(positions(count)))
    return {"id": str(events[-1].cursor), "count": len(events)}


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
    """Gives an order that nobody has seen yet its history, in one transaction."""
    async with changing:
        if (await live.log.head(channel_of(order_id))).offset == 0:
            await live.publish_many(channel_of(order_id), list(history()))


async def states_of(order_id: str) -> tuple[dict[str, int], Cursor]:
    """Reads from the log what the order has been through, with the times (ms), and how far that was read."""
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
    """Publishes that the order has come to this state, once; None where another state comes first.

    The log holds the order's whole truth: there is no table of orders beside it that could disagree. The
    warehouse's task is published first: killed in between, the server is asked again, and ``dedupe`` keeps both
    from happening twice.
    """
    async with changing:
        states, _ = await states_of(order_id)
        if state not in states and state != next_state(states):
            return None
        if state in ("paid", "packed"):
            task = {"order": order_id, "task": "pick", "done": state == "packed"}
            await live.publish("tasks", task, name="task", dedupe=f"{order_id}:{state}")
        return await live.publish(channel_of(order_id), {"state": state}, name="order-status", dedupe=state)
