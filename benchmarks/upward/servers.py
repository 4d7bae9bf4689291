"""The handles of those who are asked, and which of them this machine can run."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from benchmarks.fanout.contestants import Contestant, uvicorn
from benchmarks.fanout.machine import cores, free_port, spawn
from benchmarks.peers.servers import HERE as PEERS
from benchmarks.peers.servers import Nchan, NodeWs, missing

__all__ = [
    "BareTrio",
    "BareTrioTogether",
    "Kind",
    "NchanAsked",
    "NodeAsked",
    "QuartAsked",
    "Server",
    "StarletteAsked",
    "TrioWebsocketAsked",
    "TrioletAsked",
    "WebsocketsAsked",
    "absent",
]


class Server(Contestant):
    """A server that publishes nothing of its own. Its program is given the port as its last argument.

    Args:
        answer: the file of the answer to a poll, for those who have it ready-made.
    """

    program: tuple[str, ...] = ()

    def __init__(self, answer: Path | None = None) -> None:
        self.port = free_port()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with this object)
        if answer is not None:
            os.environ["UPWARD_ANSWER"] = str(answer)
        self.process = spawn(self.command(), cores()[0], log=self._log)
        limit = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < limit:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        self.__exit__()
        raise RuntimeError(f"{self.name} did not start:\n{self.said()}")

    def command(self) -> list[str]:
        return [sys.executable, "-m", *self.program, str(self.port)]

    def said(self) -> str:
        """What the server has written."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def path(self, transport: str) -> str:
        return "/raw"

    def start(self, rate: float, burst: int) -> None:
        raise NotImplementedError

    def stop(self) -> int:
        raise NotImplementedError


class TrioletAsked(Server):
    """``triolet serve`` with the memory log."""

    name = "Triolet"

    def command(self) -> list[str]:
        app = "benchmarks.upward.triolet_app:app"
        triolet = [sys.executable, "-m", "triolet", "serve", app, "--bind", f"127.0.0.1:{self.port}"]
        return [*triolet, "--log-level", "warning", "--grace", "2"]


class StarletteAsked(Server):
    """Starlette on uvicorn[standard]."""

    name = "Starlette"

    def command(self) -> list[str]:
        kept = ["--timeout-keep-alive", "3600"]  # while others have their turn
        return [*uvicorn("benchmarks.upward.starlette_app:app", self.port), "--no-access-log", *kept]


class QuartAsked(Server):
    """Quart-Trio on Hypercorn."""

    name = "Quart-Trio on Hypercorn"

    def command(self) -> list[str]:
        settings = ["-c", "python:benchmarks.upward.hypercorn_settings", "--bind", f"127.0.0.1:{self.port}"]
        return [sys.executable, "-m", "hypercorn", "-k", "trio", *settings, "benchmarks.upward.quart_app:app"]


class WebsocketsAsked(Server):
    """The library websockets on asyncio."""

    name = "websockets"
    program = ("benchmarks.upward.websockets_server",)


class TrioWebsocketAsked(Server):
    """The library trio-websocket."""

    name = "trio-websocket"
    program = ("benchmarks.upward.trio_websocket_server",)


class NodeAsked(Server):
    """Node's ws."""

    name = "Node ws"

    def command(self) -> list[str]:
        return ["node", str(PEERS / "ws_upward.js"), str(self.port)]


class BareTrio(Server):
    """Bare Trio, one task a connection, a send for each reply."""

    name = "bare Trio, one task"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "benchmarks.upward.trio_server", str(self.port), "each"]


class BareTrioTogether(Server):
    """Bare Trio, one task a connection; the replies of one read leave in one send."""

    name = "bare Trio, one task, one send a read"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "benchmarks.upward.trio_server", str(self.port), "together"]


class NchanAsked(Nchan):
    """nginx with nchan, in one worker."""

    def __init__(self, answer: Path | None = None) -> None:
        super().__init__("ws")


Kind = type[Server] | type[NchanAsked]


def absent(kind: Kind) -> str:
    """Say what this machine lacks to run a peer; nothing, where it can."""
    if kind in (NodeAsked, NchanAsked):
        return missing(NodeWs if kind is NodeAsked else Nchan)
    modules = {StarletteAsked: "uvicorn", WebsocketsAsked: "websockets", TrioWebsocketAsked: "trio_websocket"}
    return "" if kind not in modules or find_spec(modules[kind]) else f"pip install {modules[kind]}"
