"""The bodies that are answered, as types: the description of the listener is made of them too."""

from __future__ import annotations

import msgspec

from .contract import Refused

__all__ = [
    "Closed",
    "ConnectionSeen",
    "Connections",
    "EventKept",
    "Explained",
    "Explanations",
    "FollowerSeen",
    "GapSeen",
    "History",
    "Members",
    "PresentSession",
    "Published",
    "Refused",
    "Revoked",
    "Stored",
]


class Stored(msgspec.Struct):
    """An event that is in the log.

    Attributes:
        channel: its channel.
        cursor: its place there.
    """

    channel: str
    cursor: str


class Published(msgspec.Struct):
    """What was published.

    Attributes:
        events: one for each that was sent, in the same order; for a repeated ``dedupe`` the first one.
    """

    events: list[Stored]


class EventKept(msgspec.Struct, omit_defaults=True):
    """An event, with the names that clients know.

    Attributes:
        cursor, name, data, key, fold: as they were published.
        time: when, in milliseconds since 1970.
    """

    cursor: str
    name: str
    data: msgspec.Raw
    time: int
    key: str | None = None
    fold: str | None = None


class GapSeen(msgspec.Struct):
    """Events before the first one here that are no longer kept.

    Attributes:
        after, to: between which cursors they were.
        missed: how many; null where that cannot be known.
        reason: why, as clients are told.
    """

    after: str
    to: str
    missed: int | None
    reason: str


class History(msgspec.Struct):
    """Events that are kept of a channel, the oldest first.

    Attributes:
        channel: its name.
        events: a page of them.
        cursor: up to where they reach: ``after`` of the next page.
        head: the newest event's cursor. It is ``cursor`` where there is no next page.
        gap: what is lost before them; null where nothing is.
        ended: whether the channel has ended.
    """

    channel: str
    events: list[EventKept]
    cursor: str
    head: str
    gap: GapSeen | None
    ended: bool


class PresentSession(msgspec.Struct):
    """A connection of a member's.

    Attributes:
        member: the member's id.
        info: what the app says of the member.
        session: its own name.
        since: when it came, in seconds since 1970.
    """

    member: str
    info: msgspec.Raw
    session: str
    since: float


class Members(msgspec.Struct):
    """Who is present in a channel, in all processes.

    Attributes:
        channel: the channel.
        members: ids of the members, each once, in the order in which they came.
        sessions: their connections.
    """

    channel: str
    members: list[str]
    sessions: list[PresentSession]


class FollowerSeen(msgspec.Struct):
    """A channel that a connection follows.

    Attributes:
        channel: its name.
        state: ``live`` or ``behind``.
        cursor: up to where the client was sent it.
        events_behind: events that it was not sent yet.
        seconds_behind: age of the oldest of them.
        until_retention_seconds: until retention drops that one; null where nothing is missing.
        step: what its policy says.
    """

    channel: str
    state: str
    cursor: str
    events_behind: int
    seconds_behind: float
    until_retention_seconds: float | None
    step: str


class Closed(msgspec.Struct):
    """Why a connection has ended: the code and the reason."""

    code: int
    reason: str


class ConnectionSeen(msgspec.Struct):
    """A connection.

    Attributes:
        worker: the number of the worker that has it.
        id: its number there.
        transport: ``websocket`` or ``sse``.
        open_seconds: for how long it is open, or was.
        subject: who its client is; null is nobody.
        expires_seconds: for how long that is good; null is without end.
        pending_bytes: what waits for its kernel.
        stalled_seconds: for how long its kernel has taken nothing.
        handler_behind: whether the app's handler leaves its messages waiting.
        follows: how many channels it follows.
        channels: the few of them in which it is furthest behind.
        closed: why it has ended; null while it is open.
    """

    worker: int
    id: int
    transport: str
    open_seconds: float
    subject: str | None
    expires_seconds: float | None
    pending_bytes: int
    stalled_seconds: float
    handler_behind: bool
    follows: int
    channels: list[FollowerSeen]
    closed: Closed | None


class Connections(msgspec.Struct):
    """Connections that are open, those that are furthest behind first.

    Attributes:
        total: how many there are of those that were asked for.
        connections: so many of them as were asked for.
        silent: workers that have not answered in time, so that theirs are missing here.
    """

    total: int
    connections: list[ConnectionSeen]
    silent: list[int] = []


class Explained(msgspec.Struct):
    """Why a connection is slow, gapped or closed.

    Attributes:
        worker: the number of the worker that has it, or had it.
        verdict: ``closed``, ``stalled``, ``behind`` or ``up to date``.
        sentences: the explanation.
        connection: what they are made of.
    """

    worker: int
    verdict: str
    sentences: list[str]
    connection: ConnectionSeen


class Explanations(msgspec.Struct):
    """The connections of a number: each worker counts its own.

    Attributes:
        explanations: one for each worker that has had a connection of that number.
        silent: workers that have not answered in time.
    """

    explanations: list[Explained]
    silent: list[int] = []


class Revoked(msgspec.Struct):
    """What became of a revocation.

    Attributes:
        told: whether all processes of the log have been told. If not, the log is away: they are when it is back.
        workers: the workers here in which it is in force already.
        silent: workers that have not answered in time: they hear of it from the log.
    """

    told: bool
    workers: list[int] = []
    silent: list[int] = []
