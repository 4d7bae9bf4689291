"""While the log is away its followers are told so, and else they are not. Who has seen what it lost is told that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from triolet.event import Cursor

from .book import Book
from .checks_time import followed, hearing_seconds, reached_by
from .findings import Finding
from .history import History, LogWeather, Lost, Outage
from .plan import Plan
from .talks import Talk, Weatherman

__all__ = ["check_stale"]

SLACK_SECONDS = 0.5
LOSS_SECONDS = 2.0
"""How long after the weather is good again a loss is told: who asks waits a second between two attempts."""


def check_stale(
    plan: Plan, history: History, book: Book, talks: Mapping[int, Talk], weather: Weatherman
) -> Iterator[Finding]:
    """What beats and pages say of a log in Redis. It is found to be away at the next look, within its answer's time."""
    if not plan.redis:
        return
    limits = plan.limits
    notice = limits.look_seconds + limits.answer_seconds + SLACK_SECONDS
    outages = [(record.at + notice, record.until) for record in history.records if isinstance(record, Outage)]
    for talk in talks.values():
        if talk.streams and talk.status in (101, 200):
            yield from _losses(plan, history, book, talk, weather)
        if not weather.quick(talk):
            continue
        for word in talk.heard("beat", "page"):
            is_told = bool(word.message.get("stale"))
            is_away = any(since < word.at < until for since, until in outages)
            if is_away and not is_told:
                promised = f"a {word.message['type']} that says the log is stale"
                yield Finding("a stale log", word.at, promised, f"{word.message}", talk.conn)
            elif is_told and not weather.of_log(word.at - SLACK_SECONDS, word.at):
                yield Finding("a stale log", word.at, "stale while the log is away", f"{word.message}", talk.conn)


def _losses(plan: Plan, history: History, book: Book, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    """Of a new epoch that lacks what a client has seen it hears soon, even if nobody publishes."""
    begun = {record.at: record for record in history.records if isinstance(record, Lost) and record.at > 0}
    bad = [r for r in history.records if isinstance(r, LogWeather) and not r.what.startswith("hints")]
    for lost in begun.values():
        over = max((r.until for r in bad if r.at <= lost.at), default=0.0)
        bound = max(lost.at, over) + LOSS_SECONDS + hearing_seconds(plan) + 3 * talk.plan.latency
        if any(lost.at < r.at <= bound for r in bad) or any(lost.at < at <= bound for at in begun):
            continue
        for channel, words, until in followed(talk):
            if words[0].at > lost.at or min(until, talk.ended_at) <= bound:
                continue
            places = [cursor for word in words if word.at <= bound and (cursor := reached_by(word)) is not None]
            here = places[-1] if places else Cursor("", 0)
            is_told = here.epoch in ("", lost.epoch) or book.carries(channel, here, lost.epoch)
            clear = weather.clear(talk, lost.at - LOSS_SECONDS, bound)
            if not is_told and clear and not weather.draining(talk.asked.server, lost.at, bound):
                promised = f"a gap of {channel} to {lost.epoch} by then, for what is after {here} is lost"
                yield Finding("a late gap", bound, promised, f"still at {here}", talk.conn, channel)
                return
