"""What no server of Triolet's sends. A client of the kit's that is sent it fails, and says what it was."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Collection, Iterator
from typing import Any, Final, TypeAlias

from ..errors import TrioletError
from ..event import Cursor
from .transcript import Message

__all__ = [
    "PLACES",
    "BlockReader",
    "MalformedError",
    "Order",
    "PlainReader",
    "is_cursor",
    "moved",
    "read_json",
    "read_page",
]

FIELDS: Final = ("event", "data", "id", "retry", "time", "key", "fold", "folded")
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

PLACES: Final = {
    "open": "cursor",
    "event": "id",
    "gap": "to",
    "live": "cursor",
    "snapshot": "cursor",
    "end": "cursor",
}
"""Where a message brings its client. A beat does so too, channel by channel."""

BRACKETED: Final = ("open", "event", "gap", "live", "lag", "snapshot", "end", "tell")
"""What may be for some of a connection's subscriptions alone."""

Whose: TypeAlias = "str | tuple[str] | None"
"""Whose place it is: a channel's, or that of a subscription with a name."""


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
            block = self._take(line)
            if block:
                yield block

    def end(self) -> None:
        """The body has ended. Raises MalformedError where that is within a block."""
        if self._text or self._fields:
            raise MalformedError("the stream ends within a block")

    def _take(self, line: str) -> dict[str, str] | None:
        """Take a line. Return the block that it ends."""
        if line:
            self._line(line)
            return None
        fields, self._fields = self._fields, {}
        return fields

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


class PlainReader(BlockReader):
    """Reads a plain stream, just as strictly. What a comment says is yielded at once, as the block that it would be in
    the full form. It stands within no event, and no block is without data. ``retry`` is of the next event's block, so
    it may come again before that."""

    def end(self) -> None:
        """The body has ended, behind a goodbye that may say when to come back."""
        self._fields.pop("retry", None)
        super().end()

    def _take(self, line: str) -> dict[str, str] | None:
        inside = self._fields.keys() - {"retry"}
        if line.startswith(("time", "key", "fold", "event: triolet.")) or (not line and "data" not in inside):
            raise MalformedError(f"a line that is never written in a plain stream: {line[:60]!r}, after {self._fields}")
        if not line.startswith(":"):
            if line.startswith("retry:") and not inside:
                self._fields.clear()
            return super()._take(line)
        said = re.fullmatch(": (triolet\\.[a-z]+) (.+)", line)
        if said is None or inside:
            raise MalformedError(f"a comment that is never written: {line[:60]!r}, after {self._fields}")
        return {"event": said[1], "data": said[2]}


