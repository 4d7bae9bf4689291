"""Answers that are written word for word, and go on when their page is gone."""

from collections.abc import AsyncIterator
from typing import Any

import trio
from quart import abort, request
from quart_trio import QuartTrio

from triolet import ChannelEnded, Command, Limits, RunError, Triolet

app = QuartTrio(__name__)
live = Triolet(app, log="sqlite:///answers.db", limits=Limits(run_lease_seconds=3))


async def words(question: str, pause: float) -> AsyncIterator[str]:
    """What a model would say, word for word."""
    for word in f"You have asked: {question}".split():
        yield f"{word} "
        await trio.sleep(pause)


@app.post("/answers/<answer_id>")
async def ask(answer_id: str) -> Any:
    form = await request.form
    source = words(form["question"], float(form.get("pause", 0.01)))
    try:
        await live.run(f"answers/{answer_id}", source, name="delta", key="text", fold="concat")
    except (RunError, ChannelEnded):
        abort(409)
    return {"follow": f"/answers/{answer_id}/events"}, 202


@live.channel("/answers/<answer_id>/events")
async def answer_events(answer_id: str) -> str:
    return f"answers/{answer_id}"


@live.command("/answers/<answer_id>/stop")
async def stop(answer_id: str, command: Command) -> dict[str, bool]:
    return {"told": await live.stop_run(f"answers/{answer_id}", "the reader has had enough")}
