"""What the Python client promises to a program: each event after its cursor, once and in order, or a gap that says what
is missing; ``Live`` when it is up to date, and not before; with a store, nothing lost from one life to the next, and
again only what was in hand; and an end only where somebody has said no."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf

from triolet.event import Cursor

from .book import Book
from .checks_identity import SAME_SECONDS, bans_client
from .conversation import longest_trouble
from .findings import Finding
from .history import History, Message
from .identities import is_seen
from .plan import PYTHON, ClientPlan, LogPlan, Plan, silence_of
from .program_history import (
    Became,
    Began,
    Ceased,
    Commits,
    Committed,
    Did,
    Faulted,
    Followed,
    Gone,
    NotAnswered,
    OfFollow,
    Saved,
    Took,
    Unfollowed,
)
from .subscriber import BrokenPromiseError, Subscriber, promise
from .talks import Weatherman, hearing_seconds, is_slow

__all__ = ["Reference", "check_programs", "lag_of"]

LATE_SECONDS = 1.0
"""How long after a publish a program that is live, on a good line and with a good server, has the event."""
AFTERMATH_SECONDS = 3.0
"""How long bad weather is felt."""
RETRY_SECONDS = 31.0
"""Longest wait of a client's between two tries."""
WARNING_SECONDS = 2.0
"""The time in which a token that is asked for at once is renewed."""
SAVE_SECONDS = 0.01
GOODBYE_SECONDS = 1.0
"""How long a store is waited for when a follow is left."""


def check_programs(plan: Plan, history: History, book: Book, weather: Weatherman) -> Iterator[Finding]:
    """Hold what programs were given against the log."""
    clients = {client.name: client for client in plan.clients if client.transport == PYTHON}
    if not clients:
        return
    readers: dict[str, _Reader] = {}
    tokens = dict.fromkeys(clients, inf)
    for index, record in enumerate(history.records):
        if isinstance(record, Began):
            tokens[record.client] = record.until
        elif isinstance(record, NotAnswered):
            yield from _unanswered(record, clients[record.client], book, weather)
        elif isinstance(record, OfFollow):
            client = clients[record.client]
            if record.follow not in readers:
                readers[record.follow] = _Reader(plan, book, weather, client)
            yield from readers[record.follow].hear(index, record, tokens[record.client])
        elif isinstance(record, Ceased):
            for reader in readers.values():
                reader.ends(record)
    for reader in readers.values():
        yield from reader.late(history.last)


def lag_of(plan: Plan) -> float:
    """How far, in seconds, what is read may be behind the log."""
    return 0.05 + plan.log.read_seconds * 2 + hearing_seconds(plan) + longest_trouble(plan)


class Reference(Subscriber):
    """What one follow of a program's has to give, over all its connections, as long as a life lasts."""

    def hear(self, index: int, at: float, message: Message) -> None:
        """See Subscriber. It begins where it was asked to; of another place it is told nothing, but that the first item
        comes after it."""
        if self.position is None and self._after is not None and self._after.epoch:
            self.position = self._after
        elif self.position is None and message["type"] == "event":
            first = Cursor.parse(message["id"])
            self.open(index, self.before(index, Cursor(first.epoch, first.offset - 1)))
        elif self.position is None and message["type"] == "live":
            self.open(index, self.before(index, Cursor.parse(message["cursor"])))
        elif self.position is None and message["type"] == "end":
            self.open(index, self.before_end(index, Cursor.parse(message["cursor"])))
        if message["type"] != "event":
            self._conflated = None  # what was conflated on one connection need not be on the next
        super().hear(index, at, message)

    def stops(self, cursor: str, what: str = "program") -> None:
        """Judge where its program would go on. It may have stopped amid what was conflated."""
        self._conflated = None
        at = Cursor.parse(cursor)
        if not self._is_here(at) and (self.reached or at != self._after):  # else nothing has moved it
            self.stands(cursor, what)

    def _end_of_conflated(self, page: object) -> None:
        """Another connection may have left out less."""
        if self._conflated is not None and self.position is not None:
            self._conflated = None if self.position.offset >= self._conflated.end.offset else self._conflated


