"""Who is present: whoever follows as a member, soon after it has begun; and nobody who has gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf

from .findings import Finding
from .history import History, Present, Serving
from .plan import STREAMS, Plan
from .talks import Talk, Weatherman, hearing_seconds

__all__ = ["check_presence"]

JOIN_SECONDS = 2.0
"""In which a join is written, and heard of."""
LINGER_SECONDS = 13.0
"""How long a member is there that polls no more, and the time in which that is looked for."""


def check_presence(plan: Plan, history: History, talks: Mapping[int, Talk], weather: Weatherman) -> Iterator[Finding]:
    """Hold what servers answer against who is connected. A server that has lost the log, or part of what was said, or
    has just begun, has the time to hear who is there."""
    told = [record for record in history.records if isinstance(record, Present)]
    if not told:
        return
    lease = plan.limits.lease_seconds
    joins = JOIN_SECONDS + lease + hearing_seconds(plan)
    leaves = LINGER_SECONDS + 3 * lease + hearing_seconds(plan)
    changes: dict[str, list[float]] = {client.name: [] for client in plan.clients}
    for talk in talks.values():
        follows = [word.at for word in talk.words if word.said and word.message["type"].endswith("follow")]
        changes[talk.plan.name] += [talk.asked.at, talk.ended_at, *follows]
    up: dict[int, float] = {}
    for record in history.records:
        if isinstance(record, Serving):
            up[record.server] = record.at
        elif isinstance(record, Present):
            since = record.since
            if not weather.of_log(since - joins - lease, record.at):
                yield from _missing(record, talks, weather, joins)
            if since > up.get(record.server, inf) + leaves and not weather.of_log(since - leaves, record.at):
                yield from _ghosts(record, changes, since - leaves)


def _missing(told: Present, talks: Mapping[int, Talk], weather: Weatherman, joins: float) -> Iterator[Finding]:
    for talk in talks.values():
        if not talk.plan.member or talk.asked.transport not in STREAMS or talk.plan.name in told.members:
            continue
        if talk.ended_at < told.at or not weather.good(talk, told.since - joins, told.at):
            continue
        for subscriber in talk.subscribers:
            stays = subscriber.opened_at < told.since - joins and subscriber.until > told.at
            if subscriber.channel == told.channel and stays:
                promised = f"that {talk.plan.name} is present in {told.channel}"
                yield Finding("a missing member", told.at, promised, f"{told.members}", talk.conn, told.channel)
                return


def _ghosts(told: Present, changes: Mapping[str, list[float]], since: float) -> Iterator[Finding]:
    """A client has no more sessions than connections, those counted that came or went lately."""
    for member in sorted(set(told.members)):
        sessions, most = told.members.count(member), told.there.count(member)
        most += sum(since <= at <= told.at for at in changes[member])
        if sessions > most:
            promised = f"that {member} is present in {told.channel} {most} times at most"
            yield Finding("a ghost", told.at, promised, f"{told.members}", None, told.channel)