class Order:
    """Holds the messages of one connection against the order that the protocol promises: nothing of a channel comes
    before its ``open`` or behind its ``end``, no cursor goes back, and none is left out without a gap, unless ``open``
    said that the channel is filtered for this client. Of a channel that is followed under names (``sub``), each of
    these has its own place.
    """

    def __init__(self) -> None:
        self._places: dict[Whose, Cursor] = {}
        self._conflated: dict[Whose, Cursor] = {}
        self._channels: dict[str, str] = {}
        self._left: set[str] = set()
        self._live: dict[str, list[str]] = {}
        self._bracket: list[str] = []
        self._next = 0
        self._filtered: set[Whose] = set()
        self._waiting: set[Whose] = set()

    @property
    def filtered(self) -> set[str]:
        """The channels of which this client may not see every event, under whichever name."""
        channels = {self._channels.get(one[0]) if isinstance(one, tuple) else one for one in self._filtered}
        return {channel for channel in channels if channel is not None}

    def said(self, message: Message) -> None:
        """Take note of what the client says: whom it follows no longer."""
        sub = message.get("sub")
        if sub is None:
            return
        if message.get("type") == "follow":
            self._left.discard(sub)
        elif message.get("type") == "unfollow":
            self._leave(sub)

    def take(self, message: Message) -> list[str] | None:
        """Look at the next message. Return for which names it is, of those that the client has not left; empty where it
        opens a bracket, too. None where names have nothing to do with it.

        Raises:
            MalformedError: it may not come here.
        """
        kind, channel = message["type"], message.get("channel")
        if self._next:
            self._next -= 1
            if kind not in BRACKETED:
                raise MalformedError(f"what is of no subscription, in the bracket of {self._bracket}: {message}")
            return self._take_for(self._bracket, message)
        if kind == "for" and "subs" in message:
            self._bracket, self._next = message["subs"], message["next"]
            if self._next < 1:
                raise MalformedError(f"a bracket of nothing: {message}")
            return []
        if kind == "beat":
            self._beat(message)
            return None
        if kind == "refused" and message.get("sub") is not None:
            self._leave(message["sub"])
        if kind in ("open", "lag") and message.get("sub") is not None:
            raise MalformedError(f"not in its bracket: {message}")
        live = self._live.get(channel or "", []) if kind in BRACKETED else []
        subs = [sub for sub in live if self._channels.get(sub) == channel]  # else it is left, or another channel's now
        if subs or (live and channel not in self._places):
            return self._take_for(subs, message)
        self._look(channel, message)
        return None

    def _leave(self, sub: str) -> None:
        self._left.add(sub)
        self._channels.pop(sub, None)
        self._places.pop((sub,), None)

    def _take_for(self, subs: list[str], message: Message) -> list[str]:
        """Look at what is for some names: whichever the client has left meanwhile does not count."""
        channel, kind = message["channel"], message["type"]
        if kind == "live":
            named = message["subs"]
            news = set(named) - set(self._live.get(channel, ())) - self._left - set(subs)
            if news:
                raise MalformedError(f"{news} are named, and their place is not told: {message}")
            self._live[channel] = named
        there = [sub for sub in subs if sub not in self._left]
        for sub in there:
            if kind == "open":
                self._channels[sub] = channel
            if kind == "open" and message["sub"] != sub:
                raise MalformedError(f"in the bracket of another: {message}")
            if self._channels.get(sub, channel) != channel:
                raise MalformedError(f"{sub} is of {self._channels[sub]}: {message}")
            self._look((sub,), message)
        return there

    def _look(self, whose: Whose, message: Message) -> None:
        kind, channel = message["type"], message.get("channel")
        at = _cursor(message.get(PLACES.get(kind, "")))
        if at is None:
            if kind == "open" and channel is not None:
                self._wait_for_state(whose, message)
            return  # of the app's own, or one that moves nobody
        if whose is None and len(self._places) == 1:
            (whose,) = self._places
        before = self._places.get(whose)
        if kind == "snapshot" and before is None and whose in self._waiting:
            self._waiting.discard(whose)
        elif kind != "open" and before is None:
            raise MalformedError(f"a message of {_named(whose)} before its open: {message}")
        if kind in ("event", "live", "end") and before is not None and at.epoch == before.epoch:
            # An end is told again to one who has it.
            is_further = kind == "end" and at.offset != before.offset
            expected = before.offset + (message.get("folded", 1) if kind == "event" else is_further)
            if at.offset < expected:
                raise MalformedError(f"a cursor of {_named(whose)} that goes back from {before}: {message}")
            if at.offset > expected and not self._may_skip(whose, at):
                raise MalformedError(f"events of {_named(whose)} are missing after {before}: {message}")
        if kind == "open":
            self._note_filter(whose, message)
            self._conflated.pop(whose, None)
        if kind == "end":
            self._end(whose)
        elif message.get("reason") == "conflated":
            self._conflated[whose] = at
        else:
            self._places[whose] = at

    def _end(self, whose: Whose) -> None:
        """Nothing more may come: what does comes before its ``open``."""
        if isinstance(whose, tuple):
            self._leave(whose[0])
        elif whose is not None:
            del self._places[whose]
            self._filtered.discard(whose)

    def _note_filter(self, whose: Whose, message: Message) -> None:
        if message.get("filtered") is True and message.get("channel") is not None:
            self._filtered.add(whose)
        else:
            self._filtered.discard(whose)

    def _wait_for_state(self, whose: Whose, message: Message) -> None:
        """An ``open`` without a place: the channel's state comes next, and with it the place."""
        self._note_filter(whose, message)
        self._waiting.add(whose)
        self._places.pop(whose, None)

    def _may_skip(self, whose: Whose, at: Cursor) -> bool:
        upto = self._conflated.get(whose)
        return whose in self._filtered or (upto is not None and upto.epoch == at.epoch and at.offset <= upto.offset)

    def _beat(self, message: Message) -> None:
        """Move on over what a client may not see. Of another channel a beat says nothing that is new, and of a name
        only where it is: by that name, or of those that are live by their channel."""
        if not self._channels and not self._filtered:  # it may be of the app's own, and be anything
            return
        for channel, cursor in message["cursors"].items():
            live = [sub for sub in self._live.get(channel, ()) if self._channels.get(sub) == channel]
            whose: list[Whose] = [channel] if channel in self._places else [(sub,) for sub in live]
            for one in whose:
                self._stand(one, cursor, message)
        for sub, cursor in message.get("places", {}).items():
            if (sub,) in self._places:  # else the client has left it
                self._stand((sub,), cursor, message)

    def _stand(self, whose: Whose, cursor: object, message: Message) -> None:
        """A beat says where one stands."""
        at, before = _cursor(cursor), self._places[whose]
        if at is not None and at.epoch != before.epoch:  # where nothing was lost with the former one
            at = at if whose in self._filtered else before
        if whose not in self._filtered:
            if isinstance(whose, tuple) and (at is None or at.offset != before.offset):
                raise MalformedError(f"a beat of {_named(whose)}, which stands at {before}: {message}")
            return
        if at is None or (at.epoch == before.epoch and at.offset < before.offset):
            raise MalformedError(f"a beat of {_named(whose)} that goes back from {before}: {message}")
        self._places[whose] = at


def _named(whose: Whose) -> str | None:
    return f"the subscription {whose[0]}" if isinstance(whose, tuple) else whose


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
    end = page.get("end")
    if end is not None and not _is_end(end, page):
        raise MalformedError(f"no answer to a poll at the end of its channel: {body[:200]!r}")
    return page


def _is_end(end: object, page: dict[str, Any]) -> bool:
    if not isinstance(end, dict) or not isinstance(end.get("time"), int) or "data" not in end:
        return False
    said = [end.get("type"), end.get("channel"), end.get("cursor")]
    return said == ["end", page["channel"], page["cursor"]] and page["live"] is True


def is_cursor(text: object) -> bool:
    """Whether something is the text of a cursor."""
    return _cursor(text) is not None


def _cursor(text: object) -> Cursor | None:
    """A cursor; None where that is none."""
    try:
        return Cursor.parse(text) if isinstance(text, str) else None
    except TrioletError:
        return None
