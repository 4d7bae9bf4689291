"""Readers that come to one channel, one by itself and a crowd at once: what they are sent, and what that costs."""

from __future__ import annotations

import statistics
import sys
from typing import Final, NamedTuple

import msgspec

from benchmarks.fanout.machine import cores, cpu_seconds, spawn
from benchmarks.runs.comers import Came
from benchmarks.runs.contestants import RunsServer

__all__ = ["REPEATS", "WAYS", "Crowd", "columns", "measure"]

WAYS: Final = {"sse": "SSE", "ws": "WebSocket"}
WAIT_SECONDS = 240.0
REPEATS = 5
"""How often one reader comes by itself."""


class Crowd(NamedTuple):
    """Bytes that a reader is sent; milliseconds until one by itself has it all, until half of a crowd has, and the last
    of it; and what one of the crowd costs the server and Redis, in ms of CPU."""

    bytes: int
    alone_ms: float
    half_ms: float
    last_ms: float
    cpu_ms: float
    redis_ms: float
    tokens: int
    """How many the first reader of the crowd was sent; 0 where they did not all come in order, to it or to one by
    itself."""

    def row(self, *, with_redis: bool) -> list[str]:
        """The fields of these columns: see :func:`columns`."""
        times = [f"{self.bytes:,}", f"{self.alone_ms:,.1f}", f"{self.half_ms:,.0f}", f"{self.last_ms:,.0f}"]
        return [*times, f"{self.cpu_ms:,.2f}", f"{self.redis_ms:,.2f}" if with_redis else "–"]


def columns(crowd: int) -> list[str]:
    return [
        "bytes on the wire",
        "ms, one reader",
        f"ms, half of {crowd}",
        f"ms, all of {crowd}",
        "ms of CPU a reader",
        "Redis' own ms",
    ]


def measure(server: RunsServer, way: str, path: str, crowd: int, mark: str) -> Crowd:
    """Let one reader come, again and again, and then a crowd; each has it all when ``mark`` has come.

    Raises:
        RuntimeError: somebody did not get it.
    """
    _come(server, way, path, 1, mark)  # what the first one loads once is not counted
    alone = [_come(server, way, path, 1, mark) for _ in range(REPEATS)]
    redis = server.redis.pid if server.redis else None
    cpu, redis_cpu = cpu_seconds(server.pid), cpu_seconds(redis) if redis else 0.0
    many = _come(server, way, path, crowd, mark)
    used, redis_used = cpu_seconds(server.pid) - cpu, cpu_seconds(redis) - redis_cpu if redis else 0.0
    in_order = all(one.in_order and one.tokens == many.tokens for one in (*alone, many))
    return Crowd(
        bytes=many.bytes // crowd,
        alone_ms=statistics.median(one.milliseconds[0] for one in alone),
        half_ms=statistics.median(many.milliseconds),
        last_ms=max(many.milliseconds),
        cpu_ms=used / crowd * 1e3,
        redis_ms=redis_used / crowd * 1e3,
        tokens=many.tokens if in_order else 0,
    )


def _come(server: RunsServer, way: str, path: str, readers: int, mark: str) -> Came:
    words = [server.port, way, path, readers, mark, WAIT_SECONDS]
    comers = spawn([sys.executable, "-m", "benchmarks.runs.comers", *map(str, words)], cores()[1])
    try:
        said, _ = comers.communicate()  # what is wrong goes where this program's errors go
    finally:
        comers.kill()
    if comers.returncode:
        raise RuntimeError(f"{server.name}, {WAYS[way]}: of {readers} readers not all got it all")
    return msgspec.json.decode(said, type=Came)
