"""What is promised besides words: nothing waits longer than its bound, every connection that ends has a cause, whoever
is to be told is told, and at the end nothing is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import inf

from triolet.event import Cursor

from .book import Book
from .checks_channels import has_the_end
from .checks_identity import SAME_SECONDS, is_banned
from .findings import Finding
from .history import KILLED, Crashed, Draining, History, Left, Lost, Over, Published, Publishing, Stuck, Unpublished
from .plan import LogPlan, Plan
from .talks import AFTERMATH_SECONDS, LATE_SECONDS, LOSS_SECONDS, Talk, Weatherman, hearing_seconds, is_slow

__all__ = ["check_talk_ends", "check_talk_times", "check_world"]

SLACK_SECONDS = 0.6
ANSWERS = ("message", "pong", "refused", "renewed", "reply")
"""What a client hears because it has said something."""
SETTLED_SECONDS = 1.0
"""A connection as old as that is no longer in the midst of its beginning; who asks is answered in that time."""


# --- the servers, and whoever publishes


def check_world(plan: Plan, history: History, talks: Mapping[int, Talk], weather: Weatherman) -> Iterator[Finding]:
    """Drains, stalls and publishes end in time; and what is there at the end."""
    slack = SLACK_SECONDS + (plan.limits.answer_seconds if plan.redis else 0)  # what waits is sent, if that can be
    for drain, end in weather.drains:
        if end > drain.at + drain.grace + slack and end < inf:
            yield Finding("a drain", end, f"its end within {drain.grace} s", f"{end - drain.at:.3f} s")
    bound = plan.limits.stall_seconds + plan.limits.policy_seconds + plan.limits.goodbye_seconds + 1 + SLACK_SECONDS
    bound += 4 * plan.log.read_seconds if plan.every else 0  # who waits for a state is looked at behind it
    for stuck in history.records:
        if isinstance(stuck, Stuck) and stuck.seconds > bound:
            talk, began = talks[stuck.conn], stuck.at - stuck.seconds
            refused = not talk.flows and is_banned(plan, talk, weather.bans, talk.asked.at, stuck.at)
            page = talk.asked.transport == "sse behind" and talk.answered_at > began
            if not (refused or page):  # which have a bound of their own
                promised = f"that who takes nothing for {plan.limits.stall_seconds} s is given up"
                yield Finding("a stall", stuck.at, promised, f"nothing was taken for {stuck.seconds:.1f} s", stuck.conn)
                break
    yield from _publishes(plan, history, weather)
    for told in history.records:
        if isinstance(told, Left):
            promised = "that nothing is left when all have gone"
            yield Finding(f"{told.what} left", told.at, promised, f"{told.count:g} {told.what}")
        elif isinstance(told, Crashed):
            yield Finding("a crash", told.at, "no error", told.what)
        elif isinstance(told, Over):
            for who, channel, cursor, head in told.behind:
                conns = [talk.conn for talk in talks.values() if talk.asked.client == who]
                promised = f"that {who} catches up with {channel}: {head}"
                yield Finding("not caught up", told.at, promised, f"{cursor}", conns[-1] if conns else None, channel)


def _publishes(plan: Plan, history: History, weather: Weatherman) -> Iterator[Finding]:
    rungs = [[rung for rung in plan.routes[client.route] if rung.kind == "block"] for client in plan.clients]
    blocking = [rung for some in rungs for rung in some]
    seconds = max((rung.seconds or 0 for rung in blocking), default=0)
    bound = LATE_SECONDS + (seconds + plan.limits.policy_seconds) * sum(map(bool, rungs))
    begun = {record.attempt: record for record in history.records if isinstance(record, Publishing)}
    for record in history.records:
        if isinstance(record, Published | Unpublished):
            asked = begun.pop(record.attempt)
            hindered = weather.of_log(asked.at - AFTERMATH_SECONDS, record.at)
            hindered += weather.of("", asked.at, record.at) if asked.via == "http" else []
            if record.at > asked.at + bound and not hindered:
                promised, came = f"its end within {bound:g} s", f"{record.at - asked.at:.3f} s"
                yield Finding("a publish waits", record.at, promised, came, None, asked.channel)
    end = history.records[-1].at
    for asked in begun.values():
        if end > asked.at + bound:
            promised = f"the end of publish {asked.attempt}, within {bound:g} s"
            yield Finding("a publish waits", end, promised, "none", None, asked.channel)


# --- the times of one connection


def check_talk_times(plan: Plan, history: History, book: Book, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    """Events, answers, beats and what is said of a lost or absent log come in time."""
    if talk.flows:
        yield from _beats(plan, talk, weather)
        yield from _late(plan, talk, weather)
    elif not talk.streams:
        yield from _late_page(plan, book, talk, weather)
    if plan.redis and talk.flows:
        yield from _losses(plan, history, book, talk, weather)
    if plan.redis and weather.quick(talk):
        yield from _stale(plan, talk, weather)


def _beats(plan: Plan, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    """A client hears something every ``beat_seconds`` at least, and a WebSocket that says nothing is pinged."""
    bound = plan.limits.beat_seconds + SLACK_SECONDS
    kinds = [("a message", [word for word in talk.heard() if word.message["type"] not in ("ping", "pong", "close")])]
    if talk.status == 101:  # what it says puts a ping off, from when the server has it; an answer shows that it has
        said = [replace(word, at=word.at + 2 * talk.plan.latency) for word in talk.words if word.said]
        kinds.append(("a ping", sorted([*talk.heard("ping", *ANSWERS), *said], key=lambda word: word.at)))
    for what, words in kinds:
        before = talk.answered_at
        for at in [*(word.at for word in words), talk.ended_at]:
            if inf > at > before + bound and weather.good(talk, before - AFTERMATH_SECONDS, min(at, before + bound)):
                promised = f"{what} every {plan.limits.beat_seconds:g} s"
                yield Finding("a beat", before + bound, promised, f"none for {at - before:.3f} s", talk.conn)
                return
            before = at


def _late(plan: Plan, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    """Who is live has an event soon after it was published."""
    bound = LATE_SECONDS + 3 * talk.plan.latency + hearing_seconds(plan)
    for subscriber in talk.subscribers:
        for event, _, came in subscriber.late(bound, min(talk.ended_at, talk.broken_at)):
            if weather.good(talk, event.at - AFTERMATH_SECONDS, event.at + bound):
                promised = f"{event.cursor} of {subscriber.channel} within {bound:g} s"
                yield Finding("a late event", event.at + bound, promised, came, talk.conn, subscriber.channel)
                return


def _late_page(plan: Plan, book: Book, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    """A poll is answered at once where there is something, and a long one when its time is over."""
    asked = talk.asked
    due = asked.at + (asked.wait or 0)
    for channel, after in _follows(talk):
        if asked.wait and after is not None:
            comes = _comes(book, channel, Cursor.parse(after), talk.index, looks=plan.redis, alone=bool(asked.channel))
            due = due if talk.plan.way == "f" else min(due, max(asked.at, comes))  # what comes may not be for it
    bound = due + LATE_SECONDS + 8 * talk.plan.latency + hearing_seconds(plan)
    if asked.channel is None and is_banned(plan, talk, weather.bans, asked.at, bound):
        return  # it waits for the others
    answered = talk.answered_at
    if min(answered, talk.ended_at) > bound and weather.good(talk, asked.at - AFTERMATH_SECONDS, bound):
        came = "none" if answered == inf else f"one after {answered - asked.at:.3f} s"
        yield Finding(
            "a late answer", bound, f"an answer within {bound - asked.at:.3f} s", came, talk.conn, asked.channel
        )


def _follows(talk: Talk) -> list[tuple[str, str | None]]:
    """What a poll asks for, and from where."""
    if talk.asked.channel is not None:
        return [(talk.asked.channel, talk.asked.after)]
    return [(word.message["channel"], word.message["after"]) for word in talk.words if word.said]


def _comes(book: Book, channel: str, after: Cursor, index: int, *, looks: bool, alone: bool) -> float:
    """When there is something after a cursor, for whoever asks at a place in the history. Of a new epoch a log that
    does not look by itself tells with its first event. ``alone``: no other channel is asked for."""
    now = book.epoch(index)
    end = book.end(channel, index)
    if end is not None and after in (end.cursor, Cursor("", end.cursor.offset)):
        return 0.0 if alone else inf  # it is told again, where nothing else can come
    offset = after.offset
    if after == Cursor("", 0):  # of the oldest that is kept nothing may be left
        offset = book.oldest(channel, now, index, book.time(index)) - 1
    elif after.epoch not in ("", now) and not book.carries(channel, after, now):
        if looks:
            return 0.0
        offset = 0
    events = book.life(channel, now).events
    return events[offset].at if offset < len(events) else inf


def _losses(plan: Plan, history: History, book: Book, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    """Of a new epoch that lacks what a client has seen it hears soon, even if nobody publishes."""
    begun = {record.at: record for record in history.records if isinstance(record, Lost) and record.at > 0}
    for lost in begun.values():
        over = max(lost.at, weather.good_at(lost.at))
        bound = over + LOSS_SECONDS + hearing_seconds(plan) + 3 * talk.plan.latency
        if weather.begins_to_be_bad(lost.at, bound) or weather.draining(talk.asked.server, lost.at, bound):
            continue
        for subscriber in talk.subscribers:
            until = min(subscriber.until, talk.ended_at)
            here = subscriber.stood(bound)
            is_told = here.epoch in ("", lost.epoch) or book.carries(subscriber.channel, here, lost.epoch)
            if subscriber.opened_at > lost.at or until <= bound or is_told:
                continue
            if weather.clear(talk, lost.at - LOSS_SECONDS, bound):
                promised = f"a gap of {subscriber.channel} to {lost.epoch} by then, for what is after {here} is lost"
                yield Finding("a late gap", bound, promised, f"still at {here}", talk.conn, subscriber.channel)
                return


def _stale(plan: Plan, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    """While the log is away beats and pages say so, and else they do not. It is found to be away at the next look,
    within its answer's time."""
    notice = plan.limits.look_seconds + plan.limits.answer_seconds + SLACK_SECONDS
    for word in talk.heard("beat", "page"):
        is_told = bool(word.message.get("stale"))
        is_away = any(since + notice < word.at < until for since, until in weather.outages)
        if is_away and not is_told:
            promised = f"a {word.message['type']} that says the log is stale"
            yield Finding("a stale log", word.at, promised, f"{word.message}", talk.conn)
        elif is_told and not weather.of_log(word.at - SLACK_SECONDS, word.at):
            yield Finding("a stale log", word.at, "stale while the log is away", f"{word.message}", talk.conn)


