"""The handle of ``ask.c``: clients that send a message or a request, and count what comes back."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Self

import msgspec

from benchmarks.connections import opening
from benchmarks.fanout.contestants import Contestant
from benchmarks.fanout.machine import cores, spawn

__all__ = ["Asking", "Counts"]


class Counts(msgspec.Struct, frozen=True):
    """What clients have sent and got since the beginning, and the CPU it took; latencies since the last report."""

    clients: int
    closed: int
    replies: int
    others: int
    sent: int
    sends: int
    bytes: int
    reads: int
    cpu_ns: int
    now_ns: int
    p50_us: int
    p99_us: int


class Asking:
    """Connected clients, until the ``with`` block ends.

    Args:
        program: ``ask.c``, compiled.
        server: where they connect.
        message: the text of a message, or with ``http`` a whole request.
        reply: how the text of a reply begins; what begins otherwise is not one.
        clients: how many.
        path: of the WebSocket.
        http: whether they send requests, and open no WebSocket.
        rate: so many connect a second; 0 is 32 at a time.
        sources: how many addresses they come from; 0 is 127.0.0.1 alone.
        flight: how many messages each client has in flight from the moment it is connected.
    """

    def __init__(
        self,
        program: Path,
        server: Contestant,
        message: bytes,
        reply: str,
        clients: int,
        *,
        path: str = "/",
        http: bool = False,
        rate: float = 0,
        sources: int = 0,
        flight: int = 0,
    ) -> None:
        self.clients = clients
        self._folder = tempfile.TemporaryDirectory()
        files = []
        for name, content in (("head", opening(path, server.port, "ws")), ("message", message)):
            files.append(Path(self._folder.name, name))
            files[-1].write_bytes(content)
        kind = "http" if http else "ws"
        arguments = [str(program), server.port, kind, *files, reply, clients, rate, sources]
        self._process = spawn([*map(str, arguments)], cores()[1])
        self.pid = self._process.pid
        if flight:
            self.start(flight)

    def __enter__(self) -> Self:
        if self._readline() != "ready\n":
            self.__exit__()
            raise RuntimeError("the clients could not connect")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def start(self, flight: int) -> None:
        """Let each client have so many messages in flight."""
        self._write(f"start {flight}\n")

    def pace(self, rate: float) -> None:
        """Send so many messages a second, of all clients together."""
        self._write(f"pace {rate}\n")

    def stop(self) -> None:
        """Send no more."""
        self._write("stop\n")

    def counts(self) -> Counts:
        """Ask for the counters, and begin latencies anew.

        Raises:
            RuntimeError: the clients gave up; they have said why.
        """
        self._write("report\n")
        line = self._readline()
        while line == "ready\n":  # of one that is asked while its clients still connect
            line = self._readline()
        if not line:
            raise RuntimeError("the clients gave up")
        return msgspec.json.decode(line, type=Counts)

    def wait_for(self, replies: int, seconds: float) -> Counts:
        """Wait until so many replies have come, but no longer than ``seconds``."""
        limit = time.monotonic() + seconds
        while (counts := self.counts()).replies < replies and time.monotonic() < limit:
            time.sleep(0.05)
        return counts

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
        except BrokenPipeError:
            raise RuntimeError("the clients gave up") from None

    def _readline(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()
