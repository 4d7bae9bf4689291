"""The history, connection by connection, and the weather that each of them had."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from .history import (
    KILLED,
    LOG,
    OUTAGE,
    Answered,
    Asked,
    Banned,
    Calm,
    Drained,
    Draining,
    Ended,
    Heard,
    History,
    Lost,
    Malformed,
    Message,
    Over,
    Said,
    Weather,
)
from .plan import STREAMS, ClientPlan, Plan, Rung
from .subscriber import Subscriber

__all__ = [
    "AFTERMATH_SECONDS",
    "HINT_SECONDS",
    "LATE_SECONDS",
    "LOSS_SECONDS",
    "Talk",
    "Weatherman",
    "Word",
    "hearing_seconds",
    "is_slow",
    "talks_of",
]

LATE_SECONDS = 1.0
"""How long after a publish a client that is live, on a good line and with a good server, has the event."""
AFTERMATH_SECONDS = 3.0
"""How long bad weather is felt."""
LOSS_SECONDS = 2.0
"""How long after the weather is good again a loss is told: who asks waits a second between two attempts."""
HINT_SECONDS = 0.5
"""How late a hint may be, or one that is missing be missed."""


@dataclass(frozen=True, slots=True)
class Word:
    """One message: its place in the history, its time, and what it says. ``said``: by the client."""

    index: int
    at: float
    message: Message
    said: bool


@dataclass
class Talk:
    """One connection, from the client's side. ``subscribers``: what it followed, as the reference has it.
    ``until``: when its credential expires, the last one."""

    asked: Asked
    index: int
    plan: ClientPlan
    rungs: tuple[Rung, ...]
    last: float
    status: int | None = None
    answered_at: float = inf
    words: list[Word] = field(default_factory=list)
    ended: Ended | None = None
    malformed: Malformed | None = None
    subscribers: list[Subscriber] = field(default_factory=list)
    broken_at: float = inf
    until: float = inf

    @property
    def conn(self) -> int:
        """Its number."""
        return self.asked.conn

    @property
    def streams(self) -> bool:
        """Whether it is a stream, and not a poll."""
        return self.asked.transport in STREAMS

    @property
    def flows(self) -> bool:
        """Whether it is a stream that was let in."""
        return self.streams and self.status in (101, 200)

    @property
    def ended_at(self) -> float:
        """When it ended for its client; where it did not, when the history ends."""
        return self.last if self.ended is None else self.ended.at

    @property
    def how(self) -> str:
        """How it ended."""
        return "not at all" if self.ended is None else self.ended.how

    @property
    def was_left(self) -> bool:
        """Whether it was the client that ended it."""
        return self.how.startswith("left")

    def heard(self, *kinds: str) -> list[Word]:
        """What the client heard, of some kinds."""
        return [word for word in self.words if not word.said and (not kinds or word.message["type"] in kinds)]


def talks_of(plan: Plan, history: History) -> dict[int, Talk]:
    """All connections of a history, by their numbers."""
    clients = {client.name: client for client in plan.clients}
    talks: dict[int, Talk] = {}
    for index, record in enumerate(history.records):
        if isinstance(record, Asked):
            client = clients[record.client]
            talks[record.conn] = Talk(
                record, index, client, plan.routes[client.route], history.last, until=record.until
            )
        elif isinstance(record, Answered):
            talks[record.conn].status = record.status
            talks[record.conn].answered_at = record.at
        elif isinstance(record, Heard | Said):
            talks[record.conn].words.append(Word(index, record.at, record.message, isinstance(record, Said)))
        elif isinstance(record, Ended):
            talks[record.conn].ended = record
        elif isinstance(record, Malformed):
            talks[record.conn].malformed = record
        elif isinstance(record, Over):
            for talk in talks.values():
                talk.ended = talk.ended or Ended(record.at, talk.conn, "left: the play is over")
    return talks


def hearing_seconds(plan: Plan) -> float:
    """How late a server may hear of an event: without a hint, at the next look."""
    return plan.limits.look_seconds + HINT_SECONDS if plan.redis else 2 * plan.log.tail_seconds


def is_slow(client: ClientPlan) -> bool:
    """Whether a client, or its line, is slow."""
    return bool(client.pause or client.bandwidth or (client.latency and client.kernel < 65_536))


class Weatherman:
    """Says when a client, the log or a server had bad weather: no bound holds then."""

    def __init__(self, plan: Plan, history: History) -> None:
        self._clients: list[tuple[str, str, float, float]] = []
        self._log: list[tuple[str, float, float]] = []
        has_begun = False
        self.outages: list[tuple[float, float]] = []
        self.drains: list[tuple[Draining, float]] = []
        self._cut_short: list[tuple[Draining, float]] = []
        self.calm_at = inf
        self.bans: list[Banned] = []
        draining: dict[int, Draining] = {}
        for record in history.records:
            if isinstance(record, Weather) and record.whom == OUTAGE:
                self.outages.append((record.at, record.until))
            elif isinstance(record, Weather) and record.whom == LOG:
                if not record.what.startswith("hints"):  # one that is lost makes an event late, and no more
                    self._log.append((record.what, record.at, record.until))
            elif isinstance(record, Weather):
                self._clients.append((record.whom, record.what, record.at, record.until))
            elif isinstance(record, Draining):
                if record.server in draining:  # it was told to stop, and is killed meanwhile
                    self._cut_short.append((draining[record.server], record.at))
                draining[record.server] = record
            elif isinstance(record, Drained) and record.server in draining:
                self.drains.append((draining.pop(record.server), record.at))
            elif isinstance(record, Lost):
                if has_begun:
                    self._log.append(("lost", record.at, record.at))
                has_begun = True
            elif isinstance(record, Banned):
                self.bans.append(record)
            elif isinstance(record, Calm):
                self.calm_at = record.at
        self.drains += [(record, inf) for record in draining.values()]
        self._slow_log = max(plan.log.append_seconds, plan.log.read_seconds) > 0
        self.crowded = plan.limits.memory_bytes < 1 << 20

    def of(self, client: str, begin: float, end: float) -> list[str]:
        """What befell a client in a time, the network of everybody included."""
        return [
            what for who, what, since, until in self._clients if who in ("", client) and since <= end and until >= begin
        ]

    def of_log(self, begin: float, end: float) -> list[str]:
        """What was wrong with the log in a time."""
        told = [what for what, since, until in self._log if since <= end and until >= begin]
        return [*told, "slow"] if self._slow_log and begin <= self.calm_at else told

    def good_at(self, time: float) -> float:
        """When the log's trouble that began before a time is over."""
        return max((until for _, since, until in self._log if since <= time), default=0.0)

    def begins_to_be_bad(self, begin: float, end: float) -> bool:
        """Whether the log comes into trouble in a time."""
        return any(begin < since <= end for _, since, _ in self._log)

    def draining(self, server: int | None, begin: float, end: float) -> bool:
        """Whether a server (None: any) drained in a time."""
        drains = (*self.drains, *self._cut_short)
        return any(server in (None, drain.server) and drain.at <= end and until >= begin for drain, until in drains)

    def killing(self, server: int, begin: float, end: float) -> bool:
        """Whether a server was killed in a time."""
        return any(one.server == server and one.grace == KILLED and begin <= one.at <= end for one, _ in self.drains)

    def good(self, talk: Talk, begin: float, end: float) -> bool:
        """Whether nothing hindered a connection in a time: its line and its client are quick, and nobody was slow."""
        return self.fair(talk, begin, end) and not self.draining(talk.asked.server, begin, end)

    def fair(self, talk: Talk, begin: float, end: float) -> bool:
        """The same, though its server may drain."""
        return self.clear(talk, begin, end) and not self.of_log(begin, end)

    def clear(self, talk: Talk, begin: float, end: float) -> bool:
        """The same, though the log may be in trouble too."""
        client = talk.plan
        slow = client.pause and begin < self.calm_at
        if slow or client.bandwidth or (client.latency and client.kernel < 65_536) or self.crowded:
            return False
        return not (self.of(client.name, begin, end) or self._forgotten(talk, end))

    def quick(self, talk: Talk) -> bool:
        """Whether a client hears what it is sent at that very moment, always."""
        client = talk.plan
        if client.pause or client.bandwidth or client.latency:
            return False
        return not self.of(client.name, talk.asked.at, talk.ended_at)

    def _forgotten(self, talk: Talk, end: float) -> bool:
        """Whether a connection was there when its network forgot it: nothing comes through any more."""
        return any(
            what in ("half open", "cut without fin")
            and who in ("", talk.plan.name)
            and since <= end
            and talk.asked.at <= until
            for who, what, since, until in self._clients
        )
