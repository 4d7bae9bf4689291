"""What was recorded while a plan was played: the only thing that the checker reads. In order, with virtual times; each
record tells itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

import trio

from triolet.event import END, Cursor

from .folding import number_of
from .identities import Ban

__all__ = [
    "CANCELLED",
    "ENDED",
    "KILLED",
    "LOG",
    "NOT_SERVED",
    "OUTAGE",
    "WRONG_LOOP",
    "Answered",
    "Appended",
    "Asked",
    "Banned",
    "Calm",
    "Crashed",
    "Drained",
    "Draining",
    "Ended",
    "Heard",
    "History",
    "Kept",
    "Left",
    "Lost",
    "Malformed",
    "Message",
    "Ordered",
    "Over",
    "Present",
    "Published",
    "Publishing",
    "Record",
    "Replied",
    "Said",
    "Serving",
    "Stuck",
    "Talking",
    "Unpublished",
    "Weather",
    "words_of",
]

Message = dict[str, Any]

LOG, OUTAGE = "the log", "the log's server"
"""What weather may be about, besides clients: an outage is an answer to nobody."""
CANCELLED, NOT_SERVED, WRONG_LOOP = "cancelled", "nobody serves", "another event loop"
"""Why a publish stored nothing that no log was asked for, or was given up."""
ENDED = "the channel has ended"
"""Why a publish is refused."""
KILLED = inf
"""The grace of a server that is killed."""


@dataclass(frozen=True, slots=True)
class Record:
    """Something that happened. ``at`` is Trio's virtual time, in seconds since the play began."""

    at: float

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class Appended(Record):
    """The log itself stored an event. ``size`` is its data's, in bytes of JSON."""

    channel: str
    cursor: Cursor
    name: str
    data: Any
    key: str | None
    dedupe: str | None
    size: int
    fold: str | None = None

    @property
    def number(self) -> int | None:
        """What a publisher's event holds."""
        return number_of(self.data) if self.fold or isinstance(self.data, list) else None

    @property
    def is_end(self) -> bool:
        """Whether it has ended its channel, or stands for what was deleted."""
        return self.name == END

    @property
    def is_tombstone(self) -> bool:
        """Whether it stands for what was deleted."""
        return self.is_end and self.data == {"outcome": "deleted"}

    def __str__(self) -> str:
        if self.channel.startswith(("triolet.processes", "triolet.snapshot/", "triolet.now", "triolet.runs")):
            return ""  # a lease, what a reducer keeps, or what processes tell each other: there are many
        key = "" if self.key is None else f" {self.key}"
        what = self.name if self.number is None else f"number {self.number}"
        what += f", {self.fold}" if self.fold else ""
        return f"the log has {self.channel} {self.cursor}: {what}{key}, {self.size} bytes"


@dataclass(frozen=True, slots=True)
class Lost(Record):
    """The log begins (again) with this epoch. ``parent``: the one whose events it goes on with, up to ``kept`` offsets
    by channel; what came after those is gone. "": all is. ``carries``: cursors of the earlier one are good up to there,
    as in Redis; else each of them is told a gap, as where the file of a log is put back."""

    epoch: str
    parent: str = ""
    kept: tuple[tuple[str, int], ...] = ()
    carries: bool = True

    def __str__(self) -> str:
        after = f", after {self.parent}, with {dict(self.kept)}" if self.parent else ""
        return f"the log begins, epoch {self.epoch}{after}"


@dataclass(frozen=True, slots=True)
class Kept(Record):
    """What the log holds of a channel at the end, read from its oldest: offset and number (None: an end)."""

    channel: str
    epoch: str
    events: tuple[tuple[int, int | None], ...]

    def __str__(self) -> str:
        return f"the log keeps {len(self.events)} events of {self.channel}, epoch {self.epoch}"


@dataclass(frozen=True, slots=True)
class Publishing(Record):
    """Somebody asks to publish events. ``numbers`` are what they hold; no two events of a play hold the same."""

    attempt: int
    server: int
    channel: str
    numbers: tuple[int, ...]
    dedupes: tuple[str | None, ...]
    via: str

    def __str__(self) -> str:
        return f"publish {self.attempt} to {self.channel} on server {self.server}: numbers {_span(self.numbers)}"


