"""Nothing waits longer than its bound, in virtual seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from triolet.event import Cursor

from .book import Book, Life
from .findings import Finding
from .history import Drained, Draining, History, Published, Publishing, Sampled, Unpublished
from .plan import Plan
from .talks import Talk, Weatherman, Word

__all__ = ["check_times", "followed", "hearing_seconds", "reached_by"]

LATE_SECONDS = 1.0
"""How long after a publish a client that is live, on a good line and with a good server, has the event."""
SLACK_SECONDS = 0.6
HINT_SECONDS = 0.5
"""How late a hint may be, or one that is missing be missed."""
AFTERMATH_SECONDS = 3.0
"""How long bad weather is felt."""


def check_times(
    plan: Plan, history: History, book: Book, talks: Mapping[int, Talk], weather: Weatherman
) -> Iterator[Finding]:
    """All bounds on time."""
    yield from _drains(plan, history)
    yield from _stalls(plan, history)
    yield from _publishes(plan, history, weather)
    for talk in talks.values():
        if talk.streams and talk.status in (101, 200):
            yield from _beats(plan, talk, weather)
            yield from _late(plan, book, talk, weather)
        elif not talk.streams:
            yield from _late_page(plan, book, talk, weather)


def hearing_seconds(plan: Plan) -> float:
    """How late a server may hear of an event: without a hint, at the next look."""
    return plan.limits.look_seconds + HINT_SECONDS if plan.redis else 2 * plan.log.tail_seconds


def _drains(plan: Plan, history: History) -> Iterator[Finding]:
    slack = SLACK_SECONDS + (plan.limits.answer_seconds if plan.redis else 0)  # what waits is sent, if that can be
    begun: dict[int, Draining] = {}
    for record in history.records:
        if isinstance(record, Draining):
            begun[record.server] = record
        elif isinstance(record, Drained) and record.server in begun:
            since = begun.pop(record.server)
            if record.at > since.at + since.grace + slack:
                yield Finding("a drain", record.at, f"its end within {since.grace} s", f"{record.at - since.at:.3f} s")


def _stalls(plan: Plan, history: History) -> Iterator[Finding]:
    bound = plan.limits.stall_seconds + 1
    yield from _stuck(plan, history)
    for record in history.records:
        if isinstance(record, Sampled):
            for conn, pending, stalled in record.waiting:
                if stalled > bound + SLACK_SECONDS:
                    promised = f"that who takes nothing for {plan.limits.stall_seconds} s is given up"
                    came = f"connection {conn} of server {record.server}: {pending} bytes wait for {stalled:.1f} s"
                    yield Finding("a stall", record.at, promised, came)
                    return


def _stuck(plan: Plan, history: History) -> Iterator[Finding]:
    """The same, not by the server's own clock: the same bytes wait, and nothing was sent meanwhile."""
    bound = plan.limits.stall_seconds + plan.limits.policy_seconds + 1 + SLACK_SECONDS
    since: dict[tuple[int, int], tuple[float, int, str]] = {}
    for record in history.records:
        if isinstance(record, Sampled):
            waiting = {conn: pending for conn, pending, _ in record.waiting}
            now = {(record.server, conn): (waiting[conn], place) for conn, place in record.places}
            for who in [who for who in since if who[0] == record.server and since[who][1:] != now.get(who)]:
                del since[who]
            for who, state in now.items():
                at = since.setdefault(who, (record.at, *state))[0]
                if record.at - at > bound:
                    promised = f"that who takes nothing for {plan.limits.stall_seconds} s is given up"
                    came = (
                        f"connection {who[1]} of server {who[0]}: the same {state[0]} bytes for {record.at - at:.1f} s"
                    )
                    yield Finding("a stall", record.at, promised, came)
                    return


def _publishes(plan: Plan, history: History, weather: Weatherman) -> Iterator[Finding]:
    blocking = [client for client in plan.clients if any(rung.kind == "block" for rung in plan.routes[client.route])]
    seconds = max(
        (rung.seconds or 0 for client in blocking for rung in plan.routes[client.route] if rung.kind == "block"),
        default=0,
    )
    bound = LATE_SECONDS + (seconds + plan.limits.policy_seconds) * len(blocking)
    begun = {record.attempt: record for record in history.records if isinstance(record, Publishing)}
    for record in history.records:
        if isinstance(record, Published | Unpublished):
            asked = begun.pop(record.attempt)
            hindered = weather.of_log(asked.at - AFTERMATH_SECONDS, record.at)
            hindered += weather.of("", asked.at, record.at) if asked.via == "http" else []
            if record.at > asked.at + bound and not hindered:
                promised = f"its end within {bound:g} s"
                yield Finding(
                    "a publish waits", record.at, promised, f"{record.at - asked.at:.3f} s", None, asked.channel
                )
    end = history.records[-1].at
    for asked in begun.values():
        if end > asked.at + bound:
            promised = f"the end of publish {asked.attempt}, within {bound:g} s"
            yield Finding("a publish waits", end, promised, "none", None, asked.channel)


