"""``triolet serve --workers``: the processes, and a crowd that connects all the time."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .ports import free_port
from .server import PATIENCE, START_SECONDS, Server, wait_for

ASK = b"GET /pid HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Workers(Server):
    """A server with several workers, and a listener for its operator."""

    def __init__(self, directory: Path, number: int = 2, *, log: str = "sqlite:///events.db", **settings: Any) -> None:
        self.number = number
        self.operators_port = free_port()
        more = settings.pop("arguments", ())
        arguments = ["--workers", str(number), "--metrics", str(self.operators_port), *more]
        app = settings.pop("app", "workers_app:app")
        super().__init__(directory, app, log=log, arguments=arguments, **settings)

    def start(self) -> None:
        """Start, and wait until all workers serve."""
        super().start()
        wait_for(lambda: "workers serve" in self.log, f"all workers; they said:\n{self.log}", START_SECONDS)

    @property
    def pids(self) -> set[int]:
        """The workers' processes."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/children")  # a thread started them
        return {int(text) for task in tasks for text in task.read_text().split()}

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def restart(self) -> None:
        """Have all workers replaced, and wait until they are."""
        before = self.pids
        self.signal(signal.SIGHUP)
        wait_for(lambda: len(self.pids) == self.number and not self.pids & before, "new workers", START_SECONDS)

    def kill_one(self) -> int:
        """Kill a worker, and return which. Where none is there at the moment the next one is."""
        pid = sorted(wait_for(lambda: self.pids, "a worker", START_SECONDS))[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def whole(self) -> bool:
        """Whether as many workers serve as there should be."""
        return self.metrics().get("triolet_workers_serving") == self.number

    def metrics(self) -> dict[str, float]:
        """All samples, by name and labels."""
        lines = self.operator("/metrics")[1].splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    def operator(self, path: str) -> tuple[int, str]:
        """Ask the operator's listener: status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.operators_port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@contextmanager
def workers(directory: Path, number: int = 2, **settings: Any) -> Iterator[Workers]:
    """Serve with several workers for the time of a block; afterwards all must end in time, with exit code 0."""
    server = Workers(directory, number, **settings)
    server.start()
    try:
        yield server
        code = server.terminate()
        assert code == 0, f"exit code {code}:\n{server.log[-4000:]}"
    finally:
        with suppress(OSError):
            for pid in server.pids:
                os.kill(pid, signal.SIGKILL)
        server.kill()


def ask(address: tuple[str, int]) -> str:
    """Connect and ask once: ``ok``, or what went wrong."""
    try:
        with socket.create_connection(address, PATIENCE) as client:
            client.sendall(ASK)
            return answer(client)
    except OSError as error:
        return type(error).__name__


def answer(client: socket.socket) -> str:
    """Read an answer to its end: ``ok``, or what went wrong."""
    client.settimeout(PATIENCE)
    read = b""
    try:
        while data := client.recv(4_096):
            read += data
    except OSError as error:
        return type(error).__name__
    return "ok" if read.startswith(b"HTTP/1.1 200 ") else f"answered {read[:40]!r}"


@contextmanager
def asking(address: tuple[str, int], tasks: int = 8) -> Iterator[Counter[str]]:
    """For the time of a block, connect and ask again and again; what became of it is counted."""
    outcomes: Counter[str] = Counter()
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            outcomes[ask(address)] += 1

    threads = [threading.Thread(target=go_on, daemon=True) for _ in range(tasks)]
    for thread in threads:
        thread.start()
    try:
        yield outcomes
    finally:
        over.set()
        for thread in threads:
            thread.join(PATIENCE)
