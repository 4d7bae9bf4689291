"""What a server says, as a client reads it: every message in one shape, and what is not known is passed over.

Not the structs of ``wire/messages.py``: those are what this version's server writes, and a client meets older and
newer ones.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from ..closing import EXPIRED, REVOKED
from ..errors import printable
from ..event import Cursor, Event, Gap
from .errors import Ended

__all__ = ["Heard", "Page", "bye", "cursor_of", "event_of", "gap_of", "own_message", "read", "read_page", "value_of"]


Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
"""A time or a wait; what is below 0 or beyond all measure is none."""


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
    after: str = ""
    to: str = ""
    missed: int | None = None
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
    retry: Milliseconds | None = 0
    filtered: bool = False
    end: Heard | None = None


_read_json: Final = msgspec.json.Decoder(msgspec.Raw).decode
_read_value: Final = msgspec.json.Decoder().decode
_read: Final = msgspec.json.Decoder(Heard).decode
_read_page: Final = msgspec.json.Decoder(Page).decode


def read(text: str | bytes) -> Heard:
    """Read a message.

    Raises:
        Ended: it is none.
    """
    try:
        return _read(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _no_message(error) from None


def read_page(body: bytes) -> Page:
    """Read the answer to a poll.

    Raises:
        Ended: it is none.
    """
    try:
        return _read_page(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _no_message(error) from None


def own_message(kind: str, data: str, id: str, time: int | None) -> Heard:
    """A block of an event stream as the message that it is.

    Raises:
        Ended: it is none.
    """
    if kind.startswith("triolet."):
        message = read(data)
        message.type = kind.removeprefix("triolet.")
        return message
    try:
        json = _read_json(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _no_message(error) from None
    return Heard(type="event", id=id, event=kind, data=json, time=time or 0)


def cursor_of(text: str | None) -> Cursor:
    """A cursor of the server's.

    Raises:
        Ended: it is none.
    """
    try:
        return Cursor.parse(text or "")
    except Exception as error:
        raise _no_message(error) from None


def value_of(message: Heard) -> Any:
    """The data of a message, as the program gets it.

    Raises:
        Ended: it is no JSON, or nested too deep.
    """
    try:
        return _read_value(message.data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _no_message(error) from None


def event_of(message: Heard, channel: str | None) -> Event:
    """An event as the program gets it."""
    name = message.channel or channel or ""
    at = cursor_of(message.id)
    return Event(at, name, message.event, bytes(message.data), message.key, message.time / 1000)


def gap_of(message: Heard) -> Gap:
    """A gap as the program gets it."""
    return Gap(cursor_of(message.after), cursor_of(message.to), message.missed, message.reason)


def bye(message: Heard) -> Ended:
    """What a bye says about coming back."""
    retry: Any = "backoff" if message.retry is msgspec.UNSET else message.retry
    if isinstance(retry, int):
        retry /= 1000
    return Ended(
        printable(message.reason) or f"closed {message.code}", kind_of(message.code), retry=retry, code=message.code
    )


def kind_of(code: int | None) -> Any:
    """The kind of a closing."""
    return {EXPIRED.code: "expired", REVOKED.code: "revoked"}.get(code or 0, "closed")


def _no_message(error: Exception) -> Ended:
    return Ended(f"what came is no message of Triolet's: {error}"[:200], "bad answer", blames=True)
