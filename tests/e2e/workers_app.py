"""The e2e app where there are several workers: whose process answers, who is present, and how a start fails.

Served as ``triolet serve workers_app:app`` with this folder on the path.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from quart import request

if TYPE_CHECKING:
    from .apps import app, live
else:
    from apps import app, live

__all__ = ["app"]

if Path("broken").exists():
    raise RuntimeError("this version cannot start")


if Path("forks").exists() and not os.fork():  # as a pool of processes does: it has a copy of every descriptor
    give_up_at = time.monotonic() + 60
    while Path("forks").exists() and time.monotonic() < give_up_at:
        time.sleep(0.05)
    os._exit(0)

UNLUCKY = Path("unlucky").exists()
SLOW = float(Path("slow").read_text()) if Path("slow").exists() else 0


@app.before_serving
async def start() -> None:
    """Start as slowly as the file ``slow`` says, and not at all where there is a file ``unlucky``."""
    if UNLUCKY:
        raise RuntimeError("no such table: orders")
    await trio.sleep(SLOW)


@app.get("/pid")
async def pid() -> dict[str, int]:
    return {"pid": os.getpid()}


@app.get("/slow/<float:seconds>")
async def slow(seconds: float) -> dict[str, int]:
    await trio.sleep(seconds)
    return {"pid": os.getpid()}


@live.channel("/rooms/<room>/events", member=lambda room: request.args.get("as"))
async def room_events(room: str) -> str:
    return f"rooms/{room}"


@live.channel("/rooms/<room>/presence")
async def room_presence(room: str) -> str:
    return live.presence(f"rooms/{room}").channel


@app.get("/rooms/<room>/members")
async def room_members(room: str) -> dict[str, Any]:
    roster = await live.presence(f"rooms/{room}").roster()
    return {"members": sorted(session.member for session in roster.sessions), "cursor": str(roster.cursor)}
