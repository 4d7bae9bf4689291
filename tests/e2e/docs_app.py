"""What the pages' code for browsers speaks to. Served as ``triolet serve docs_app:app``."""

from __future__ import annotations

from quart_trio import QuartTrio

from triolet import Command, Triolet

app = QuartTrio("docs")
live = Triolet(app)
live.socket("/live")


@live.channel("/orders/<order_id>/events", member=lambda order_id: "ada")
async def order_events(order_id: str) -> str:
    return f"orders/{order_id}"


@live.channel("/orders/<order_id>/presence")
async def order_presence(order_id: str) -> str:
    return live.presence(f"orders/{order_id}").channel


@app.post("/orders/<order_id>/<any(paid, packed):state>")
async def advance(order_id: str, state: str) -> dict[str, str]:
    event = await live.publish(f"orders/{order_id}", {"state": state}, name="order-status")
    return {"id": str(event.cursor)}


@live.command("/orders/<order_id>/pick")
async def pick(order_id: str, command: Command) -> dict[str, object]:
    return {"picked": order_id, "said": command.data}


@app.get("/")
async def page() -> str:
    return "<!doctype html><title>a page</title><body>"
