"""What is heard on one connection: each channel's messages, beats, byes, echoes and frames of control, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import inf
from typing import Any

from triolet.bounds import ENDED_POLL_MS
from triolet.closing import CATALOGUE
from triolet.event import Cursor

from .book import Book
from .findings import Finding
from .folding import go_together
from .history import Message
from .identities import is_seen
from .marks import Marks
from .plan import MANY, Plan
from .steps import Trouble
from .subscriber import BrokenPromiseError, Subscriber, promise
from .talks import Talk, Weatherman, Word, hearing_seconds

__all__ = ["check_talk", "longest_trouble"]

SAME_SECONDS = 0.005
"""Two times are the same, however they were rounded."""
FOLLOWER_SAYS = ("open", "event", "gap", "live", "lag", "snapshot", "end")
"""Messages that are about one channel."""


def check_talk(plan: Plan, book: Book, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    """Check every word of a connection. After a first broken promise the rest of it is not looked at. Leaves in it what
    it followed."""
    if talk.malformed is not None:
        talk.broken_at = talk.malformed.at
        yield Finding("malformed", talk.malformed.at, "what the standard says", talk.malformed.what, talk.conn)
        return
    ear = _Ear(plan, book, talk, quick=weather.quick(talk))
    for word in talk.words:
        try:
            if word.said:
                ear.say(word)
            else:
                ear.hear(word)
        except BrokenPromiseError as broken:
            talk.broken_at = word.at
            channel = word.message.get("channel", talk.asked.channel)
            yield Finding(broken.kind, word.at, broken.promised, broken.came, talk.conn, channel)
            return


class _Ear:
    """Follows one connection, word by word."""

    def __init__(self, plan: Plan, book: Book, talk: Talk, *, quick: bool) -> None:
        self._plan = plan
        self._book = book
        self._talk = talk
        self._quick = quick
        self._lag = 0.05 + plan.log.read_seconds * 2 + hearing_seconds(plan) + longest_trouble(plan)
        self._followers: dict[str, Subscriber] = {}
        self._asked: dict[str, deque[Subscriber]] = {}
        self._left: set[str] = set()
        self._said: deque[Any] = deque()
        self._pings: list[str] = []
        self._bye: Message | None = None
        self._closed = False
        self._filtered = talk.plan.way == "f"
        self._renewals: deque[float] = deque()
        self._uncertain: set[str] = set()
        self._is_many = talk.asked.transport in MANY
        self._greeted = talk.asked.channel is not None or self._is_many
        follows = [word.message["channel"] for word in talk.words if word.said and word.message["type"] == "follow"]
        self._marks = Marks(book, talk.asked.after, follows) if self._is_many else None
        self._pages: dict[str, Cursor] = {}
        if talk.asked.channel is not None:
            self._ask(talk.asked.channel, talk.asked.after, talk.asked.at)

    def _ask(self, channel: str, after: str | None, at: float) -> None:
        bound = self._followers.get(channel)
        if bound is not None:
            bound.until = min(bound.until, at)
        rungs, lag, quick = self._talk.rungs, self._lag, self._quick
        subject = self._talk.plan.subject if self._filtered else None
        states = self._talk.plan.state and self._plan.every > 0 and not self._filtered
        folds = self._talk.plan.folds
        about: dict[str, Any] = {"seen_by": subject, "folds": folds, "states": states}
        follower = Subscriber(self._book, channel, after, rungs, begun=at, lag=lag, quick=quick, **about)
        self._talk.subscribers.append(follower)
        self._asked.setdefault(channel, deque()).append(follower)

    # --- what the client says

    def say(self, word: Word) -> None:
        """Remember what was asked for."""
        message = word.message
        kind = message["type"]
        if kind == "follow":
            self._ask(message["channel"], message["after"], word.at)
        elif kind == "unfollow":
            self._left.add(message["channel"])
            if message["channel"] in self._followers:  # else it was refused meanwhile
                self._followers[message["channel"]].until = word.at
        elif kind == "message":
            self._said.append(message["data"])
        elif kind == "ping":
            self._pings.append(message["payload"])
        elif kind == "auth":
            self._renewals.append(message["until"])

    # --- what it hears

    def hear(self, word: Word) -> None:
        """Judge one message. Raises BrokenPromiseError."""
        message = word.message
        kind = message["type"]
        goes_on = not self._closed and (self._bye is None or kind in ("close", "ping", "pong"))
        promise(goes_on, "a bye", "a bye, and then the end", message)
        if self._quick and (kind == "event" or (kind == "page" and message["events"])):
            told = f"no event after {self._talk.until:.3f}, when its credential expires"
            promise(word.at <= self._talk.until + SAME_SECONDS, "an event after the expiry", told, message)
        self._take(word)
        if self._marks is not None:
            self._marks.look(message, self._followers)

    def _take(self, word: Word) -> None:
        message = word.message
        kind = message["type"]
        if kind == "page":
            self._page(word)
        elif kind in ("expiring", "renewed"):
            self._expires(word)
        elif kind == "refused":
            self._refused(word)
        elif kind == "not let in":
            promise(bool(self._asked.get(message["channel"])), "refused", "one answer to a follow", message)
            self._asked[message["channel"]].popleft()
        elif kind == "reply":
            pass  # which is about more than one connection
        elif kind == "open" and message["channel"] is None:
            self._greeted = True
        elif kind in FOLLOWER_SAYS:
            self._of_a_channel(word)
        elif kind == "not modified":
            self._not_modified()
        elif kind != "ping":
            others = {"beat": self._beat, "bye": self._says_bye, "close": self._close}
            others |= {"message": self._echo, "pong": self._pong}
            promise(kind in others, "a message", "one that the protocol knows", message)
            others[kind](message)

    def _of_a_channel(self, word: Word) -> None:
        message = word.message
        channel: str = message.get("channel") or self._talk.asked.channel or ""
        promise(self._greeted, "open", "a socket's open before all else", message)
        if message["type"] == "open":
            promise(bool(self._asked.get(channel)), "open", "one open for one follow", message)
            while channel in self._uncertain and len(self._asked[channel]) > 1:
                self._asked[channel].popleft()
            self._uncertain.discard(channel)
            self._followers[channel] = self._asked[channel].popleft()
            self._left.discard(channel)
        promise(channel in self._followers, "open", "an open before all else of a channel", message)
        self._followers[channel].hear(word.index, word.at, message)
        if message["type"] == "end":  # and nothing comes of it any more
            bound = self._followers.pop(channel)
            bound.until = min(bound.until, word.at)

    def _refused(self, word: Word) -> None:
        """What is followed is taken away; or what was just asked for, which then is never opened."""
        channel = word.message["channel"]
        asked, bound = self._asked.get(channel), self._followers.pop(channel, None)
        promise(bool(asked) or bound is not None, "refused", "what is followed", word.message)
        if bound is not None:
            bound.until = min(bound.until, word.at)
        if asked:
            self._uncertain.add(channel)

    def _expires(self, word: Word) -> None:
        """It is warned, or told that it was renewed, or not."""
        message, talk = word.message, self._talk
        if message["type"] == "renewed" or "refused" in message:
            promise(bool(self._renewals), "renewed", "an answer to a renewal", message)
            until = self._renewals.popleft()
            if message["type"] == "renewed":
                in_time = not self._quick or word.at <= talk.until + SAME_SECONDS
                promise(in_time, "renewed", f"no renewal after {talk.until:.3f}, when it expires", message)
                talk.until = until
        left = inf if message["in"] is None else message["in"] / 1000
        right = left == talk.until if talk.until == inf else -SAME_SECONDS < word.at + left - talk.until < self._lag
        promise(right or not self._quick, "expiring", f"that it expires at {talk.until:.3f}", message)

    def _beat(self, message: Message) -> None:
        told = message["cursors"]
        for channel, cursor in told.items():
            promise(channel in self._followers, "beat's cursor", "cursors of what is followed", message)
            self._followers[channel].stands(cursor, "beat")
        for channel in self._followers:
            is_told = channel in told or channel in self._left or bool(self._asked.get(channel))
            ends = not told and bool(self._talk.heard("bye"))  # in the very moment in which it is sent away
            promise(is_told or ends, "beat's cursor", f"the cursor of {channel} too", message)

    def _says_bye(self, message: Message) -> None:
        self._bye = message
        retry = message["retry"]
        known = {(closing.code, closing.reason): closing.retry for closing in CATALOGUE}
        closing, bounds = (message["code"], message["reason"]), known.get((message["code"], message["reason"]))
        fits = retry is None if bounds is None else retry is not None and bounds[0] <= retry <= bounds[1]
        promise(closing in known and fits, "a bye", "a closing of the catalogue", message)

    def _close(self, message: Message) -> None:
        self._closed = True
        fits = self._bye is not None and message["code"] == self._bye["code"]
        promise(fits, "a close", f"a bye, and a close frame with its code: {self._bye}", message)

    def _echo(self, message: Message) -> None:
        told = message["data"]["echo"]
        expected = self._said.popleft() if self._said else [None]
        promise(told == expected, "an echo", f"message {expected[0]}", f"message {told[0]}")

    def _pong(self, message: Message) -> None:
        """Of several pings the last may be answered alone."""
        payload = message["payload"]
        promise(payload in self._pings, "a pong", f"the answer to one of {self._pings}", payload)
        del self._pings[: self._pings.index(payload) + 1]

    # --- polls

    def _page(self, word: Word) -> None:
        page = word.message
        channel: str = page.get("channel") or self._talk.asked.channel or ""
        promise(bool(self._asked.get(channel)), "a page", "one page of one channel", page)
        follower = self._asked[channel].popleft()
        events, most = page["events"], self._plan.limits.page_events * (1 + self._talk.plan.folds)
        promise(len(events) <= most, "a page", f"{most} events at most", len(events))
        if page.get("snapshot"):
            follower.hear(word.index, word.at, {**page["snapshot"], "type": "snapshot"})
        if page["gap"] is not None:
            follower.hear(word.index, word.at, {**page["gap"], "type": "gap"})
        elif follower.position is not None:
            pass  # it begins with the state
        elif events:
            first = follower.first(events[0])
            follower.open(word.index, follower.before(word.index, Cursor(first.epoch, first.offset - 1)))
        elif page.get("end"):
            follower.open(word.index, follower.before_end(word.index, Cursor.parse(page["end"]["cursor"])))
        else:
            follower.open(word.index, follower.before(word.index, Cursor.parse(page["cursor"])))
        for event in events:
            follower.hear(word.index, word.at, event)
        if self._talk.plan.folds:
            self._look_for_unfolded(follower, events)
        if page.get("end"):
            follower.hear(word.index, word.at, {**page["end"], "type": "end"})
        over = page.get("retry", 0) == (None if self._is_many else ENDED_POLL_MS)  # of many channels all have to be
        fits = over == bool(page.get("end")) or (self._is_many and not over)
        promise(fits, "a page", "a word on coming back at an end alone", page)
        follower.stands(page["cursor"], "page")
        self._pages[channel] = Cursor.parse(page["cursor"])
        if self._is_many:
            self._followers[channel] = follower
        if not self._is_many or page["live"] or page["last"]:
            self._live_or_more(word, page["live"], channel)

    def _live_or_more(self, word: Word, live: bool, channel: str) -> None:
        """Of many channels one may have more."""
        cursor = self._pages[channel]
        life = self._book.life(channel, cursor.epoch)
        earliest = life.head(self._book.before(self._talk.asked.at - self._lag))
        may = not live or cursor.offset >= earliest
        promise(may, "a page", f"more of {channel}, up to {earliest} at least", f"live at {cursor}")
        now = self._book.epoch(word.index)
        heads = {name: self._book.life(name, at.epoch).head(word.index) for name, at in self._pages.items()}
        more = any(at.offset < heads[name] or at.epoch != now for name, at in self._pages.items())
        is_all = not any(self._asked.get(name) for name in self._asked)  # one may have had no room in this answer
        promise(live or more or not is_all, "a page", f"live, for {cursor} is {channel}'s head", "that there is more")

    def _look_for_unfolded(self, follower: Subscriber, events: Sequence[Message]) -> None:
        """Of a page what goes together with the one before it is part of that."""
        for one, other in pairwise(events):
            alike = all(one.get(name) == other.get(name) for name in ("event", "key", "fold"))
            first = self._book.event(follower.channel, follower.first(other))
            fits = alike and "fold" in one and first is not None and go_together(one["fold"], one["data"], first.data)
            promise(not fits, "a folded event", f"one event of {one['id']} and {other['id']}", f"{one}, and {other}")

    def _sees(self, number: int | None) -> bool:
        return not self._filtered or is_seen(number, self._talk.plan.subject)

    def _not_modified(self) -> None:
        asked = self._talk.asked
        assert asked.channel is not None
        promise(asked.tag is not None, "not modified", "an answer to who asked without a tag", "304")
        at = Cursor.parse(asked.after or "0")
        head = self._book.head(asked.channel, self._book.before(asked.at - self._lag))
        after = self._book.life(asked.channel, at.epoch).events[at.offset : head.offset]
        may = head.epoch != at.epoch or not any(self._sees(event.number) for event in after)
        promise(may, "not modified", f"what came after {at}, up to {head}", "304")


def longest_trouble(plan: Plan) -> float:
    """How long at most a server may hear nothing of the log."""
    more = plan.limits.away_seconds + 3 if plan.redis else 2
    return max((step.seconds + more for step in plan.steps if isinstance(step, Trouble)), default=0)