@dataclass(frozen=True, slots=True)
class Published(Record):
    """It returned: the events' cursors, and what they hold."""

    attempt: int
    cursors: tuple[str, ...]
    numbers: tuple[int, ...]

    def __str__(self) -> str:
        return f"publish {self.attempt} returns {_span(self.cursors)}"


@dataclass(frozen=True, slots=True)
class Unpublished(Record):
    """It raised, or was cancelled. ``sure``: that nothing was stored was promised."""

    attempt: int
    why: str
    sure: bool

    def __str__(self) -> str:
        return f"publish {self.attempt} fails: {self.why}"


@dataclass(frozen=True, slots=True)
class Talking(Record):
    """Something on connection ``conn`` of a client's."""

    conn: int


@dataclass(frozen=True, slots=True)
class Asked(Talking):
    """A client opens the connection; ``after`` is its cursor. ``channel`` None: a socket to follow on, or many are
    followed by this request; then it has said, behind this, from where it wants each of them.

    ``wait``: how long a poll waits at most (0: a short one); None where it is a stream. ``tag``: of ``If-None-Match``.
    ``until``: when its credential expires.
    """

    client: str
    server: int
    transport: str
    channel: str | None
    after: str | None
    wait: float | None = None
    tag: str | None = None
    until: float = inf

    def __str__(self) -> str:
        after = "from now" if self.after is None else f"after {self.after}"
        tag = "" if self.tag is None else f", if none matches {self.tag}"
        what = f"{self.transport} of {self.channel}, {after}{tag}"
        if self.channel is None:
            what = "a socket" if self.transport == "socket" else f"{self.transport}, after {self.after}"
        return f"-> {what}" + (f" on server {self.server}" if self.server else "")


@dataclass(frozen=True, slots=True)
class Answered(Talking):
    """The head of the answer."""

    status: int

    def __str__(self) -> str:
        return f"<- {self.status}"


@dataclass(frozen=True, slots=True)
class Heard(Talking):
    """One message, in the JSON shape that all transports share; a poll's whole body has the type ``page``. A frame of
    control is one of the types ``ping``, ``pong`` and ``close``."""

    message: Message

    def __str__(self) -> str:
        return f"<- {words_of(self.message)}"


@dataclass(frozen=True, slots=True)
class Said(Talking):
    """One message of the client's."""

    message: Message

    def __str__(self) -> str:
        return f"-> {words_of(self.message)}"


@dataclass(frozen=True, slots=True)
class Ended(Talking):
    """The connection is over for its client: ``end`` (of the stream), ``reset``, or what the client did itself."""

    how: str

    def __str__(self) -> str:
        return f"ends ({self.how})"


@dataclass(frozen=True, slots=True)
class Malformed(Talking):
    """Something came that no standard allows."""

    what: str

    def __str__(self) -> str:
        return f"<- malformed: {self.what}"


@dataclass(frozen=True, slots=True)
class Weather(Record):
    """Something befalls a client, or everybody (""), LOG or its server, until a time: no bound holds meanwhile."""

    whom: str
    what: str
    until: float

    def __str__(self) -> str:
        return f"{self.whom or 'everybody'}: {self.what}, until {self.until:.3f}"


@dataclass(frozen=True, slots=True)
class Serving(Record):
    """A server is up."""

    server: int

    def __str__(self) -> str:
        return f"server {self.server} is up"


@dataclass(frozen=True, slots=True)
class Draining(Record):
    """A server is told to stop: it has ``grace`` seconds. It may be KILLED."""

    server: int
    grace: float

    def __str__(self) -> str:
        return f"server {self.server} " + ("is killed" if self.grace == KILLED else f"drains, within {self.grace:g} s")


@dataclass(frozen=True, slots=True)
class Drained(Record):
    """A server has ended."""

    server: int

    def __str__(self) -> str:
        return f"server {self.server} has ended"


@dataclass(frozen=True, slots=True)
class Stuck(Talking):
    """A server has bytes for a client's stream, of which its kernel has taken none for so long."""

    seconds: float

    def __str__(self) -> str:
        return f"could be sent nothing for {self.seconds:.3f} s"