@dataclass
class _Spell:
    """A time in which a follow was live: from a place in the history, on a connection that began ``since``."""

    index: int
    begin: float
    since: float
    end: float = inf


class _Reader:
    """Follows one follow of a program's, through all of its lives."""

    def __init__(self, plan: Plan, book: Book, weather: Weatherman, client: ClientPlan) -> None:
        self._plan, self._book, self._weather, self._client = plan, book, weather, client
        self._lag = lag_of(plan)
        self._channel = ""
        self._reference: Reference | None = None
        self._is_broken = False
        self._ended_at = inf
        self._since = 0.0
        self._spells: list[_Spell] = []
        self._lives = 0
        self._kept = _Kept(client, self._is_same)

    def hear(self, index: int, record: OfFollow, token_until: float) -> Iterator[Finding]:
        """Judge one record."""
        try:
            if isinstance(record, Followed):
                yield from self.late(record.at)
                self._begin(record)
            elif isinstance(record, Took):
                self._take(index, record)
            elif isinstance(record, Became):
                self._become(index, record)
            elif isinstance(record, Faulted):
                promise(False, f"a false {record.kind}", "that no promise is broken", record)
            elif isinstance(record, Gone):
                promise(self._is_explained(record, token_until), "an end", "an end that somebody has asked for", record)
            elif isinstance(record, Unfollowed):
                self._end(record)
            self._kept.hear(record)
        except BrokenPromiseError as broken:
            if not self._is_broken:
                self._is_broken = True
                yield Finding(broken.kind, record.at, broken.promised, broken.came, None, self._channel)

    def ends(self, ceased: Ceased) -> None:
        """Its program does."""
        if ceased.client == self._client.name:
            self._ended_at = min(self._ended_at, ceased.at)

    def _begin(self, followed: Followed) -> None:
        self._channel, self._is_broken = followed.channel, False
        self._since, self._ended_at = followed.at, inf
        self._spells, self._lives = [], 0
        self._reference = Reference(
            self._book,
            followed.channel,
            followed.start,
            self._plan.routes[self._client.route],
            begun=followed.at,
            lag=self._lag,
            quick=False,
            seen_by=self._client.subject if self._client.way == "f" else None,
        )

    def _take(self, index: int, took: Took) -> None:
        assert self._reference is not None
        if self._is_broken:
            return
        message = took.message
        right = message.get("channel", self._channel) == self._channel
        promise(right, "another channel", f"items of {self._channel}", message)
        promise(message.get("reason") != "hole", "a false hole", "that no event is missing without a gap", message)
        if message["type"] == "live":
            self._is_up_to_date(Cursor.parse(message["cursor"]))
        self._reference.hear(index, took.at, message)

    def _is_up_to_date(self, cursor: Cursor) -> None:
        """What the log had when the client was told that it is live was given before."""
        promise(self._lives < len(self._spells), "live", "a state that is live before the item", cursor)
        spell = self._spells[self._lives]
        self._lives += 1
        client = self._client
        quick = not (client.pause or client.bandwidth or client.latency)
        quick = quick and not self._weather.of(client.name, spell.since - AFTERMATH_SECONDS, spell.begin)
        then = spell.begin if quick else spell.since
        earliest = self._book.life(self._channel, cursor.epoch).head(self._book.before(then - self._lag))
        told = f"{self._channel} up to {earliest} at least, before it is said to be live"
        promise(cursor.offset >= earliest, "live too early", told, cursor)

    def _become(self, index: int, became: Became) -> None:
        if became.state == "live" and (not self._spells or self._spells[-1].end < inf):
            self._spells.append(_Spell(index, became.at, self._since))
        elif became.state != "live" and self._spells:
            self._spells[-1].end = min(self._spells[-1].end, became.at)
        if became.state == "connecting":
            began, self._since = self._since, became.at
            if became.reason == "expired":
                self._is_renewed(began, became)
            promise(self._has_cause(began, became), "an end without a cause", "a connection that stays", became)

    def _is_renewed(self, began: float, became: Became) -> None:
        """A stream whose token expires goes on with another, if it is there in time."""
        client, at = self._client, became.at
        could = client.renews == 0 and at > began + WARNING_SECONDS and not (client.latency or client.bandwidth)
        good = self._is_good(at - client.lasts - AFTERMATH_SECONDS, at) and not client.roams and not client.pause
        promise(not (could and good), "no renewal", "that a token is renewed before it expires", became)

    def _has_cause(self, since: float, became: Became) -> bool:
        """Whether there is a reason for the end of a connection, or for none having come about."""
        client, at = self._client, became.at
        rungs = self._plan.routes[client.route]
        lately = max(since, at - silence_of(self._plan)) - AFTERMATH_SECONDS  # that a network is gone is found so late
        return (
            not self._is_good(lately, at)
            or is_slow(client)
            or any(rung.kind in ("disconnect", "block") for rung in rungs)
            or bool(client.lasts)
            or bool(client.subject and self._plan.log.tail_events < LogPlan().tail_events)
            or bool(client.subject and self._weather.of_log(0, at))
            or bans_client(self._plan, client, self._weather.bans, since, at)
            or len(client.program.transports) > 1
            or became.reason == "the program is slower than what it shares"  # a store is, say
        )

    def _is_explained(self, gone: Gone, token_until: float) -> bool:
        if gone.kind == "done":
            return self._reference is not None and self._reference.ended is not None
        if gone.kind == "expired":
            return gone.at >= token_until - SAME_SECONDS
        bans = self._weather.bans
        return gone.kind in ("refused", "revoked") and bans_client(self._plan, self._client, bans, self._since, gone.at)

    def _end(self, unfollowed: Unfollowed) -> None:
        """Where the program would go on is where it stands."""
        self._ended_at = min(self._ended_at, unfollowed.at)
        assert self._reference is not None
        if self._reference.position is not None and not self._is_broken and unfollowed.cursor is not None:
            self._reference.stops(unfollowed.cursor)

    def late(self, end: float) -> Iterator[Finding]:
        """Who is live has an event soon after it was published."""
        reference, client = self._reference, self._client
        waits = client.program.store == "explicit" and client.program.save_seconds  # for its store
        if reference is None or self._is_broken or client.pause or waits:
            return
        bound = LATE_SECONDS + 3 * client.latency + hearing_seconds(self._plan)
        bound += self._plan.limits.poll_seconds if "poll" in client.program.transports else 0
        until = min(end, self._ended_at)
        for spell in self._spells:
            ends = min(spell.end, until)
            if self._weather.of(client.name, spell.since, ends):
                continue
            reference.lived = (spell.index, reference.position or Cursor("", 0))
            for event, _, came in reference.late(bound, ends):
                if self._is_good(max(spell.since, event.at - AFTERMATH_SECONDS), event.at + bound):
                    promised = f"{event.cursor} of {self._channel} within {bound:g} s"
                    yield Finding("a late event", event.at + bound, promised, came, None, self._channel)
                    return

    def _is_same(self, place: str, cursor: str) -> bool:
        """Whether two cursors are one place to this client: in two lives of the log, where one goes on with the
        other; or with nothing between them that it may see."""
        here, there = Cursor.parse(place), Cursor.parse(cursor)
        if self._book.carries(self._channel, here, there.epoch):
            here = Cursor(there.epoch, here.offset)
        if here == there or self._client.way != "f" or here.epoch != there.epoch or here.offset > there.offset:
            return here == there
        events = self._book.life(self._channel, there.epoch).events[here.offset : there.offset]
        return not any(is_seen(event.number, self._client.subject) for event in events)

    def _is_good(self, begin: float, end: float) -> bool:
        """Whether nothing hindered the client, any server or the log in a time."""
        client, weather = self._client, self._weather
        hindered = weather.crowded or client.bandwidth or (client.latency and client.kernel < 65_536)
        if hindered or weather.of(client.name, begin, end) or weather.draining(None, begin, end):
            return False
        return not weather.of_log(begin, end)


