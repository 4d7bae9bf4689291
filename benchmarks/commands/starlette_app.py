"""The same by hand: Starlette on uvicorn, and Redis. ``SET NX`` claims an id, ``MULTI`` stores event and answer."""

import os
from typing import Any

import msgspec
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

DAY = 86_400
redis = Redis.from_url(os.environ["COMMANDS_REDIS"])


async def once(order_id: str, command_id: str, data: Any) -> bytes:
    key = f"command:{order_id}:{command_id}"
    if not await redis.set(key, b"", nx=True, ex=60):
        return bytes(await redis.get(key) or b"")
    answer = msgspec.json.encode({"picked": order_id})
    async with redis.pipeline(transaction=True) as pipe:
        pipe.xadd(f"orders:{order_id}", {"data": b'{"state":"packed"}'}, maxlen=1_000, approximate=True)
        pipe.set(key, answer, ex=DAY)
        await pipe.execute()
    return answer


async def pick(request: Request) -> Response:
    data = msgspec.json.decode(await request.body())
    answer = await once(request.path_params["order_id"], request.headers["idempotency-key"], data)
    return Response(answer, media_type="application/json")


async def live(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            said = await websocket.receive_json()
            answer = await once(said["url"].split("/")[2], said["id"], said["data"])
            await websocket.send_json({"id": said["id"], "status": 200, "data": msgspec.json.decode(answer)})
    except WebSocketDisconnect:
        pass


app = Starlette(
    routes=[Route("/orders/{order_id}/pick", pick, methods=["POST"]), WebSocketRoute("/live", live)],
)