@dataclass(frozen=True, slots=True)
class Present(Record):
    """Who is present in a channel, as a server answers to whoever asked it ``since``: a member for each session. And
    the client of each connection that any server had open then (``there``)."""

    since: float
    server: int
    channel: str
    members: tuple[str, ...]
    there: tuple[str, ...]

    def __str__(self) -> str:
        return f"server {self.server} says that in {self.channel} are present: {', '.join(self.members) or 'nobody'}"


@dataclass(frozen=True, slots=True)
class Banned(Record):
    """The app says no since ``since``, and it was revoked on ``server`` (None: it was not), which is known to all
    servers (``told``) now. Until a time: then it may be decided anew."""

    ban: Ban
    since: float
    until: float
    server: int | None
    told: bool

    def __str__(self) -> str:
        how = "says no to" if self.server is None else f"has revoked, on server {self.server}"
        return f"the app {how} {self.ban.by} {self.ban.value}, until {self.until:.3f}"


@dataclass(frozen=True, slots=True)
class Ordered(Record):
    """A client asks for a command, for the first time: it publishes an event that holds this number to each of the
    channels, unless its view ``fails``."""

    number: int
    client: str
    channels: tuple[str, ...]
    fails: str

    def __str__(self) -> str:
        fails = f", which {self.fails}" if self.fails else ""
        return f"{self.client} asks for command {self.number} to {', '.join(self.channels)}{fails}"


@dataclass(frozen=True, slots=True)
class Replied(Record):
    """It is answered; ``other``: it was asked for with other data."""

    number: int
    status: int
    data: Any
    repeated: bool
    other: bool

    def __str__(self) -> str:
        again = (" again" if self.repeated else "") + (" with other data" if self.other else "")
        return f"command {self.number}{again}: {self.status} {_short(self.data)}"


@dataclass(frozen=True, slots=True)
class Left(Record):
    """Something is there at the end that nobody needs: on a server, or (-1) anywhere."""

    server: int
    what: str
    count: float

    def __str__(self) -> str:
        return f"server {self.server}: {self.count:g} {self.what} left"


@dataclass(frozen=True, slots=True)
class Crashed(Record):
    """An error that nobody expected."""

    server: int
    what: str

    def __str__(self) -> str:
        return f"server {self.server}: {self.what}"


@dataclass(frozen=True, slots=True)
class Calm(Record):
    """From here on the weather is good, and nobody publishes but for a last event in each channel, if that."""

    def __str__(self) -> str:
        return "the weather is good from here on"


@dataclass(frozen=True, slots=True)
class Over(Record):
    """The play ends: everybody has caught up, or ``behind`` has not (client, channel, cursor, head)."""

    behind: tuple[tuple[str, str, str | None, str], ...]

    def __str__(self) -> str:
        told = [f"{who} is at {cursor} of {channel}, not at {head}" for who, channel, cursor, head in self.behind]
        return f"over: {'; '.join(told) or 'everybody has caught up'}"


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


def words_of(message: Message) -> str:
    """A message as a person reads it."""
    kind = message["type"]
    if kind == "event":
        folded = f", {message['fold']} of {message['folded']}" if "folded" in message else ""
        return f"event {message['id']}{folded}"
    if kind == "gap":
        return f"gap {message['from']} to {message['to']}, {message['reason']}, {message['missed']} missed"
    if kind == "page":
        told = f"page {_span([event['id'] for event in message['events']])}"
        gap = "" if message["gap"] is None else f"; {words_of({**message['gap'], 'type': 'gap'})}"
        gap += "".join(f"; {words_of(message[kind])}" for kind in ("snapshot", "end") if message.get(kind))
        return f"{told}, cursor {message['cursor']}, {'live' if message['live'] else 'more'}{gap}"
    silent = ("type", "time", "url", "last_id")
    return " ".join([kind, *(f"{name}={_short(value)}" for name, value in message.items() if name not in silent)])


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:30]}… ({len(text)})"


def _span(things: Sequence[object]) -> str:
    if len(things) < 2:
        return str(things[0]) if things else "of nothing"
    return f"{things[0]} to {things[-1]}"
