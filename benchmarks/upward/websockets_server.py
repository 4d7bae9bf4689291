"""The library websockets on asyncio: answers, and a room with its ``broadcast``.

python -m benchmarks.upward.websockets_server PORT
"""

from __future__ import annotations

import asyncio
import json
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

from benchmarks.upward.room import event

room: set[ServerConnection] = set()


async def handler(connection: ServerConnection) -> None:
    assert connection.request is not None
    await WAYS[connection.request.path](connection)


async def raw(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def with_json(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(json.dumps(json.loads(message), separators=(",", ":")))


async def chat(connection: ServerConnection) -> None:
    room.add(connection)
    try:
        async for message in connection:
            broadcast(room, event(str(message)))
    finally:
        room.discard(connection)


WAYS = {"/raw": raw, "/json": with_json, "/chat": chat}


async def main(port: int) -> None:
    async with serve(handler, "127.0.0.1", port, compression=None, open_timeout=60, backlog=2048) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
