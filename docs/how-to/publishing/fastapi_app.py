"""A shop in FastAPI that publishes from a route that is no coroutine."""

import os

from fastapi import FastAPI

from triolet import SyncPublisher

app = FastAPI()
live = SyncPublisher(os.environ.get("LIVE_LOG", "redis://localhost/0"))


@app.post("/orders/{order_id}/pay")
def pay(order_id: str) -> dict[str, str]:  # not async: FastAPI calls it in a thread, and its loop goes on meanwhile
    event = live.publish(f"orders/{order_id}", {"state": "paid"}, name="order-status")
    return {"id": str(event.cursor)}
