"""A position in a channel, and the check that nothing is missing. Sans-IO: it knows neither network nor time.

The browser's ``track.js`` is the same in JavaScript; ``conformance/`` holds both to one table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from ..event import Cursor, Gap
from .cursors import distance, is_newest, step_to
from .errors import Ended
from .heard import Heard, cursor_of, end_of, event_of, gap_of, snapshot_of
from .items import End, Fault, Item, Live, Snapshot

__all__ = ["State", "Track"]

State = Literal["connecting", "behind", "live", "gone"]
"""No stream yet or between two; catching up; up to date; over."""

NOTHING: Final[list[Item]] = []


class Track:
    """A position in a channel. It takes messages, and gives what the program is to get.

    Offsets come without a hole, unless the server says that this client may not see every event. A hole that was not
    announced is a fault: the connection is made anew from the last good cursor. Where the events are missing again,
        they are told as lost (a gap, ``hole``), and it goes on. A repeat is a fault too, and is not given again.

    Attributes:
        url: what is followed; empty where the app on the server has chosen the channel.
        channel: its name, once the server has said it.
        kept_in: the channel that ``start`` was kept of in the program's life before this, where that is known.
        start: where the program started. began: the same, or, from now on, where that was; None before it is known, and
            where it began with a state.
        cursor: up to here everything was taken.
        filtered: whether the server keeps events back that this client may not see.
        state: see :data:`State`.
    """

    __slots__ = (
        "_conflated_to",
        "_fault",
        "_hole_at",
        "began",
        "channel",
        "cursor",
        "filtered",
        "kept_in",
        "start",
        "state",
        "url",
    )

    def __init__(self, url: str, after: Cursor | None, fault: Callable[[Fault], None]) -> None:
        self.url = url
        self.channel: str | None = None
        self.kept_in: str | None = None
        self.start = after
        self.began = None if is_newest(after) else after
        self.cursor = after
        self.filtered = False
        self.state: State = "connecting"
        self._fault = fault
        self._hole_at: Cursor | None = None
        self._conflated_to: Cursor | None = None

    def take(self, message: Heard) -> list[Item]:
        """Take one message, by whichever transport it came. Return what the program is to get.

        Raises:
            Ended: events are missing, for the first time at this place; or the message is none.
        """
        match message.type:
            case "event":
                event = event_of(message, self.channel)
                return self._step(event.cursor, event, event.folded)
            case "end":
                return self._end(end_of(message))
            case "snapshot":
                return [self._snapshot(snapshot_of(message))]
            case "open":
                return self._open(message)
            case "gap":
                return [self._gap(gap_of(message))]
            case "live":
                return self._live(cursor_of(message.cursor))
            case "beat":
                at = message.cursors.get(self.channel or "")
                return NOTHING if at is None else self._reach(cursor_of(at))
            case "moved":  # of our own making: where the next poll goes on from, or what a beat says of one name
                return self._reach(cursor_of(message.cursor))
        return NOTHING

    def _open(self, message: Heard) -> list[Item]:
        is_another = bool(self.url) and self.is_of_another(message.channel)
        self.channel = message.channel
        self.filtered = message.filtered
        self._conflated_to = None
        if self.state != "live" or not self.url:  # else its stream was opened anew for the sake of others
            self.state = "behind"
        here = self.cursor
        if message.cursor is None and self.url:  # a state comes first, which says where it begins
            return NOTHING
        if is_another and here is not None and not is_newest(here):
            # The URL's view has chosen by who asks, say: what was before this place there, nobody has seen.
            return [self._gap(Gap(here, cursor_of(message.cursor), None, "epoch"))]
        if is_newest(here):  # they begin somewhere
            self.began = self.cursor = cursor_of(message.cursor)
        elif here is None or not self.url:
            at = cursor_of(message.cursor)
            step = 0 if here is None else distance(here, at)
            if here is not None and (step is None or step > 0):
                # It starts where the app says. What that leaves out is lost, and is announced.
                return [self._gap(Gap(here, at, step, "skipped"))]
            self.began, self.cursor = self.began or at, here or at
        return NOTHING

    def is_of_another(self, channel: str | None) -> bool:
        """Whether the position is one in another channel than this: that of the same URL when it was asked before."""
        before = self.channel or self.kept_in
        return before is not None and channel != before

    def resume(self, at: Cursor, channel: str | None) -> None:
        """Go on where the program was in its life before this."""
        self.start = self.began = self.cursor = at
        self.kept_in = channel

    def _step(self, at: Cursor, item: Item, count: int = 1) -> list[Item]:
        """What has a place of its own, and stands for so many events up to there."""
        step = step_to(self._here(), at, count, filtered=self.filtered)
        if step is not None and step < 1:
            if self.url:  # else the app may well have chosen an earlier place
                self._say("repeat", at)
            return NOTHING
        lost: list[Item] = []
        if step != count and not self._is_conflated(at):
            if step is not None and step < count:  # the program has some of these, and cannot be given the others alone
                return self._hole(at)
            if not self._may_pass(step):
                lost = self._hole(Cursor(at.epoch, max(0, at.offset - count)))
        self.cursor = at
        return [*lost, item]

    def _end(self, end: End) -> list[Item]:
        """Who follows from the end's own place is told of it again."""
        if step_to(self._here(), end.cursor, 1) == 0:
            self.cursor = end.cursor
            return [end]
        return self._step(end.cursor, end)

    def _snapshot(self, state: Snapshot) -> Snapshot:
        """Where the program stood counts no more: the state takes the place of all that it has."""
        self.cursor, self._conflated_to = state.cursor, None
        return state

    def _gap(self, gap: Gap) -> Gap:
        """Of conflated events the newest of each key are still to come: the cursor stays, and holes are expected."""
        if gap.reason == "conflated":
            self._conflated_to = gap.to
        else:
            self.cursor = gap.to
        return gap

    def _live(self, at: Cursor) -> list[Item]:
        lost = self._reach(at)
        if self.state == "live":
            return lost
        self.state = "live"
        return [*lost, Live(self._here())]

    def _reach(self, at: Cursor) -> list[Item]:
        """The server says that everything up to here has been sent."""
        step = step_to(self._here(), at, 0, filtered=self.filtered)
        if (step is None or step > 0) and not self._may_pass(step):
            return self._hole(at)
        if step is not None and step >= 0:
            self.cursor = at  # ours may have been a bare offset
        return NOTHING

    def _may_pass(self, step: int | None) -> bool:
        """Whether the events that a step leaves out may have been for others."""
        return self.filtered and step is not None

    def _is_conflated(self, at: Cursor) -> bool:
        left = None if self._conflated_to is None else distance(at, self._conflated_to)
        return left is not None and left >= 0

    def _hole(self, to: Cursor) -> list[Item]:
        self._say("hole", to)
        here = self._here()
        if self._hole_at != here:
            self._hole_at = here
            raise Ended("events are missing")
        return [self._gap(Gap(here, to, distance(here, to), "hole"))]

    def _here(self) -> Cursor:
        if self.cursor is None:
            raise Ended("a message of a channel came before its open", "bad answer")
        return self.cursor

    def _say(self, kind: str, to: Cursor) -> None:
        self._fault(Fault(kind, self.channel, self.cursor, to))
