"""An app that lists the origins in ``E2E_ORIGINS``; with ``E2E_MIDDLEWARE`` behind ASGI middleware.

Served as ``triolet serve origins_app:app`` with this folder on the path, so it imports nothing from the tests.
"""

from __future__ import annotations

import json
import os
from typing import Any

from quart import Response, abort, request
from quart_trio import QuartTrio

from triolet import Connection, Limits, Triolet

app = QuartTrio("origins")
LIMITS = Limits(**json.loads(os.environ.get("E2E_LIMITS", "{}")))
live = Triolet(app, origins=json.loads(os.environ["E2E_ORIGINS"]), limits=LIMITS)


@app.get("/login/<user>")
async def login(user: str) -> Response:
    response = Response("logged in")
    response.set_cookie("user", user)
    return response


@live.channel("/mine")
async def mine() -> str:
    return f"users/{request.cookies['user']}" if "user" in request.cookies else abort(401)


@live.channel("/news")
async def news() -> str:
    return "news"


@live.socket("/charger", raw=True, subprotocols=["ocpp1.6"])
async def charger(conn: Connection) -> None:
    await conn.send(f"{conn.subprotocol}")
    async for message in conn:
        await conn.send(message)


@app.post("/say/<path:channel>")
async def say(channel: str) -> dict[str, Any]:
    return {"id": str((await live.publish(channel, "hello")).cursor)}


if "E2E_MIDDLEWARE" in os.environ:
    inner = app.asgi_app

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    app.asgi_app = middleware  # type: ignore[method-assign]  # how ASGI middleware is put in
