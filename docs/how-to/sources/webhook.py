"""A server that is told of payments by a webhook, and publishes each once."""

import hashlib
import hmac
import os

from quart import abort, request
from quart_trio import QuartTrio

from triolet import Triolet

app = QuartTrio(__name__)
live = Triolet(app, log="sqlite:///orders.db")
SECRET = os.environ["WEBHOOK_SECRET"].encode()


@app.post("/hooks/payments")
async def payment() -> dict[str, str]:
    body = await request.data
    signed = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signed, request.headers.get("X-Signature", "")):
        abort(403)
    paid = await request.get_json()
    event = await live.publish(f"orders/{paid['order']}", {"state": "paid"}, name="order-status", dedupe=paid["id"])
    return {"id": str(event.cursor)}


@live.channel("/orders/<order_id>/events")
async def order_events(order_id: str) -> str:
    return f"orders/{order_id}"
