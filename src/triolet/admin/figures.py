"""What the operator's page shows: what each worker says of itself, and what is made of all of them once a second."""

from __future__ import annotations

import msgspec

from .bodies import ConnectionSeen

__all__ = [
    "Age",
    "Closings",
    "Figures",
    "Followed",
    "Happening",
    "Lag",
    "Memory",
    "Notice",
    "Point",
    "Sample",
    "Seen",
    "Slowest",
]


class Followed(msgspec.Struct):
    """A channel and how many follow it, polls that wait among them; and its events a second, as of late."""

    name: str
    followers: int
    per_second: float


class Slowest(msgspec.Struct):
    """How far the slowest clients are behind: the worst of all, not of one and the same.

    Attributes:
        events: events that were published and not sent yet.
        seconds: age of the oldest of them.
        until_retention: seconds until retention drops one of them; null where nobody is behind.
        connection: the connection that retention passes first.
        worker: the worker that has it.
    """

    events: int = 0
    seconds: float = 0.0
    until_retention: float | None = None
    connection: int | None = None
    worker: int = 0


class Lag(msgspec.Struct):
    """How far what is served is behind the log: the worst of all workers, each of which hears all of it.

    Attributes:
        events: heard of, and not yet written to those who are up to date.
        seconds: age of the oldest of them.
        waiting: those of them that wait in the log's tail.
        room: how many may; 0 where the log does not tell.
    """

    events: int = 0
    seconds: float = 0.0
    waiting: int = 0
    room: int = 0


class Sample(msgspec.Struct):
    """What one worker says of itself.

    Attributes:
        process: the number of its process. Where it is another one, ``counts`` have begun anew.
        open: connections, by transport.
        counts: totals since the process began. Some have a part behind a colon: ``gap:expired``, ``closed:4408:slow``;
            of the two histograms of ages each bucket, ``written:0`` and so on.
        followers: positions in channels.
        polls: long polls that wait.
        behind, stalled: connections with something to catch up, and those of them whose kernel takes nothing.
        slowest: how far they are behind.
        held, ceiling: bytes of memory that are held for clients, and may be.
        draining: whether it wants its clients to leave.
        log: what keeps the events.
        away: whether that cannot be reached.
        lag: how far behind it what is served is.
        channels: those that most follow.
        furthest: the connections that are furthest behind.
    """

    process: int
    open: dict[str, int]
    counts: dict[str, int]
    followers: int
    polls: int
    behind: int
    stalled: int
    slowest: Slowest
    held: int
    ceiling: int
    draining: bool
    log: str
    away: bool
    lag: Lag
    channels: list[Followed]
    furthest: list[ConnectionSeen]


class Age(msgspec.Struct):
    """How old events were in the last ten seconds, in seconds: of half of them at most, of 99 in 100; null of none."""

    half: float | None = None
    most: float | None = None


class Memory(msgspec.Struct):
    """Bytes held for clients in all workers, and how many there may be."""

    held: int
    ceiling: int


class Closings(msgspec.Struct):
    """How many connections have ended in the last hour with a code, and a reason."""

    code: str
    reason: str
    number: int


class Seen(msgspec.Struct):
    """One worker.

    Attributes:
        number: its number.
        process: its process; null before it has answered once.
        open: its connections, by transport.
        behind, stalled: those of them that are behind, and whose kernel takes nothing.
        delivered: events that it writes to clients in a second.
        held, ceiling: its memory.
        draining: whether it drains.
        silent: for how many seconds it has not answered; null where it does. What is said of it is that old.
    """

    number: int
    process: int | None
    open: dict[str, int]
    behind: int
    stalled: int
    delivered: float
    held: int
    ceiling: int
    draining: bool
    silent: float | None


class Notice(msgspec.Struct, frozen=True):
    """Something that an operator should know of while it is so.

    Attributes:
        key: what it is about. Its text may change from one second to the next.
        level: ``bad`` or ``warn``.
        text: a sentence.
    """

    key: str
    level: str
    text: str


class Happening(msgspec.Struct):
    """Something that has happened: when (ms since 1970), ``bad``, ``warn`` or ``good``, in a sentence."""

    time: int
    level: str
    text: str


class Point(msgspec.Struct, array_like=True):
    """Ten seconds of the last hour.

    Attributes:
        time: their end, in ms since 1970.
        connections: how many were open then.
        behind: how many of them had something to catch up.
        delivered, published, closed: events and connections a second.
        written, acknowledged: the age of 99 in 100 events, in seconds.
        memory: the part of the ceiling that was held.
    """

    time: int
    connections: int
    behind: int
    delivered: float
    published: float
    closed: float
    written: float | None
    acknowledged: float | None
    memory: float


class Figures(msgspec.Struct):
    """All that the page shows but for the hour behind it. Rates are events, connections or whatever a second.

    Attributes:
        time: when it was so, in ms since 1970.
        open: connections, by transport.
        polls: long polls that wait.
        followers: positions in channels.
        behind, stalled, slowest: who is not fresh, and how far from it.
        written, acknowledged: the age of events when they were written, and when their clients acknowledged them.
        rates: by name: ``published``, ``delivered``, ``opened``, ``returned``, ``closed``, ``refused``.
        memory: what is held.
        log: what keeps the events.
        away: whether some worker cannot reach it.
        lag: how far behind it what is served is.
        serving, wanted: workers that serve, and that there should be.
        workers: each of them.
        channels: those that most follow.
        furthest: the connections that are furthest behind.
        closings: of the last hour, the most frequent first.
        gaps: of the last hour, by reason.
        notices: what is wrong, the worst first.
        happenings: what has happened, the latest first.
        point: the newest of the points behind it; null before there is one.
    """

    time: int
    open: dict[str, int]
    polls: int
    followers: int
    behind: int
    stalled: int
    slowest: Slowest
    written: Age
    acknowledged: Age
    rates: dict[str, float]
    memory: Memory
    log: str
    away: bool
    lag: Lag
    serving: int
    wanted: int
    workers: list[Seen]
    channels: list[Followed]
    furthest: list[ConnectionSeen]
    closings: list[Closings]
    gaps: dict[str, int]
    notices: list[Notice] = []
    happenings: list[Happening] = []
    point: Point | None = None
