"""What a program is given of a channel."""

from __future__ import annotations

from typing import Any

import msgspec

from ..event import Cursor, Event, Gap, Live

__all__ = [
    "ChannelEnd",
    "ChannelGap",
    "End",
    "Event",
    "Fault",
    "Gap",
    "Item",
    "Live",
    "Message",
    "Reply",
    "Said",
    "Snapshot",
    "Tell",
]


class Snapshot(msgspec.Struct, frozen=True):
    """The channel's state: it takes the place of whatever the program had, and the events go on from its cursor.

    Attributes:
        cursor: up to here the channel's events are in the state.
        data: the state: a JSON value.
        missed: how many events are not in it that should be; None where nobody knows.
    """

    cursor: Cursor
    data: Any
    missed: int | None = 0


class End(msgspec.Struct, frozen=True):
    """The channel has ended: this is the last item. One that was deleted ends with ``{"outcome": "deleted"}``.

    Attributes:
        cursor: the end's own place. Who follows from here is told of it once more.
        data: what the app has said with it: a JSON value.
    """

    cursor: Cursor
    data: Any


Item = Event | Gap | Live | Snapshot | End
"""What an iterator of a channel gives: a :class:`Snapshot` only where the program has asked for it."""


class Message(msgspec.Struct, frozen=True):
    """What the app's handler said on the shared socket, with ``conn.send``. It is in no log: one that was said while
    there was no connection is not said again.

    Attributes:
        data: a JSON value.
    """

    data: Any


class ChannelGap(Gap, frozen=True):
    """A gap in a channel that the app's handler follows for this client. Beside the server's reasons it may be
    ``skipped``, where the handler follows anew from further on, after a lost connection mostly; and ``revoked``: the
    channel was taken away, and nothing more will come of it.

    Attributes:
        channel: the channel's name.
    """

    channel: str


class ChannelEnd(End, frozen=True):
    """A channel has ended that the app's handler follows for this client.

    Attributes:
        channel: the channel's name.
    """

    channel: str


Said = Message | Event | ChannelGap | ChannelEnd
"""What :class:`Messages` give, in the order in which the server has sent it."""


class Tell(msgspec.Struct, frozen=True):
    """Something that is only for now (``live.tell``): it is no event, has no place, and is told once, to whoever is up
    to date at that moment.

    Attributes:
        channel: the channel's name.
        name: what kind of thing it is.
        data: a JSON value.
        key: what it is about; None: nothing by itself.
    """

    channel: str
    name: str
    data: Any
    key: str | None = None


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
