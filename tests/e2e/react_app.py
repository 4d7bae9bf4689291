"""An app whose page is made with React: orders, who looks at them, and a command.

Served as ``triolet serve react_app:app`` with this folder on the path, in a folder that has the page's script.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from quart import Response, request
from quart_trio import QuartTrio

from triolet import Command, Limits, Triolet

PAGE = """<!doctype html><meta charset="utf-8"><title>An order</title><link rel="icon" href="data:,">
<div id="root"></div><script type="module" src="/page.js"></script>"""
SCRIPT = Path("page.js").read_bytes()

app = QuartTrio("react")
live = Triolet(app, log=os.environ["E2E_LOG"], limits=Limits(**json.loads(os.environ["E2E_LIMITS"])))
live.socket("/warehouse")


@app.get("/")
async def page() -> str:
    return PAGE


@app.get("/page.js")
async def script() -> Response:
    return Response(SCRIPT, mimetype="text/javascript")


@live.channel("/orders/<order_id>/events", member=lambda order_id: "ada")
async def order_events(order_id: str) -> str:
    return f"orders/{order_id}"


@live.channel("/orders/<order_id>/presence")
async def order_presence(order_id: str) -> str:
    return live.presence(f"orders/{order_id}").channel


@live.command("/orders/<order_id>/pick")
async def pick(order_id: str, command: Command) -> dict[str, Any]:
    await command.publish(f"orders/{order_id}", {"state": "picked"})
    return {"picked": order_id}


@app.post("/orders/<order_id>")
async def publish(order_id: str) -> dict[str, Any]:
    """Publish each of the body's states."""
    events = await live.publish_many(f"orders/{order_id}", [{"state": state} for state in await request.get_json()])
    return {"ids": [str(event.cursor) for event in events]}
