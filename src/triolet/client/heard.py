"""What a server says, as a client reads it: every message in one shape, and what is not known is passed over.

Not the structs of ``wire/messages.py``: those are what this version's server writes, and a client meets older and
newer ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, TypeVar

import msgspec

from ..closing import EXPIRED, REVOKED
from ..errors import CursorError, printable
from ..event import Cursor, Event, Gap
from .errors import Ended
from .items import End, Snapshot, Tell
from .sse import Block

__all__ = [
    "Heard",
    "ManyPage",
    "Page",
    "bye",
    "cursor_of",
    "end_of",
    "event_of",
    "gap_of",
    "own_message",
    "read",
    "read_many",
    "read_page",
    "seconds_of",
    "snapshot_of",
    "tell_of",
    "value_of",
]


Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
"""A time or a wait; what is below 0 or beyond all measure is none."""

Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 53)]
"""How many events one stands for."""


class Heard(msgspec.Struct, omit_defaults=True, rename={"after": "from", "milliseconds": "in"}):
    """A message. Which of its fields count depends on its type: see the page "On the wire"."""

    type: str = ""
    channel: str | None = None
    cursor: str | None = None
    url: str | None = None
    filtered: bool = False
    sub: str | None = None
    subs: list[str] | None = None
    next: int = 0
    id: str = ""
    event: str = "message"
    data: msgspec.Raw = msgspec.Raw(b"null")
    time: Milliseconds = 0
    key: str | None = None
    fold: str | None = None
    folded: Count = 1
    after: str = ""
    to: str = ""
    missed: int | msgspec.UnsetType | None = msgspec.UNSET
    reason: str = ""
    cursors: dict[str, str] = {}
    places: dict[str, str] = {}
    behind: int = 0
    step: str = ""
    milliseconds: Milliseconds | None = None
    refused: bool = False
    code: int | None = None
    retry: Milliseconds | msgspec.UnsetType | None = msgspec.UNSET
    status: int = 0
    repeated: bool = False


class Page(msgspec.Struct):
    """The answer to a poll."""

    channel: str
    cursor: str
    events: list[Heard]
    live: bool
    gap: Heard | None = None
    retry: Milliseconds | None = None
    filtered: bool = False
    end: Heard | None = None
    snapshot: Heard | None = None
    told: list[Heard] = []


class ManyPage(msgspec.Struct):
    """The answer to a poll of many channels."""

    follows: list[Heard]
    events: list[Heard]
    gaps: list[Heard]
    refused: list[Heard]
    live: bool
    retry: Milliseconds | None = None
    ends: list[Heard] = []
    snapshots: list[Heard] = []
    told: list[Heard] = []

    def pages(self) -> Iterator[tuple[str, Page]]:
        """What it says of each of its URLs, as a poll of that one would have said it."""
        events, told = _by_channel(self.events), _by_channel(self.told)
        gaps, states, ends = ({one.channel: one for one in said} for said in (self.gaps, self.snapshots, self.ends))
        for one in self.follows:
            name = one.channel or ""
            yield (
                one.url or "",
                Page(
                    name,
                    one.cursor or "",
                    events.get(name, []),
                    self.live,
                    gap=gaps.get(name),
                    filtered=one.filtered,
                    end=ends.get(name),
                    snapshot=states.get(name),
                    told=told.get(name, []),
                ),
            )


def _by_channel(messages: list[Heard]) -> dict[str | None, list[Heard]]:
    found: dict[str | None, list[Heard]] = {}
    for message in messages:
        found.setdefault(message.channel, []).append(message)
    return found


_T = TypeVar("_T")

_read_json: Final = msgspec.json.Decoder(msgspec.Raw).decode
_read_value: Final = msgspec.json.Decoder().decode
_read: Final = msgspec.json.Decoder(Heard).decode
_read_page: Final = msgspec.json.Decoder(Page).decode
_read_many: Final = msgspec.json.Decoder(ManyPage).decode


def read(text: str | bytes) -> Heard:
    """Read a message.

    Raises:
        Ended: it is none.
    """
    return _decoded(_read, text)


def read_page(body: bytes) -> Page:
    """Read the answer to a poll.

    Raises:
        Ended: it is none.
    """
    return _decoded(_read_page, body)


def read_many(body: bytes) -> ManyPage:
    """Read the answer to a poll of many channels.

    Raises:
        Ended: it is none.
    """
    return _decoded(_read_many, body)


def own_message(block: Block) -> Heard:
    """A block of an event stream as the message that it is.

    Raises:
        Ended: it is none.
    """
    if block.event.startswith("triolet."):
        message = read(block.data)
        message.type = block.event.removeprefix("triolet.")
        return message
    json = _decoded(_read_json, block.data)
    return Heard(
        type="event",
        id=block.id,
        event=block.event,
        data=json,
        time=block.time or 0,
        key=block.key,
        fold=block.fold,
        folded=block.folded,
    )


def cursor_of(text: str | None) -> Cursor:
    """A cursor of the server's.

    Raises:
        Ended: it is none.
    """
    try:
        return Cursor.parse(text or "")
    except CursorError as error:
        raise _no_message(error) from None


def value_of(message: Heard) -> Any:
    """The data of a message, as the program gets it.

    Raises:
        Ended: it is no JSON, or nested too deep.
    """
    return _decoded(_read_value, message.data)


def event_of(message: Heard, channel: str | None) -> Event:
    """An event as the program gets it."""
    name = message.channel or channel or ""
    at = cursor_of(message.id)
    json, time = bytes(message.data), message.time / 1000
    return Event(at, name, message.event, json, message.key, time, message.fold, message.folded)


def gap_of(message: Heard) -> Gap:
    """A gap as the program gets it."""
    return Gap(cursor_of(message.after), cursor_of(message.to), _missed(message, None), message.reason)


def snapshot_of(message: Heard) -> Snapshot:
    """A state as the program gets it."""
    return Snapshot(cursor_of(message.cursor), value_of(message), _missed(message, 0))


def end_of(message: Heard) -> End:
    """An end as the program gets it."""
    return End(cursor_of(message.cursor), value_of(message))


def tell_of(message: Heard, channel: str | None) -> Tell:
    """What is only for now as the program gets it."""
    return Tell(message.channel or channel or "", message.event, value_of(message), message.key)


def _missed(message: Heard, unsaid: int | None) -> int | None:
    return unsaid if message.missed is msgspec.UNSET else message.missed


def bye(message: Heard) -> Ended:
    """What a bye says about coming back."""
    retry: Any = "backoff" if message.retry is msgspec.UNSET else message.retry
    if isinstance(retry, int):
        retry = seconds_of(retry)
    return Ended(
        printable(message.reason) or f"closed {message.code}", kind_of(message.code), retry=retry, code=message.code
    )


def seconds_of(retry: int) -> float:
    """When a server wants to be asked again; more than 0, which is a client's own word (see Ended)."""
    return max(1, retry) / 1000


def kind_of(code: int | None) -> Any:
    """The kind of a closing."""
    return {EXPIRED.code: "expired", REVOKED.code: "revoked"}.get(code or 0, "closed")


def _decoded(decode: Callable[[Any], _T], text: str | bytes | msgspec.Raw) -> _T:
    """Decode what came. Raises Ended: it is no message."""
    try:
        return decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _no_message(error) from None


def _no_message(error: Exception) -> Ended:
    return Ended(f"what came is no message of Triolet's: {error}"[:200], "bad answer", blames=True)
