"""A text that several people write, merged by pycrdt: whatever the order in which edits come, it is the same."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any, Final

import trio
from pycrdt import Doc, Text

from triolet import Cursor, EventLog

MOST_BYTES: Final = 256 << 10  # of a document, with what Yjs keeps of deleted text


class Document:
    """A document as this process knows it: its channel's edits up to a cursor, and how many came since the whole."""

    def __init__(self, name: str) -> None:
        self.channel = f"documents/{name}"
        self.cursor = Cursor("", 0)
        self.edits = 0
        self._doc: Doc[Any] = Doc()
        self._turn = trio.Lock()

    @property
    def whole(self) -> str:
        """All edits as one, in base64."""
        return b64encode(self._doc.get_update()).decode()

    async def catch_up(self, log: EventLog) -> None:
        """Merge what the log has more, whichever process has stored it."""
        async with self._turn:
            head = None
            while self.cursor != head:
                page = await log.read(self.channel, self.cursor, limit=256, max_bytes=1 << 20)
                for event in page.events:
                    self._doc.apply_update(b64decode(event.data))
                    self.edits = 0 if event.name == "whole" else self.edits + 1
                head, self.cursor = page.head, page.events[-1].cursor if page.events else page.head

    def take(self, edit: str) -> bool:
        """Merge an edit that is on its way into the log, if there is room. Raises ValueError where it is none."""
        update, before = b64decode(edit, validate=True), self._doc.get_update()
        if len(before) + len(update) > MOST_BYTES:  # it may make the document shorter all the same
            tried = Doc[Any]()
            for one in (before, update):
                tried.apply_update(one)
            if len(tried.get_update()) > max(MOST_BYTES, len(before)):
                return False
        self._doc.apply_update(update)
        return True


def begun(text: str) -> str:
    """A document that has this text: always the same edit, so that it may be made again."""
    doc: Doc[Any] = Doc(client_id=1)
    doc["text"] = Text(text)
    return b64encode(doc.get_update()).decode()
