"""Events, the cursors that say where they are in a channel, and the gaps between them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isfinite
from typing import Any, Final

import msgspec

from .bounds import CHANNEL_BYTES, CURSOR_CHARACTERS, NAME_CHARACTERS
from .errors import ChannelNameError, CursorError, DataError, repr_of
from .value import check_json, encode_json

__all__ = [
    "DELETED",
    "END",
    "FOLDS",
    "NOW_CHANNEL",
    "Cursor",
    "Draft",
    "Event",
    "Gap",
    "Live",
    "check_channel",
    "encode_json",
    "forgery",
    "plain",
]


OWN_PREFIX: Final = "triolet."
"""How the names of Triolet's own messages begin in an event stream."""

END: Final = f"{OWN_PREFIX}end"
"""The name of the event that ends a channel: its last one."""

NOW_CHANNEL: Final = f"{OWN_PREFIX}now"
"""The channel on which processes tell each other what is only for now, and kept for seconds."""

DELETED: Final = b'{"outcome":"deleted"}'
"""The data of the event that takes the place of a channel's events when they are deleted."""

FOLDS: Final = ("concat", "latest", "merge", "sum")
"""How events of one key may be folded into one. ``concat``: texts or arrays, one behind the other. ``latest``: the
newer one. ``merge``: a JSON merge patch (RFC 7396). ``sum``: numbers."""

# At most 18 digits: so every offset that a client may send fits in a signed integer of 64 bits, as SQLite's are.
_CURSOR = re.compile(r"(?:([A-Za-z0-9_-]{1,32})\.)?([0-9]{1,18})", re.ASCII)
_NEWEST = re.compile(r"-[1-9][0-9]{0,17}", re.ASCII)
# Besides ASCII's, the line breaks of Unicode, at which some readers of a stream or a log break the line, and lone
# surrogates, which cannot be encoded as UTF-8.
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029\ud800-\udfff]")

_decode = msgspec.json.Decoder().decode


class Cursor(msgspec.Struct, frozen=True, order=False):
    """A place in a channel: every event up to it has been seen.

    Attributes:
        epoch: names one life of the log. It finds a log that was lost and begun again, where the same offset means
            another event. An empty one means "the present epoch": that is how a bare offset from a user is read.
        offset: the event's number in its channel. It finds a hole: offsets are 1, 2, 3 … without one. Offset 0 is
            before the first event.
    """

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.offset}" if self.epoch else str(self.offset)

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read a cursor as a client sends it: ``"<epoch>.<offset>"`` or a bare offset.

        Raises:
            CursorError: the client's fault; the text is too long or has another form.

        Bounds: the length is checked first, so the work is constant, however much is sent.
        """
        match = _CURSOR.fullmatch(text) if len(text) <= CURSOR_CHARACTERS else None
        if match is None:
            raise CursorError(text)
        return cls(match[1] or "", int(match[2]))

    @classmethod
    def parse_after(cls, text: str) -> Cursor:
        """Read what a client asks to go on after: a cursor, or ``-50``, the newest 50 events that are kept, and on.

        The latter is no place, so it is a cursor of a negative offset only until the channel's head is known.

        Raises:
            CursorError: as :meth:`parse`.
        """
        if _NEWEST.fullmatch(text):
            return cls("", int(text))
        return cls.parse(text)


class Draft(msgspec.Struct, frozen=True):
    """An event on its way into the log: checked and encoded, not yet placed.

    Attributes:
        json: the data as JSON, encoded once, without a line break.
        name: the event's name, as ``addEventListener`` of a browser's EventSource knows it.
        key: what the event is the newest state of, for policies that leave older states out.
        dedupe: names the append: a repeat with the same text returns the first event, and stores nothing.
        fold: how it goes together with the event of the same key before it: one of :data:`FOLDS`; None: not at all.
    """

    json: bytes
    name: str = "message"
    key: str | None = None
    dedupe: str | None = None
    fold: str | None = None

    @classmethod
    def of(
        cls,
        data: Any,
        *,
        name: str = "message",
        key: str | None = None,
        dedupe: str | None = None,
        fold: str | None = None,
    ) -> Draft:
        """Check and encode what an app publishes.

        Raises:
            DataError: the app's fault; ``data`` is no JSON value that comes back as it went in (NaN, bytes, sets, dates
                and keys that are no text are none; nor is what is nested deeper than 32), or ``name``, ``key`` or
                ``dedupe`` is empty, too long or holds a control character (a line break in a name would forge a field
                of an SSE stream), or ``name`` begins with ``triolet.`` (it would forge a goodbye or a gap there), or
                ``fold`` is none that there is, or has no ``key`` to go by.
        """
        draft = cls(encode_json(data), name, key, dedupe, fold)
        if draft.name == END:  # whoever may choose a name and a dedupe would end the channel: there is live.end
            raise _own_name()
        return draft

    @classmethod
    def ending(cls, data: Any) -> Draft:
        """Make the draft of a channel's last event: nothing comes after it. To end twice is to end once.

        Raises:
            DataError: ``data`` is no JSON value.
        """
        return cls(encode_json(data), END, None, END)

    def __post_init__(self) -> None:
        _check_text("name", self.name)
        for what, text in (("key", self.key), ("dedupe", self.dedupe)):
            if text is not None:
                _check_text(what, text)
        if self.name.startswith(OWN_PREFIX) and (self.name, self.dedupe) != (END, END):
            raise _own_name()
        if self.fold is not None and self.fold not in FOLDS:
            raise DataError(f"fold must be one of {', '.join(FOLDS)}, not {repr_of(self.fold)}")
        if self.fold is not None and self.key is None:
            raise DataError(f"fold={self.fold!r} must be of an event with a key: give it one as well")
        for what, text in (("name", self.name), ("key", self.key), ("dedupe", self.dedupe), ("fold", self.fold)):
            if text is not None and type(text) is not str:
                msgspec.structs.force_setattr(self, what, plain(text))
        check_json(self.json)  # what no client could read would end every follower's connection


def _own_name() -> DataError:
    return DataError(f"name must not begin with {OWN_PREFIX!r}: such events are Triolet's own")


class Event(msgspec.Struct, frozen=True):
    """An immutable message at its place in a channel's log.

    Attributes:
        cursor: the place.
        channel: the channel's name.
        name: the event's name.
        json: the data as JSON, without a line break.
        key: what it is the newest state of; None if it stands for itself.
        published_at: when the log stored it, in seconds since 1970.
        fold: how it goes together with the event of the same key before it; None: not at all.
        folded: of how many events it is made: those up to its cursor. The log knows none but 1.
    """

    cursor: Cursor
    channel: str
    name: str
    json: bytes
    key: str | None
    published_at: float
    fold: str | None = None
    folded: int = 1

    @property
    def data(self) -> Any:
        """The published JSON value, decoded anew each time: changing it changes no event."""
        return _decode(self.json)

    @property
    def offset(self) -> int:
        """Number of the event in its channel: 1, 2, 3 …"""
        return self.cursor.offset

    @property
    def ends(self) -> bool:
        """Whether it is its channel's last one, which ``live.end``, ``live.delete`` or a run's end has put there."""
        return self.name == END

    @property
    def is_tombstone(self) -> bool:
        """Whether it stands in the place of the channel's events, which were deleted."""
        return self.name == END and self.json == DELETED


