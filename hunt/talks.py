"""The history, connection by connection, and the weather that each of them had."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from .history import (
    Answered,
    Asked,
    Calm,
    Drained,
    Draining,
    Ended,
    Heard,
    History,
    LogWeather,
    Lost,
    Malformed,
    Message,
    Over,
    Said,
    Weather,
)
from .plan import STREAMS, ClientPlan, Plan, Rung

__all__ = ["Talk", "Weatherman", "Word", "talks_of"]


@dataclass(frozen=True, slots=True)
class Word:
    """One message: its place in the history, its time, and what it says. ``said``: by the client."""

    index: int
    at: float
    message: Message
    said: bool


@dataclass
class Talk:
    """One connection, from the client's side."""

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

    @property
    def conn(self) -> int:
        """Its number."""
        return self.asked.conn

    @property
    def streams(self) -> bool:
        """Whether it is a stream, and not a poll."""
        return self.asked.transport in STREAMS

    @property
    def websocket(self) -> bool:
        """Whether it is a WebSocket."""
        return self.asked.transport in ("websocket", "socket")

    @property
    def ended_at(self) -> float:
        """When it ended for its client; where it did not, when the history ends."""
        return self.last if self.ended is None else self.ended.at

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
            talks[record.conn] = Talk(record, index, client, plan.routes[client.route], history.last)
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


class Weatherman:
    """Says when a client, the log or a server had bad weather: no bound holds then."""

    def __init__(self, plan: Plan, history: History) -> None:
        self._plan = plan
        self._clients: list[tuple[str, str, float, float]] = []
        self._log: list[tuple[str, float, float]] = []
        self.drains: list[tuple[int, float, float]] = []
        self.calm_at = inf
        for record in history.records:
            if isinstance(record, Weather):
                self._clients.append((record.client, record.what, record.at, record.until))
            elif isinstance(record, LogWeather):
                if not record.what.startswith("hints"):  # a hint that is lost makes an event late, and no more
                    self._log.append((record.what, record.at, record.until))
            elif isinstance(record, Draining):
                self.drains.append((record.server, record.at, inf))
            elif isinstance(record, Drained):
                self._drained(record)
            elif isinstance(record, Lost) and record.at > 0:
                self._log.append(("lost", record.at, record.at))
            elif isinstance(record, Calm):
                self.calm_at = record.at
        log = plan.log
        self.log_slow = max(log.append_seconds, log.read_seconds) > 0
        self.crowded = plan.limits.memory_bytes < 1 << 20

    def of(self, client: str, begin: float, end: float) -> list[str]:
        """What befell a client in a time, the network of everybody included."""
        return [
            what for who, what, since, until in self._clients if who in ("", client) and since <= end and until >= begin
        ]

    def of_log(self, begin: float, end: float) -> list[str]:
        """What was wrong with the log in a time."""
        told = [what for what, since, until in self._log if since <= end and until >= begin]
        return [*told, "slow"] if self.log_slow and begin <= self.calm_at else told

    def draining(self, server: int, begin: float, end: float) -> bool:
        """Whether a server drained in a time."""
        return any(who == server and since <= end and until >= begin for who, since, until in self.drains)

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

    def _drained(self, record: Drained) -> None:
        self.drains = [
            (who, since, record.at if who == record.server and until == inf else until)
            for who, since, until in self.drains
        ]
