"""The app that many workers serve: channels, and a way to publish that says what became of it.

Served as ``triolet serve many_app:app`` from this folder; the environment says with which log and limits.
"""

from __future__ import annotations

import json
import os
from typing import Any

from quart import request
from quart_trio import QuartTrio

from triolet import Limits, LogError, Triolet

__all__ = ["app"]

app = QuartTrio("many")
live = Triolet(app, log=os.environ["E2E_LOG"], limits=Limits(**json.loads(os.environ["E2E_LIMITS"])))


@live.channel("/c/<name>/events")
async def events(name: str) -> str:
    return name


live.socket("/live")


@app.post("/c/<name>")
async def publish(name: str) -> tuple[dict[str, Any], int]:
    """Publish ``data`` with its ``dedupe``; where the log fails, say how: that tells whether it may be stored."""
    body = await request.get_json()
    try:
        event = await live.publish(name, body["data"], dedupe=body["dedupe"])
    except LogError as error:
        return {"error": type(error).__name__}, 503
    return {"id": str(event.cursor), "pid": os.getpid()}, 200


@app.get("/pid")
async def pid() -> dict[str, int]:
    return {"pid": os.getpid()}
