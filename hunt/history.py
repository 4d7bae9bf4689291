"""What was recorded while a plan was played: the only thing that the checker reads. In order, with virtual times."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trio

from triolet.event import Cursor

__all__ = [
    "Answered",
    "Appended",
    "Asked",
    "Calm",
    "Crashed",
    "Drained",
    "Draining",
    "Ended",
    "Heard",
    "History",
    "Kept",
    "Left",
    "LogWeather",
    "Lost",
    "Malformed",
    "Message",
    "Outage",
    "Over",
    "Published",
    "Publishing",
    "Record",
    "Said",
    "Sampled",
    "Serving",
    "Unpublished",
    "Weather",
]

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """Something that happened. ``at`` is Trio's virtual time, in seconds since the play began."""

    at: float


@dataclass(frozen=True, slots=True)
class Appended(Record):
    """The log itself stored an event. ``size`` is its data's, in bytes of JSON."""

    channel: str
    cursor: Cursor
    number: int
    key: str | None
    dedupe: str | None
    size: int


@dataclass(frozen=True, slots=True)
class Lost(Record):
    """The log begins (again) with this epoch. ``parent``: the one whose events it goes on with, up to ``kept`` offsets
    by channel; what came after those is gone. "": all is."""

    epoch: str
    parent: str = ""
    kept: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Kept(Record):
    """What the log holds of a channel at the end, read from its oldest: offset and number."""

    channel: str
    epoch: str
    events: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Publishing(Record):
    """Somebody asks to publish events. ``numbers`` are what they hold; no two events of a play hold the same."""

    attempt: int
    server: int
    channel: str
    numbers: tuple[int, ...]
    dedupes: tuple[str | None, ...]
    via: str


@dataclass(frozen=True, slots=True)
class Published(Record):
    """It returned: the events' cursors, and what they hold."""

    attempt: int
    cursors: tuple[str, ...]
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unpublished(Record):
    """It raised, or was cancelled. ``sure``: that nothing was stored was promised."""

    attempt: int
    why: str
    sure: bool


@dataclass(frozen=True, slots=True)
class Asked(Record):
    """A client opens connection ``conn``; ``after`` is its cursor. ``channel`` None: a socket to follow on.

    ``wait``: how long a poll waits at most (0: a short one); None where it is a stream. ``tag``: of ``If-None-Match``.
    """

    conn: int
    client: str
    server: int
    transport: str
    channel: str | None
    route: int
    after: str | None
    wait: float | None = None
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Answered(Record):
    """The head of the answer."""

    conn: int
    status: int


@dataclass(frozen=True, slots=True)
class Heard(Record):
    """One message, in the JSON shape that all transports share; a poll's whole body has the type ``page``. A frame of
    control is one of the types ``ping``, ``pong`` and ``close``."""

    conn: int
    message: Message


@dataclass(frozen=True, slots=True)
class Said(Record):
    """One message of the client's."""

    conn: int
    message: Message


@dataclass(frozen=True, slots=True)
class Ended(Record):
    """The connection is over for its client: ``end`` (of the stream), ``reset``, or what the client did itself."""

    conn: int
    how: str


@dataclass(frozen=True, slots=True)
class Malformed(Record):
    """Bytes came that no standard allows."""

    conn: int
    what: str


@dataclass(frozen=True, slots=True)
class Weather(Record):
    """Something befalls a client, or everybody (""), until a time: no bound holds for it meanwhile."""

    client: str
    what: str
    until: float


@dataclass(frozen=True, slots=True)
class LogWeather(Record):
    """The log is slow, or fails, until a time."""

    what: str
    until: float


@dataclass(frozen=True, slots=True)
class Outage(Record):
    """The log's server is away, or answers nothing, until a time."""

    until: float


@dataclass(frozen=True, slots=True)
class Serving(Record):
    """A server is up."""

    server: int


@dataclass(frozen=True, slots=True)
class Draining(Record):
    """A server is told to stop: it has ``grace`` seconds."""

    server: int
    grace: float


@dataclass(frozen=True, slots=True)
class Drained(Record):
    """A server has ended."""

    server: int


@dataclass(frozen=True, slots=True)
class Sampled(Record):
    """What a server says of its connections that have bytes waiting: number, bytes, seconds stalled; and of those with
    followers, up to where these were sent."""

    server: int
    waiting: tuple[tuple[int, int, float], ...]
    places: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Left(Record):
    """Something is there at the end that nobody needs: on a server, or (-1) anywhere."""

    server: int
    what: str
    count: float


@dataclass(frozen=True, slots=True)
class Crashed(Record):
    """An error that nobody expected."""

    server: int
    what: str


@dataclass(frozen=True, slots=True)
class Calm(Record):
    """From here on the weather is good, and nobody publishes but for a last event in each channel, if that."""


@dataclass(frozen=True, slots=True)
class Over(Record):
    """The play ends: everybody has caught up, or ``behind`` has not (client, channel, cursor, head)."""

    behind: tuple[tuple[str, str, str | None, str], ...]


@dataclass
class History:
    """All records, in the order in which they were made."""

    records: list[Record] = field(default_factory=list)
    began_at: float = 0.0

    def begin(self) -> None:
        """Virtual time counts from now."""
        self.began_at = trio.current_time()

    @property
    def now(self) -> float:
        """Seconds since the play began."""
        return trio.current_time() - self.began_at

    @property
    def last(self) -> float:
        """When the last record was made."""
        return self.records[-1].at if self.records else 0.0

    def add(self, record: Record) -> None:
        """Record something."""
        self.records.append(record)
