"""The library websockets on asyncio: its own ``broadcast``, without compression.

python -m benchmarks.peers.websockets_server PORT
"""

from __future__ import annotations

import asyncio
import http
import json
import sys
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.http11 import Request, Response

from benchmarks.fanout.payload import websocket_text
from benchmarks.peers.publishing import Publisher

connections: set[ServerConnection] = set()


async def publish(transport: str, size: int) -> None:
    broadcast(connections, websocket_text(size))


publisher = Publisher(publish)


async def handler(connection: ServerConnection) -> None:
    connections.add(connection)
    try:
        await connection.wait_closed()
    finally:
        connections.discard(connection)


def control(connection: ServerConnection, request: Request) -> Response | None:
    """Answer what the benchmark asks over plain HTTP."""
    url = urlsplit(request.path)
    if not url.path.startswith("/bench/"):
        return None
    state = publisher.obey(url.path.removeprefix("/bench/"), dict(parse_qsl(url.query)))
    return connection.respond(http.HTTPStatus.OK, json.dumps(state))


async def main(port: int) -> None:
    async with serve(
        handler, "127.0.0.1", port, process_request=control, compression=None, open_timeout=60, backlog=2048
    ) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
