"""Documents that several people write at once, online or not. Edits go up as commands, and come down as events."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from document import Document, begun
from quart import Response
from quart_trio import QuartTrio

from triolet import Command, Connection, Cursor, DataError, Keep, Limits, Triolet

POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
WHOLE_EVERY = 200  # edits. Then the whole is told anew, so that the log needs to keep no more than the newest ones

app = QuartTrio(__name__)
app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 0  # or browsers keep pages and scripts for twelve hours
database = Path(os.environ.get("EDITOR_DB") or Path(__file__).with_name("editor.db")).resolve()
keep = {"documents/*": Keep(events=4 * WHOLE_EVERY, seconds=math.inf)}
live = Triolet(app, log=f"sqlite:///{database}", limits=Limits(keep=keep, command_seconds=3600))
documents = {name: Document(name) for name in ("welcome", "minutes", "groceries")}
DOCUMENT = f"/documents/<any({', '.join(documents)}):name>"


async def whole(channel: str) -> tuple[str, Cursor]:
    """What a newcomer begins with: all edits as one, in place of the history."""
    document = documents[channel.removeprefix("documents/")]
    await document.catch_up(live.log)
    return document.whole, document.cursor


@live.channel(f"{DOCUMENT}/events", snapshot=whole)
async def edits(name: str) -> str:
    """The edits of a document, each a Yjs update in base64."""
    return documents[name].channel


@live.command(f"{DOCUMENT}/edit")
async def edit(name: str, command: Command) -> Any:
    """Take an edit. It is stored once, together with this answer, however often a page has to ask."""
    document = documents[name]
    await document.catch_up(live.log)
    try:
        has_room = document.take(command.data)
    except (TypeError, ValueError):
        return {"error": "edit", "message": "an edit is a Yjs update, in base64"}, 400
    if not has_room:
        return {"error": "full", "message": "the document is full"}, 413
    await command.publish(document.channel, command.data, name="edit")
    if document.edits >= WHOLE_EVERY:
        await command.publish(document.channel, document.whole, name="whole")
    return {"edits": document.edits}


@live.socket("/live")
async def meet(conn: Connection) -> None:
    """Tell the others of a document where somebody's cursor is, and when they have gone. None of it is stored."""
    here = None
    try:
        async for message in conn:
            match message:
                case {"document": str(name)} if name in documents:
                    here = documents[name]
                    with suppress(DataError):  # more than may be told
                        live.tell(here.channel, {**message, "who": conn.id}, name="here")
    finally:
        if here is not None:
            live.tell(here.channel, {"who": conn.id}, name="gone")


@app.before_serving
async def begin() -> None:
    edit = begun(Path(__file__).with_name("welcome.md").read_text(encoding="utf-8"))
    await live.publish("documents/welcome", edit, name="edit", dedupe="begun")


@app.get("/")
@app.get(DOCUMENT)
async def index(name: str = "welcome") -> Response:
    return await app.send_static_file("index.html")


@app.after_request
async def harden(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
