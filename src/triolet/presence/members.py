"""Members as the app and other clients see them: their names, their sessions, and the roster of one moment."""

from __future__ import annotations

from typing import Any

import msgspec

from ..bounds import NAME_CHARACTERS
from ..errors import DataError, repr_of
from ..event import Cursor, encode_json, plain

__all__ = ["Member", "Present", "Roster"]


class Member(msgspec.Struct, frozen=True):
    """A client as the others in a channel see it.

    Attributes:
        id: the app's name for it, of 1 to 128 characters. Several connections may have the same.
        info: any JSON value that the others may see. It is copied.

    Raises:
        DataError: the app's fault; the id is no such text, or the info is no JSON value.
    """

    id: str
    info: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not 1 <= len(self.id) <= NAME_CHARACTERS:
            raise DataError(f"a member's id is text of 1 to {NAME_CHARACTERS} characters, not {repr_of(self.id)}")
        msgspec.structs.force_setattr(self, "id", plain(self.id))
        # At the app's call, and not when a join is written; and it is what it was then, whatever the app does with it.
        json = encode_json([[self.id, self.info]])  # as deep as it is in a roster
        if not isinstance(self.info, str | int | float | None):
            msgspec.structs.force_setattr(self, "info", msgspec.json.decode(json)[0][1])


class Present(msgspec.Struct, frozen=True):
    """One connection of a member: a member with two tabs open has two.

    Attributes:
        member: the member's id.
        info: what the app says of the member.
        session: names the connection. No other one ever has the same name.
        since: when its join was published, in seconds since 1970.
    """

    member: str
    info: Any
    session: str
    since: float


class Roster(msgspec.Struct, frozen=True):
    """The members that were present at one moment.

    Attributes:
        channel: the channel in which joins and leaves are told.
        cursor: the moment. A client that follows that channel after it hears of all that changed since.
        sessions: the members' connections, in the order in which they came.
    """

    channel: str
    cursor: Cursor
    sessions: tuple[Present, ...]

    @property
    def members(self) -> tuple[str, ...]:
        """Ids of the members, each once, in the order in which they came."""
        return tuple(dict.fromkeys(session.member for session in self.sessions))
