"""Two well-behaved clients that look on while others misbehave, and must miss nothing."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from .raw import trusting
from .server import Server, wait_for


class Bystander:
    """Follows one channel over SSE and over WebSocket, each on one connection that must last."""

    def __init__(self, server: Server, channel: str = "bystander") -> None:
        self.server = server
        self.channel = channel
        self.published = 0
        self.heard: dict[str, list[Any]] = {"sse": [], "websocket": []}
        self.ended: list[str] = []
        self._leaving = False
        self._tls = trusting() if server.secure else None
        self._client = httpx.Client(verify=self._tls or True, timeout=None)
        self._websocket: ClientConnection | None = None
        self._live = {"sse": threading.Event(), "websocket": threading.Event()}
        self._threads = [
            threading.Thread(target=self._follow, args=("sse", self._read_sse), daemon=True),
            threading.Thread(target=self._follow, args=("websocket", self._read_websocket), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        for name, live in self._live.items():
            assert live.wait(15), f"the {name} bystander did not get live: {self.ended}"

    def prove(self) -> None:
        """Publish the next number: the server answers, and both clients hear it, in order, once."""
        assert self.server.alive(), f"the server is gone:\n{self.server.log[-4000:]}"
        self.published += 1
        self.server.publish(self.channel, self.published)
        wait_for(self._has_all, "the bystander's event")
        whole = list(range(1, self.published + 1))
        for name, heard in self.heard.items():
            assert heard == whole, f"{name} heard {heard[-20:]}, not 1 to {self.published}"
        assert not self.ended, self.ended

    def _has_all(self) -> bool:
        return bool(self.ended) or all(heard[-1:] == [self.published] for heard in self.heard.values())

    def leave(self) -> None:
        self._leaving = True
        if self._websocket is not None:
            self._websocket.close()
        with suppress(Exception):
            self._client.close()
        with suppress(Exception):
            self.server.publish(self.channel, None)  # wakes the reader of the closed stream
        for thread in self._threads:
            thread.join(10)

    def _follow(self, name: str, read: Any) -> None:
        try:
            read()
        except Exception as error:  # whatever it is, the bystander has lost its connection
            self._end(f"{name}: {error!r}")
        else:
            self._end(f"{name}: the stream ended")

    def _end(self, how: str) -> None:
        if not self._leaving:
            self.ended.append(how)

    def _take(self, transport: str, kind: str, data: Any) -> None:
        if kind == "live":
            self._live[transport].set()
        elif kind == "event":
            self.heard[transport].append(data)
        elif kind in ("gap", "bye"):
            self._end(f"{transport}: {kind} {data}")

    def _read_websocket(self) -> None:
        url = f"{self.server.websocket_url}/c/{self.channel}/events"
        with connect(url, ssl=self._tls, compression=None, ping_interval=None) as self._websocket:
            for text in self._websocket:
                message = json.loads(text)
                self._take("websocket", message["type"], message.get("data"))

    def _read_sse(self) -> None:
        url = f"{self.server.url}/c/{self.channel}/events"
        with self._client.stream("GET", url, headers={"Accept": "text/event-stream"}) as answer:
            kind = ""
            for line in answer.iter_lines():
                if self._leaving:
                    return
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                    kind = name.removeprefix("triolet.") if name.startswith("triolet.") else "event"
                elif line.startswith("data: "):
                    self._take("sse", kind or "event", json.loads(line.removeprefix("data: ")))
