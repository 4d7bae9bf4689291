"""A real server process to test: started, watched and ended."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from .ports import free_port
from .raw import trusting

T = TypeVar("T")

HERE = Path(__file__).parent
PATIENCE = 15.0
"""Seconds: the upper bound of every wait for something that happens at once on an idle machine."""
START_SECONDS = 60.0
"""The same for processes to be ready: each takes more than a second of a core to import all it needs."""
GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""mallopt(3): what is freed is given back at once, so :meth:`Server.memory` tells what is held. By default the C
library keeps the more of it the more was freed, by rules that depend on the order, and a process seems to hold half as
much again, or not, by chance."""


def wait_for(ask: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Ask again and again until the answer is true, and return it; fail when the time is up."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"waited {seconds} s for: {what}"
        time.sleep(0.01)
    return answer


def command() -> list[str]:
    """Return the ``triolet`` command of the interpreter that runs the tests."""
    script = Path(sysconfig.get_path("scripts"), "triolet")
    return [str(script)] if script.exists() else [sys.executable, "-m", "triolet"]


class Server:
    """One ``triolet serve`` process on a port of the loopback, that can be killed and started again."""

    def __init__(
        self,
        directory: Path,
        app: str = "apps:app",
        *,
        log: str = "memory:",
        limits: Mapping[str, float] | None = None,
        arguments: Sequence[str] = (),
        grace: float = 5,
    ) -> None:
        self.port = free_port()
        self.grace = grace
        self.log_file = directory / f"server-{self.port}.log"
        self.directory = directory
        self.secure = "--certfile" in arguments
        bind = f"127.0.0.1:{self.port}"
        self._command = [*command(), "serve", app, "--bind", bind, "--grace", str(grace), *arguments]
        self._environment = {
            **os.environ,
            **GIVEN_BACK,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")])),
            "E2E_LOG": log,
            "E2E_LIMITS": json.dumps(dict(limits or {})),
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://127.0.0.1:{self.port}"

    @property
    def websocket_url(self) -> str:
        return "ws" + self.url.removeprefix("http")

    @property
    def pid(self) -> int:
        assert self.process is not None, "not started"
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def start(self) -> None:
        """Start the process, and wait until the port is open."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_for(self._is_open, f"an open port; the server said:\n{self.log}", START_SECONDS)
        except BaseException:
            self.kill()
            raise

    def _is_open(self) -> bool:
        assert self.alive(), f"the server ended by itself:\n{self.log}"
        with suppress(OSError), socket.create_connection(self.address, 1):
            return True
        return False

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End the process with no chance for last words, and wait until it is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def terminate(self) -> int:
        """Ask the process to end, and return its exit code; fail when it outstays its grace."""
        assert self.process is not None, "not started"
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end of a process that was asked to end: its grace, and a margin for a busy machine."""
        assert self.process is not None, "not started"
        try:
            return self.process.wait(self.grace + 4)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still there {self.grace} s after SIGTERM:\n{self.log[-4000:]}") from None

    def descriptors(self) -> int:
        """Count the open file descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self) -> int:
        """Return the resident memory, in bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def waited_for_a_core(self) -> float:
        """For how long others had the cores while the server could have run, in seconds (Linux: sched-stats)."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]) / 1e9

    def request(
        self,
        method: str,
        path: str,
        data: Any = None,
        seconds: float = PATIENCE,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Ask on a connection of its own, with a JSON body if there is one; return the answer's JSON."""
        connection = self._connection(seconds)
        try:
            body = None if data is None else json.dumps(data)
            connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, f"{method} {path}: {answer.status} {text[:300]!r}"
        return json.loads(text)

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        if self.secure:
            return http.client.HTTPSConnection(*self.address, timeout=seconds, context=trusting())
        return http.client.HTTPConnection(*self.address, timeout=seconds)

    def tasks(self) -> int:
        """Count the tasks of the process, with those of the connection that asks."""
        return int(self.request("GET", "/tasks")["tasks"])

    def publish(self, channel: str, data: Any, **more: Any) -> str:
        """Publish over HTTP and return the event's cursor."""
        return str(self.request("POST", f"/c/{channel}", {"data": data, **more})["id"])

    def publish_many(self, channel: str, data: Sequence[Any]) -> list[str]:
        """Publish a batch over HTTP and return the cursors."""
        return list(self.request("POST", f"/c/{channel}/many", data)["ids"])

    def crashes(self) -> list[str]:
        """Return the lines of the log that tell of an error that nobody expected."""
        marks = ("Traceback (most recent", "Exception Group", "internal error", "never awaited", "ERROR")
        return [line for line in self.log.splitlines() if any(mark in line for mark in marks)]


@contextmanager
def serving(directory: Path, app: str = "apps:app", **settings: Any) -> Iterator[Server]:
    """Serve for the time of a block; afterwards the server must end in time, with exit code 0."""
    server = Server(directory, app, **settings)
    server.start()
    try:
        yield server
        if server.alive():
            code = server.terminate()
            assert code == 0, f"exit code {code}:\n{server.log[-4000:]}"
    finally:
        server.kill()
