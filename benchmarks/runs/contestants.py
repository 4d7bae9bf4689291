"""The contestants: Triolet with each of its logs, and the usual recipe of Starlette and a Redis stream."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.deadline import deadline
from benchmarks.fanout.contestants import HttpContestant, uvicorn
from benchmarks.fanout.machine import cores
from benchmarks.many.redis_server import RedisServer
from benchmarks.runs.model import Order

__all__ = ["PEERS", "RECIPE", "RUNNING", "TRIOLETS", "RunsServer", "begin", "finish", "started"]

RECIPE = "sse-starlette, Redis"
PEERS = {RECIPE: "/sse-starlette", "StreamingResponse, Redis": "/streaming-response"}
"""Both are ways of the same app. Their paths begin so."""

TRIOLETS = ("Triolet, memory", "Triolet, SQLite", "Triolet, Redis")
RUNNING = (*TRIOLETS, *PEERS)


class RunsServer(HttpContestant):
    """One contestant, anew.

    Args:
        redis: the server to use, for who uses one.
        folder: for the file of who uses SQLite.
        state: whether Triolet's channels ``events/…`` have a state.
    """

    def __init__(self, name: str, redis: RedisServer | None, folder: Path, *, state: bool = False) -> None:
        self.name = name
        self.redis = redis
        logs = {"memory": "memory:", "SQLite": f"sqlite:///{folder}/runs.db", "Redis": redis.url if redis else ""}
        os.environ["RUNS_STATE"] = "1" if state else "0"  # inherited by the server
        os.environ["RUNS_LOG"] = logs[name.removeprefix("Triolet, ")] if name in TRIOLETS else ""
        os.environ["RUNS_REDIS"] = logs["Redis"]
        super().__init__("sse")

    def command(self) -> list[str]:
        if self.name in PEERS:
            return uvicorn("benchmarks.runs.starlette_app:app", self.port)
        bind = ["--bind", f"127.0.0.1:{self.port}", "--log-level", "warning", "--grace", "2"]
        return [sys.executable, "-m", "triolet", "serve", "benchmarks.runs.triolet_app:app", *bind]

    def path(self, transport: str) -> str:
        return self.answer("stream-*")

    def dialect(self, transport: str) -> str:
        return "tokens"

    def answer(self, name: str) -> str:
        """The path of an answer of this name, as an event stream; Triolet's is that of its WebSocket, too."""
        return f"{PEERS.get(self.name, '/answers')}/{name}/events"


def started(stack: ExitStack, name: str, folder: Path, *, state: bool = False) -> RunsServer:
    """Start a contestant, and a Redis of its own where it uses one. Both end with the stack."""
    redis = stack.enter_context(RedisServer(cores()[1], "--maxclients", "20000")) if "Redis" in name else None
    return stack.enter_context(RunsServer(name, redis, folder, state=state))


def begin(server: RunsServer, wanted: Order) -> None:
    """Begin runs."""
    server.ask(f"start?name={wanted.name}&runs={wanted.runs}&tokens={wanted.tokens}&rate={wanted.rate}")


def finish(server: RunsServer, seconds: float) -> None:
    """Wait until no run goes on any more."""
    with deadline(f"{server.name}, writing", seconds):
        while server.ask("state")["running"]:
            time.sleep(0.05)
