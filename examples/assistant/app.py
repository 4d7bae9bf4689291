"""An assistant whose answers belong to no page: reload it, open it elsewhere, stop an answer, ask for it again."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

from model import NAME, answer
from quart import Response, redirect
from quart_trio import QuartTrio

from triolet import ChannelEnded, Command, Cursor, Event, Limits, Triolet

POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
MOST, REMEMBERED = 2_000, 6  # characters of a question; turns before it

app = QuartTrio(__name__)
app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 0  # or browsers keep pages and scripts for twelve hours
database = Path(os.environ.get("ASSISTANT_DB") or Path(__file__).with_name("assistant.db")).resolve()
live = Triolet(app, log=f"sqlite:///{database}", limits=Limits(run_lease_seconds=6))
live.socket("/live")


@live.channel("/chats/<uuid:chat>/events")
@live.channel("/chats/<uuid:chat>/<uuid:id>/events", endpoint="parts_of_an_answer")
async def events(chat: UUID, id: UUID | None = None) -> str:
    """The turns of a conversation, and each answer. Who has the URL takes part: with logins, ask here who it is."""
    return f"chats/{chat}/{id}" if id else f"chats/{chat}"


@live.command("/chats/<uuid:chat>/ask")
async def ask(chat: UUID, command: Command) -> Any:
    """``{"turn": "…", "question": "…"}``. A turn that is asked again gets another answer, on a channel of its own."""
    match command.data:
        case {"turn": str(turn), "question": str(text)} if text.strip() and len(turn + text) <= MOST:
            id, question = uuid5(chat, command.id), text.strip()
        case _:
            return {"error": "question", "message": f"a question has 1 to {MOST} characters"}, 400
    talk = [{"role": "user", "content": question}]
    asked = {event.data["turn"]: event.data for event in await kept(f"chats/{chat}")}
    for before in [one for one in reversed(asked.values()) if one["turn"] != turn][:REMEMBERED]:
        words = [event.data for event in await kept(f"chats/{chat}/{before['answer']}") if event.name == "words"]
        talk[:0] = {"role": "user", "content": before["question"]}, {"role": "assistant", "content": "".join(words)}
    with suppress(ChannelEnded):  # the same command again: a server was killed before it could tell of the answer
        await live.run(f"chats/{chat}/{id}", answer(talk))
    told = {"turn": turn, "question": question, "answer": str(id), "by": NAME}
    await command.publish(f"chats/{chat}", told, name="turn")
    return told


@live.command("/chats/<uuid:chat>/<uuid:id>/stop")
async def stop(chat: UUID, id: UUID, command: Command) -> Any:
    return {"told": await live.stop_run(f"chats/{chat}/{id}", "by a reader")}


async def kept(channel: str) -> list[Event]:
    return list((await live.log.read(channel, Cursor("", 0), limit=10_000, max_bytes=1 << 20)).events)


@app.get("/")
@app.get("/chats/<uuid:chat>")
async def page(chat: UUID | None = None) -> Any:
    return await app.send_static_file("index.html") if chat else redirect(f"/chats/{uuid4()}")


@app.after_request
async def harden(response: Response) -> Response:
    response.headers.update({"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"})
    return response
