"""nginx and haproxy as the documentation sets them up for two workers, in front of two servers of the test's."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.e2e.needs import program
from tests.e2e.ports import free_port
from tests.e2e.server import Server, wait_for
from tests.e2e.test_documented_nginx import AROUND
from tests.pages import kept

__all__ = ["FRONTS", "Worker", "front", "two_workers"]

FRONTS = ("nginx", "haproxy")
DOCS = kept("serving")
LIMITS = {"beat_seconds": 1, "away_seconds": 2, "answer_seconds": 1, "look_seconds": 0.3}


class Worker(Server):
    """One process of the app, with a listener for its operator."""

    def __init__(self, folder: Path, log: str) -> None:
        self.operators_port = free_port()
        arguments = ["--app-dir", str(Path(__file__).parent), "--metrics", str(self.operators_port)]
        super().__init__(folder, "many_app:app", log=log, limits=LIMITS, arguments=arguments)


@contextmanager
def two_workers(folder: Path, log: str) -> Iterator[list[Worker]]:
    """Two processes on one log, for the time of a block."""
    with ExitStack() as stack:
        workers = [Worker(folder, log) for _ in range(2)]
        for worker in workers:
            stack.callback(worker.kill)
            worker.start()
        yield workers
        assert [worker.terminate() for worker in workers] == [0, 0]


@contextmanager
def front(kind: str, workers: Sequence[Worker], folder: Path) -> Iterator[tuple[str, int]]:
    """Run a proxy for the time of a block, and give its address. Its answers say in ``X-Worker`` whose they are."""
    port = free_port()
    command = {"nginx": _nginx, "haproxy": _haproxy}[kind](port, workers, folder)
    with (folder / f"{kind}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(lambda: _is_open(port, process, folder / f"{kind}.log"), f"{kind} to listen")
        yield ("127.0.0.1", port)
    finally:
        process.terminate()
        process.wait(10)


def _nginx(port: int, workers: Sequence[Worker], folder: Path) -> list[str]:
    text = (DOCS / "nginx-many.conf").read_text(encoding="utf-8")
    text = text.replace("listen 80;", f"listen 127.0.0.1:{port}; add_header X-Worker $upstream_addr always;")
    for number, worker in enumerate(workers, 1):
        text = text.replace(f"127.0.0.1:800{number} ", f"127.0.0.1:{worker.port} ")
    file = folder / "nginx.conf"
    file.write_text(AROUND.format(folder=folder, documented=text))
    return [program("nginx"), "-p", str(folder), "-e", str(folder / "start.log"), "-c", str(file)]


def _haproxy(port: int, workers: Sequence[Worker], folder: Path) -> list[str]:
    text = (DOCS / "haproxy.cfg").read_text(encoding="utf-8")
    text = text.replace("bind :80", f"bind 127.0.0.1:{port}\n    http-response set-header X-Worker %s")
    for number, worker in enumerate(workers, 1):
        text = text.replace(f"127.0.0.1:800{number} ", f"127.0.0.1:{worker.port} ")
        text = text.replace(f"port 910{number}", f"port {worker.operators_port}")
    file = folder / "haproxy.cfg"
    file.write_text(text)
    return [program("haproxy"), "-db", "-f", str(file)]


def _is_open(port: int, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, f"the proxy ended by itself:\n{log.read_text()}"
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
