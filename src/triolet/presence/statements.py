"""Joins and leaves as events: what they say, how they are written, and how they are read.

They are on the wire and in the log, where processes of several versions read them: fields may be added to them, and no
more than that.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..bounds import SESSION_NAME_CHARACTERS, SESSION_STATEMENTS
from ..errors import DataError
from ..event import Draft, Event, check_channel, encode_json
from ..limits import Limits
from .members import Member

__all__ = [
    "JOIN",
    "LEAVE",
    "PREFIX",
    "Statement",
    "check_size",
    "presence_channel",
    "process_of",
    "read",
]

PREFIX: Final = "triolet.presence/"
"""How the names of channels begin in which joins and leaves are told."""

JOIN: Final = "join"
LEAVE: Final = "leave"


class Statement(msgspec.Struct, frozen=True):
    """The data of a join or leave.

    Attributes:
        member: the member's id.
        session: the session's name.
        stated: the number of the join; in a leave, of the newest join that it ends.
        info: the member's info, in a join.
        reason: ``left`` or ``lost``, in a leave.
    """

    member: str
    session: str
    stated: int
    info: Any = None
    reason: str | None = None

    def joins(self) -> Draft:
        """Return the join: the session is there. It is stored once, however often it is appended."""
        said = {"member": self.member, "session": self.session, "stated": self.stated, "info": self.info}
        return Draft.of(said, name=JOIN, key=self.session, dedupe=f"join {self.session} {self.stated}")

    def leaves(self, reason: str) -> Draft:
        """Return the leave: the session has ``left``, or is ``lost`` with its process. It is stored once, also when
        several processes append it."""
        said = {"member": self.member, "session": self.session, "stated": self.stated, "reason": reason}
        return Draft.of(said, name=LEAVE, key=self.session, dedupe=f"leave {self.session} {self.stated}")


def check_size(member: Member, limits: Limits) -> Member:
    """Return the member if its join fits in an event, however long its session's name becomes and however often it is
    stated. To be asked before anything is held for the client: what cannot be written must not be followed either.

    Raises:
        DataError: the app's fault; the join, as JSON, is more than ``limits.event_bytes``.
    """
    info = msgspec.Raw(encode_json(member.info))
    size = len(Statement(member.id, "x" * SESSION_NAME_CHARACTERS, SESSION_STATEMENTS, info).joins().json)
    if size > limits.event_bytes:
        raise DataError(f"{size} bytes of JSON, to say that a member is present, are more than limits.event_bytes")
    return member


def presence_channel(channel: str) -> str:
    """Return the channel in which the joins and leaves of a channel are told.

    Raises:
        ChannelNameError: the app's fault; the name is no channel's, or is too long with the prefix.
    """
    return check_channel(PREFIX + check_channel(channel))


def process_of(session: str) -> str:
    """Return the process that a session belongs to."""
    return session.rpartition(".")[0]


def read(event: Event) -> Statement | None:
    """Return what a join or leave says; None if the event is neither."""
    if event.name not in (JOIN, LEAVE):
        return None
    try:
        return msgspec.json.decode(event.json, type=Statement)
    except msgspec.DecodeError:  # the app published into this channel itself
        return None
    except RecursionError:  # by another Python, which takes values that are nested deeper: one value, not the room
        return None
