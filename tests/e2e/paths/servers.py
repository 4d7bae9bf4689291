"""The real paths: a server process, and what stands before it as the documentation sets it up."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

from tests.e2e.certificate import make_certificate
from tests.e2e.many.fronts import front
from tests.e2e.needs import program
from tests.e2e.ports import free_port
from tests.e2e.server import Server, wait_for
from tests.e2e.test_documented_nginx import AROUND, DOCUMENTED

__all__ = ["NEEDS", "REAL", "Standing", "standing"]

ROOT = Path(__file__).parents[3]
NEEDS = {"tls": "openssl", "http2": "openssl", "nginx": "nginx", "haproxy": "haproxy"}
REAL = ("tls", "http2", "nginx", "haproxy", "hypercorn")


class PathServer(Server):
    """The app of the table, on ``triolet serve`` or on Hypercorn's own."""

    def __init__(self, folder: Path, path: str) -> None:
        self.operators_port = free_port()
        arguments = ["--app-dir", str(ROOT), "--metrics", str(self.operators_port)]
        if path in ("tls", "http2"):
            arguments += make_certificate(folder)
        if path == "http2":
            arguments.append("--http2")
        super().__init__(folder, "tests.paths.app:app", arguments=arguments)
        if path == "hypercorn":
            bind = f"127.0.0.1:{self.port}"
            self._command = [sys.executable, "-m", "hypercorn", "-k", "trio", "--bind", bind, "tests.paths.app:app"]
            self._environment["PYTHONPATH"] = f"{ROOT}:{self._environment['PYTHONPATH']}"


class Standing(NamedTuple):
    """A path that stands: where clients come to, what TLS agrees on, and the server behind it."""

    address: tuple[str, int]
    protocol: str | None
    server: Server


@contextmanager
def standing(path: str, folder: Path) -> Iterator[Standing]:
    """Set up a path for the time of a block."""
    server = PathServer(folder, path)
    server.start()
    try:
        if path == "nginx":
            with behind_nginx(server, folder) as address:
                yield Standing(address, None, server)
        elif path == "haproxy":
            workers = cast(Any, [server, server])
            with front("haproxy", workers, folder) as address:
                yield Standing(address, None, server)
        else:
            yield Standing(server.address, {"tls": "http/1.1", "http2": "h2"}.get(path), server)
    finally:
        server.kill()


@contextmanager
def behind_nginx(server: Server, folder: Path) -> Iterator[tuple[str, int]]:
    """nginx as documented; only the two ports are other ones."""
    port = free_port()
    text = DOCUMENTED.read_text(encoding="utf-8").replace("listen 80;", f"listen 127.0.0.1:{port};")
    text = text.replace("127.0.0.1:8000;", f"127.0.0.1:{server.port};")
    file = folder / "nginx.conf"
    file.write_text(AROUND.format(folder=folder, documented=text))
    command = [program("nginx"), "-p", str(folder), "-e", str(folder / "start.log"), "-c", str(file)]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_for(lambda: _listens(port, process), "nginx to listen")
        yield ("127.0.0.1", port)
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "nginx ended by itself"
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
