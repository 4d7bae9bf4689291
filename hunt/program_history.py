"""What is recorded of programs that use the Python client: what each was given, did with it and kept; not what passed
over its connections."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from .history import Message, Record, words_of

__all__ = [
    "Became",
    "Began",
    "Ceased",
    "Commits",
    "Committed",
    "Did",
    "Faulted",
    "Followed",
    "Gone",
    "NotAnswered",
    "OfFollow",
    "OfProgram",
    "Saved",
    "Took",
    "Unfollowed",
]


@dataclass(frozen=True, slots=True)
class OfProgram(Record):
    """Something of a client's program."""

    client: str


@dataclass(frozen=True, slots=True)
class Began(OfProgram):
    """It begins, or begins anew. ``until``: when its only token expires."""

    until: float = inf

    def __str__(self) -> str:
        return f"{self.client} begins" + (f", with a token until {self.until:.3f}" if self.until < inf else "")


@dataclass(frozen=True, slots=True)
class Ceased(OfProgram):
    """It has ended. ``killed``: without a word, and without its blocks having been left."""

    how: str
    killed: bool = False

    def __str__(self) -> str:
        return f"{self.client} ends: {self.how}"


@dataclass(frozen=True, slots=True)
class OfFollow(OfProgram):
    """Something of one of its follows, which has a name, for ever."""

    follow: str


@dataclass(frozen=True, slots=True)
class Followed(OfFollow):
    """It follows a channel, ``after`` a cursor (None: from now), unless its store has ``stored`` one."""

    channel: str
    after: str | None
    stored: str | None

    @property
    def start(self) -> str | None:
        """Where it has to begin."""
        return self.after if self.stored is None else self.stored

    def __str__(self) -> str:
        after = "from now" if self.after is None else f"after {self.after}"
        return f"{self.follow} follows {after}" + (f", has stored {self.stored}" if self.stored is not None else "")


@dataclass(frozen=True, slots=True)
class Became(OfFollow):
    """Its state has changed, or there is more to say of it."""

    state: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.follow} is {self.state}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True)
class Took(OfFollow):
    """The program has taken an item, told as the message that it was on the wire."""

    message: Message

    def __str__(self) -> str:
        return f"{self.follow} takes {words_of(self.message)}"


@dataclass(frozen=True, slots=True)
class Did(OfFollow):
    """The program asks for the next item, and so is done with the last one."""


@dataclass(frozen=True, slots=True)
class Commits(OfFollow):
    """The program commits what it has taken."""

    def __str__(self) -> str:
        return f"{self.follow} commits"


@dataclass(frozen=True, slots=True)
class Committed(OfFollow):
    """And that has returned."""

    def __str__(self) -> str:
        return f"{self.follow} has committed"


@dataclass(frozen=True, slots=True)
class Saved(OfFollow):
    """The store keeps a cursor from now on."""

    cursor: str

    def __str__(self) -> str:
        return f"{self.follow}: the store has {self.cursor}"


@dataclass(frozen=True, slots=True)
class Faulted(OfFollow):
    """The client says that the server has broken a promise."""

    kind: str
    after: str
    to: str

    def __str__(self) -> str:
        return f"{self.follow}: a {self.kind} after {self.after}, at {self.to}"


@dataclass(frozen=True, slots=True)
class Gone(OfFollow):
    """Nothing more will come, says the client: ``kind`` is that of its ClientError, or ``done``."""

    kind: str
    why: str

    def __str__(self) -> str:
        return f"{self.follow} is over, {self.kind}: {self.why}"


@dataclass(frozen=True, slots=True)
class Unfollowed(OfFollow):
    """The program follows no longer, and would go on from this cursor. ``killed``: it was not asked."""

    cursor: str | None
    killed: bool

    def __str__(self) -> str:
        return f"{self.follow} {'stops' if self.killed else 'unfollows'} at {self.cursor}"


@dataclass(frozen=True, slots=True)
class NotAnswered(OfProgram):
    """A command was not answered in its time (since ``since``). ``sent``: it may have happened."""

    number: int
    since: float
    sent: bool

    def __str__(self) -> str:
        sent = "it may have happened" if self.sent else "it was never sent"
        return f"{self.client} has no answer to command {self.number}, asked at {self.since:.3f}; {sent}"
