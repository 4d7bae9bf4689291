"""The load generator's handle: the clients of one server, and what they counted."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec

from benchmarks.deadline import OverdueError, deadline
from benchmarks.fanout.contestants import Contestant
from benchmarks.fanout.machine import cores, spawn

__all__ = ["Counts", "Load"]

CONNECT_SECONDS = 120


class Counts(msgspec.Struct, frozen=True):
    """What the clients of one load generator have been sent so far, and the CPU it took to count that."""

    clients: int
    closed: int
    events: int
    disordered: int
    beats: int
    gaps: int
    others: int
    bytes: int
    reads: int
    cpu_ns: int
    now_ns: int
    p50_us: int
    p99_us: int
    max_us: int


class Load:
    """Connected clients, until the ``with`` block ends.

    Args:
        path: the URL path, if not the server's own.
        in_flight: so many connect at once.
        follows: channels that each client follows of its own, once :meth:`follow` is called.
        sharing: so many clients share a number, which stands in the path for ``*``.
    """

    def __init__(
        self,
        program: Path,
        server: Contestant,
        transport: str,
        clients: int,
        *,
        path: str | None = None,
        in_flight: int = 32,
        follows: int = 0,
        sharing: int = 1,
    ) -> None:
        self.clients = clients
        self._name = server.name
        command = [
            str(program),
            "127.0.0.1",
            str(server.port),
            path or server.path(transport),
            server.dialect(transport),
            *map(str, (clients, in_flight, follows, sharing)),
        ]
        self._process = spawn(command, cores()[1])
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        try:
            with deadline(f"{self._name}, connecting {self.clients:,} clients", CONNECT_SECONDS):
                said = self._readline()
        except OverdueError:
            self.__exit__()
            raise
        if said != "ready\n":
            self.__exit__()
            raise RuntimeError("the clients could not connect")
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError), self._process:  # at its end the pipes are closed
            self._process.kill()

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

    def samples(self) -> list[int]:
        """Return the latencies since they were last asked for, in microseconds."""
        self._write("samples\n")
        return msgspec.json.decode(self._readline(), type=list[int])

    def follow(self) -> None:
        """Let every client follow its channels."""
        self._write("follow\n")

    def stall(self) -> None:
        """Let no client read any more."""
        self._write("stall\n")

    def wait_for(self, events: int, seconds: float) -> Counts:
        """Wait until so many events have come, but no longer than ``seconds``."""
        deadline = time.monotonic() + seconds
        while (counts := self.counts()).events < events and time.monotonic() < deadline:
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
