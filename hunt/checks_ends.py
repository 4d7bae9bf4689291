"""Every connection that ends has a cause, and every bye fits it; and at the end nothing is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .findings import Finding
from .history import Crashed, Ended, History, Left, Over
from .plan import Plan
from .talks import Talk, Weatherman

__all__ = ["check_ends"]

MARGIN = 1.0


def check_ends(plan: Plan, history: History, talks: Mapping[int, Talk], weather: Weatherman) -> Iterator[Finding]:
    """Causes of endings, what is left, and who did not catch up."""
    for talk in talks.values():
        yield from _end(plan, talk, weather)
        yield from _answer(plan, talk, weather)
        if talk.websocket:
            yield from _echoes(talk, weather)
    for record in history.records:
        if isinstance(record, Left):
            yield Finding(
                f"{record.what} left",
                record.at,
                "that nothing is left when all have gone",
                f"{record.count:g} {record.what}",
            )
        elif isinstance(record, Crashed):
            yield Finding("a crash", record.at, "no error", record.what)
        elif isinstance(record, Over):
            for who, channel, cursor, head in record.behind:
                conns = [talk.conn for talk in talks.values() if talk.asked.client == who]
                promised = f"that {who} catches up with {channel}: {head}"
                yield Finding("not caught up", record.at, promised, f"{cursor}", conns[-1] if conns else None, channel)


def _end(plan: Plan, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    ended = talk.ended
    if ended is None or ended.how.startswith("left") or ended.how == "answered":
        return
    byes = talk.heard("bye")
    if byes:
        code, reason, at = byes[0].message["code"], byes[0].message["reason"], byes[0].at
        if not _fits(plan, talk, weather, code, reason, at):
            yield Finding("a bye without a cause", at, "a bye that fits its cause", f"{code} {reason}", talk.conn)
    elif not _cause(plan, talk, weather, ended):
        promised = "an end for a cause, with a bye"
        yield Finding("an end without a cause", ended.at, promised, f"{ended.how}", talk.conn)


def _fits(plan: Plan, talk: Talk, weather: Weatherman, code: int, reason: str, at: float) -> bool:
    server, client, begin = talk.asked.server, talk.plan, talk.asked.at
    if code == 1012:
        return weather.draining(server, begin, at)
    if code == 4410:
        return any(rung.kind in ("disconnect", "block") for rung in talk.rungs)
    if code == 4409:
        return client.mute or bool(weather.of(client.name, begin, at)) or _slow(talk)
    if code == 1011:
        return not plan.redis and bool(weather.of_log(begin - MARGIN, at))  # who follows one in Redis stays connected
    if code == 1013:
        return weather.crowded
    if code == 1008 and reason == "too much at once":
        return _slow(talk) or bool(weather.of(client.name, begin, at))
    return False


def _cause(plan: Plan, talk: Talk, weather: Weatherman, ended: Ended) -> bool:
    """Whether there is a reason for an end without a bye."""
    begin, client = talk.asked.at, talk.plan
    if weather.crowded or weather.draining(talk.asked.server, begin, ended.at):
        return True
    if talk.status not in (None, 101, 200):
        return True  # it was refused, which is looked at elsewhere
    if any(rung.kind in ("disconnect", "block") for rung in talk.rungs):
        return True  # its bye may not have got through
    if client.mute or _slow(talk) or (not plan.redis and weather.of_log(begin - MARGIN, ended.at)):
        return True
    return bool(weather.of(client.name, begin, ended.at)) or talk.status is None


def _slow(talk: Talk) -> bool:
    client = talk.plan
    return bool(client.pause or client.bandwidth or (client.latency and client.kernel < 65_536))


def _answer(plan: Plan, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    """Whoever may follow is let in, but for a server that drains, a log that fails, and a budget that is spent."""
    expected = (101,) if talk.websocket else (200, 304)
    if talk.status is None or talk.status in expected:
        return
    at = talk.answered_at
    excused = weather.crowded or weather.of_log(talk.asked.at - MARGIN, at)
    if talk.status == 503 and (excused or weather.draining(talk.asked.server, talk.asked.at, at)):
        return
    yield Finding("an answer", at, f"status {expected[0]}", f"status {talk.status}", talk.conn)


def _echoes(talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    """What was said long enough before the end was echoed, and pings answered."""
    if talk.plan.mute:
        return
    for asked, answered in (("message", "message"), ("ping", "pong")):
        said = [word for word in talk.words if word.said and word.message["type"] == asked]
        heard = talk.heard(answered)
        if not said or len(heard) >= len(said):
            continue
        if asked == "ping" and heard and heard[-1].message["payload"] == said[-1].message["payload"]:
            continue
        word = said[len(heard)] if asked == "message" else said[-1]
        bound = word.at + 2 * MARGIN + 3 * talk.plan.latency
        end = min(talk.ended_at, talk.words[-1].at)
        if end > bound and weather.good(talk, word.at - 3 * MARGIN, bound):
            yield Finding(f"no {answered}", bound, f"the answer to {word.message}"[:100], "none", talk.conn)
