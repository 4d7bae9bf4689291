"""The library trio-websocket: answers.   python -m benchmarks.upward.trio_websocket_server PORT"""

from __future__ import annotations

import sys

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket


async def raw(request: WebSocketRequest) -> None:
    connection = await request.accept()
    try:
        while True:
            await connection.send_message(await connection.get_message())
    except ConnectionClosed:
        pass


if __name__ == "__main__":
    trio.run(serve_websocket, raw, "127.0.0.1", int(sys.argv[1]), None)
