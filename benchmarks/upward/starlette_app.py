"""Starlette on uvicorn: sockets that answer, a room in which all hear all, and a poll whose answer is ready-made."""

from __future__ import annotations

import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from benchmarks.upward.room import event

ANSWER = Path(os.environ["UPWARD_ANSWER"]).read_bytes() if "UPWARD_ANSWER" in os.environ else b""
room: set[WebSocket] = set()


async def raw(connection: WebSocket) -> None:
    await connection.accept()
    try:
        while True:
            await connection.send_text(await connection.receive_text())
    except WebSocketDisconnect:
        pass


async def json(connection: WebSocket) -> None:
    await connection.accept()
    try:
        while True:
            await connection.send_json(await connection.receive_json())
    except WebSocketDisconnect:
        pass


async def chat(connection: WebSocket) -> None:
    await connection.accept()
    room.add(connection)
    try:
        while True:
            said = event(await connection.receive_text())
            for each in tuple(room):
                await each.send_text(said)
    except WebSocketDisconnect:
        pass
    finally:
        room.discard(connection)


async def orders(request: Request) -> Response:
    return Response(ANSWER, media_type="application/json", headers={"cache-control": "no-store"})


app = Starlette(
    routes=[
        WebSocketRoute("/raw", raw),
        WebSocketRoute("/json", json),
        WebSocketRoute("/chat", chat),
        Route("/orders/{order_id}/events", orders),
    ]
)
