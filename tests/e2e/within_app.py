"""The e2e app whose events are part of its own transactions. Served as ``triolet serve within_app:app``."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from typing import TYPE_CHECKING

import apsw
import trio
from quart import request

if TYPE_CHECKING:
    from .apps import app, live
else:
    from apps import app, live

__all__ = ["app"]


@app.post("/order/<number>")
async def order(number: str) -> dict[str, object]:
    """Write a row and an event together, and end as ``?ending=`` says: commit, rollback or killed."""
    ending = request.args["ending"]
    with closing(apsw.Connection("events.db")) as db:
        while True:
            try:
                db.execute("BEGIN IMMEDIATE")
                break
            except apsw.BusyError:
                await trio.sleep(0.005)
        db.execute("CREATE TABLE IF NOT EXISTS orders(number TEXT)")
        db.execute("INSERT INTO orders VALUES (?)", (number,))
        event = await live.publish("c/orders", number, within=db)
        await trio.sleep(float(request.args.get("seconds", 0)))
        if ending == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        db.execute(ending)
        if ending == "commit" and "kill" in request.args:
            os.kill(os.getpid(), signal.SIGKILL)
    return {"cursor": str(event.cursor), "pid": os.getpid()}