def forgery(events: Sequence[Event]) -> Cursor | None:
    """Return where an event stands that was never a :class:`Draft`, which would have refused it: who has written past
    Triolet could forge with it, or break, what clients are told. None: there is none."""
    # Each page is looked at, so it is looked at as a whole, and its events only where something is wrong.
    names = {event.name for event in events}
    texts = "".join([*names, *{event.key or "" for event in events}])
    data = b"".join([event.json for event in events])
    is_own = any(name.startswith(OWN_PREFIX) and name != END for name in names)
    times = sum([event.published_at for event in events])
    if not (is_own or _CONTROL.search(texts) or b"\n" in data or b"\r" in data or not isfinite(times)):
        return None
    if len(events) == 1:
        return events[0].cursor
    return next((event.cursor for event in events if forgery([event])), events[0].cursor)


class Gap(msgspec.Struct, frozen=True):
    """Events that a client has not seen and will not see. A client is always told of them.

    Attributes:
        after: the cursor that the client had. On the wire it is called ``from``.
        to: the cursor that its stream goes on from: the next event it gets is the one after this.
        missed: how many events lie between them; None where that cannot be known.
        reason: one of the following. ``expired``: retention dropped them. ``epoch``: the log was lost and begun again.
            ``future``: the cursor lies past the end of the log, because its end was lost or the cursor was made up.
            ``skipped``: a policy jumped over them. ``conflated``: a policy left out ``missed`` events of those up to
            ``to``, for each of which a newer one with the same key follows; the stream goes on from ``after``. ``hole``
            is a client's own word: the server left them out twice, and did not say so.
    """

    after: Cursor
    to: Cursor
    missed: int | None
    reason: str


class Live(msgspec.Struct, frozen=True):
    """The program is up to date: what comes now comes as it happens. It is said each time that it has caught up.

    Attributes:
        cursor: up to here.
    """

    cursor: Cursor


def check_channel(name: str) -> str:
    """Return ``name`` if a channel may be called so; of a subclass of text the text.

    Raises:
        ChannelNameError: the app's fault; it is empty, longer than 255 bytes, or holds a control character.
    """
    if not isinstance(name, str) or not name or len(name.encode("utf-8", "surrogatepass")) > CHANNEL_BYTES:
        raise ChannelNameError(name, f"use text of 1 to {CHANNEL_BYTES} bytes")
    if _CONTROL.search(name):
        raise ChannelNameError(name, "use no control characters")
    return plain(name)


def plain(text: str) -> str:
    """A text as itself, where it is of a subclass (a template's Markup, numpy's, a StrEnum), which no codec encodes."""
    return text if type(text) is str else str.__str__(text)


def _check_text(what: str, text: str) -> None:
    if not isinstance(text, str) or not 1 <= len(text) <= NAME_CHARACTERS:
        raise DataError(f"{what} must be text of 1 to {NAME_CHARACTERS} characters, not {repr_of(text)}")
    if _CONTROL.search(text):
        raise DataError(f"{what} must hold no control character: {text!r:.60}")
