"""The reference subscriber: what a client must hear of one channel. That is the log after its cursor, in order and in
time, or a gap that names exactly what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

from triolet.errors import CursorError
from triolet.event import Cursor

from .book import Book, Life
from .folding import is_right as is_right_fold
from .history import Appended, Message
from .identities import is_seen
from .plan import Rung

__all__ = ["BrokenPromiseError", "Subscriber", "promise"]

PAGE_SECONDS = 5
"""A page that was read for somebody else is shared for so long: a gap may be as old as that."""
START = Cursor("", 0)


class BrokenPromiseError(Exception):
    """What was promised, and what came instead. ``kind`` is a word or two: two findings of one kind are alike."""

    def __init__(self, kind: str, promised: str, came: str) -> None:
        super().__init__(f"{kind}: promised was {promised}; what came: {came}")
        self.kind = kind
        self.promised = promised
        self.came = came


def promise(kept: bool, kind: str, promised: str, came: object) -> None:
    """Raises BrokenPromiseError, unless a promise is kept."""
    if not kept:
        raise BrokenPromiseError(kind, promised, str(came))


@dataclass
class _Conflated:
    """A conflated page that is being heard."""

    begin: Cursor
    end: Cursor
    missed: int
    heard: int = 0


class Subscriber:
    """What one client hears of one channel, on one connection (or in one poll).

    Args:
        book: what the log held.
        channel: its name.
        after: the cursor that was asked with, as text; None is "from now".
        rungs: of the route's policy.
        begun: when it was asked, in virtual seconds.
        lag: seconds that a server may be behind the log.
        quick: whether what is heard was sent at that very moment.
        seen_by: the subject for which what is followed is filtered; None: it is not.
        folds: whether it has asked for what it missed to be folded. ``states``: it may be given the channel's state.

    Attributes:
        position: where it stands; None before it knows. ``reached``: when it came where.
        opened_at: when it was opened. ``lived``: the place in the history at which it was up to date first, and where.
        until: when it is followed no longer. ``ended``: the end that it was told.
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
        seen_by: str | None = None,
        folds: bool = False,
        states: bool = False,
    ) -> None:
        self.channel = channel
        self.position: Cursor | None = None
        self.reached: list[tuple[float, Cursor]] = []
        self.opened_at = inf
        self.lived: tuple[int, Cursor] | None = None
        self.until = inf
        self._book = book
        self._after = None if after is None else Cursor.parse(after)
        self._rungs = rungs
        self._since = self._when = begun
        self._lag = lag
        self._quick = quick
        self._seen_by = seen_by
        self._folds = folds
        self._states = states
        self.ended: Cursor | None = None
        self._conflated: _Conflated | None = None
        self._read_after: Cursor | None = None

    def hear(self, index: int, at: float, message: Message) -> None:
        """Judge one message, by its place in the history and its time. Raises BrokenPromiseError."""
        self._when = at
        kind = message["type"]
        if kind != "gap":
            self._read_after = None
        if kind == "open":
            is_filtered = self._seen_by is not None
            promise(message.get("filtered", False) == is_filtered, "open", f"filtered: {is_filtered}", message)
            self.opened_at = at
            if message["cursor"] is None:
                waits = self._states and self.position is None
                promise(waits, "open", "a cursor, for no state comes", message)
                return
            self.open(index, _cursor(message, "cursor"))
        elif kind == "event":
            self._event(index, _cursor(message, "id"), message)
        elif kind == "end":
            self._end(index, at, message)
        elif self._conflated is not None:
            self._end_first(message)
        elif kind == "snapshot":
            self._snapshot(index, at, message)
        elif kind == "gap":
            self._gap(index, at, message)
        elif kind == "live":
            self.stands(message["cursor"], kind)
            goes_on = not self._book.has_ended(self.channel, index, at - self._lag)
            promise(goes_on or not self._quick, "live", f"no live in {self.channel}, which has ended", message)
            self.lived = self.lived or (index, _cursor(message, "cursor"))
        if self.position is None:
            # It has been let in and waits for its state: how far it is behind is all that can be told of it by then.
            promise(kind == "lag" and message.get("last_id") is None, kind, "the state before all else", message)
            return
        last = None if kind == "live" and self._seen_by is not None else message.get("last_id")
        if last not in (None, str(self.position)) and not self._is_here(Cursor.parse(last)):
            stands = f"{self.position} as the last event's id of {self.channel}, where the client stands"
            raise BrokenPromiseError("last event id", stands, f"{message['last_id']}, by {message}")
        if self._quick:
            self._since = at
        if kind in ("open", "event", "live", "snapshot", "end") or (kind == "gap" and message["reason"] != "conflated"):
            self.reached.append((at, self.position))

    def stands(self, cursor: str, what: str) -> None:
        """Judge a cursor that says where the client stands: a beat's, or the one that a page ends with."""
        if self._conflated is not None:
            self._end_first(f"a {what} at {cursor}")
        told = Cursor.parse(cursor)
        self._follow_to(told)
        self._pass_over(told)
        where = f"{self.position} in {self.channel}, where the client stands"
        promise(told == self.position, f"{what}'s cursor", where, f"a {what} at {told}")

    def is_at(self, at: Cursor) -> bool:
        """Whether a place is where it stands: also under the name of another life of the log, or with nothing between
        them that its client may see."""
        here = self.position
        if here is None or at == here or self._is_here(at):
            return here is not None
        if self._book.carries(self.channel, here, at.epoch):
            here = Cursor(at.epoch, here.offset)
        if here.epoch != at.epoch or here.offset > at.offset or (self._seen_by is None and here != at):
            return False
        events = self._book.life(self.channel, at.epoch).events[here.offset : at.offset]
        return len(events) == at.offset - here.offset and not any(map(self._sees, events))

    def late(self, seconds: float, until: float) -> Iterator[tuple[Appended, float | None, str]]:
        """Once it is live it has each event within so many seconds. Yields those that were late, when they were had
        (None: never), and what came.

        Args:
            until: when its connection ended.
        """
        if self.lived is None:
            return
        index, where = self.lived
        life = self._book.life(self.channel, where.epoch)
        at = 0
        for event, place in zip(life.events, life.at, strict=True):
            if place < index or event.at + seconds > min(self.until, until) or not self._sees(event):
                continue
            while at < len(self.reached) and not _covers(self.reached[at][1], event.cursor):
                at += 1
            if at == len(self.reached):
                yield event, None, "nothing"
            elif self.reached[at][0] > event.at + seconds:
                when, place_then = self.reached[at]
                yield event, when, f"{place_then} {when - event.at:.3f} s later"

    def stood(self, time: float) -> Cursor:
        """Where it stood at a time."""
        places = [cursor for at, cursor in self.reached if at <= time]
        return places[-1] if places else START

    # --- where it stands

    def _follow_to(self, told: Cursor) -> None:
        """Where nothing was lost, a place is told in another epoch without a word."""
        here = self.position
        if here is not None and self._book.carries(self.channel, here, told.epoch):
            self.position = Cursor(told.epoch, here.offset)

    def _sees(self, event: Appended) -> bool:
        return self._seen_by is None or is_seen(event.number, self._seen_by)

    def _pass_over(self, to: Cursor) -> None:
        """Go on over what this client may not see, and nothing else."""
        here = self.position
        if self._seen_by is None or here is None or here.epoch != to.epoch or here.offset >= to.offset:
            return
        events = self._book.life(self.channel, to.epoch).events[here.offset : to.offset]
        if len(events) == to.offset - here.offset and not any(map(self._sees, events)):
            self.position = to

    def first(self, event: Message) -> Cursor:
        """The place of the first of those events that one stands for."""
        at = _cursor(event, "id")
        parts = self._parts(self._book.life(self.channel, at.epoch), at, event.get("folded", 1))
        return Cursor(at.epoch, parts[0].cursor.offset if parts else at.offset)

    def before_end(self, index: int, end: Cursor) -> Cursor:
        """Where a page begins that has nothing but an end: there, for one who has it, or right before."""
        asked = self._after
        if asked is None:
            return end
        is_known = asked.epoch in ("", end.epoch) or self._book.carries(self.channel, asked, end.epoch)
        if is_known and asked.offset == end.offset:
            return end
        return self.before(index, Cursor(end.epoch, end.offset - 1))

    def before(self, index: int, first: Cursor) -> Cursor:
        """Where a page begins whose first event comes after a place: where it was asked, if it is filtered."""
        if self._seen_by is None or self._after is None:
            return first
        if self._after == START:
            oldest = self._book.oldest(self.channel, first.epoch, index, self._book.time(index))
            return Cursor(first.epoch, min(first.offset, oldest - 1))
        carries = self._book.carries(self.channel, self._after, first.epoch)
        is_known = carries or self._after.epoch in ("", first.epoch)
        return Cursor(first.epoch, self._after.offset) if is_known else first

    def _is_here(self, other: Cursor) -> bool:
        """Whether a cursor of an earlier epoch is where we stand."""
        here = self.position
        return here is not None and other.offset == here.offset and self._book.carries(self.channel, other, here.epoch)

    def open(self, index: int, at: Cursor) -> None:
        """It begins here. Of a page it is what comes before its first event."""
        asks = self._states and self._after is None
        promise(not asks, "a snapshot", f"the state of {self.channel} before all else", f"an open at {at}")
        promise(self.position is None, "open", "one open for one follow", f"another, at {at}")
        asked, book = self._after, self._book
        if asked is None:
            self._from_now(index, at)
        elif asked == START and at != START:
            oldest = book.oldest(self.channel, at.epoch, index, book.time(index))
            is_there = at.epoch in book.epochs and at.offset < oldest
            promise(is_there, "open", f"the oldest kept of {self.channel}, {oldest}", f"an open at {at}")
            self._read_after = Cursor(at.epoch, 0)
        elif asked != START:  # with that it is turned away before anything was read: no event can come after this
            is_same = at == Cursor(asked.epoch or at.epoch, asked.offset)
            carries = at.offset == asked.offset and book.carries(self.channel, asked, at.epoch)
            promise(is_same or carries, "open", f"the stream after {asked}", f"an open at {at}")
        self.position = at

    def _from_now(self, index: int, at: Cursor) -> None:
        promise(at.epoch in self._book.epochs, "open", "a cursor of this log", f"an open at {at}")
        life = self._book.life(self.channel, at.epoch)
        low, high = life.head(self._book.before(self._since - self._lag)), life.head(index)
        now = f"now: an offset of {low} to {high} in {self.channel}"
        promise(low <= at.offset <= high, "open", now, f"an open at {at}")

    # --- events

    def _event(self, index: int, at: Cursor, message: Message) -> None:
        if self.position is None:
            raise BrokenPromiseError("open", "an open before any event", f"an event at {at}")
        self._follow_to(at)
        life = self._book.life(self.channel, at.epoch)
        parts = self._parts(life, at, message.get("folded", 1))
        first = Cursor(at.epoch, parts[0].cursor.offset if parts else at.offset)
        self._pass_over(Cursor(first.epoch, first.offset - 1))
        self._comes_next(first)
        stored = self._book.event(self.channel, at)
        if stored is None or life.at[at.offset - 1] > index:
            raise BrokenPromiseError("an event of no log", f"an event that is in {self.channel}", f"{message}")
        same = (message["event"], message.get("fold")) == (stored.name, stored.fold)
        same = same and message.get("key", stored.key) == stored.key
        same = same and ("folded" in message or message["data"] == stored.data)
        promise(same and not stored.is_end, "another event", f"what is at {at} of {self.channel}: {stored}", message)
        promise(self._sees(stored), "a filter", f"what {self._seen_by or 'nobody'} may see", message)
        if "folded" in message:
            self._folded(parts, message)
        before = life.head(self._book.before(self._when - self._lag))
        is_kept = not self._quick or at.offset >= life.begins(before)
        promise(is_kept, "a deleted event", f"nothing before {life.begins(before)} of {self.channel}", message)
        self._go_to(at)

    def _comes_next(self, first: Cursor) -> None:
        """Raises BrokenPromiseError, unless what begins here is what comes next."""
        assert self.position is not None
        expected = Cursor(self.position.epoch, self.position.offset + 1)
        if first != expected and not self._may_leave_out(first):
            missing = first.epoch == expected.epoch and first.offset > expected.offset
            kind = "a lost event" if missing else "a repeated event"
            raise BrokenPromiseError(kind, f"the event at {expected} of {self.channel}", f"the one at {first}")

    def _go_to(self, at: Cursor) -> None:
        self.position = at
        if self._conflated is not None:
            self._conflated.heard += 1
            self._end_of_conflated(self._conflated)

    def _parts(self, life: Life, at: Cursor, count: int) -> list[Appended]:
        """The events that one stands for, where it is folded: so many that the client may see, up to its place."""
        if count == 1:
            return []
        seen = [event for event in life.events[: at.offset] if self._sees(event)]
        return seen[-count:] if count > 0 else []

    def _folded(self, parts: Sequence[Appended], message: Message) -> None:
        """Judge what several events have become."""
        may = self._folds or any(rung.kind == "fold" for rung in self._rungs)
        promise(may, "a folded event", "no folded event, for nobody has asked", message)
        fold, datas = message.get("fold"), [event.data for event in parts]
        alike = len({(event.name, event.key, event.fold) for event in parts}) == 1
        right = alike and fold is not None and len(parts) == message["folded"] > 1
        promise(right, "a folded event", f"events of one key that go together: {datas}", message)
        promise(is_right_fold(fold or "", datas, message["data"]), "a folded event", f"what {datas} become", message)

    # --- ends and states

    def _end(self, index: int, at: float, message: Message) -> None:
        told = _cursor(message, "cursor")
        self._follow_to(told)
        if told != self.position:  # else it is told again, to one who has it
            self._pass_over(Cursor(told.epoch, told.offset - 1))
            self._comes_next(told)
        event, life = self._book.event(self.channel, told), self._book.life(self.channel, told.epoch)
        if event is None or life.at[told.offset - 1] > index or not event.is_end or event.data != message["data"]:
            raise BrokenPromiseError("an end", f"what has ended {self.channel} at {told}: {event}", f"{message}")
        over = life.head(self._book.before(at - self._lag)) > told.offset
        promise(not (over and self._quick), "an end", f"no end, for {self.channel} goes on", message)
        self.ended = told
        if self._conflated is not None:
            self._go_to(told)
            promise(self._conflated is None, "conflation", "nothing behind an end", message)
        self.position = told

    def _snapshot(self, index: int, at: float, message: Message) -> None:
        """A state is of now, and of all that was; and it comes where a client knows no place, or has lost one."""
        place, missed = _cursor(message, "cursor"), message.get("missed", 0)
        promise(self._states, "a snapshot", f"none of {self.channel}, for nobody has asked", message)
        if self.position is None:
            self.position = self._after
        if self.position is not None:
            lost = self._is_lost(self.position, index, at)
            promise(lost, "a snapshot", f"what comes after {self.position} of {self.channel}, which is kept", message)
        life = self._book.life(self.channel, place.epoch)
        low, high = life.head(self._book.before(self._since - self._lag)), life.head(index)
        is_known = place.epoch in self._book.epochs
        now = f"a state of now: an offset of {low} to {high} in {self.channel}"
        promise(is_known and low <= place.offset <= high, "a snapshot", now, f"one at {place}")
        begin = max(1, life.begins(place.offset))
        there = [event for event in life.events[begin - 1 : place.offset] if not event.is_end]
        oldest = self._book.oldest(self.channel, place.epoch, index, at)
        right = _is_state_of(there, message["data"], missed, oldest)
        numbers = [event.number for event in there]
        promise(right, "a state", f"{numbers}, from offset {begin} on, and how many are missing", message)
        self.position = place

    def _is_lost(self, here: Cursor, index: int, at: float) -> bool:
        """Whether a gap would be told to one who stands here."""
        epoch = self._book.epoch(index)
        if here == START:
            return False
        if here.epoch not in ("", epoch):
            upto = self._book.upto(self.channel, here.epoch, epoch)
            if upto is None or here.offset > upto:
                return True
        oldest = self._book.oldest(self.channel, epoch, index, at)
        low = self._book.life(self.channel, epoch).head(self._book.before(self._since - self._lag))
        return here.offset < oldest - 1 or here.offset > low

    def _may_leave_out(self, at: Cursor) -> bool:
        """Whether a newer one with the same key, not after the announced end, stands for each event before this."""
        page, position = self._conflated, self.position
        if page is None or position is None or not any(rung.kind == "latest" for rung in self._rungs):
            return False
        if at.epoch != page.end.epoch or not position.offset < at.offset <= page.end.offset:
            return False
        keys = [event.key for event in self._book.life(self.channel, at.epoch).events[: page.end.offset]]
        gone = range(position.offset, at.offset - 1)
        return all(keys[offset] is not None and keys[offset] in keys[offset + 1 :] for offset in gone)

    def _end_of_conflated(self, page: _Conflated) -> None:
        assert self.position is not None
        if self.position.offset >= page.end.offset:
            missed = page.end.offset - page.begin.offset - page.heard
            promise(missed == page.missed, "conflation", f"{page.missed} events left out", f"{missed} left out")
            self._conflated = None

    def _end_first(self, came: object) -> None:
        assert self._conflated is not None
        promise(False, "conflation", f"events up to {self._conflated.end}, the conflated gap's end", came)

    # --- gaps

    def _gap(self, index: int, at: float, message: Message) -> None:
        begin, end = _cursor(message, "from"), _cursor(message, "to")
        reason, missed = message["reason"], message["missed"]
        if self.position is None:  # a page's gap comes without an open
            self.open(index, self.before(index, begin))
        self._follow_to(begin)
        self._pass_over(begin)
        stands = f"a gap after {self.position}, where the client stands, to a place in the log"
        promise(begin == self.position and end.epoch in self._book.epochs, "a gap", stands, message)
        self._read_after = self._read_after or begin
        size = end.offset - begin.offset
        counts = begin.epoch == end.epoch and missed is not None and 0 < missed <= size
        if reason in ("expired", "epoch"):
            self._ends_at_the_oldest(index, at, begin, end)
        elif reason in ("skipped", "conflated"):
            self._policy_may({"skipped": ("skip",), "conflated": ("latest", "fold")}[reason], index, begin, end)
        if reason in ("expired", "skipped"):
            right = counts and missed == size
        elif reason == "conflated":
            right = counts and missed < size
            self._conflated = _Conflated(begin, end, missed)
        elif reason == "epoch":
            right = begin.epoch != end.epoch and missed is None and self._upto(begin, end) is None
        else:
            right = reason == "future" and missed is None and self._is_past(index, at, begin, end)
        promise(right, "a gap", "one of the catalogue that says what is missing, and counts it", message)
        if reason != "conflated":
            self.position = end

    def _ends_at_the_oldest(self, index: int, at: float, begin: Cursor, end: Cursor) -> None:
        """What the gap names is gone, and nothing else: it ends where the oldest kept event begins."""
        early = max(0.0, self._since - PAGE_SECONDS - self._lag)
        low = self._book.oldest(self.channel, end.epoch, self._book.before(early), early)
        high = self._book.oldest(self.channel, end.epoch, index, at)
        oldest = f"{self.channel} from the oldest kept on, {low} to {high}"
        promise(low <= end.offset + 1 <= high, "a gap that is not", oldest, f"a gap {begin} to {end}")

    def _is_past(self, index: int, at: float, begin: Cursor, end: Cursor) -> bool:
        """Whether a gap leads back to the head, from a cursor past it; or past what is left of an earlier epoch."""
        upto = self._upto(begin, end)
        if upto is not None:
            high = max(upto, self._book.oldest(self.channel, end.epoch, index, at) - 1)
            return begin.offset > upto and upto <= end.offset <= high
        life = self._book.life(self.channel, end.epoch)
        low, high = life.head(self._book.before(self._since - self._lag)), life.head(index)
        return begin.epoch == end.epoch and low <= end.offset <= high and begin.offset > low

    def _policy_may(self, kinds: tuple[str, ...], index: int, begin: Cursor, end: Cursor) -> None:
        head = self._book.life(self.channel, end.epoch).head(index)
        bounds = [rung.events for rung in self._rungs if rung.kind in kinds and rung.events is not None]
        after = self._read_after or begin  # what the policy was asked about: where the client stood before any gap
        lag = head - (after.offset if after.epoch == end.epoch else 0)
        kind = " or ".join(kinds)
        allowed = f"{kind} past {min(bounds)} events" if bounds else f"no {kind}"
        may = bool(bounds) and lag > min(bounds) and end.offset <= head
        promise(may, "a policy", f"{allowed} on this route", f"{begin} to {end}, head {head}")

    def _upto(self, begin: Cursor, end: Cursor) -> int | None:
        """Up to where the life of a gap's end has what that of its begin had; None: it knows nothing of that."""
        return None if begin.epoch == end.epoch else self._book.upto(self.channel, begin.epoch, end.epoch)


def _is_state_of(there: Sequence[Appended], state: list[int], missed: int | None, oldest: int) -> bool:
    """Whether a state holds the numbers of events in their order, but for so many that are kept no longer."""
    left = list(state)
    for event in reversed(there):  # what is kept first: one number may be there twice
        if left and left[-1] == event.number:
            left.pop()
        elif event.cursor.offset >= oldest:
            return False
    return not left and missed == len(there) - len(state)


def _covers(reached: Cursor, wanted: Cursor) -> bool:
    return reached.epoch != wanted.epoch or reached.offset >= wanted.offset


def _cursor(message: Message, field: str) -> Cursor:
    try:
        return Cursor.parse(str(message[field]))
    except CursorError:
        raise BrokenPromiseError("malformed", f"a cursor as its {field}", f"{message}") from None
