"""Who is present in a channel, as the events of its presence say: what they look like, and what follows from them.

Presence is a channel like any other. A session joins and leaves; a *join* may be repeated, so that retention does not
take away who is still there, and each statement of a session is left once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ..errors import DataError
from ..event import MAX_NAME, Cursor, Draft, Event, check_channel, encode_json

__all__ = [
    "JOIN",
    "LEAVE",
    "Member",
    "Present",
    "Roster",
    "Statement",
    "apply",
    "presence_channel",
    "process_of",
    "read",
    "read_lease",
]

PREFIX: Final = "triolet.presence/"
"""How the channels begin in which joins and leaves are told."""

JOIN: Final = "join"
LEAVE: Final = "leave"


class Member(msgspec.Struct, frozen=True):
    """Who a client is to the others in a channel: the app's word for it, and any JSON value they may see.

    Raises:
        DataError: the id is no text of 1 to 128 characters, or the info is no JSON value.
    """

    id: str
    info: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not 1 <= len(self.id) <= MAX_NAME:
            raise DataError(f"a member's id is text of 1 to {MAX_NAME} characters, not {self.id!r:.60}")
        encode_json([self.id, self.info])


class Present(msgspec.Struct, frozen=True):
    """One connection of a member: a member with two tabs open has two.

    Attributes:
        member: the member's id.
        info: what the app says of it.
        session: the connection, by a name that no other ever has.
        since: when its join was published, in seconds since 1970.
    """

    member: str
    info: Any
    session: str
    since: float


class Roster(msgspec.Struct, frozen=True):
    """Who was present at one moment.

    Attributes:
        channel: where joins and leaves are told.
        cursor: the moment: who follows that channel after it hears of all that changed since.
        sessions: by when they came.
    """

    channel: str
    cursor: Cursor
    sessions: tuple[Present, ...]

    @property
    def members(self) -> tuple[str, ...]:
        """Each member once, by when it came first."""
        return tuple(dict.fromkeys(session.member for session in self.sessions))


class Statement(msgspec.Struct, frozen=True):
    """The data of a join or leave. ``stated`` counts how often the session was said to be there."""

    member: str
    session: str
    stated: int
    info: Any = None
    reason: str | None = None

    def joins(self) -> Draft:
        """The event that says so. It is stored once, however often it is appended."""
        said = {"member": self.member, "session": self.session, "stated": self.stated, "info": self.info}
        return Draft.of(said, name=JOIN, key=self.session, dedupe=f"join {self.session} {self.stated}")

    def leaves(self, reason: str) -> Draft:
        """The event that ends it: ``left``, or ``lost`` with its process. Whoever appends it, it is stored once."""
        said = {"member": self.member, "session": self.session, "stated": self.stated, "reason": reason}
        return Draft.of(said, name=LEAVE, key=self.session, dedupe=f"leave {self.session} {self.stated}")


class _Lease(msgspec.Struct, frozen=True):
    process: str


def presence_channel(channel: str) -> str:
    """The channel in which joins and leaves of another one are told. Raises ChannelNameError."""
    return check_channel(PREFIX + check_channel(channel))


def process_of(session: str) -> str:
    """The process that a session is a connection of."""
    return session.rpartition(".")[0]


def apply(present: dict[str, tuple[Statement, float]], events: Sequence[Event]) -> None:
    """Bring a record of sessions, each with its last statement and when it came, up to date. What is no statement of
    ours is passed over."""
    for event in events:
        statement = read(event)
        if statement is None:
            continue
        known = present.get(statement.session)
        if event.name == JOIN:
            present[statement.session] = statement, event.published_at if known is None else known[1]
        elif known is not None and known[0].stated <= statement.stated:
            del present[statement.session]


def read(event: Event) -> Statement | None:
    """What a join or leave says; None where it is neither."""
    if event.name not in (JOIN, LEAVE):
        return None
    try:
        return msgspec.json.decode(event.json, type=Statement)
    except msgspec.DecodeError:  # the app published into this channel itself
        return None


def read_lease(event: Event) -> str | None:
    """The process of which a renewal speaks; None where it is none."""
    try:
        return msgspec.json.decode(event.json, type=_Lease).process
    except msgspec.DecodeError:
        return None
