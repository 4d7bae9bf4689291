"""Who is sent away, and what commands come to: nobody has an event after the app has said no, and a command takes
effect once, as a whole, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf

from .book import Book
from .findings import Finding
from .history import Banned, History, Lost, Ordered, Replied
from .plan import RECHECK_SECONDS, ClientPlan, Plan, channel_name, url_path
from .talks import Talk, Weatherman, hearing_seconds

__all__ = ["SAME_SECONDS", "bans_client", "check_bans", "check_commands", "check_expiry", "is_banned"]

TOLD_SECONDS = 1.0
"""In which other servers know of a revocation; or, of a recheck, the view has answered."""
SAME_SECONDS = 0.005
END_SECONDS = 1.0


def check_expiry(plan: Plan, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    """It ends when its credential does; and a renewal in time is answered."""
    if not weather.quick(talk):
        return
    bound = talk.until + END_SECONDS
    if talk.ended_at > bound and not weather.of_log(talk.until - END_SECONDS, bound):
        yield Finding("no expiry", bound, f"its end at {talk.until:.3f}", talk.how, talk.conn)
    renewals = [word for word in talk.words if word.said and word.message["type"] == "auth"]
    answers = [word for word in talk.heard("renewed", "expiring") if is_answer(word.message)]
    # Over HTTP it may come to a server that is not there.
    if talk.status == 101 and len(answers) < len(renewals):
        said = renewals[len(answers)]
        bound = said.at + END_SECONDS
        if min(talk.ended_at, talk.broken_at) > bound and weather.good(talk, said.at - END_SECONDS, bound):
            yield Finding("no renewal", bound, "an answer to a renewal", "none", talk.conn)


def is_answer(message: Mapping[str, object]) -> bool:
    """Whether it answers a renewal."""
    return message["type"] == "renewed" or "refused" in message


def check_bans(plan: Plan, history: History, talks: Mapping[int, Talk], weather: Weatherman) -> Iterator[Finding]:
    """From when a revocation is told until it is decided anew nobody that it speaks of has an event, or is there."""
    for banned in history.records:
        if isinstance(banned, Banned):
            for talk in talks.values():
                yield from _after(plan, banned, talk, weather)


def _after(plan: Plan, banned: Banned, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    until, since = min(banned.until, weather.calm_at), _in_force(plan, banned, talk, weather)
    if talk.ended_at <= since or talk.asked.at >= until or not weather.quick(talk):
        return
    for number in {**dict.fromkeys(talk.plan.channels), **dict.fromkeys(range(plan.channels))}:
        channel = channel_name(number)
        if not banned.ban.speaks_of(talk.plan.subject, talk.plan.session, channel, url_path(talk.plan, number)):
            continue
        for word in talk.heard("event", "page"):
            about = word.message.get("channel") or talk.asked.channel
            if about == channel and word.message.get("events", True) and since < word.at < until:
                promised = f"no event of {channel} after {banned}"
                yield Finding("an event after a no", word.at, promised, f"{word.message}"[:100], talk.conn, channel)
                return
        for follower in talk.subscribers:
            bound = since + END_SECONDS
            ends = min(follower.until, talk.ended_at)
            has_begun = follower.opened_at < banned.since
            if follower.channel == channel and has_begun and ends > bound and until > bound:
                yield Finding("it stays", bound, f"its end, for {banned}", "none", talk.conn, channel)
                return


def _in_force(plan: Plan, banned: Banned, talk: Talk, weather: Weatherman) -> float:
    """From when on it holds for a connection."""
    at = banned.at + SAME_SECONDS
    if banned.server == talk.asked.server:
        return at
    rechecks = banned.server is None
    if rechecks and (talk.plan.way != "k" or not talk.streams):
        return inf
    at += TOLD_SECONDS + (RECHECK_SECONDS if rechecks else 2 * hearing_seconds(plan))
    is_told = rechecks or banned.told
    return at if is_told and not weather.of_log(banned.since - TOLD_SECONDS, at) else inf


def is_banned(plan: Plan, talk: Talk, bans: list[Banned], begin: float, end: float) -> bool:
    """Whether the app said no to a connection, or to something of it, in a time, or a little before."""
    return bans_client(plan, talk.plan, bans, begin, end)


def bans_client(plan: Plan, client: ClientPlan, bans: list[Banned], begin: float, end: float) -> bool:
    """The same of a client, and of all that it may follow."""
    late = TOLD_SECONDS + RECHECK_SECONDS + 2 * hearing_seconds(plan)
    return any(
        banned.ban.speaks_of(client.subject, client.session, channel_name(number), url_path(client, number))
        for banned in bans
        for number in (*client.channels, *range(plan.channels))
        if banned.since <= end and banned.until + late >= begin
    )


# --- commands


def check_commands(history: History, book: Book) -> Iterator[Finding]:
    """What a command has published is there once in each of its channels, or in none; and it has one answer."""
    ordered = {record.number: record for record in history.records if isinstance(record, Ordered)}
    yield from _halves(ordered, book)
    births = [record.at for record in history.records if isinstance(record, Lost)]
    runs: dict[int, Replied] = {}
    for record in history.records:
        if not isinstance(record, Replied):
            continue
        asked, number = ordered[record.number], record.number
        first = runs.setdefault(number, record) if record.status == 200 else None
        lost = len(births) > 1 and births[1] <= record.at
        if record.other and number in runs and record.status == 200 and not lost:
            yield Finding("an id twice", record.at, f"422 for {asked} with other data", f"{record}")
        elif first is not None and first.data != record.data and not lost:
            yield Finding("another answer", record.at, f"the answer that was given: {first}", f"{record}")
        elif record.status == 200 and asked.fails:
            yield Finding("a failed command", record.at, f"no success of {asked}", f"{record}")
        elif record.status == 200 and not _stored(number, asked.channels, record.at, book):
            promised = f"number {number} in {', '.join(asked.channels)}"
            yield Finding("a command is not stored", record.at, promised, f"{record}")


def _halves(ordered: Mapping[int, Ordered], book: Book) -> Iterator[Finding]:
    lives: dict[str, dict[int, dict[str, float]]] = {}
    for channel, life in book.lives():
        for event in life.events:
            if event.number is not None and event.number in ordered:
                lives.setdefault(life.epoch, {}).setdefault(event.number, {})[channel] = event.at
    for numbers in lives.values():
        for number, places in numbers.items():
            asked, at = ordered[number], max(places.values())
            if asked.fails:
                yield Finding("a failed command", at, f"no event of {asked}", f"{places}")
            elif set(places) != set(asked.channels) or len(set(places.values())) > 1:
                yield Finding("half a command", at, f"all events of {asked} at once", f"{places}")


def _stored(number: int, channels: tuple[str, ...], at: float, book: Book) -> bool:
    stored = {
        channel for channel, life in book.lives() for event in life.events if event.number == number and event.at <= at
    }
    return stored >= set(channels)
