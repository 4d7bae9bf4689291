"""Real clients for the operator's page, in a process of their own: ``python -m tests.e2e.audience PORT NUMBER``.

They follow a few channels of tests/e2e/apps.py, half of them over WebSocket, and some acknowledge what they hear.
Events are published all the time. On its standard input it is told ``stall``: then one client more comes, on a channel
of its own, and reads nothing while much is published there. It ends with its input.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any

from .crowd import Crowd
from .raw import TEXT, frame

CHANNELS = ("news", "prices", "scores")
ODD = "/c/%3Cimg%20src=x%20onerror=alert(1)%3E/events"
"""A name that would be more than a text where somebody takes it for HTML."""
ACKNOWLEDGING = 20


def main(port: int, number: int) -> None:
    server: Any = SimpleNamespace(address=("127.0.0.1", port))
    over = threading.Event()
    with Crowd(server) as crowd:
        for part, channel in zip((6, 3, 1), CHANNELS, strict=True):
            crowd.join(number * part // 10, f"/c/{channel}/events", ("websocket", "sse"))
        crowd.join(1, ODD, ("sse",))
        _say("here")
        orders: list[str] = []
        threading.Thread(target=_listen, args=(orders, over), daemon=True).start()
        threading.Thread(target=_publish, args=(port, over), daemon=True).start()
        while not over.is_set():
            crowd.turn()
            _acknowledge(crowd)
            if orders:
                orders.clear()
                crowd.join(1, "/c/slow/events", ("sse",), small=True, pace=0)
                threading.Thread(target=_flood, args=(port,), daemon=True).start()


def _listen(orders: list[str], over: threading.Event) -> None:
    for line in sys.stdin:
        orders.append(line)
    over.set()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _acknowledge(crowd: Crowd) -> None:
    for at, member in enumerate(crowd.members):
        if member.kind == "websocket" and at < 2 * ACKNOWLEDGING and member.events:
            newest = member.events[-1]
            ack = {"type": "ack", "channel": newest["channel"], "cursor": newest["id"]}
            with suppress(OSError):
                member.send(frame(TEXT, json.dumps(ack).encode()))
        member.heard.clear()


@contextmanager
def _posting(port: int) -> Iterator[Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)

    def post(channel: str, data: list[Any]) -> None:
        try:
            connection.request("POST", f"/c/{channel}/many", json.dumps(data), {"Content-Type": "application/json"})
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):  # the log is away, or the worker has gone
            connection.close()
            time.sleep(0.1)

    try:
        yield post
    finally:
        connection.close()


def _publish(port: int, over: threading.Event) -> None:
    with _posting(port) as post:
        while not over.is_set():
            for channel, events in zip(CHANNELS, (2, 1, 1), strict=True):
                post(channel, [{"now": time.time()}] * events)
            time.sleep(0.2)


def _flood(port: int) -> None:
    with _posting(port) as post:
        for _ in range(12):
            post("slow", ["x" * 50_000] * 10)


if __name__ == "__main__":
    os.nice(5)  # it is the server that is looked at
    with suppress(ImportError, ValueError, OSError):
        import resource

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    socket.setdefaulttimeout(None)
    main(int(sys.argv[1]), int(sys.argv[2]))
