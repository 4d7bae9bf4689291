"""What is heard on one connection: every follower's messages, beats, byes, echoes and frames of control, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from triolet.closing import CATALOGUE
from triolet.event import Cursor

from .book import Book
from .checks_time import hearing_seconds
from .findings import Finding
from .history import Message
from .judge import BrokenPromiseError, Follower
from .plan import LogTrouble, Plan, RedisTrouble
from .talks import Talk, Weatherman, Word

__all__ = ["check_talk"]

FOLLOWER_SAYS = ("open", "event", "gap", "live", "lag")
"""Messages that are about one channel."""


def check_talk(plan: Plan, book: Book, talk: Talk, weather: Weatherman) -> Iterator[Finding]:
    """Check every word of a connection. After a first broken promise the rest of it is not looked at."""
    if talk.malformed is not None:
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
        self._lag = 0.05 + plan.log.read_seconds * 2 + hearing_seconds(plan) + _longest_trouble(plan)
        self._followers: dict[str, Follower] = {}
        self._asked: dict[str, deque[Follower]] = {}
        self._left: set[str] = set()
        self._said: list[Any] = []
        self._echoed = 0
        self._pings: list[str] = []
        self._bye: Message | None = None
        self._closed = False
        self._greeted = talk.asked.channel is not None
        if talk.asked.channel is not None:
            self._ask(talk.asked.channel, talk.asked.after, talk.asked.at)

    def _ask(self, channel: str, after: str | None, at: float) -> None:
        follower = Follower(self._book, channel, after, self._talk.rungs, begun=at, lag=self._lag, quick=self._quick)
        self._asked.setdefault(channel, deque()).append(follower)

    # --- what the client says

    def say(self, word: Word) -> None:
        """Remember what was asked for."""
        message = word.message
        kind = message["type"]
        if kind == "follow":
            self._ask(message["url"].rpartition("/")[2], message["after"], word.at)
        elif kind == "unfollow":
            self._left.add(message["channel"])
        elif kind == "message":
            self._said.append(message["data"])
        elif kind == "ping":
            self._pings.append(message["payload"])

    # --- what it hears

    def hear(self, word: Word) -> None:
        """Judge one message. Raises BrokenPromiseError."""
        message = word.message
        kind = message["type"]
        if self._closed or (self._bye is not None and kind not in ("close", "ping", "pong")):
            raise BrokenPromiseError("a bye", "a bye, and then the end", f"{message}")
        if kind == "page":
            self._page(word)
        elif kind == "open" and message["channel"] is None:
            self._greeted = True
        elif kind in FOLLOWER_SAYS:
            self._of_a_channel(word)
        elif kind in ("beat", "bye", "close", "message", "pong", "not modified"):
            {
                "beat": self._beat,
                "bye": self._says_bye,
                "close": self._close,
                "message": self._echo,
                "pong": self._pong,
                "not modified": self._not_modified,
            }[kind](word)
        elif kind != "ping":
            raise BrokenPromiseError("a message", "one that the protocol knows", f"{message}")

    def _of_a_channel(self, word: Word) -> None:
        message = word.message
        channel: str = message.get("channel") or self._talk.asked.channel or ""
        if not self._greeted:
            raise BrokenPromiseError("open", "a socket's open before all else", f"{message}")
        if message["type"] == "open":
            if not self._asked.get(channel):
                raise BrokenPromiseError("open", "one open for one follow", f"{message}")
            self._followers[channel] = self._asked[channel].popleft()
            self._left.discard(channel)
        follower = self._followers.get(channel)
        if follower is None:
            raise BrokenPromiseError("open", "an open before all else of a channel", f"{message}")
        follower.hear(word.index, word.at, message)

    def _beat(self, word: Word) -> None:
        told = word.message["cursors"]
        for channel, cursor in told.items():
            if channel not in self._followers:
                raise BrokenPromiseError("beat's cursor", "cursors of what is followed", f"{channel} in {word.message}")
            self._followers[channel].beat(cursor)
        for channel in self._followers:
            if channel not in told and channel not in self._left and not self._asked.get(channel):
                raise BrokenPromiseError("beat's cursor", f"the cursor of {channel} too", f"{word.message}")

    def _says_bye(self, word: Word) -> None:
        self._bye = bye = word.message
        for closing in CATALOGUE:
            if (closing.code, closing.reason) == (bye["code"], bye["reason"]):
                if (closing.retry is None) != (bye["retry"] is None):
                    break
                if closing.retry is None or closing.retry[0] <= bye["retry"] <= closing.retry[1]:
                    return
        raise BrokenPromiseError("a bye", "a closing of the catalogue", f"{bye}")

    def _close(self, word: Word) -> None:
        self._closed = True
        code = word.message["code"]
        if self._bye is None or code != self._bye["code"]:
            raise BrokenPromiseError("a close", f"a bye, and a close frame with its code: {self._bye}", f"code {code}")

    def _echo(self, word: Word) -> None:
        told = word.message["data"]["echo"]
        if self._echoed >= len(self._said) or told != self._said[self._echoed]:
            expected = self._said[self._echoed][0] if self._echoed < len(self._said) else None
            raise BrokenPromiseError("an echo", f"message {expected}", f"message {told[0]}")
        self._echoed += 1

    def _pong(self, word: Word) -> None:
        """Of several pings the last may be answered alone."""
        payload = word.message["payload"]
        if payload not in self._pings:
            raise BrokenPromiseError("a pong", f"the answer to one of {self._pings}", f"{payload!r}")
        del self._pings[: self._pings.index(payload) + 1]

    # --- polls

    def _page(self, word: Word) -> None:
        page, channel = word.message, self._talk.asked.channel
        assert channel is not None
        follower = self._asked[channel].popleft()
        events = page["events"]
        if len(events) > self._plan.limits.page_events:
            raise BrokenPromiseError("a page", f"{self._plan.limits.page_events} events at most", f"{len(events)}")
        if page["gap"] is not None:
            follower.hear(word.index, word.at, {**page["gap"], "type": "gap"})
        elif events:
            first = Cursor.parse(events[0]["id"])
            follower.opens_at(word.index, Cursor(first.epoch, first.offset - 1))
        else:
            follower.opens_at(word.index, Cursor.parse(page["cursor"]))
        for event in events:
            follower.hear(word.index, word.at, event)
        follower.stands(page["cursor"])
        self._live_or_more(word, page["live"], Cursor.parse(page["cursor"]), channel)

    def _live_or_more(self, word: Word, live: bool, cursor: Cursor, channel: str) -> None:
        life = self._book.life(channel, cursor.epoch)
        earliest = life.head(self._book.before(self._talk.asked.at - self._lag))
        head = life.head(word.index)
        if live and cursor.offset < earliest:
            raise BrokenPromiseError("a page", f"more of {channel}, up to {earliest} at least", f"live at {cursor}")
        if not live and cursor.offset >= head and cursor.epoch == self._book.epoch(word.index):
            raise BrokenPromiseError("a page", f"live, for {cursor} is the head of {channel}", "that there is more")

    def _not_modified(self, word: Word) -> None:
        asked = self._talk.asked
        assert asked.channel is not None
        if asked.after is None or asked.tag is None:
            raise BrokenPromiseError("not modified", "an answer to who asked without a tag", "304")
        at = Cursor.parse(asked.after)
        head = self._book.head(asked.channel, self._book.before(asked.at - self._lag))
        if head.epoch == at.epoch and head.offset > at.offset:
            raise BrokenPromiseError("not modified", f"what came after {at}, up to {head}", "304")


def _longest_trouble(plan: Plan) -> float:
    bad = [step.seconds + 2 for step in plan.steps if isinstance(step, LogTrouble)]
    bad += [step.seconds + plan.limits.away_seconds + 3 for step in plan.steps if isinstance(step, RedisTrouble)]
    return max(bad, default=0)
