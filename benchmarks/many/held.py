"""60,000 connections held by four workers: the memory they take, and what becomes of a killed worker's."""

from __future__ import annotations

import os
import resource
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import msgspec

from benchmarks.fanout.machine import busy_seconds, cores, cpu_seconds, memory, spawn
from benchmarks.fanout.programs import compiled
from benchmarks.results import Table, say

from .redis_server import RedisServer
from .verdicts import at_least
from .workers import Worker, free

__all__ = ["held"]

WORKERS = 4
CLIENTS = 15_000
"""Of each worker, and of each client process."""

RETURN_SECONDS = 5.0
"""Within which who was cut off comes back, each at a random moment."""

IN_FLIGHT = 64
SPARE = 500
"""Descriptors that a worker needs besides its clients'."""


class Count(msgspec.Struct, frozen=True):
    """What held.c counts: ``open`` now, and all others since the beginning."""

    open: int
    lost: int
    refused: int
    returned: int
    events: int
    beats: int
    gaps: int
    holes: int
    repeats: int


class Crowd:
    """The client processes, one for each source address."""

    def __init__(self, program: Path, port: int, clients: int) -> None:
        self.clients = clients * WORKERS
        self._processes = []
        for number in range(WORKERS):
            arguments = [f"127.0.0.{2 + number}", port, "/events/bench", clients, IN_FLIGHT, int(RETURN_SECONDS * 1000)]
            process = spawn([str(program), *map(str, arguments)], cores()[1])
            free(process.pid)
            self._processes.append(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    @property
    def bytes(self) -> int:
        return sum(memory(process.pid) for process in self._processes)

    @property
    def cpu(self) -> float:
        return sum(cpu_seconds(process.pid) for process in self._processes)

    def count(self) -> Count:
        """The counts of all."""
        found = []
        for process in self._processes:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("report\n")
            found.append(msgspec.json.decode(process.stdout.readline(), type=Count))
        return Count(*map(sum, zip(*map(msgspec.structs.astuple, found), strict=True)))

    def until(self, holds: Callable[[Count], bool], seconds: float) -> Count:
        """Wait until it is so, but no longer than that. Returns the counts."""
        deadline = time.monotonic() + seconds
        while not holds(counts := self.count()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return counts


class _Run:
    """The workers, their clients, and what was seen of them, for a table."""

    def __init__(self, server: Worker, crowd: Crowd, redis: RedisServer) -> None:
        self.server = server
        self.crowd = crowd
        self._redis = redis
        self.rows: list[list[str]] = []
        self.published = 0
        self._started = self._cpu = self._besides = self._busy = 0.0

    def pids(self) -> list[int]:
        """The workers' processes, under their supervisor."""
        tasks = Path(f"/proc/{self.server.pid}/task").glob("*/children")
        return sorted(int(text) for task in tasks for text in task.read_text().split())

    def begin(self, victim: int = 0) -> None:
        """A step begins, with whoever serves but the victim."""
        self._started = time.monotonic()
        self._cpu = sum(cpu_seconds(pid) for pid in self.pids() if pid != victim)
        self._besides, self._busy = self._cpu_besides(), busy_seconds()

    def _cpu_besides(self) -> float:
        """What Redis and the clients have used."""
        return cpu_seconds(self._redis.pid) + self.crowd.cpu

    def publish(self) -> None:
        """Publish one event, and wait until all who are there have it."""
        heard = self.crowd.count().events
        self.server.publish(0, most=1)
        self.published += 1
        self.crowd.until(lambda now: now.events - heard >= self.crowd.clients, 60)

    def row(self, when: str) -> None:
        """The step has ended."""
        took = time.monotonic() - self._started
        cpu = sum(cpu_seconds(pid) for pid in self.pids()) - self._cpu
        others = busy_seconds() - self._busy - cpu - (self._cpu_besides() - self._besides)
        counts = self.crowd.count()
        each = " + ".join(f"{_connections(pid):,}" for pid in self.pids())
        wrong = f"{counts.gaps} / {counts.holes} / {counts.repeats}"
        cut_off = f"{counts.lost:,} / {counts.refused:,}"
        share = f"{max(0.0, others) / took:.0%}"
        self.rows.append([when, f"{took:.1f}", f"{cpu:.1f}", share, f"{counts.open:,}", each, cut_off, wrong])
        say(f"  {self.rows[-1]}")


def held(quick: bool) -> list[Table]:
    """Hold them, publish to all, kill a worker, and publish to all again."""
    clients = _clients(1_500 if quick else CLIENTS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        program = compiled(Path(__file__).with_name("held.c"), folder)
        redis = stack.enter_context(RedisServer(cores()[0]))
        server = stack.enter_context(Worker(redis.url, WORKERS))
        for pid in (redis.pid, server.pid):
            free(pid)
        time.sleep(3)
        before, kernel = memory(server.pid), _kernel()
        run = _Run(server, stack.enter_context(Crowd(program, server.port, clients)), redis)
        for pid in run.pids():
            free(pid)
        run.begin()
        come = run.crowd.until(lambda now: now.open == run.crowd.clients, 600)
        run.row("all have come")
        time.sleep(5)
        memories = _memories(server, run.crowd, come.open, before, kernel)
        run.begin()
        run.publish()
        run.row("an event to all")
        _kill_one(run)
        run.begin()
        run.publish()
        run.row("an event to all")
        end = run.crowd.count()
    complete = end.events == run.published * run.crowd.clients and not (end.gaps or end.holes or end.repeats)
    return [memories, _story(run, end, complete)]


def _kill_one(run: _Run) -> None:
    """Kill a worker; publish while its clients are away; all come back."""
    victim = run.pids()[0]
    run.begin(victim)
    os.kill(victim, signal.SIGKILL)
    run.crowd.until(lambda now: now.lost > 0, 60)
    run.server.publish(0, most=1)
    run.published += 1
    run.crowd.until(lambda now: now.open == run.crowd.clients, 300)
    run.row("a worker was killed, an event published, all are back")
    run.crowd.until(lambda now: now.events >= run.published * run.crowd.clients, 60)


def _memories(server: Worker, crowd: Crowd, clients: int, before: int, kernel: int) -> Table:
    workers, inside = memory(server.pid), _kernel() - kernel
    rows = [
        ["workers and supervisor, before", f"{before / 1e6:,.0f}", ""],
        ["workers and supervisor, with them", f"{workers / 1e6:,.0f}", f"{(workers - before) / clients / 1e3:.1f}"],
        ["the kernel, both ends", f"{inside / 1e6:,.0f}", f"{inside / clients / 1e3:.1f}"],
        ["the clients' own processes", f"{crowd.bytes / 1e6:,.0f}", f"{crowd.bytes / clients / 1e3:.1f}"],
    ]
    return Table(
        "held",
        f"Memory of {clients:,} idle WebSockets held by {WORKERS} workers",
        ["", "MB", "kB a connection"],
        rows,
        "Resident memory; the kernel's is what its slabs and its sockets' buffers grew by, for both ends of every "
        "connection, as the clients are on the same machine.",
        verdicts=[at_least(f"connections held by {WORKERS} workers", clients, WORKERS * CLIENTS)],
    )


def _story(run: _Run, end: Count, complete: bool) -> Table:
    word = "everything once, in order" if complete else "NOT everything once, in order"
    return Table(
        "held-killed",
        f"{run.crowd.clients:,} connections, and a worker killed among them",
        [
            "",
            "seconds",
            "workers' CPU, s",
            "others' share",
            "connected",
            "at each worker",
            "cut off / refused so far",
            "gaps / holes / repeats",
        ],
        run.rows,
        f"Clients come from {WORKERS} loopback addresses. Who is cut off comes back from its cursor, at a random "
        f"moment within {RETURN_SECONDS:g} s, and gets what was published meanwhile. The supervisor starts another "
        f"worker in the killed one's place at once. In the end the clients had been told {word}: "
        f"{run.published} events each.",
        verdicts=[f"**{'PASS' if complete else 'short'}**: nobody missed anything when a worker was killed."],
    )


def _clients(wanted: int) -> int:
    """As many as this system's limit of open files allows each process."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    possible = (most - SPARE) * WORKERS // (WORKERS + 1)  # a killed worker's clients come to the others
    if possible >= wanted:
        return wanted
    say(f"a process may have {most:,} descriptors here (ulimit -Hn): {possible:,} clients for each worker")
    return possible


def _connections(pid: int) -> int:
    """Sockets that a process has open, but for the few that are no clients'."""
    links = Path(f"/proc/{pid}/fd").iterdir()
    return sum(1 for link in links if os.readlink(link).startswith("socket:"))


def _kernel() -> int:
    """Bytes that the kernel holds in slabs, and in sockets' buffers."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    slab = next(int(parts[1]) * 1024 for parts in lines if parts[0] == "Slab:")
    tcp = next(line.split() for line in Path("/proc/net/sockstat").read_text().splitlines() if line.startswith("TCP:"))
    return slab + int(tcp[tcp.index("mem") + 1]) * resource.getpagesize()
