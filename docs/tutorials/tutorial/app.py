from typing import Any

from quart import Response, abort, redirect, session
from quart_trio import QuartTrio

from triolet import Command, Connection, Triolet

app = QuartTrio(__name__)
app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 0  # or browsers keep pages and scripts for twelve hours
app.secret_key = "change me, and keep me out of the repository"
live = Triolet(app, log="sqlite:///orders.db")

OWNERS = {"A123": "ada", "A124": "grace"}
SHELVES = {"A123": "shelf 7", "A124": "shelf 2"}


@app.get("/login/<customer>")
async def login(customer: str) -> Any:
    session["customer"] = customer  # a real shop asks for a password
    return redirect("/orders/A123")


def check_owner(order_id: str) -> None:
    if order_id not in OWNERS or OWNERS[order_id] != session.get("customer"):
        abort(404)  # also for an order of somebody else: an answer of its own would say that it exists


@app.get("/orders/<order_id>")
async def order_page(order_id: str) -> Response:
    check_owner(order_id)
    return await app.send_static_file("order.html")


@live.channel("/orders/<order_id>/events")
async def order_events(order_id: str) -> str:
    check_owner(order_id)
    return f"orders/{order_id}"


@app.post("/orders/<order_id>/<any(paid, packed, shipped, delivered):state>")
async def advance(order_id: str, state: str) -> dict[str, str]:
    if state == "paid":
        await live.publish("tasks", {"pick": order_id}, name="task", dedupe=order_id)
    event = await live.publish(f"orders/{order_id}", {"state": state}, name="order-status", dedupe=state)
    return {"id": str(event.cursor)}


@live.channel("/tasks/events")
async def task_events() -> str:
    return "tasks"


@live.command("/orders/<order_id>/pick")
async def pick(order_id: str, command: Command) -> dict[str, str]:
    if order_id not in OWNERS:
        abort(404)
    return await advance(order_id, "packed")


@live.socket("/warehouse")
async def warehouse(conn: Connection) -> None:
    async for message in conn:
        match message:
            case {"where": str(order_id)} if order_id in SHELVES:
                await conn.send({"order": order_id, "where": SHELVES[order_id]})
            case _:
                await conn.send({"error": "send the number of an order that you look for"})
