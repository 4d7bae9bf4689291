"""Commands that are started as a test wants it: with sockets, an environment, and signals at any moment."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.e2e.server import HERE, PATIENCE, START_SECONDS, command

__all__ = ["Command", "get", "started"]

ASK = "GET {path} HTTP/1.1\r\nHost: inner\r\nConnection: close\r\n{headers}\r\n"


class Command:
    """A ``triolet`` process, and what it says."""

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        descriptors: Sequence[int] = (),
        before: Sequence[str] = (),
    ) -> None:
        self.output = folder / f"output-{time.monotonic_ns()}"
        self.socket: socket.socket | None = None
        paths = filter(None, [str(HERE), os.environ.get("PYTHONPATH")])
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*before, *command(), *arguments],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, paths)), **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=descriptors,
            )

    @property
    def said(self) -> str:
        """All that it has written."""
        return self.output.read_text(errors="replace")

    def says(self, words: str, seconds: float = START_SECONDS) -> None:
        """Wait until it has."""
        deadline = time.monotonic() + seconds
        while True:
            ended = self.process.poll()  # first: its last words are read when it has ended
            if words in self.said:
                return
            assert ended is None, f"it ended with {ended}:\n{self.said}"
            assert time.monotonic() < deadline, f"it did not say {words!r}:\n{self.said}"
            time.sleep(0.01)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ends(self, seconds: float = PATIENCE) -> int:
        """Wait for its end, and return its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there after {seconds} s:\n{self.said}") from None


@contextmanager
def started(folder: Path, *arguments: str, **how: object) -> Iterator[Command]:
    """A command for the time of a block."""
    running = Command(folder, arguments, **how)  # type: ignore[arg-type]  # as the class says
    try:
        yield running
    finally:
        with suppress(OSError):
            running.process.kill()
        running.process.wait()


def get(
    where: tuple[str, int] | str, path: str, *, first: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Ask once on a connection of its own: status (0 where it was closed without one) and body."""
    family = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(PATIENCE)
        client.connect(where)
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        client.sendall(first + ASK.format(path=path, headers=more).encode())
        data = b""
        with suppress(ConnectionError):
            while chunk := client.recv(1 << 16):
                data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body.decode()
