"""Starlette on uvicorn with a bounded queue and a writer task for each client, and sse-starlette beside it.

An event is encoded once, the queue holds the finished text, and a publisher that finds a queue full waits for that
queue's client instead of dropping.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from benchmarks.fanout.payload import sse_block, websocket_text
from benchmarks.peers.publishing import Publisher

QUEUE = 64
"""Events that may wait for one client: Triolet's own ``limits.outbox_messages``."""

queues: set[asyncio.Queue[Any]] = set()


async def publish(transport: str, size: int) -> None:
    event = websocket_text(size) if transport == "ws" else sse_block(size)
    for queue in tuple(queues):
        if queue.full():
            await queue.put(event)
        else:
            queue.put_nowait(event)


publisher = Publisher(publish)


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


async def stream() -> AsyncIterator[bytes]:
    queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE)
    queues.add(queue)
    try:
        yield b"retry: 2000\n\n"
        while True:
            yield await queue.get()
    finally:
        queues.discard(queue)


async def plain(request: Request) -> Response:
    return StreamingResponse(stream(), media_type="text/event-stream")


async def sse_starlette(request: Request) -> Response:
    response: Response = EventSourceResponse(stream())
    return response


async def bench(request: Request) -> Response:
    return JSONResponse(publisher.obey(request.path_params["what"], request.query_params))


app = Starlette(
    routes=[
        WebSocketRoute("/events/bench", websocket),
        Route("/stream/bench", plain),
        Route("/sse-starlette/bench", sse_starlette),
        Route("/bench/{what}", bench),
    ]
)
