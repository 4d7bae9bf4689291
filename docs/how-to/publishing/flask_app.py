"""A shop in Flask that publishes what happens to its orders."""

import os

from flask import Flask

from triolet import SyncPublisher

app = Flask(__name__)
live = SyncPublisher(os.environ.get("LIVE_LOG", "redis://localhost/0"))


@app.post("/orders/<order_id>/pay")
def pay(order_id: str) -> dict[str, str]:
    event = live.publish(f"orders/{order_id}", {"state": "paid"}, name="order-status")
    return {"id": str(event.cursor)}
