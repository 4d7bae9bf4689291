"""A redis-server of the benchmark's own: on a free port, in a folder that goes with it."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from typing import Self

from benchmarks.fanout.machine import free_port, spawn

__all__ = ["RedisServer"]


class RedisServer:
    """Started by ``with``, on one core. ``options`` are redis-server's; without any it keeps nothing on disk."""

    def __init__(self, core: int, *options: str) -> None:
        program = shutil.which("redis-server")
        if program is None:
            sys.exit("this part needs redis-server (apt-get install redis-server)")
        self._folder = tempfile.TemporaryDirectory()
        self.port = free_port()
        where = ["--dir", self._folder.name, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._process = spawn([program, *where, *options], core)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as asked:
                asked.sendall(b"PING\r\n")
                if asked.recv(64).startswith(b"+PONG"):
                    return self
            time.sleep(0.05)
        self.__exit__()
        raise RuntimeError("redis-server does not answer")

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            self._folder.cleanup()
