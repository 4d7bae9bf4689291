"""Members as the app and other clients see them: who a client is, its sessions, and who is there at one moment."""

from __future__ import annotations

from typing import Any

import msgspec

from ..errors import DataError
from ..event import MAX_NAME, Cursor, encode_json

__all__ = ["Member", "Present", "Roster"]


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
        cursor: the moment. A client that follows that channel after it hears of all that changed since.
        sessions: by when they came.
    """

    channel: str
    cursor: Cursor
    sessions: tuple[Present, ...]

    @property
    def members(self) -> tuple[str, ...]:
        """Each member once, by when it came first."""
        return tuple(dict.fromkeys(session.member for session in self.sessions))
