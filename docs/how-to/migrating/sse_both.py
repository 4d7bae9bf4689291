"""The old server, which also publishes to the new one's log: both tell the same."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from triolet import SyncPublisher

live = SyncPublisher(os.environ.get("LIVE_LOG", "sqlite:///orders.db"))
queues: dict[str, set[asyncio.Queue[Any]]] = {}


async def order_events(request: Request) -> EventSourceResponse:
    queue: asyncio.Queue[Any] = asyncio.Queue()
    listeners = queues.setdefault(request.path_params["order_id"], set())

    async def events() -> AsyncIterator[dict[str, str]]:
        listeners.add(queue)
        try:
            while True:
                yield {"event": "order-status", "data": json.dumps(await queue.get())}
        finally:
            listeners.discard(queue)

    return EventSourceResponse(events())


async def advance(request: Request) -> JSONResponse:
    order_id, state = request.path_params["order_id"], request.path_params["state"]
    for queue in queues.get(order_id, ()):
        queue.put_nowait({"state": state})
    await asyncio.to_thread(live.publish, f"orders/{order_id}", {"state": state}, name="order-status")
    return JSONResponse({"state": state})


app = Starlette(
    routes=[
        Route("/orders/{order_id}/events", order_events),
        Route("/orders/{order_id}/{state}", advance, methods=["POST"]),
    ]
)
