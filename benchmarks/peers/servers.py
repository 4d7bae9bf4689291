"""The peers' handles, and which of them this machine can run."""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import msgspec

from benchmarks.fanout.contestants import (
    Contestant,
    HttpContestant,
    StarletteServer,
    TrioletServer,
    uvicorn,
)
from benchmarks.fanout.machine import cores, spawn

__all__ = ["SSE", "WEBSOCKET", "Nchan", "NodeWs", "WebsocketsServer", "missing"]

HERE = Path(__file__).parent
PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
MODULES = (Path("/usr/lib/nginx/modules/ngx_nchan_module.so"), Path("/usr/lib64/nginx/modules/ngx_nchan_module.so"))


class SseStarlette(HttpContestant):
    """sse-starlette on uvicorn[standard]."""

    name = "sse-starlette"

    def command(self) -> list[str]:
        return uvicorn("benchmarks.peers.starlette_app:app", self.port)

    def path(self, transport: str) -> str:
        return "/sse-starlette/bench"


class WebsocketsServer(HttpContestant):
    """The library websockets on asyncio, with its ``broadcast``."""

    name = "websockets"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "benchmarks.peers.websockets_server", str(self.port)]

    def path(self, transport: str) -> str:
        return "/"


class EngineIO(HttpContestant):
    """What the two servers of Socket.IO's protocol have in common."""

    def path(self, transport: str) -> str:
        return "/socket.io/?EIO=4&transport=websocket"

    def dialect(self, transport: str) -> str:
        return "socketio"


class PythonSocketIO(EngineIO):
    """python-socketio on uvicorn[standard]."""

    name = "python-socketio"

    def command(self) -> list[str]:
        return uvicorn("benchmarks.peers.socketio_app:app", self.port)


class NodeWs(HttpContestant):
    """Node's ws."""

    name = "Node ws"

    def command(self) -> list[str]:
        return ["node", str(HERE / "ws_server.js"), str(self.port)]

    def path(self, transport: str) -> str:
        return "/"


class SocketIO(EngineIO):
    """Socket.IO on Node."""

    name = "Socket.IO"

    def command(self) -> list[str]:
        return ["node", str(HERE / "socketio_server.js"), str(self.port)]


class Nchan(HttpContestant):
    """nginx with nchan, in one worker. What is published comes in over HTTP, from ``post.py`` on the clients' core."""

    name = "nchan"

    def __init__(self, transport: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        super().__init__(transport)
        self.publisher = spawn([sys.executable, "-m", "benchmarks.peers.post", str(self.port)], cores()[1])
        self._readline()

    def command(self) -> list[str]:
        module = next(path for path in MODULES if path.exists())
        _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
        conf = Path(self._folder.name, "nginx.conf")
        template = (HERE / "nginx.conf").read_text()
        conf.write_text(template.format(module=module, folder=self._folder.name, port=self.port, files=files))
        nginx = shutil.which("nginx", path=PATH)
        assert nginx is not None
        return [nginx, "-e", "stderr", "-p", self._folder.name, "-c", str(conf)]

    def path(self, transport: str) -> str:
        return "/events/bench"

    def history(self, transport: str) -> str:
        return "/replay/bench"

    def start(self, rate: float, burst: int) -> None:
        self._write(f"start {rate} {burst} {self.transport} {self.size}\n")

    def stop(self) -> int:
        self._write("stop\n")
        self._write("report\n")
        self.published = msgspec.json.decode(self._readline())["published"]
        return self.published

    def __exit__(self, *error: object) -> None:
        if hasattr(self, "publisher"):
            self.publisher.kill()
            self.publisher.wait()
        super().__exit__(*error)
        self._folder.cleanup()

    def _write(self, line: str) -> None:
        assert self.publisher.stdin is not None
        self.publisher.stdin.write(line)

    def _readline(self) -> str:
        assert self.publisher.stdout is not None
        return self.publisher.stdout.readline()


WEBSOCKET: tuple[type[HttpContestant], ...] = (
    TrioletServer,
    Nchan,
    NodeWs,
    WebsocketsServer,
    SocketIO,
    StarletteServer,
    PythonSocketIO,
)
SSE: tuple[type[HttpContestant], ...] = (TrioletServer, Nchan, StarletteServer, SseStarlette)


def missing(kind: type[Contestant]) -> str:
    """Say what this machine lacks to run a peer; nothing, where it can."""
    if kind is Nchan:
        if shutil.which("nginx", path=PATH) is None:
            return "nginx"
        return "" if any(path.exists() for path in MODULES) else "libnginx-mod-nchan"
    if kind in (NodeWs, SocketIO):
        if shutil.which("node") is None:
            return "node"
        return "" if (HERE / "node_modules" / "socket.io").exists() else "npm ci in benchmarks/peers"
    modules = {SseStarlette: "sse_starlette", PythonSocketIO: "socketio", WebsocketsServer: "websockets"}
    return "" if kind not in modules or find_spec(modules[kind]) else f"pip install {modules[kind]}"
