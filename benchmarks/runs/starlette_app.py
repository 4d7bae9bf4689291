"""The usual recipe, by hand: Starlette on uvicorn, and a Redis stream for each run.

A task of the app adds each token with ``XADD``. Each reader asks with ``XREAD`` for what comes after its
``Last-Event-ID``, waits there while there is nothing, and is sent each token as an event: by sse-starlette, by
Starlette's own StreamingResponse, or over WebSocket. It has no beats over WebSocket, no folds and no gaps, and a run
whose process dies has no end.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import Redis
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from benchmarks.runs.model import order, tokens

BLOCK_MS = 15_000
HOUR = 3_600

# A reader that waits holds a connection to Redis, and its answer may take as long as it waits: the defaults of
# redis-py 8 are 100 connections and 5 seconds, with which the 101st reader is refused, and a quiet one fails. So does
# one of 200 that come at once and have much to read, while its connection waits for its turn.
redis: Any = Redis.from_url(
    os.environ["RUNS_REDIS"],
    decode_responses=True,
    max_connections=10_000,
    socket_timeout=None,
    socket_connect_timeout=None,
    protocol=2,
)
tasks: set[asyncio.Task[None]] = set()


async def write(key: str, source: AsyncIterator[str]) -> None:
    async for token in source:
        await redis.xadd(key, {"token": token}, maxlen=10_000, approximate=True)
    await redis.xadd(key, {"end": "done"})
    await redis.expire(key, HOUR)


async def read(key: str, last: str) -> AsyncIterator[tuple[str, str]]:
    """Yield ids and tokens, from behind an id to the run's end."""
    while True:
        for _, entries in await redis.xread({key: last}, block=BLOCK_MS):
            for last, fields in entries:
                if "end" in fields:
                    return
                yield last, fields["token"]


async def by_sse_starlette(request: Request) -> Response:
    key = f"answers:{request.path_params['name']}"

    async def events() -> AsyncIterator[dict[str, str]]:
        async for last, token in read(key, request.headers.get("last-event-id", "0")):
            yield {"id": last, "data": json.dumps(token)}

    response: Response = EventSourceResponse(events())
    return response


async def by_streaming_response(request: Request) -> Response:
    key = f"answers:{request.path_params['name']}"

    async def events() -> AsyncIterator[str]:
        async for last, token in read(key, request.headers.get("last-event-id", "0")):
            yield f"id: {last}\ndata: {json.dumps(token)}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


async def by_websocket(websocket: WebSocket) -> None:
    await websocket.accept()
    async for last, token in read(f"answers:{websocket.path_params['name']}", websocket.query_params.get("after", "0")):
        await websocket.send_json({"id": last, "data": token})
    await websocket.close()


async def bench(request: Request) -> Response:
    if request.path_params["what"] == "start":
        wanted = order(request.query_params)
        for number in range(wanted.runs):
            task = asyncio.create_task(write(f"answers:{wanted.name}-{number}", tokens(wanted, number, asyncio.sleep)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    return JSONResponse({"running": bool(tasks)})


app = Starlette(
    routes=[
        Route("/sse-starlette/{name}/events", by_sse_starlette),
        Route("/streaming-response/{name}/events", by_streaming_response),
        WebSocketRoute("/websocket/{name}/events", by_websocket),
        Route("/bench/{what}", bench),
    ]
)
