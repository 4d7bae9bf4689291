"""A plain Quart-Trio app on Hypercorn, with the same answer to a poll, ready-made: UPWARD_ANSWER is its file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from quart import Response, abort, session
from quart_trio import QuartTrio

app = QuartTrio(__name__)
app.secret_key = "of the benchmark"
ANSWER = Path(os.environ["UPWARD_ANSWER"]).read_bytes()


@app.get("/login")
async def login() -> dict[str, Any]:
    session["user"] = "A123"
    return {}


@app.get("/orders/<order_id>/events")
async def orders(order_id: str) -> Response:
    if session.get("user") != order_id:
        abort(403)
    return Response(ANSWER, content_type="application/json", headers={"Cache-Control": "no-store"})
