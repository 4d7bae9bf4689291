"""Measure what a command costs the server that takes it.

    python -m benchmarks.commands [--quick]

Triolet (with its log in memory, in SQLite and in Redis) and Starlette on uvicorn (with Redis) take turns, each started
anew and pinned to one core; clients and Redis share the other. 100 connections, one command in flight on each. What is
counted is the server's own CPU for a command; Redis' is told beside it. Needs the extra `bench`.
"""

from __future__ import annotations

import argparse
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

from benchmarks.fanout.machine import cores, cpu_seconds, describe, free_port, raise_files, spawn
from benchmarks.many.redis_server import RedisServer

CONNECTIONS = 100


class Turn(NamedTuple):
    """What one turn gave: commands a second, CPU of the server, of Redis and of the clients for each, in µs."""

    rate: float
    server: float
    redis: float
    clients: float


def command(contestant: str, port: int, folder: Path, redis: str) -> tuple[list[str], dict[str, str]]:
    """The program of a contestant, and its environment."""
    if contestant == "Starlette, Redis":
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
    out, _ = load.communicate(timeout=seconds + 60)
    if load.returncode:
        sys.exit(f"the clients failed: {out}")
    return msgspec.json.decode(out, type=dict[str, float])


def _until_it_listens(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    sys.exit("the server does not listen")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.commands")
    parser.add_argument("--quick", action="store_true", help="one short turn each")
    quick = parser.parse_args().quick
    raise_files()
    contestants = ("Triolet, memory", "Triolet, SQLite", "Triolet, Redis", "Starlette, Redis")
    turns: dict[tuple[str, str], list[Turn]] = {}
    for _ in range(1 if quick else 3):
        for contestant in contestants:
            for way in ("post", "ws"):
                turns.setdefault((contestant, way), []).append(turn(contestant, way, 3 if quick else 10))
    print(", ".join(describe().values()))
    print(f"{'':20} {'':6} {'commands/s':>11} {'server µs':>10} {'Redis µs':>9} {'clients µs':>11}")
    for (contestant, way), some in turns.items():
        middle = Turn(*(statistics.median(column) for column in zip(*some, strict=True)))
        print(
            f"{contestant:20} {way:6} {middle.rate:11,.0f} {middle.server:10.1f} {middle.redis:9.1f} "
            f"{middle.clients:11.1f}"
        )


if __name__ == "__main__":
    main()
