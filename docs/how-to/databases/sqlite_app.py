"""Orders in SQLite, in the file of the log: a row and its event are stored together, or neither is."""

from contextlib import closing

import apsw
from quart import abort
from quart_trio import QuartTrio

from triolet import Triolet

app = QuartTrio(__name__)
live = Triolet(app, log="sqlite:///shop.db")


def connect() -> apsw.Connection:
    db = apsw.Connection("shop.db")
    db.set_busy_timeout(2_000)
    return db


@app.before_serving
async def make_tables() -> None:
    with closing(connect()) as db:
        db.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, state TEXT NOT NULL)")


@app.post("/orders/<order_id>/<state>")
async def advance(order_id: str, state: str) -> dict[str, str]:
    with closing(connect()) as db:  # an error on the way closes it, and nothing was stored
        db.execute("BEGIN IMMEDIATE")
        db.execute("REPLACE INTO orders VALUES (?, ?)", (order_id, state))
        event = await live.publish(f"orders/{order_id}", {"state": state}, name="order-status", within=db)
        if state == "lost":
            abort(409)
        db.execute("COMMIT")
    return {"id": str(event.cursor)}


@app.get("/orders/<order_id>")
async def show(order_id: str) -> dict[str, str]:
    with closing(connect()) as db:
        row = db.execute("SELECT state FROM orders WHERE id = ?", (order_id,)).fetchone()
    if row is None:
        abort(404)
    return {"state": row[0]}


@live.channel("/orders/<order_id>/events")
async def order_events(order_id: str) -> str:
    return f"orders/{order_id}"
