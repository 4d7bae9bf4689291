"""Triolet as a user would write it: sockets that answer, a room in which all hear all, and a channel to poll."""

from __future__ import annotations

from typing import Any

from quart import abort, session
from quart_trio import QuartTrio

from triolet import Connection, Limits, Triolet

ROOM = "room"

app = QuartTrio(__name__)
app.secret_key = "of the benchmark"
# A client may say as much as it likes: it is measured what that costs, and not how it is throttled.
live = Triolet(app, log="memory:", limits=Limits(messages_per_second=1e6))


@live.socket("/raw", raw=True)
async def raw(conn: Connection) -> None:
    async for message in conn:
        await conn.send(message)


@live.socket("/json")
async def json(conn: Connection) -> None:
    async for data in conn:
        await conn.send(data)


@live.socket("/chat")
async def chat(conn: Connection) -> None:
    await conn.follow(ROOM)
    async for data in conn:
        await live.publish(ROOM, data)


@live.socket("/alone")
async def alone(conn: Connection) -> None:
    async for data in conn:
        await live.publish("nobody", data)


@app.get("/login")
async def login() -> dict[str, Any]:
    session["user"] = "A123"
    await live.publish("orders/A123", {"state": "paid"})
    return {}


@live.channel("/orders/<order_id>/events")
async def orders(order_id: str) -> str:
    if session.get("user") != order_id:
        abort(403)
    return f"orders/{order_id}"
