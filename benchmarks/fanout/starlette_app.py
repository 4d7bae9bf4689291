"""The comparison: Starlette with a bounded queue and a writer task for each client.

Written to be as fast as this shape can be: an event is encoded once, the queue holds the finished text, a
publisher that finds a queue full waits instead of dropping, and uvicorn runs with uvloop and httptools.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from benchmarks.fanout.payload import sse_block, websocket_text

QUEUE = 64
"""Events that may wait for one client: Triolet's own ``limits.outbox_messages``."""

queues: set[asyncio.Queue[Any]] = set()
published = 0
publishing = running = False
publisher: asyncio.Task[None] | None = None


async def websocket(connection: WebSocket) -> None:
    await connection.accept()
    queue: asyncio.Queue[str] = asyncio.Queue(QUEUE)
    queues.add(queue)
    writer = asyncio.create_task(write(connection, queue))
    try:
        while (await connection.receive())["type"] != "websocket.disconnect":
            pass
    finally:
        writer.cancel()
        queues.discard(queue)


async def write(connection: WebSocket, queue: asyncio.Queue[str]) -> None:
    while True:
        await connection.send_text(await queue.get())


async def events(request: Request) -> Response:
    return StreamingResponse(stream(), media_type="text/event-stream")


async def stream() -> AsyncIterator[bytes]:
    queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE)
    queues.add(queue)
    try:
        yield b"retry: 2000\n\n"
        while True:
            yield await queue.get()
    finally:
        queues.discard(queue)


async def publish(encode: Callable[[], object], rate: float, burst: int) -> None:
    """Publish until told to stop. Without a rate, one burst at each turn of the event loop.

    Where a queue is full, it waits for that queue's client.
    """
    global published, running
    running = True
    loop = asyncio.get_running_loop()
    due = loop.time()
    while publishing:
        for _ in range(burst):
            event = encode()
            for queue in tuple(queues):
                if queue.full():
                    await queue.put(event)
                else:
                    queue.put_nowait(event)
            published += 1
        due += 1 / rate if rate else 0
        await asyncio.sleep(max(0.0, due - loop.time()) if rate else 0)
    running = False


async def start(request: Request) -> Response:
    global publishing, publisher
    publishing = True
    encode = websocket_text if request.query_params["transport"] == "ws" else sse_block
    rate, burst = float(request.query_params["rate"]), int(request.query_params["burst"])
    publisher = asyncio.create_task(publish(encode, rate, burst))
    return JSONResponse({})


async def stop(request: Request) -> Response:
    global publishing
    publishing = False
    return JSONResponse({})


async def state(request: Request) -> Response:
    return JSONResponse({"published": published, "running": running, "clients": len(queues)})


app = Starlette(
    routes=[
        WebSocketRoute("/events/bench", websocket),
        Route("/stream/bench", events),
        Route("/bench/start", start),
        Route("/bench/stop", stop),
        Route("/bench/state", state),
    ]
)
