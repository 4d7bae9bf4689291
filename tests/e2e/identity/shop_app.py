"""The app of these tests: clients with tokens, channels that they follow, commands, and a way to revoke.

Served as ``triolet serve shop_app:app`` from this folder, so it imports nothing from the tests; the environment says
with which log and limits. Its tokens are those of ``tests.identity.issuer``.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

import trio
from quart import Response, abort, request
from quart_trio import QuartTrio

from triolet import JWT, Command, Identity, Limits, Triolet

app = QuartTrio("shop")
live = Triolet(app, log=os.environ["E2E_LOG"], limits=Limits(**json.loads(os.environ["E2E_LIMITS"])))
check = JWT(keys="SECRET0123456789abcdef0123456789", audience="shop")
denied = Path("denied")
"""A line for each that may not come back, as ``channel b``: the app's own memory, which all workers share."""


@live.identify
async def who(token: str | None) -> Identity | None:
    """Anybody may come without a token, and is nobody then."""
    identity = await check(token)
    if identity is not None and ({f"subject {identity.subject}", f"session {identity.session}"} & lines()):
        abort(403)
    return identity


def lines() -> set[str]:
    return set(denied.read_text().splitlines()) if denied.exists() else set()


@live.channel("/c/<name>/events")
async def events(name: str) -> str:
    if f"channel {name}" in lines() and await live.identity() is not None:  # nobody may read what is in the log
        abort(403)
    return name


@live.socket("/desk")
async def desk(conn: Any) -> None:
    """Answer each message; one that says so crashes this handler."""
    async for message in conn:
        if message == "crash":
            raise RuntimeError("a handler that crashes")
        await conn.send({"you": None if conn.identity is None else conn.identity.subject})


@app.post("/c/<name>")
async def publish(name: str) -> dict[str, str]:
    return {"id": str((await live.publish(name, await request.get_json())).cursor)}


@app.post("/revoke")
async def revoke() -> dict[str, Any]:
    """Let nobody back in first, and end what is open then."""
    body = await request.get_json()
    named = {f"{name} {value}" for name, value in body.items()}
    await trio.Path(denied).write_text("".join(sorted(f"{line}\n" for line in lines() | named)))
    return {"told": await live.revoke(**body), "pid": os.getpid()}


@live.command("/orders/<int:number>/pick")
async def pick(number: int, command: Command) -> Any:
    """Publish to two channels, and answer, what no second run would draw again."""
    if number == 404:
        abort(404)
    if number == 500:
        raise RuntimeError("a command that crashes")
    done = {"id": command.id, "number": number, "said": command.data, "drawn": secrets.token_hex(8)}
    await command.publish("orders", done)
    await command.publish("audit", done)
    return done


@app.get("/explain")
async def explain() -> Response:
    """All connections of this worker, and who they are; and those that it remembers."""
    newest = max((conn.id for conn in live.connections()), default=0)
    told = []
    for number in range(newest + 1):
        try:
            told.append(str(live.explain(number)))
        except LookupError:
            continue
    return Response("\n".join(told), content_type="text/plain")
