"""Answers that are written while their page may be anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import trio
from quart import abort, request
from quart_trio import QuartTrio

from triolet import ChannelEnded, Command, RunError, Triolet

app = QuartTrio(__name__)
live = Triolet(app, log="sqlite:///answers.db")


async def tokens(question: str) -> AsyncIterator[str]:
    """What a model would say, word for word."""
    for word in f"You have asked: {question}".split():
        await trio.sleep(0.05)
        yield f"{word} "


@app.post("/answers/<answer_id>")
async def ask(answer_id: str) -> Any:
    question = (await request.get_json())["question"]
    try:
        await live.run(f"answers/{answer_id}", tokens(question), name="delta", key="text", fold="concat")
    except (RunError, ChannelEnded):
        abort(409)  # it goes on already, or has ended: a second answer has an id of its own
    return {"follow": f"/answers/{answer_id}/events"}, 202


@live.channel("/answers/<answer_id>/events")
async def answer_events(answer_id: str) -> str:
    return f"answers/{answer_id}"


@live.command("/answers/<answer_id>/stop")
async def stop(answer_id: str, command: Command) -> dict[str, bool]:
    return {"told": await live.stop_run(f"answers/{answer_id}", "the reader has had enough")}
