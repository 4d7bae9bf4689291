"""Measure what a command costs the server that takes it, over WebSocket and over keep-alive POST.

    python -m benchmarks.commands

Triolet (with its log in memory, in SQLite and in Redis) and Starlette on uvicorn (with Redis) take turns, each started
anew and pinned to one core; clients and Redis share the other. Needs the extra `bench` and redis-server. Takes some six
minutes, with --quick one.
"""

from __future__ import annotations

import os
import socket
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.deadline import deadline
from benchmarks.fanout.machine import cores, cpu_seconds, free_port, raise_files, spawn
from benchmarks.many.redis_server import RedisServer
from benchmarks.results import Part, Table, options, publish
from benchmarks.targets import judge

CONNECTIONS = 100
PEER = "Starlette, Redis"
CONTESTANTS = ("Triolet, memory", "Triolet, SQLite", "Triolet, Redis", PEER)
WAYS = {"ws": "WebSocket", "post": "POST"}


class Turn(NamedTuple):
    """What one turn gave: commands a second, CPU of the server, of Redis and of the clients for each, in µs."""

    rate: float
    server: float
    redis: float
    clients: float


def command(contestant: str, port: int, folder: Path, redis: str) -> tuple[list[str], dict[str, str]]:
    """The program of a contestant, and its environment."""
    if contestant == PEER:
        serve = [sys.executable, "-m", "uvicorn", "--port", str(port), "--no-access-log", "--log-level", "warning"]
        return [*serve, "benchmarks.commands.starlette_app:app"], {"COMMANDS_REDIS": redis}
    logs = {"memory": "memory:", "SQLite": f"sqlite:///{folder}/commands.db", "Redis": redis}
    serve = [sys.executable, "-m", "triolet", "serve", "benchmarks.commands.triolet_app:app", "--bind", str(port)]
    return serve, {"COMMANDS_LOG": logs[contestant.removeprefix("Triolet, ")]}


def turn(contestant: str, way: str, seconds: float) -> Turn:
    """Start a contestant anew, warm it up, and measure it."""
    server_core, others = cores()
    with tempfile.TemporaryDirectory() as folder, RedisServer(others) as redis:
        port = free_port()
        program, environment = command(contestant, port, Path(folder), redis.url)
        os.environ.update(environment)
        with Path(folder, "server.log").open("wb") as log:
            server = spawn(program, server_core, log=log)
        try:
            _until_it_listens(port)
            _load(port, way, 1)
            before, redis_before = cpu_seconds(server.pid), cpu_seconds(redis.pid)
            told = _load(port, way, seconds)
            used, redis_used = cpu_seconds(server.pid) - before, cpu_seconds(redis.pid) - redis_before
        finally:
            server.kill()
            server.wait()
    done = told["done"]
    return Turn(done / told["seconds"], used / done * 1e6, redis_used / done * 1e6, told["cpu"] / done * 1e6)


def _load(port: int, way: str, seconds: float) -> dict[str, float]:
    program = [sys.executable, "-m", "benchmarks.commands.load", str(port), way, str(CONNECTIONS), str(seconds)]
    load = spawn(program, cores()[1])
    try:
        out, _ = load.communicate()
    finally:
        load.kill()
    if load.returncode:
        sys.exit(f"the clients failed: {out}")
    return msgspec.json.decode(out, type=dict[str, float])


def _until_it_listens(port: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    sys.exit("the server does not listen")


def table(turns: dict[tuple[str, str], list[Turn]]) -> Table:
    """The medians, and how many times the peer's CPU that is."""
    middle = {of: Turn(*map(statistics.median, zip(*some, strict=True))) for of, some in turns.items()}
    rows = [
        [
            contestant,
            WAYS[way],
            f"{told.server:,.0f}",
            f"{told.server / middle[PEER, way].server:.2f}",
            f"{told.redis:.0f}" if contestant.endswith("Redis") else "–",
            f"{told.rate:,.0f}",
        ]
        for (contestant, way), told in middle.items()
    ]
    columns = ["", "asked over", "µs of CPU a command", "× Starlette", "Redis' own µs", "commands/s"]
    verdicts = [
        judge(f"command-{way}", middle["Triolet, memory", way].server / middle[PEER, way].server) for way in WAYS
    ]
    return Table("commands-cost", "What a command costs", columns, rows, verdicts=verdicts)


def main() -> None:
    """Measure, and print a table."""
    arguments = options("commands", __doc__).parse_args()
    raise_files()
    seconds = 3 if arguments.quick else 10
    turns: dict[tuple[str, str], list[Turn]] = {}
    for _ in range(1 if arguments.quick else 3):
        for contestant in CONTESTANTS:
            for way in WAYS:
                with deadline(f"{contestant}, asked over {WAYS[way]}", seconds + 60):
                    turns.setdefault((contestant, way), []).append(turn(contestant, way, seconds))
    text = (
        f"{CONNECTIONS} connections, one command in flight on each: it publishes one event, and its answer is kept. "
        "The server is pinned to one core; its clients, and Redis where it is used, share another. What is counted is "
        "the server's own CPU. Starlette does the same by hand, on uvicorn[standard]: `SET NX` claims the id, and "
        "`MULTI` stores event and answer. It renews no claim, compares no data, and has no sessions and no hooks."
    )
    part = Part("commands", "Commands", text, [table(turns)], quick=arguments.quick)
    publish(part, keep=arguments.save or not arguments.quick)


if __name__ == "__main__":
    main()