class _Kept:
    """What is kept of where a follow stands: never more than the program is done with, nor much less."""

    def __init__(self, client: ClientPlan, is_same: Callable[[str, str], bool]) -> None:
        self._is_same = is_same
        self._seconds = client.program.save_seconds
        self._keeps = client.program.store
        self._fails = bool(client.program.fails)
        self._start: str | None = None
        self._places: list[str] = []
        self._begun = 0
        self._done = 0
        self._done_at: list[float] = []
        self._surely = 0
        self._saved: str | None = None

    def hear(self, record: OfFollow) -> None:
        """Judge one record. Raises BrokenPromiseError."""
        if not self._keeps:
            return
        if isinstance(record, Followed):
            self._begins(record)
        elif isinstance(record, Took):
            self._took(record.message)
        elif isinstance(record, Did | Commits):
            self._is_done(record.at)
        elif isinstance(record, Committed):
            self._surely = len(self._places)
            self._is_there("the store, when a commit has returned")
        elif isinstance(record, Saved):
            self._saved = record.cursor
            begins = not self._places[self._begun :]  # where it begins may be kept before it has taken anything
            is_done = begins or self._count_to(record.cursor) is not None
            last = self._places[self._done - 1] if self._done else self._start
            promise(is_done, "kept too early", f"nothing that the program is not done with, {last} at most", record)
        elif isinstance(record, Unfollowed):
            self._ends(record)

    def _begins(self, followed: Followed) -> None:
        self._is_there("the store, for the next life")
        if not self._places:
            self._start = followed.start
        elif followed.stored is None and followed.after is None:
            promise(False, "a lost place", "that what was in hand comes again", followed)
        self._done = (self._count_to(followed.stored) or 0) if followed.stored is not None else 0
        self._places = self._places[: self._done]
        self._done_at = self._done_at[: self._done]
        self._begun, self._surely = self._done, min(self._surely, self._done)

    def _took(self, message: Message) -> None:
        place = message.get("id") or message.get("to") or message["cursor"]
        if message.get("reason") == "conflated":
            place = self._places[-1] if self._places else self._start or message["from"]
        self._places.append(place)

    def _is_done(self, at: float) -> None:
        self._done_at += [at] * (len(self._places) - self._done)
        self._done = len(self._places)

    def _ends(self, unfollowed: Unfollowed) -> None:
        """What it was done with for as long as it takes to keep it is kept; where its block was left, all of it."""
        if self._keeps != "auto" or self._fails:
            return
        lately = 2 * self._seconds + SAVE_SECONDS
        if not unfollowed.killed and lately < GOODBYE_SECONDS:
            self._surely = self._done
        else:
            self._surely = sum(at < unfollowed.at - lately for at in self._done_at)

    def _is_there(self, where: str) -> None:
        """What is surely kept is."""
        if self._surely:
            saved = None if self._saved is None else self._count_to(self._saved)
            place = self._places[self._surely - 1]
            promise((saved or 0) >= self._surely, "a lost commit", f"{place} in {where}", self._saved)

    def _count_to(self, cursor: str) -> int | None:
        """How many of the items that the program was done with a cursor stands behind; None: it stands elsewhere."""
        for count in range(self._done, 0, -1):
            if self._is_same(self._places[count - 1], cursor):
                return count
        return 0 if self._start is not None and self._is_same(self._start, cursor) else None


def _unanswered(told: NotAnswered, client: ClientPlan, book: Book, weather: Weatherman) -> Iterator[Finding]:
    """A command is answered, however often it has to be asked for, where there is somebody to answer."""
    begin = told.at - RETRY_SECONDS - AFTERMATH_SECONDS
    befell = weather.of(client.name, begin, told.at) or weather.of_log(begin, told.at) or is_slow(client)
    if not (befell or weather.draining(None, begin, told.at) or weather.crowded):
        yield Finding("no reply", told.at, "that a command is answered", f"{told}")
