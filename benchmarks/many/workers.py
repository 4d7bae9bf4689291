"""Worker processes of the benchmarks' app on one log, each on a port of its own: so one can say who serves whom."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.fanout.contestants import TrioletServer
from benchmarks.fanout.load import Load

__all__ = ["Worker", "free", "loads", "workers"]


class Worker(TrioletServer):
    """``triolet serve`` with a log that others have too. With ``more_workers`` it is a supervisor of so many."""

    name = "Triolet"

    def __init__(self, log: str, more_workers: int = 0) -> None:
        self._log_url = log
        self._more_workers = more_workers
        super().__init__("ws")

    def command(self) -> list[str]:
        several = ["--workers", str(self._more_workers)] if self._more_workers else []
        return ["env", f"BENCH_LOG={self._log_url}", *super().command(), *several]

    def publish(self, rate: float, burst: int = 1, **more: Any) -> None:
        """Publish from this process, see triolet_app.start."""
        options = "".join(f"&{name}={value}" for name, value in more.items())
        self.ask(f"start?transport=ws&rate={rate}&burst={burst}&size={self.size}{options}")


@contextmanager
def workers(log: str, count: int) -> Iterator[list[Worker]]:
    """So many processes, for the time of a block, on whichever core is free."""
    with ExitStack() as stack:
        started = [stack.enter_context(Worker(log)) for _ in range(count)]
        for worker in started:
            free(worker.pid)
        yield started


@contextmanager
def loads(program: Path, servers: Sequence[Worker], clients: int) -> Iterator[list[Load]]:
    """Clients at each of the servers, as many at each, on whichever core is free; all of them are live."""
    with ExitStack() as stack:
        connected = [stack.enter_context(Load(program, server, "ws", clients // len(servers))) for server in servers]
        for load in connected:
            free(load.pid)
        time.sleep(1)
        yield connected


def free(pid: int) -> None:
    """Let a process run on all cores that this one may use."""
    usable = os.sched_getaffinity(0)
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), usable)
