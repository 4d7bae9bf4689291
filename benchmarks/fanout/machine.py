"""The machine: two cores, processes pinned to them, and the CPU that each process used."""

from __future__ import annotations

import os
import platform
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

__all__ = [
    "ROOT",
    "busy_seconds",
    "cores",
    "cpu_seconds",
    "describe",
    "free_port",
    "memory",
    "raise_files",
    "spawn",
]


ROOT = Path(__file__).resolve().parents[2]


def cores() -> tuple[int, int]:
    """Return the core of the servers and the core of the clients."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        sys.exit("the benchmark needs two cores: one for the server, one for its clients")
    return usable[0], usable[1]


def raise_files(wanted: int = 0) -> int:
    """Let this process and its children open as many descriptors as the system allows, and tell how many that are.

    Where more are wanted than the hard limit, that is raised too, if this user may.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for files in (max(hard, wanted), hard):
        with suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
            return files
    return hard


def spawn(command: Sequence[str], core: int, *, log: IO[bytes] | None = None) -> subprocess.Popen[str]:
    """Start a program on one core, talking to it in lines; with ``log``, its output goes there."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # inherited by the child
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log or subprocess.PIPE,
            stderr=log,
            text=True,
            bufsize=1,
            cwd=ROOT,
        )
    finally:
        os.sched_setaffinity(0, mine)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_seconds(pid: int) -> float:
    """Return the CPU that a process and its children have used, user and system, to the nanosecond."""
    total = 0
    for process in _tree(pid):
        for task in Path(f"/proc/{process}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def memory(pid: int) -> int:
    """Return the resident bytes of a process and its children."""
    pages = sum(int(Path(f"/proc/{process}/statm").read_text().split()[1]) for process in _tree(pid))
    return pages * resource.getpagesize()


def busy_seconds() -> float:
    """Return the CPU that the whole machine has used: what is left of it is somebody else's."""
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def describe() -> dict[str, str]:
    """Say what was measured on, without the machine's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "kernel": f"{platform.system()} {platform.release()}",
        "CPU": f"{model or platform.machine()}, {os.cpu_count()} cores",
        "Python": platform.python_version(),
    }


def _tree(pid: int) -> list[int]:
    tree = [pid]
    for process in tree:
        for task in Path(f"/proc/{process}/task").iterdir():
            tree.extend(int(child) for child in (task / "children").read_text().split())
    return tree
