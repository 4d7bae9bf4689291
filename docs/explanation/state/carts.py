"""A cart whose pages show its state at once, and go on from there: by a reducer, or from the app's own database."""

from __future__ import annotations

import sqlite3
from typing import Any

from quart_trio import QuartTrio

from triolet import Event, Reducer, Triolet

app = QuartTrio(__name__)
live = Triolet(app, log="memory:")
database = sqlite3.connect(":memory:")
database.execute("CREATE TABLE stock(item TEXT PRIMARY KEY, count INTEGER NOT NULL)")


def add(cart: dict[str, int], event: Event) -> dict[str, int]:
    cart[event.data["item"]] = cart.get(event.data["item"], 0) + event.data["count"]
    return cart


carts = Reducer(add, initial={}, name="carts", channels="carts/*")


@live.channel("/carts/<cart_id>/events", snapshot=carts)
async def cart_events(cart_id: str) -> str:
    return f"carts/{cart_id}"


@app.post("/carts/<cart_id>/<item>")
async def put_in(cart_id: str, item: str) -> dict[str, str]:
    event = await live.publish(f"carts/{cart_id}", {"item": item, "count": 1})
    return {"id": str(event.cursor)}


# --- the same where the state is in a database of the app's own


async def stock_of(channel: str) -> tuple[dict[str, int], Any]:
    head = await live.log.head(channel)  # before the rows are read: what comes meanwhile is told again
    rows = database.execute("SELECT item, count FROM stock").fetchall()
    return dict(rows), head


@live.channel("/stock/events", snapshot=stock_of)
async def stock_events() -> str:
    return "stock"


@app.post("/stock/<item>/<int:count>")
async def set_stock(item: str, count: int) -> dict[str, str]:
    with database:  # before the event is published: whoever has its cursor has its row
        database.execute("REPLACE INTO stock VALUES (?, ?)", (item, count))
    event = await live.publish("stock", {"item": item, "count": count}, key=item)
    return {"id": str(event.cursor)}
