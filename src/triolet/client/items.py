"""What a program is given of a channel."""

from __future__ import annotations

import msgspec

from ..event import Cursor, Event, Gap

__all__ = ["Event", "Fault", "Gap", "Item", "Live", "Reply"]


class Live(msgspec.Struct, frozen=True):
    """The program is up to date: what comes now comes as it happens. It is said each time that it has caught up.

    Attributes:
        cursor: up to here.
    """

    cursor: Cursor


Item = Event | Gap | Live
"""What an iterator of a channel gives. A snapshot will be a fourth; the wire has none yet."""


class Fault(msgspec.Struct, frozen=True):
    """A broken promise of the server's: events that are missing without a gap (``hole``), or one that comes twice or
    goes back (``repeat``). The client has mended it: it comes back for a hole, and passes over a repeat.

    Attributes:
        kind: ``"hole"`` or ``"repeat"``.
        channel: the channel's name.
        after: the cursor of the client.
        to: what it was told instead.
    """

    kind: str
    channel: str | None
    after: Cursor | None
    to: Cursor


class Reply(msgspec.Struct, frozen=True):
    """What a command was answered: by the app, its refusals too.

    Attributes:
        status: as of HTTP.
        data: the answer's body: a JSON value, or a text; None where it has none.
        repeated: whether it had happened before, and this is the answer of then.
    """

    status: int
    data: object
    repeated: bool = False
