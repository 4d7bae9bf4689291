"""The judge of one follower: what it hears must be the log after its cursor, in order, or a gap that names exactly what
is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from triolet.event import Cursor

from .book import Book
from .history import Message
from .plan import Rung

__all__ = ["BrokenPromiseError", "Follower", "key_of", "name_of"]

PAGE_SECONDS = 5
"""A page that was read for somebody else is shared for so long: a gap may be as old as that."""


class BrokenPromiseError(Exception):
    """What was promised, and what came instead. ``kind`` is a word or two: two findings of one kind are alike."""

    def __init__(self, kind: str, promised: str, came: str) -> None:
        super().__init__(f"{kind}: promised was {promised}; what came: {came}")
        self.kind = kind
        self.promised = promised
        self.came = came


@dataclass
class _Conflated:
    """A conflated page that is being heard."""

    begin: Cursor
    end: Cursor
    missed: int
    heard: int = 0


class Follower:
    """Follows what one client hears of one channel, on one connection (or in one poll).

    Args:
        book: what the log held.
        channel: its name.
        after: the cursor that was asked with, as text; None is "from now".
        rungs: of the route's policy.
        begun: when it was asked, in virtual seconds.
        lag: seconds that a server may be behind the log.
        quick: whether what is heard was sent at that very moment.
    """

    def __init__(
        self,
        book: Book,
        channel: str,
        after: str | None,
        rungs: Sequence[Rung],
        *,
        begun: float,
        lag: float,
        quick: bool,
    ) -> None:
        self.channel = channel
        self.position: Cursor | None = None
        self.live = False
        self._book = book
        self._after = None if after is None else Cursor.parse(after)
        self._rungs = rungs
        self._since = begun
        self._lag = lag
        self._quick = quick
        self._conflated: _Conflated | None = None
        self._read_after: Cursor | None = None

    @property
    def opened(self) -> bool:
        """Whether it knows where it stands."""
        return self.position is not None

    def hear(self, index: int, at: float, message: Message) -> None:
        """Judge one message, by its place in the history and its time. Raises BrokenPromiseError."""
        kind = message["type"]
        if kind != "gap":
            self._read_after = None
        if kind == "open":
            self._open(index, _cursor(message, "cursor"))
        elif kind == "event":
            self._event(index, _cursor(message, "id"), message)
        elif self._conflated is not None:
            end = self._conflated.end
            raise BrokenPromiseError("conflation", f"events up to {end}, the conflated gap's end", f"{message}")
        elif kind == "gap":
            self._gap(index, at, message)
        elif kind == "live":
            self._stands(_cursor(message, "cursor"), kind)
            self.live = True
        last = message.get("last_id")
        if last not in (None, str(self.position)) and not self._is_here(Cursor.parse(last)):
            stands = f"{self.position} as the last event's id of {self.channel}, where the client stands"
            raise BrokenPromiseError("last event id", stands, f"{message['last_id']}, by {message}")
        if self._quick:
            self._since = at

    def beat(self, cursor: str) -> None:
        """Judge what a beat says of this channel."""
        if self._conflated is not None:
            raise BrokenPromiseError("conflation", f"events up to {self._conflated.end}", f"a beat at {cursor}")
        self._stands(Cursor.parse(cursor), "beat")

    def stands(self, cursor: str) -> None:
        """Judge the cursor that a page ends with."""
        if self._conflated is not None:
            raise BrokenPromiseError("conflation", f"events up to {self._conflated.end}", f"a page up to {cursor}")
        self._stands(Cursor.parse(cursor), "page")

    def _follow_to(self, told: Cursor) -> None:
        """Where nothing was lost, a place is told in another epoch without a word."""
        here = self.position
        if here is not None and self._book.carries(self.channel, here, told.epoch):
            self.position = Cursor(told.epoch, here.offset)

    def _is_here(self, other: Cursor) -> bool:
        """Whether a cursor of an earlier epoch is where we stand."""
        here = self.position
        return here is not None and other.offset == here.offset and self._book.carries(self.channel, other, here.epoch)

    def _stands(self, told: Cursor, what: str) -> None:
        self._follow_to(told)
        if told != self.position:
            raise BrokenPromiseError(
                f"{what}'s cursor", f"{self.position} in {self.channel}, where the client stands", f"a {what} at {told}"
            )

    def opens_at(self, index: int, cursor: Cursor) -> None:
        """A page without a gap begins here, without an ``open``."""
        if self.position is None:
            self._open(index, cursor)

    def _open(self, index: int, at: Cursor) -> None:
        if self.position is not None:
            raise BrokenPromiseError("open", "one open for one follow", f"another, at {at}")
        asked = self._after
        if asked is None:
            self._from_now(index, at)
        elif asked == at == Cursor("", 0):
            pass  # it is turned away before anything was read: no event can come after this
        elif asked == Cursor("", 0):
            oldest = self._oldest(at.epoch, index, self._now(index))
            if at.epoch not in self._book.epochs or at.offset >= oldest:
                raise BrokenPromiseError("open", f"the oldest kept of {self.channel}, {oldest}", f"an open at {at}")
            self._read_after = Cursor(at.epoch, 0)
        elif at != Cursor(asked.epoch or at.epoch, asked.offset) and not (
            at.offset == asked.offset and self._book.carries(self.channel, asked, at.epoch)
        ):
            raise BrokenPromiseError("open", f"the stream after {asked}", f"an open at {at}")
        self.position = at

    def _from_now(self, index: int, at: Cursor) -> None:
        earliest = self._book.before(self._since - self._lag)
        if at.epoch not in self._book.epochs:
            raise BrokenPromiseError("open", "a cursor of this log", f"an open at {at}")
        life = self._book.life(self.channel, at.epoch)
        low, high = life.head(earliest), life.head(index)
        if not low <= at.offset <= high:
            raise BrokenPromiseError("open", f"now: an offset of {low} to {high} in {self.channel}", f"an open at {at}")

    def _event(self, index: int, at: Cursor, message: Message) -> None:
        if self.position is None:
            raise BrokenPromiseError("open", "an open before any event", f"an event at {at}")
        self._follow_to(at)
        expected = Cursor(self.position.epoch, self.position.offset + 1)
        if at != expected and not self._may_leave_out(at):
            missing = at.epoch == expected.epoch and at.offset > expected.offset
            kind = "a lost event" if missing else "a repeated event"
            raise BrokenPromiseError(kind, f"the event at {expected} of {self.channel}", f"the one at {at}")
        stored = self._book.event(self.channel, at)
        if stored is None or self._book.life(self.channel, at.epoch).at[at.offset - 1] > index:
            raise BrokenPromiseError("an event of no log", f"an event that is in {self.channel}", f"{message}")
        same = message["data"][0] == stored.number and message.get("key", stored.key) == stored.key
        if not same or message["event"] != name_of(stored.number):
            raise BrokenPromiseError("another event", f"number {stored.number} at {at} of {self.channel}", f"{message}")
        self.position = at
        if self._conflated is not None:
            self._conflated.heard += 1
            self._end_of_conflated(self._conflated)

    def _may_leave_out(self, at: Cursor) -> bool:
        """Whether a newer one with the same key, not after the announced end, stands for each event before this."""
        page, position = self._conflated, self.position
        if page is None or position is None or at.epoch != page.end.epoch or at.offset <= position.offset:
            return False
        if at.offset > page.end.offset:
            return False
        keys = [event.key for event in self._book.life(self.channel, at.epoch).events[: page.end.offset]]
        gone = range(position.offset, at.offset - 1)
        return all(keys[offset] is not None and keys[offset] in keys[offset + 1 :] for offset in gone)

    def _end_of_conflated(self, page: _Conflated) -> None:
        assert self.position is not None
        if self.position.offset < page.end.offset:
            return
        missed = page.end.offset - page.begin.offset - page.heard
        if missed != page.missed:
            raise BrokenPromiseError("conflation", f"{page.missed} events left out", f"{missed} left out")
        self._conflated = None

    def _gap(self, index: int, at: float, message: Message) -> None:
        begin, end = _cursor(message, "from"), _cursor(message, "to")
        reason, missed = message["reason"], message["missed"]
        if self.position is None:  # a page's gap comes without an open
            self._open(index, begin)
        self._follow_to(begin)
        if begin != self.position:
            raise BrokenPromiseError("a gap", f"a gap after {self.position}, where the client stands", f"{message}")
        if end.epoch not in self._book.epochs:
            raise BrokenPromiseError("a gap", "a gap to a place in the log", f"{message}")
        judges = {
            "expired": self._expired,
            "epoch": self._epoch,
            "future": self._future,
            "skipped": self._skipped,
            "conflated": self._left_out,
        }
        if reason not in judges:
            raise BrokenPromiseError("a gap", "a reason of the catalogue", f"{message}")
        if self._read_after is None:
            self._read_after = begin
        judges[reason](index, at, begin, end, missed)
        self.live = False
        if reason != "conflated":
            self.position = end

    def _expired(self, index: int, at: float, begin: Cursor, end: Cursor, missed: int | None) -> None:
        self._ends_at_the_oldest(index, at, begin, end)
        if begin.epoch != end.epoch or missed != end.offset - begin.offset or missed <= 0:
            raise BrokenPromiseError("a gap", "one that counts what is missing", f"{begin} to {end}, missed {missed}")

    def _epoch(self, index: int, at: float, begin: Cursor, end: Cursor, missed: int | None) -> None:
        self._ends_at_the_oldest(index, at, begin, end)
        if begin.epoch == end.epoch or missed is not None or self._upto(begin, end) is not None:
            raise BrokenPromiseError(
                "a gap", "one to another epoch, of nobody knows how many", f"{begin} to {end}, {missed}"
            )

    def _ends_at_the_oldest(self, index: int, at: float, begin: Cursor, end: Cursor) -> None:
        """What the gap names is gone, and nothing else: it ends where the oldest kept event begins."""
        early = max(0.0, self._since - PAGE_SECONDS - self._lag)
        low = self._book.oldest_perhaps(self.channel, end.epoch, self._book.before(early), early)
        high = self._oldest(end.epoch, index, at)
        if not low <= end.offset + 1 <= high:
            kept = f"{low}" if low == high else f"{low} to {high}"
            raise BrokenPromiseError(
                "a gap that is not", f"{self.channel} from the oldest kept on, {kept}", f"a gap {begin} to {end}"
            )

    def _future(self, index: int, at: float, begin: Cursor, end: Cursor, missed: int | None) -> None:
        upto = self._upto(begin, end)
        if upto is not None:
            high = max(upto, self._oldest(end.epoch, index, at) - 1)
            if begin.offset <= upto or not upto <= end.offset <= high or missed is not None:
                promised = f"one from past what is left of {begin.epoch}, {upto}, to there"
                raise BrokenPromiseError("a gap", promised, f"{begin} to {end}, {missed}")
            return
        low = self._book.life(self.channel, end.epoch).head(self._book.before(self._since - self._lag))
        high = self._book.life(self.channel, end.epoch).head(index)
        if begin.epoch != end.epoch or missed is not None or not low <= end.offset <= high or begin.offset <= low:
            raise BrokenPromiseError(
                "a gap", f"one from a cursor past the head, {low} to {high}", f"{begin} to {end}, {missed}"
            )

    def _skipped(self, index: int, at: float, begin: Cursor, end: Cursor, missed: int | None) -> None:
        self._policy_may("skip", index, begin, end)
        if begin.epoch != end.epoch or missed != end.offset - begin.offset or missed <= 0:
            raise BrokenPromiseError("a gap", "one that counts what is missing", f"{begin} to {end}, missed {missed}")

    def _left_out(self, index: int, at: float, begin: Cursor, end: Cursor, missed: int | None) -> None:
        self._policy_may("latest", index, begin, end)
        if begin.epoch != end.epoch or not missed or not 0 < missed < end.offset - begin.offset:
            raise BrokenPromiseError("a gap", "one that counts what is missing", f"{begin} to {end}, missed {missed}")
        self._conflated = _Conflated(begin, end, missed)

    def _policy_may(self, kind: str, index: int, begin: Cursor, end: Cursor) -> None:
        head = self._book.life(self.channel, end.epoch).head(index)
        bounds = [rung.events for rung in self._rungs if rung.kind == kind and rung.events is not None]
        after = self._read_after or begin  # what the policy was asked about: where the client stood before any gap
        lag = head - (after.offset if after.epoch == end.epoch else 0)
        if not bounds or lag <= min(bounds) or end.offset > head:
            allowed = f"{kind} past {min(bounds)} events" if bounds else f"no {kind}"
            raise BrokenPromiseError("a policy", f"{allowed} on this route", f"{begin} to {end}, head {head}")

    def _upto(self, begin: Cursor, end: Cursor) -> int | None:
        """Up to where the life of a gap's end has what that of its begin had; None: it knows nothing of that."""
        return None if begin.epoch == end.epoch else self._book.upto(self.channel, begin.epoch, end.epoch)

    def _oldest(self, epoch: str, index: int, time: float) -> int:
        return self._book.oldest(self.channel, epoch, index, time)

    def _now(self, index: int) -> float:
        return self._book.time(index)


def name_of(number: int) -> str:
    """The name of the event that holds a number."""
    return "message" if number % 3 else "state"


def key_of(number: int) -> str | None:
    """Its key; every fourth event has none."""
    return None if number % 4 == 3 else f"key {number % 4}"


def _cursor(message: Message, field: str) -> Cursor:
    return Cursor.parse(str(message[field]))
