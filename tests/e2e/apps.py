"""The apps that the end-to-end tests serve; the environment says with which log and limits.

Served as ``triolet serve apps:app`` with this folder on the path, so it imports nothing from the tests.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import trio
from quart import Response, abort, request, websocket, wrappers
from quart_trio import QuartTrio

from triolet import Limits, Triolet

LOG = os.environ.get("E2E_LOG", "memory:")
LIMITS = Limits(**json.loads(os.environ.get("E2E_LIMITS", "{}")))

app = QuartTrio("apps")
app.config["MAX_CONTENT_LENGTH"] = 1 << 20
live = Triolet(app, log=LOG, limits=LIMITS)
hits: Counter[str] = Counter()


@app.get("/")
async def page() -> str:
    return "<!doctype html><title>e2e</title><p>a page"


@live.channel("/c/<name>/events")
async def events(name: str) -> str:
    if name.startswith("forbidden"):
        abort(403)
    if name.startswith("absent"):
        abort(404)
    return f"c/{name}"


@app.post("/c/<name>")
async def publish(name: str) -> dict[str, Any]:
    """Publish what the body says: ``{"data", "name", "key", "dedupe"}``."""
    body = await request.get_json()
    data = body.pop("data")
    event = await live.publish(f"c/{name}", data, **body)
    return {"id": str(event.cursor)}


@app.post("/c/<name>/many")
async def publish_many(name: str) -> dict[str, Any]:
    """Publish the body's list as one batch."""
    made = await live.publish_many(f"c/{name}", await request.get_json())
    return {"ids": [str(event.cursor) for event in made]}


@app.post("/c/<name>/end")
async def end(name: str) -> dict[str, Any]:
    """End it, and say what the body says."""
    return {"id": str((await live.end(f"c/{name}", await request.get_json())).cursor)}


@app.post("/c/<name>/flood")
async def flood(name: str) -> dict[str, Any]:
    """Publish ``first`` to ``last`` from several tasks, noting each in the file ``acks`` when it returned."""
    body = await request.get_json()
    numbers = iter(range(body["first"], body["last"] + 1))
    acks = os.open(body["acks"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def one_by_one() -> None:
        for number in numbers:
            made = await live.publish(f"c/{name}", number, dedupe=str(number))
            os.write(acks, f"{number} {made.cursor}\n".encode())

    try:
        async with trio.open_nursery() as nursery:
            for _ in range(body["tasks"]):
                nursery.start_soon(one_by_one)
    finally:
        os.close(acks)
    return {"done": True}


@live.socket("/echo", raw=True)
async def echo(conn: Any) -> None:
    async for message in conn:
        await conn.send(message)


@live.socket("/talk")
async def talk(conn: Any) -> None:
    """A JSON socket: clients follow by URL, and hear their own messages."""
    async for message in conn:
        await conn.send({"echo": message})


live.socket("/many")


@live.socket("/sender", raw=True)
async def sender(conn: Any) -> None:
    """Never receives, and never stops sending."""
    while True:
        await conn.send("x" * 200)


@live.socket("/sleeper")
async def sleeper(conn: Any) -> None:
    """Never receives, never sends, and would never end."""
    await trio.sleep_forever()


@live.socket("/crash")
async def crash(conn: Any) -> None:
    raise ZeroDivisionError("a bug of the app's")


GONE: type[Exception] = getattr(wrappers, "ClientDisconnectedError", ConnectionError)
"""What Quart 0.23 raises in a handler whose client is gone; 0.22 cancels it."""


@app.websocket("/quart/echo")
async def quart_echo() -> None:
    with suppress(GONE):
        while True:
            await websocket.send(await websocket.receive())


@app.websocket("/quart/sender")
async def quart_sender() -> None:
    with suppress(GONE):
        while True:
            await websocket.send("x" * 200)


@app.websocket("/quart/sleeper")
async def quart_sleeper() -> None:
    await websocket.accept()
    await trio.sleep_forever()


@app.get("/quart/stream")
async def quart_stream() -> Response:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 200

    response = Response(endless(), content_type="text/plain")
    response.timeout = None
    return response


@app.get("/blob/<int:size>")
async def blob(size: int) -> bytes:
    """An answer of so many bytes, made as a whole."""
    return bytes(size)


@app.post("/form")
async def form() -> dict[str, Any]:
    return dict((await request.form).items())


@app.post("/body")
async def body() -> dict[str, int]:
    return {"bytes": len(await request.get_data())}


@app.route("/hit/<token>", methods=["GET", "POST", "PUT", "HEAD"])
async def hit(token: str) -> str:
    """Count that a request arrived here: what a smuggled one must not do."""
    hits[token] += 1
    return f"hit {token}"


@app.get("/hits/<token>")
async def count_hits(token: str) -> dict[str, int]:
    return {"hits": hits[token]}


@app.get("/tasks")
async def tasks() -> dict[str, int]:
    """Count the tasks of the whole process, but for what connections that are open start when they need it: writers and
    heartbeats."""
    waiting = [trio.lowlevel.current_root_task()]
    count = 0
    while waiting:
        task = waiting.pop()
        assert task is not None
        count += not _is_of_an_open_connection(task)
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return {"tasks": count}


def _is_of_an_open_connection(task: trio.lowlevel.Task) -> bool:
    if not task.name.endswith((".heartbeat.beat", ".writer.write")):
        return False
    conn = task.coro.cr_frame.f_locals["conn"]  # type: ignore[union-attr]  # a coroutine of ours
    return conn.id in conn.context.registry.open


WIDE = Limits(
    message_bytes=16 << 20,
    inbox_bytes=64 << 20,
    message_fragments=1 << 20,
    message_seconds=60,
    inbox_messages=10_000,
    outbox_messages=10_000,
    control_per_second=10_000,
    messages_per_second=100_000,
    beat_seconds=600,  # a case that counts frames takes a ping of ours, which may come at any moment, for a fault
    silence_seconds=1_500,
)


def make_echo(*, deflate: bool) -> QuartTrio:
    """An echo at ``/`` for Autobahn, with limits wide enough for its cases."""
    made = QuartTrio("autobahn")
    wide = Triolet(made, limits=WIDE, deflate=deflate)

    @wide.socket("/", raw=True)
    async def wide_echo(conn: Any) -> None:
        async for message in conn:
            await conn.send(message)

    return made


autobahn = make_echo(deflate=False)
autobahn_deflate = make_echo(deflate=True)

deflating = QuartTrio("deflating")
thin = Triolet(deflating, limits=LIMITS, deflate=True)


@thin.channel("/c/<name>/events")
async def thin_events(name: str) -> str:
    return f"c/{name}"


@deflating.post("/c/<name>")
async def thin_publish(name: str) -> dict[str, Any]:
    return {"id": str((await thin.publish(f"c/{name}", (await request.get_json())["data"])).cursor)}


@thin.socket("/echo", raw=True)
async def thin_echo(conn: Any) -> None:
    async for message in conn:
        await conn.send(message)


@deflating.get("/tasks")
async def thin_tasks() -> dict[str, int]:
    return await tasks()