def _beats(plan: Plan, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    """A client hears something every ``beat_seconds`` at least, and a WebSocket is pinged."""
    bound = plan.limits.beat_seconds + SLACK_SECONDS
    kinds = [("a message", [word for word in talk.heard() if word.message["type"] not in ("ping", "pong", "close")])]
    if talk.websocket:
        kinds.append(("a ping", talk.heard("ping")))
    for what, words in kinds:
        before = talk.answered_at
        for at in [*(word.at for word in words), talk.ended_at]:
            over = at > before + bound and at != float("inf")
            if over and weather.good(talk, before - AFTERMATH_SECONDS, min(at, before + bound)):
                promised = f"{what} every {plan.limits.beat_seconds:g} s"
                yield Finding("a beat", before + bound, promised, f"none for {at - before:.3f} s", talk.conn)
                return
            before = at


def _late(plan: Plan, book: Book, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    """Who is live has an event soon after it was published."""
    bound = LATE_SECONDS + 3 * talk.plan.latency + hearing_seconds(plan)
    for channel, words, until in followed(talk):
        reached = [(word.at, cursor) for word in words if (cursor := reached_by(word)) is not None]
        lives = [word for word in words if word.message["type"] == "live"]
        if not lives:
            continue
        epoch = Cursor.parse(lives[0].message["cursor"]).epoch
        life = book.life(channel, epoch)
        at = 0
        for event, index in zip(life.events, life.at, strict=True):
            if index < lives[0].index or event.at + bound > min(until, talk.ended_at):
                continue
            while at < len(reached) and not _covers(reached[at][1], event.cursor):
                at += 1
            late = at == len(reached) or reached[at][0] > event.at + bound
            if late and weather.good(talk, event.at - AFTERMATH_SECONDS, event.at + bound):
                came = "nothing" if at == len(reached) else f"{reached[at][1]} {reached[at][0] - event.at:.3f} s later"
                promised = f"{event.cursor} of {channel} within {bound:g} s"
                yield Finding("a late event", event.at + bound, promised, came, talk.conn, channel)
                return


def followed(talk: Talk) -> Iterator[tuple[str, list[Word], float]]:
    """Each stretch of messages of one channel from its open on, and until when it is followed."""
    stretches: dict[str, list[Word]] = {}
    for word in talk.words:
        message = word.message
        channel = message.get("channel", talk.asked.channel)
        if word.said and message["type"] in ("follow", "unfollow"):
            channel = channel or message["url"].rpartition("/")[2]
            if channel in stretches:
                yield channel, stretches.pop(channel), word.at
        elif not word.said and message["type"] == "open" and channel is not None:
            stretches[channel] = [word]
        elif not word.said and channel in stretches:
            stretches[channel].append(word)
    for channel, words in stretches.items():
        yield channel, words, talk.ended_at


def reached_by(word: Word) -> Cursor | None:
    """Where a message brings its client; None where it does not move."""
    message = word.message
    field = {"event": "id", "gap": "to", "live": "cursor", "open": "cursor"}.get(message["type"])
    if field is None or message.get("reason") == "conflated":
        return None
    return Cursor.parse(message[field])


def _covers(reached: Cursor, wanted: Cursor) -> bool:
    return reached.epoch != wanted.epoch or reached.offset >= wanted.offset


def _late_page(plan: Plan, book: Book, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    """A poll is answered at once where there is something, and a long one when its time is over."""
    asked = talk.asked
    assert asked.channel is not None
    due = asked.at + (asked.wait or 0)
    if asked.wait and asked.after is not None:
        due = min(due, max(asked.at, _comes(book, asked.channel, Cursor.parse(asked.after), talk.index)))
    bound = due + LATE_SECONDS + 8 * talk.plan.latency + hearing_seconds(plan)
    answered = talk.answered_at
    if min(answered, talk.ended_at) > bound and weather.good(talk, asked.at - AFTERMATH_SECONDS, bound):
        promised = f"an answer within {bound - asked.at:.3f} s"
        came = "none" if answered == float("inf") else f"one after {answered - asked.at:.3f} s"
        yield Finding("a late answer", bound, promised, came, talk.conn, asked.channel)


def _comes(book: Book, channel: str, after: Cursor, index: int) -> float:
    """When there is something after a cursor, for whoever asks at a place in the history."""
    now = book.epoch(index)
    if after.epoch not in ("", now):
        return 0.0
    life: Life = book.life(channel, now)
    offset = after.offset
    if after == Cursor("", 0):  # of the oldest that is kept nothing may be left
        offset = book.oldest(channel, now, index, book.time(index)) - 1
    return life.events[offset].at if offset < len(life.events) else float("inf")
