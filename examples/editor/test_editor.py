"""The editor's own tests. Run them in this folder with ``pytest``: networks come and go, and there is one text."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import app as editor
import pytest
import trio
from app import app, documents
from document import Document
from pycrdt import Doc, Text
from trio.testing import MockClock

from triolet import Limits
from triolet.log.memory import MemoryLog
from triolet.testing import TRANSPORTS, Client, cut, serve

EDITS = "/documents/minutes/events"
EDIT = "/documents/minutes/edit"


@pytest.fixture(autouse=True)
def new_process() -> None:
    begin_anew()


def begin_anew() -> None:
    """As a new process does: what it knows of its documents, it knows from the log."""
    documents.update({name: Document(name) for name in documents})


class Writer:
    """What a page's script does, in short: the text, and what has been written and not sent."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.doc: Doc[Any] = Doc()
        self.text = self.doc.get("text", type=Text)
        self.sent = self.doc.get_state()

    def write(self, text: str, at: int | None = None) -> None:
        self.text.insert(len(self.text) if at is None else at, text)

    async def send(self) -> dict[str, Any]:
        update = self.doc.get_update(self.sent)
        self.sent = self.doc.get_state()
        return await self.client.command(EDIT, b64encode(update).decode())

    async def hear(self) -> str:
        """Take all that comes within five seconds. Return the text as it is then."""
        with trio.move_on_after(5):
            async for message in self.client:
                if message["type"] in ("event", "snapshot"):
                    self.doc.apply_update(b64decode(message["data"]))
        return str(self.text)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_two_who_write_at_once_end_with_one_text(transport: str, autojump_clock: MockClock) -> None:
    async with (
        serve(app, log="memory:") as server,
        server.client(transport, f"{EDITS}?snapshot=1") as first,
        server.client(transport, f"{EDITS}?snapshot=1") as second,
    ):
        ada, ben = Writer(first), Writer(second)
        ada.write("milk")
        await ada.send()
        assert await ben.hear() == await ada.hear() == "milk"
        ada.write(", bread")
        ben.write("Buy ", at=0)
        for writer in (ada, ben):
            await writer.send()
        assert await ada.hear() == await ben.hear() == "Buy milk, bread"


async def test_what_is_written_without_a_network_is_merged_when_it_is_back(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.websocket(EDITS) as first, server.websocket(EDITS) as second:
        ada, ben = Writer(first), Writer(second)
        ada.write("Ends")
        await ada.send()
        assert await ada.hear() == await ben.hear() == "Ends"
        with cut(first):
            ada.write("Begins. ", at=0)
            ben.write(" well.")
            await ben.send()
        await first.reconnect()
        await ada.send()
        assert await ada.hear() == await ben.hear() == "Begins. Ends well."


async def test_an_edit_that_is_asked_again_is_stored_once(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse(EDITS) as page:
        writer = Writer(page)
        writer.write("once")
        update = b64encode(writer.doc.get_update()).decode()
        for _ in range(3):
            assert (await page.command(EDIT, update, id="8e03978e"))["status"] == 200
        await page.expect(event="edit", data=update)
        await page.nothing_for(60)


async def test_a_newcomer_of_a_new_process_has_all_though_the_log_keeps_only_the_newest_edits(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (editor.keep["documents/*"].events or 0) >= 2 * editor.WHOLE_EVERY
    monkeypatch.setattr(editor, "WHOLE_EVERY", 10)
    log = MemoryLog(Limits(keep_events=20))
    async with serve(app, log=log) as server, server.websocket("/live") as page:
        writer = Writer(page)
        for number in range(55):
            writer.write(f"{number} ")
            await writer.send()
    begin_anew()
    async with serve(app, log=log) as server, server.sse(f"{EDITS}?snapshot=1") as page:
        assert await Writer(page).hear() == str(writer.text)
        oldest = (await server.get(f"{EDITS}?after=0")).json["events"][0]["id"]
        assert int(oldest.split(".")[1]) > 30


@pytest.mark.parametrize("edit", [None, 7, {}, "", "no base64!", b64encode(b"\xff" * 40).decode()])
async def test_what_is_no_edit_is_refused_and_the_document_is_as_it_was(edit: Any, autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse(EDITS) as page:
        writer = Writer(page)
        writer.write("as it was")
        await writer.send()
        assert (await page.command(EDIT, edit))["status"] == 400
        async with server.sse(f"{EDITS}?snapshot=1") as other:
            assert await Writer(other).hear() == "as it was"


async def test_a_full_document_takes_no_more_but_may_become_shorter(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.websocket("/live") as page:
        writer = Writer(page)
        writer.write("x" * 250_000)
        assert (await writer.send())["status"] == 200
        other = Writer(page)
        other.write("y" * 20_000)
        assert (await other.send())["status"] == 413
        del writer.text[0:200_000]
        assert (await writer.send())["status"] == 200


async def test_a_cursor_is_told_to_those_who_are_there_and_so_is_that_one_has_gone(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse(EDITS) as page:
        await page.until("live")
        async with server.websocket("/live") as writer:
            await writer.say(type="message", data={"document": "minutes", "client": 7, "name": "Ada", "cursor": None})
            here = await page.expect("tell", event="here")
            assert (here["data"]["name"], here["data"]["client"]) == ("Ada", 7)
            for wrong in (None, {"document": "none"}, {"document": "minutes", "name": "x" * 5_000}):
                await writer.say(type="message", data=wrong)
            await page.nothing_for(1)
        await page.expect("tell", event="gone", data={"who": here["data"]["who"]})
