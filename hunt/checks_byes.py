"""Who is told goodbye, and in time: when a server drains, and when a client is silent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .findings import Finding
from .history import Drained, Draining, History
from .plan import Plan
from .talks import Talk, Weatherman

__all__ = ["check_byes"]

SLACK_SECONDS = 0.6
SETTLED_SECONDS = 1.0
"""A connection as old as that is no longer in the midst of its beginning."""
ANSWER_SECONDS = 1.0


def check_byes(plan: Plan, history: History, talks: Mapping[int, Talk], weather: Weatherman) -> Iterator[Finding]:
    """A server that drains tells everybody; a client that answers no ping is given up in time."""
    for begin, end in _drains(history):
        for talk in talks.values():
            if talk.asked.server == begin.server:
                yield from _told(plan, talk, begin, end, weather)
    for talk in talks.values():
        if talk.plan.mute and talk.status == 101:
            yield from _silence(plan, talk, weather)
        if talk.heard("bye") and talk.ended is not None and talk.ended.how.startswith("end within"):
            promised = "the end of an answer after its bye, as HTTP says"
            yield Finding("a bye", talk.ended_at, promised, talk.ended.how, talk.conn)


def _drains(history: History) -> Iterator[tuple[Draining, float]]:
    """Each drain, and when it was over."""
    begun: dict[int, Draining] = {}
    for record in history.records:
        if isinstance(record, Draining):
            begun[record.server] = record
        elif isinstance(record, Drained) and record.server in begun:
            yield begun.pop(record.server), record.at


def _told(plan: Plan, talk: Talk, begin: Draining, end: float, weather: Weatherman) -> Iterator[Finding]:
    asked = talk.asked
    since = talk.answered_at if talk.streams else asked.at
    bound = begin.at + ANSWER_SECONDS + 8 * talk.plan.latency
    if since > begin.at - SETTLED_SECONDS or talk.ended_at < begin.at or bound > begin.at + begin.grace / 2:
        return
    if talk.plan.mute or not weather.fair(talk, begin.at - 3 * SETTLED_SECONDS, bound):
        return
    left = talk.ended is not None and talk.ended.how.startswith("left") and talk.ended_at <= bound
    if talk.streams and talk.status in (101, 200):
        byes = talk.heard("bye")
        if not left and not (byes and byes[0].at <= bound):
            promised = f"a bye within {bound - begin.at:.3f} s, for the server drains"
            yield Finding("a drain", bound, promised, talk.ended.how if talk.ended else "none", talk.conn)
    elif not talk.streams and not left and not talk.answered_at <= bound:
        promised = f"an answer to a poll within {bound - begin.at:.3f} s, for the server drains"
        yield Finding("a drain", bound, promised, talk.ended.how if talk.ended else "none", talk.conn)


def _silence(plan: Plan, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    """Of whoever says nothing more, for so long."""
    said = max([talk.answered_at, *(word.at for word in talk.words if word.said)])
    bound = said + 3 * talk.plan.latency + plan.limits.silence_seconds + SLACK_SECONDS
    if talk.ended_at > bound and weather.fair(talk, said - SETTLED_SECONDS, bound):
        if weather.draining(talk.asked.server, said, bound):
            return
        promised = f"that who says nothing for {plan.limits.silence_seconds:g} s is given up"
        came = "he never was" if talk.ended is None else f"it was after {talk.ended_at - said:.3f} s"
        yield Finding("silence", bound, promised, came, talk.conn)
