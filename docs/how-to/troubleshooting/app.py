"""A server to try things on."""

from quart_trio import QuartTrio

from triolet import Triolet

app = QuartTrio(__name__)
live = Triolet(app)


@live.channel("/orders/<order_id>/events")
async def order_events(order_id: str) -> str:
    return f"orders/{order_id}"


@app.post("/orders/<order_id>/<state>")
async def advance(order_id: str, state: str) -> dict[str, str]:
    event = await live.publish(f"orders/{order_id}", {"state": state}, name="order-status")
    return {"id": str(event.cursor)}
