"""python-socketio on uvicorn: ``emit`` to everybody, over its WebSocket transport."""

from __future__ import annotations

from typing import Any

import socketio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.fanout.payload import data
from benchmarks.peers.publishing import Publisher

server: Any = socketio.AsyncServer(async_mode="asgi", http_compression=False)


async def publish(transport: str, size: int) -> None:
    await server.emit("message", data("ws", size))


publisher = Publisher(publish)


async def bench(request: Request) -> Response:
    return JSONResponse(publisher.obey(request.path_params["what"], request.query_params))


app = socketio.ASGIApp(server, other_asgi_app=Starlette(routes=[Route("/bench/{what}", bench)]))
