"""Servers under one handle: start, publish at a rate, stop, say what was published."""

from __future__ import annotations

import http.client
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import msgspec

from benchmarks.fanout.machine import cores, free_port, spawn
from benchmarks.fanout.payload import SIZE, frame

__all__ = ["CLoop", "Contestant", "HttpContestant", "StarletteServer", "TrioletServer", "uvicorn"]


class Contestant(ABC):
    """A server on one core, from ``with`` to its end. Its events have ``size`` bytes on the wire;
    ``patience`` is how many seconds the publisher has to stop."""

    name: str
    port: int
    published: int = 0
    size: int = SIZE
    patience: float = 20
    process: subprocess.Popen[str]

    @abstractmethod
    def path(self, transport: str) -> str:
        """Return the URL path that clients of this transport ask for."""

    @abstractmethod
    def start(self, rate: float, burst: int) -> None:
        """Publish at so many events a second, saturated with 0, and so many at once."""

    @abstractmethod
    def stop(self) -> int:
        """Publish no more, and return how many events were published since the start (``published``)."""

    def history(self, transport: str) -> str | None:
        """Return the URL path of a client that wants everything that is kept, or None where nothing is."""
        return None

    def dialect(self, transport: str) -> str:
        """Return what the load generator calls the protocol."""
        return transport

    @property
    def pid(self) -> int:
        return self.process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError), self.process:  # at its end the pipes are closed
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()


class CLoop(Contestant):
    """The bare loop of ``send()``: the limit."""

    name = "C loop"

    def __init__(self, program: Path, transport: str, clients: int) -> None:
        file = program.with_name(f"frame-{transport}")
        file.write_bytes(frame(transport))
        self.process = spawn([str(program), transport, str(clients), str(file)], cores()[0])
        self.port = int(self._readline().split()[1])

    def path(self, transport: str) -> str:
        return "/"

    def start(self, rate: float, burst: int) -> None:
        self._write(f"start {rate} {burst}\n")

    def stop(self) -> int:
        self._write("stop\n")
        self._write("report\n")
        line = self._readline()
        while not line.startswith("{"):
            line = self._readline()
        self.published = msgspec.json.decode(line)["published"]
        return self.published

    def _write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)

    def _readline(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


class HttpContestant(Contestant):
    """A server that publishes by itself, told by HTTP what to do. ``more`` is added to what it is told at the start."""

    transport: str
    more = ""

    def __init__(self, transport: str) -> None:
        self.transport = transport
        self.port = free_port()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with this object)
        self.process = spawn(self.command(), cores()[0], log=self._log)
        deadline = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                self.ask("state")
                return
            except OSError:
                time.sleep(0.1)
            except msgspec.DecodeError:
                break
        self._log.seek(0)
        said = self._log.read().decode(errors="replace")
        self.__exit__()
        raise RuntimeError(f"{self.name} did not start:\n{said}")

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._log.close()

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self, rate: float, burst: int) -> None:
        self.ask(f"start?transport={self.transport}&rate={rate}&burst={burst}&size={self.size}{self.more}")

    def stop(self) -> int:
        self.ask("stop")
        deadline = time.monotonic() + self.patience
        while (state := self.ask("state"))["running"]:
            self.published = state["published"]
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} goes on publishing")
            time.sleep(0.02)
        self.published = state["published"]
        return self.published

    def ask(self, what: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", f"/bench/{what}")
        answer = connection.getresponse().read()
        connection.close()
        return msgspec.json.decode(answer)


def uvicorn(app: str, port: int) -> list[str]:
    """The command that serves an ASGI app with uvicorn[standard]."""
    return [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--log-level", "warning"]


class StarletteServer(HttpContestant):
    """Starlette on uvicorn[standard]: uvloop, httptools, websockets."""

    name = "Starlette"

    def command(self) -> list[str]:
        return uvicorn("benchmarks.peers.starlette_app:app", self.port)

    def path(self, transport: str) -> str:
        return "/events/bench" if transport == "ws" else "/stream/bench"


class TrioletServer(HttpContestant):
    """``triolet serve`` with the memory log."""

    name = "Triolet"

    def command(self) -> list[str]:
        app = "benchmarks.fanout.triolet_app:app"
        triolet = str(Path(sys.executable).with_name("triolet"))
        return [triolet, "serve", app, "--bind", f"127.0.0.1:{self.port}", "--log-level", "warning", "--grace", "2"]

    def path(self, transport: str) -> str:
        return "/events/bench"

    def history(self, transport: str) -> str:
        return "/events/bench?after=0"
