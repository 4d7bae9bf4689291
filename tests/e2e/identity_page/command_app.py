"""An app whose pages have tasks done, with a log that outlives its process.

Served as ``triolet serve identity_page.command_app:app`` with the folder above on the path, so it imports nothing from
the tests.
"""

from __future__ import annotations

import os
from typing import Any

import trio
from quart import abort
from quart_trio import QuartTrio

from triolet import Command, Identity, Triolet

app = QuartTrio("command_page")
live = Triolet(app, log=os.environ["E2E_LOG"])


@live.identify
async def who(token: str | None) -> Identity | None:
    return None if token is None else Identity(token)


@live.channel("/tasks/events")
async def tasks() -> str:
    return "tasks"


live.socket("/desk")


@live.command("/tasks/<int:number>/done")
async def done(number: int, command: Command) -> Any:
    if number == 404:
        abort(404)
    await trio.sleep(0.02)  # a task takes its time, so that some are under way when the server is killed
    await command.publish("tasks", number)
    return {"done": number, "said": command.data}


@app.get("/")
async def page() -> str:
    return "<!doctype html><title>tasks</title><p>a page"
