"""One run: a server, fifty clients that read all they get, and one that does not."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from benchmarks.fanout.machine import cores, free_port, spawn

__all__ = ["FAST", "PHASES", "Client", "Run", "Sample", "server"]

FAST = 50
RECEIVE_BYTES = 16 << 10
"""The slow client's own kernel buffer: a network that holds little, so that what happens is seen at once."""

PHASES = {
    "reads all": (0.0, 4.0),
    "reads nothing": (4.0, 12.0),
    "reads 50 kB/s": (12.0, 28.0),
    "stalled": (28.0, 42.0),
    "back": (42.0, 46.0),
}
"""What the slow client does, from when to when, in seconds. At 42 s, given up meanwhile, it comes back."""

WARM_SECONDS = 2.0
"""Before all that, in which nothing is measured."""

PACE = 50_000
SAMPLE_SECONDS = 0.1


@dataclass
class Sample:
    """What was seen of the slow client at a time; ``lag`` None: it is not connected."""

    at: float
    lag: int | None
    pending: int
    kernel: int
    held: int


@dataclass
class Client:
    """A WebSocket client, and how late each event reached it."""

    stream: trio.SocketStream
    latencies: list[tuple[float, float]] = field(default_factory=list)
    """When it came, in seconds since the start, and how late."""
    gaps: list[dict[str, Any]] = field(default_factory=list)
    cursor: str = ""
    _bytes: bytearray = field(default_factory=bytearray)

    async def open(self, path: str, port: int) -> None:
        """Shake hands."""
        await self.stream.send_all(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += await self.stream.receive_some(1)

    async def read(self, most: int, start: float) -> bool:
        """Take what has come, up to so many bytes. False at the end."""
        try:
            data = await self.stream.receive_some(most)
        except trio.BrokenResourceError:
            data = b""
        now = time.monotonic()
        self._bytes += data
        for message in self._messages():
            if message["type"] == "event":
                if now >= start:
                    self.latencies.append((now - start, now - message["data"]["t"]))
                self.cursor = message["id"]
            elif message["type"] == "gap":
                self.gaps.append(message)
        return bool(data)

    def _messages(self) -> Iterator[dict[str, Any]]:
        """The complete text frames of what has come."""
        data = self._bytes
        while len(data) >= 4:
            size, at = data[1] & 0x7F, 2
            if size > 125:
                width = 2 if size == 126 else 8
                size, at = int.from_bytes(data[2 : 2 + width], "big"), 2 + width
            if len(data) < at + size:
                return
            text, kind = bytes(data[at : at + size]), data[0] & 0x0F
            del data[: at + size]
            if kind == 1:
                yield json.loads(text)


@dataclass
class Run:
    """One policy's run: all that was seen."""

    policy: str
    port: int
    start: float = 0.0
    samples: list[Sample] = field(default_factory=list)
    fast: list[Client] = field(default_factory=list)
    slow: list[Client] = field(default_factory=list)
    """The slow client's connections, one after the other."""
    number: int = 0
    """Of the slow client's connection, at the server."""

    def now(self) -> float:
        return time.monotonic() - self.start

    async def whole(self) -> None:
        """Connect everybody, then go through the phases."""
        for _ in range(FAST):
            self.fast.append(await self._connect("/catch_up/events"))
        self.start = time.monotonic() + WARM_SECONDS
        with trio.move_on_after(WARM_SECONDS + PHASES["back"][1]):
            async with trio.open_nursery() as nursery:
                for client in self.fast:
                    nursery.start_soon(self._read_all, client)
                nursery.start_soon(self._be_slow)
                nursery.start_soon(self._sample)
        for client in [*self.fast, *self.slow]:
            await trio.aclose_forcefully(client.stream)

    async def _connect(self, path: str, receive_bytes: int | None = None) -> Client:
        plain = trio.socket.socket()
        if receive_bytes is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await plain.connect(("127.0.0.1", self.port))
        client = Client(trio.SocketStream(plain))
        await client.open(path, self.port)
        return client

    async def _come(self, query: str = "") -> Client:
        self.slow.append(await self._connect(f"/{self.policy}/events{query}", RECEIVE_BYTES))
        self.number = max(number for number, *_ in (await self._state())["connections"])
        return self.slow[-1]

    async def _read_all(self, client: Client) -> None:
        while await client.read(1 << 16, self.start):
            pass

    async def _be_slow(self) -> None:
        client = await self._come()
        with trio.move_on_after(PHASES["reads all"][1] - self.now()):
            await self._read_all(client)
        await trio.sleep(max(0.0, PHASES["reads nothing"][1] - self.now()))
        while self.now() < PHASES["reads 50 kB/s"][1]:
            with trio.move_on_after(1):
                await client.read(PACE // 20, self.start)
            await trio.sleep(1 / 20)
        await trio.sleep(max(0.0, PHASES["stalled"][1] - self.now()))
        await self._read_all(client)  # what its kernel has, and the end: it was given up
        await self._read_all(await self._come(f"?after={client.cursor}"))

    async def _sample(self) -> None:
        for number in range(int(PHASES["back"][1] / SAMPLE_SECONDS)):
            await trio.sleep(max(0.0, number * SAMPLE_SECONDS - self.now()))
            state = await self._state()
            seen = {number: (lag, pending) for number, lag, pending in state["connections"]}
            lag, pending = seen.get(self.number, (None, 0))
            self.samples.append(Sample(self.now(), lag, pending, self._kernel_bytes(), state["held"]))

    async def _state(self) -> dict[str, Any]:
        return dict(await trio.to_thread.run_sync(partial(ask, self.port, "/state")))

    def _kernel_bytes(self) -> int:
        """What the server's kernel holds of what it was sent for the slow client (proc(5): tx_queue)."""
        if not self.slow:
            return 0
        own = self.slow[-1].stream.socket.getsockname()[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, _, queues, *_ = line.split()
            if (int(local[-4:], 16), int(remote[-4:], 16)) == (self.port, own):
                return int(queues.partition(":")[0], 16)
        return 0


def ask(port: int, path: str) -> Any:
    """GET, as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse().read()
    connection.close()
    return json.loads(answer)


@contextmanager
def server() -> Iterator[int]:
    """Serve the app on a core of its own. Yields the port."""
    port = free_port()
    triolet = str(Path(sys.executable).with_name("triolet"))
    bind = ["--bind", f"127.0.0.1:{port}", "--log-level", "warning", "--grace", "2"]
    process = spawn([triolet, "serve", "benchmarks.slow.app:app", *bind], cores()[0])
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                ask(port, "/state")
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