# --- the end of one connection


def check_talk_ends(plan: Plan, book: Book, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    """It is let in, ends for a cause, with a bye that fits it; a server that drains says so; a client that answers no
    ping is given up in time; and what was said long enough before the end was answered."""
    yield from _answer(plan, book, talk, weather)
    yield from _end(plan, talk, weather)
    if talk.status == 101:
        yield from _echoes(talk, weather) if not talk.plan.mute else _silence(plan, talk, weather)
    for drain, _ in weather.drains:
        if talk.asked.server == drain.server and drain.grace != KILLED:
            yield from _told(talk, drain, weather)
    if talk.heard("bye") and talk.how.startswith("end within"):
        yield Finding("a bye", talk.ended_at, "the end of an answer after its bye, as HTTP says", talk.how, talk.conn)


def _answer(plan: Plan, book: Book, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    """Whoever may follow is let in, but for a server that drains, a log that fails, and a budget that is spent."""
    expected = (101,) if talk.asked.transport in ("websocket", "socket") else (200, 304)
    if talk.status is not None and talk.status not in expected:
        at = talk.answered_at
        if talk.status == 204 and has_the_end(book, talk):
            return
        expired, banned = at >= talk.until - SAME_SECONDS, is_banned(plan, talk, weather.bans, talk.asked.at, at)
        if (talk.status == 401 and expired) or (talk.status == 403 and banned):
            return
        excused = weather.crowded or weather.of_log(talk.asked.at - SETTLED_SECONDS, at)
        if talk.status != 503 or not (excused or weather.draining(talk.asked.server, talk.asked.at, at)):
            yield Finding("an answer", at, f"status {expected[0]}", f"status {talk.status}", talk.conn)


def _end(plan: Plan, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    if talk.ended is None or talk.was_left or talk.how == "answered":
        return
    byes = talk.heard("bye")
    if byes:
        code, reason, at = byes[0].message["code"], byes[0].message["reason"], byes[0].at
        if not _fits(plan, talk, weather, code, reason, at):
            yield Finding("a bye without a cause", at, "a bye that fits its cause", f"{code} {reason}", talk.conn)
    elif not _has_cause(plan, talk, weather):
        promised = "an end for a cause, with a bye"
        yield Finding("an end without a cause", talk.ended_at, promised, talk.how, talk.conn)


def _fits(plan: Plan, talk: Talk, weather: Weatherman, code: int, reason: str, at: float) -> bool:
    begin, befell = talk.asked.at, bool(weather.of(talk.plan.name, talk.asked.at, at)) or is_slow(talk.plan)
    causes = {
        1000: reason == "ended" and bool(talk.heard("end")),
        1012: weather.draining(talk.asked.server, begin, at) or _may_be_lost(plan, talk, weather, at),
        4401: at >= talk.until - SAME_SECONDS,
        4403: is_banned(plan, talk, weather.bans, begin, at),
        4410: any(rung.kind in ("disconnect", "block") for rung in talk.rungs),
        4409: talk.plan.mute or befell,
        1011: not plan.redis and bool(weather.of_log(begin - SETTLED_SECONDS, at)),  # with Redis it stays connected
        1013: weather.crowded,
        1008: reason == "too much at once" and befell,
    }
    return causes.get(code, False)


def _may_be_lost(plan: Plan, talk: Talk, weather: Weatherman, end: float) -> bool:
    """Whether it may not be known what other servers have revoked: then who has an identity is asked anew. Of a log
    that has begun again a server may hear with the next revocation only."""
    overrun = plan.log.tail_events < LogPlan().tail_events
    return bool(talk.plan.subject) and (overrun or bool(weather.of_log(0, end)))


def _has_cause(plan: Plan, talk: Talk, weather: Weatherman) -> bool:
    """Whether there is a reason for an end without a bye; that of a policy may not have got through."""
    begin, end, client = talk.asked.at, talk.ended_at, talk.plan
    return (
        weather.crowded
        or weather.draining(talk.asked.server, begin, end)
        or talk.status not in (101, 200)  # it was refused, which is looked at elsewhere
        or any(rung.kind in ("disconnect", "block") for rung in talk.rungs)
        or client.mute
        or end >= talk.until - SAME_SECONDS
        or is_banned(plan, talk, weather.bans, begin, end)
        or _may_be_lost(plan, talk, weather, end)
        or is_slow(client)
        or (not plan.redis and bool(weather.of_log(begin - SETTLED_SECONDS, end)))
        or bool(weather.of(client.name, begin, end))
    )


def _echoes(talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    for asked, answered in (("message", "message"), ("ping", "pong")):
        said = [word for word in talk.words if word.said and word.message["type"] == asked]
        heard = talk.heard(answered)
        if not said or len(heard) >= len(said):
            continue
        if asked == "ping" and heard and heard[-1].message["payload"] == said[-1].message["payload"]:
            continue
        word = said[len(heard)] if asked == "message" else said[-1]
        bound = word.at + 2 * SETTLED_SECONDS + 3 * talk.plan.latency
        end = min(talk.ended_at, talk.words[-1].at)
        if end > bound and weather.good(talk, word.at - 3 * SETTLED_SECONDS, bound):
            yield Finding(f"no {answered}", bound, f"the answer to {word.message}"[:100], "none", talk.conn)


def _told(talk: Talk, drain: Draining, weather: Weatherman) -> Iterator[Finding]:
    """A server that drains tells everybody."""
    since = talk.answered_at if talk.streams else talk.asked.at
    bound = drain.at + SETTLED_SECONDS + 8 * talk.plan.latency
    if since > drain.at - SETTLED_SECONDS or talk.ended_at < drain.at or bound > drain.at + drain.grace / 2:
        return
    if talk.plan.mute or not weather.fair(talk, drain.at - 3 * SETTLED_SECONDS, bound):
        return
    left = talk.was_left and talk.ended_at <= bound
    byes = talk.heard("bye")
    is_told = byes and byes[0].at <= bound if talk.flows else talk.streams or talk.answered_at <= bound
    if not left and not is_told:
        what = "a bye" if talk.streams else "an answer to a poll"
        promised = f"{what} within {bound - drain.at:.3f} s, for the server drains"
        yield Finding("a drain", bound, promised, talk.how, talk.conn)


def _silence(plan: Plan, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    """Whoever says nothing more, for so long, is given up."""
    words = [word.at for word in talk.words if word.said or word.message["type"] == "reply"]  # a command is a word
    said = max([talk.answered_at, *words])
    bound = said + 3 * talk.plan.latency + plan.limits.silence_seconds + SLACK_SECONDS
    if talk.ended_at > bound and weather.good(talk, said - SETTLED_SECONDS, bound):
        promised = f"that who says nothing for {plan.limits.silence_seconds:g} s is given up"
        yield Finding("silence", bound, promised, f"it was after {talk.ended_at - said:.3f} s", talk.conn)
