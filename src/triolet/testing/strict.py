"""What no server of Triolet's sends. A client of the kit's that is sent it fails, and says what it was."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Collection, Iterator
from typing import Any, Final

from ..errors import TrioletError
from ..event import Cursor
from .transcript import Message

__all__ = ["BlockReader", "MalformedError", "Order", "moved", "read_json", "read_page"]

FIELDS: Final = ("event", "data", "id", "retry", "time")
"""What the lines of an event stream begin with. A browser would pass over others; we never write them."""

PAGE: Final[dict[str, type | tuple[type, ...]]] = {
    "channel": str,
    "cursor": str,
    "events": list,
    "gap": (dict, type(None)),
    "live": bool,
    "retry": int,
}
"""What the answer to a poll has, and what each of it is."""

PLACES: Final = {"open": "cursor", "event": "id", "gap": "to", "live": "cursor"}
"""Where a message brings its client. A beat does so too, channel by channel."""


class MalformedError(Exception):
    """Something came that the standards, or the order of the protocol's messages, do not allow."""


class BlockReader:
    """Reads an event stream block by block, as the HTML standard says (section 9.2.6), and strictly. Sans-IO."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._begun = False
        self._fields: dict[str, str] = {}

    def feed(self, data: bytes) -> Iterator[dict[str, str]]:
        """Take in bytes and yield the fields of each whole block: its ``data`` lines as one, a comment as ``""``.

        Raises:
            MalformedError: no UTF-8, a line that Triolet never writes, or a field that stands there twice.
        """
        try:
            text = self._decoder.decode(data)
        except UnicodeDecodeError as error:
            raise MalformedError(f"no UTF-8: {error}") from None
        if text and not self._begun:
            self._begun = True
            text = text.removeprefix("\ufeff")
        *lines, self._text = re.split("\r\n|\n|\r", self._text + text)
        for line in lines:
            if line:
                self._line(line)
            elif self._fields:
                fields, self._fields = self._fields, {}
                yield fields

    def end(self) -> None:
        """The body has ended. Raises MalformedError where that is within a block."""
        if self._text or self._fields:
            raise MalformedError("the stream ends within a block")

    def _line(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name and name not in FIELDS:
            raise MalformedError(f"a line that is never written: {line[:60]!r}")
        if name in self._fields and name not in ("", "data"):
            raise MalformedError(f"a field stands twice in one block: {line[:60]!r}, after {self._fields}")
        if name == "retry" and not value.isdecimal():
            raise MalformedError(f"retry is no number: {value[:60]!r}")
        self._fields[name] = f"{self._fields[name]}\n{value}" if name in self._fields else value


class Order:
    """Holds the messages of one connection against the order that the protocol promises: nothing of a channel comes
    before its ``open``, no cursor goes back, and none is left out without a gap, unless ``open`` said that the channel
    is filtered for this client.

    Attributes:
        filtered: the channels that are.
    """

    def __init__(self) -> None:
        self._places: dict[str | None, Cursor] = {}
        self._conflated: dict[str | None, Cursor] = {}
        self.filtered: set[str] = set()

    def take(self, message: Message) -> None:
        """Look at the next message. Raises MalformedError."""
        kind = message["type"]
        if kind == "beat":
            self._beat(message)
            return
        at = _cursor(message.get(PLACES.get(kind, "")))
        if at is None:
            return  # of the app's own, or one that moves nobody
        channel = message.get("channel")
        if channel is None and len(self._places) == 1:
            (channel,) = self._places
        before = self._places.get(channel)
        if kind != "open" and before is None:
            raise MalformedError(f"a message of {channel} before its open: {message}")
        if kind in ("event", "live") and before is not None and at.epoch == before.epoch:
            expected = before.offset + (kind == "event")
            if at.offset < expected:
                raise MalformedError(f"a cursor of {channel} that goes back from {before}: {message}")
            if at.offset > expected and not self._may_skip(channel, at):
                raise MalformedError(f"events of {channel} are missing after {before}: {message}")
        if kind == "open":
            if message.get("filtered") is True and channel is not None:
                self.filtered.add(channel)
            else:
                self.filtered.discard(channel)
            self._conflated.pop(channel, None)
        if message.get("reason") == "conflated":
            self._conflated[channel] = at
        else:
            self._places[channel] = at

    def _may_skip(self, channel: str | None, at: Cursor) -> bool:
        upto = self._conflated.get(channel)
        return channel in self.filtered or (upto is not None and upto.epoch == at.epoch and at.offset <= upto.offset)

    def _beat(self, message: Message) -> None:
        """Move on over what a client may not see. Of another channel a beat says nothing that is new."""
        for channel, cursor in moved(message, self.filtered):
            at, before = _cursor(cursor), self._places[channel]
            if at is None or (at.epoch == before.epoch and at.offset < before.offset):
                raise MalformedError(f"a beat of {channel} that goes back from {before}: {message}")
            self._places[channel] = at


def moved(message: Message, filtered: Collection[str]) -> Iterator[tuple[str, str]]:
    """Where ``live`` or a beat brings a client in the channels that are filtered for it: over what it may not see."""
    if not filtered:  # the app's own messages may look like ours, and be anything
        return
    if message["type"] == "live" and message.get("channel") in filtered:
        yield message["channel"], message["cursor"]
    if message["type"] == "beat":
        yield from [(channel, at) for channel, at in message["cursors"].items() if channel in filtered]


def read_json(text: str | bytes) -> Any:
    """A JSON value. Raises MalformedError."""
    try:
        return json.loads(text)
    except ValueError:
        raise MalformedError(f"no JSON: {text[:80]!r}") from None


def read_page(body: bytes) -> dict[str, Any]:
    """The body of the answer to a poll. Raises MalformedError."""
    page = read_json(body)
    if not isinstance(page, dict) or any(not isinstance(page.get(name, ...), kind) for name, kind in PAGE.items()):
        raise MalformedError(f"no answer to a poll: {body[:200]!r}")
    wrong = [event for event in page["events"] if not isinstance(event, dict) or event.get("type") != "event"]
    if wrong or _cursor(page["cursor"]) is None:
        raise MalformedError(f"no answer to a poll: {body[:200]!r}")
    return page


def _cursor(text: object) -> Cursor | None:
    """A cursor; None where that is none."""
    try:
        return Cursor.parse(text) if isinstance(text, str) else None
    except TrioletError:
        return None
