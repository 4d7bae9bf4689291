"""The app of which ``script/worlds.mjs`` has a twin on the npm package's fake server: the same must be heard of both.

Served as ``triolet serve twin_app:app`` with this folder on the path, so it imports nothing from the tests.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import Any

from quart import Response, abort, redirect, request
from quart_trio import QuartTrio

from triolet import BadToken, Command, Identity, Limits, Triolet

KEEP = 4
"""Events of a channel that are kept, as the twin has it."""

app = QuartTrio("twin")
# A client that a busy machine keeps from reading is waited for: what it had not read when the connection ended, a close
# frame say, many libraries do not tell.
LIMITS = Limits(keep_events=KEEP, poll_seconds=0.05, goodbye_seconds=20)
live = Triolet(app, log=os.environ["E2E_LOG"], limits=LIMITS)
refused: dict[str, Any] = {}
tokens: dict[str, float | None] = {}
done: Counter[str] = Counter()
published: Counter[str] = Counter()
failing: set[str] = set()
failed: Counter[str] = Counter()


@live.identify
async def who(token: str | None) -> Identity | None:
    if token is None:
        return None
    if token not in tokens:
        raise BadToken("signature")
    return Identity("ann", expires_at=tokens[token])


@app.get("/login")
async def login() -> str:
    return "<!doctype html><form></form>"


def decide(name: str) -> Any:
    status = refused.get(name)
    if status == "login":
        return redirect("/login")
    if status == 503:
        abort(Response("", 503, {"Retry-After": "1"}))
    if status is not None:
        abort(status)
    return f"c/{name}"


@live.channel("/c/<name>/events")
async def events(name: str) -> Any:
    return decide(name)


async def state_of(channel: str) -> tuple[Any, Any]:
    """How many events there were, as of now: nothing comes in between, for nothing is waited for after the head."""
    cursor = await live.log.head(channel)
    if channel.removeprefix("c/") in failing:
        failed[channel.removeprefix("c/")] += 1
        raise RuntimeError("no state now")
    return {"published": published[channel.removeprefix("c/")]}, cursor


@live.channel("/c/<name>/state", snapshot=state_of)
async def with_state(name: str) -> str:
    return f"c/{name}"


@live.channel("/c/<name>/as/<member>", member=lambda name, member: member)
async def events_as(name: str, member: str) -> str:
    return f"c/{name}"


@live.channel("/c/<name>/presence")
async def presence(name: str) -> str:
    return live.presence(f"c/{name}").channel


live.socket("/live")


@live.socket("/talk/<name>")
async def talk(conn: Any, name: str) -> None:
    async for message in conn:
        if message == "follow":
            await conn.follow(f"c/{name}")
        elif message == "unfollow":
            conn.unfollow(f"c/{name}")
        else:
            await conn.send({"echo": message})


@live.command("/c/<name>/do")
async def do(name: str, command: Command) -> Any:
    """Answer as the command's data says, and note that it was done."""
    done[name] += 1
    said = command.data
    if done[name] <= said.get("busy", 0):
        return Response("", 503, {"Retry-After": "1"})
    if "publish" in said:
        await command.publish(f"c/{name}", said["publish"])
    return {"done": done[name]}, said.get("status", 200)


# --- what the scenes have happen


@app.post("/happen/publish/<name>")
async def publish(name: str) -> dict[str, Any]:
    said = await request.get_json()
    published[name] += 1
    more = {"key": said.get("key"), "fold": said.get("fold")}
    return {"id": str((await live.publish(f"c/{name}", said["data"], name=said["event"], **more)).cursor)}


@app.post("/happen/end/<name>")
async def end(name: str) -> dict[str, Any]:
    return {"id": str((await live.end(f"c/{name}", (await request.get_json())["data"])).cursor)}


@app.post("/happen/tell/<name>")
async def tell(name: str) -> dict[str, Any]:
    said = await request.get_json()
    live.tell(f"c/{name}", said["data"], name=said["event"], key=said.get("key"))
    return {}


@app.post("/happen/delete/<name>")
async def delete(name: str) -> dict[str, Any]:
    return {"id": str((await live.delete(f"c/{name}")).cursor)}


@app.post("/happen/refuse/<name>")
async def refuse(name: str) -> dict[str, Any]:
    refused[name] = (await request.get_json())["status"]
    return {}


@app.post("/happen/fail/<name>")
async def fail(name: str) -> dict[str, Any]:
    if (fails := (await request.get_json()).get("fails")) is not None:
        (failing.add if fails else failing.discard)(name)
    return {"failed": failed[name]}


@app.post("/happen/revoke/<name>")
async def revoke(name: str) -> dict[str, Any]:
    return {"told": await live.revoke(channel=f"c/{name}")}


@app.post("/happen/tokens/<name>")
async def give_tokens(name: str) -> dict[str, Any]:
    for token, milliseconds in (await request.get_json()).items():
        tokens[f"{name}-{token}"] = None if milliseconds is None else time.time() + milliseconds / 1000
    return {}


@app.post("/happen/done/<name>")
async def count(name: str) -> dict[str, int]:
    return {"done": done[name]}
