"""The e2e app with runs: each counts, ten times a second, until it is stopped.

Served as ``triolet serve runs_app:app`` with this folder on the path.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import trio

from triolet import ChannelEnded, RunError

if TYPE_CHECKING:
    from .apps import app, live
else:
    from apps import app, live

__all__ = ["app"]


async def numbers() -> AsyncIterator[int]:
    number = 0
    while True:
        yield number
        number += 1
        await trio.sleep(0.1)


@app.post("/run/<name>")
async def run(name: str) -> Any:
    try:
        await live.run(f"c/{name}", numbers())
    except (RunError, ChannelEnded) as error:
        return {"refused": type(error).__name__}, 409
    return {"pid": os.getpid()}


@app.post("/stop/<name>")
async def stop(name: str) -> Any:
    return {"told": await live.stop_run(f"c/{name}"), "pid": os.getpid()}
