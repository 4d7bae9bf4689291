"""Answers that somebody else's readers read as plain event streams. Served as ``triolet serve plain_app:app``, so it
imports nothing from the tests."""

from __future__ import annotations

from typing import Any

from quart import request
from quart_trio import QuartTrio

from triolet import Draft, Limits, Triolet
from triolet.closing import RESTARTING

app = QuartTrio("plain")
live = Triolet(app, limits=Limits(beat_seconds=1, silence_seconds=4))


@live.channel("/answers/<name>", format="plain")
async def answers(name: str) -> str:
    return f"answers/{name}"


@app.post("/answers/<name>")
async def publish(name: str) -> dict[str, Any]:
    """Publish the body's list of ``[name, data]``."""
    drafts = [Draft.of(data, name=kind) for kind, data in await request.get_json()]
    return {"ids": [str(event.cursor) for event in await live.publish_many(f"answers/{name}", drafts)]}


@app.get("/answers/<name>/readers")
async def readers(name: str) -> dict[str, Any]:
    """The connections that read it, and are up to date."""
    return {
        "ids": [
            conn.id
            for conn in live.connections()
            if any(one.channel == f"answers/{name}" and one.state == "live" for one in conn.followers)
        ]
    }


@app.post("/answers/<name>/restart")
async def restart(name: str) -> dict[str, Any]:
    """End the connections that read it, as a server does that restarts."""
    for conn in tuple(live.service.context.registry.open.values()):
        if f"answers/{name}" in conn.followers:
            conn.end(RESTARTING)
    return {}


@app.post("/answers/<name>/end")
async def end(name: str) -> dict[str, Any]:
    """End the answer."""
    await live.end(f"answers/{name}")
    return {}
