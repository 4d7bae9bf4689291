"""Histories written by hand, for the checker's own tests: one client, one channel, and what it was told."""

from __future__ import annotations

from typing import Any

from hunt import Finding, Plan, check
from hunt.folding import key_of, name_of
from hunt.history import (
    Answered,
    Appended,
    Asked,
    Drained,
    Draining,
    Ended,
    Heard,
    History,
    Kept,
    Left,
    Lost,
    Malformed,
    Over,
    Published,
    Publishing,
    Said,
    Stuck,
    Unpublished,
    Weather,
)
from hunt.plan import MANY, ClientPlan, Rung
from triolet import Cursor, Limits

__all__ = ["Story", "caught_up", "event"]


class Story:
    """Tells a history line by line; ``at`` is the time of what is told next.

    Args:
        rungs: of the client's policy.
        client: what differs in its plan.
    """

    def __init__(
        self, transport: str = "websocket", *, rungs: tuple[Rung, ...] = (), client: Any = None, **limits: Any
    ) -> None:
        settings = {"beat_seconds": 1_000, "silence_seconds": 2_500, "stall_seconds": 4, **limits}
        who = ClientPlan("A", transport, route=0, **(client or {}))
        self.plan = Plan(seed=1, limits=Limits(**settings), routes=(rungs,), clients=(who,), steps=())
        self.history = History()
        self.at = 0.0
        self._attempts = 0
        self._heads: dict[str, int] = {}
        self.begins("a")

    def findings(self) -> list[Finding]:
        """What the checker finds."""
        return check(self.plan, self.history)

    def kinds(self) -> list[str]:
        """The kinds of it."""
        return [finding.kind for finding in self.findings()]

    # --- the log

    def begins(self, epoch: str) -> None:
        self.epoch = epoch
        self._heads = {}
        self.history.add(Lost(self.at, epoch))

    def stores(self, *numbers: int, size: int = 10, dedupe: str | None = None, offset: int | None = None) -> None:
        for number in numbers:
            self._heads["c0"] = at = (self._heads.get("c0", 0) + 1) if offset is None else offset
            cursor = Cursor(self.epoch, at)
            what = (name_of(number), [number, ""], key_of(number))
            self.history.add(Appended(self.at, "c0", cursor, *what, dedupe, size))

    def keeps(self, *events: tuple[int, int]) -> None:
        self.history.add(Kept(self.at, "c0", self.epoch, events))

    def publishes(self, *numbers: int, dedupe: str | None = None, via: str = "app") -> int:
        self._attempts += 1
        dedupes = tuple(dedupe for _ in numbers)
        self.history.add(Publishing(self.at, self._attempts, 0, "c0", numbers, dedupes, via))
        return self._attempts

    def returns(self, attempt: int, *cursors: str, numbers: tuple[int, ...]) -> None:
        self.history.add(Published(self.at, attempt, cursors, numbers))

    def fails(self, attempt: int, *, sure: bool = True) -> None:
        self.history.add(Unpublished(self.at, attempt, "full", sure))

    # --- the client

    def asks(self, after: str | None = None, *, status: int = 101, **more: Any) -> None:
        transport = self.plan.clients[0].transport
        channel = None if transport in ("socket", *MANY) else "c0"
        self.conn = more.pop("conn", 1)
        self.history.add(Asked(self.at, self.conn, "A", 0, transport, channel, after, **more))
        self.history.add(Answered(self.at, self.conn, status))

    def hears(self, kind: str, **message: Any) -> None:
        self.history.add(Heard(self.at, self.conn, {"type": kind, **message}))

    def says(self, kind: str, **message: Any) -> None:
        self.history.add(Said(self.at, self.conn, {"type": kind, **message}))

    def opens(self, cursor: str) -> None:
        self.hears("open", channel="c0", cursor=cursor)

    def lives(self, cursor: str) -> None:
        self.hears("live", channel="c0", cursor=cursor)

    def events(self, *places: tuple[str, int]) -> None:
        for cursor, number in places:
            self.hears("event", **event(cursor, number))

    def gap(self, begin: str, end: str, reason: str, missed: int | None) -> None:
        self.hears("gap", **{"channel": "c0", "from": begin, "to": end, "reason": reason, "missed": missed})

    def beats(self, **cursors: str) -> None:
        self.hears("beat", time=0, cursors=cursors)

    def page(self, *places: tuple[str, int], cursor: str, live: bool = True, gap: Any = None) -> None:
        events = [{"type": "event", **event(*place)} for place in places]
        self.hears("page", channel="c0", events=events, cursor=cursor, live=live, gap=gap)

    def ends(self, how: str = "end") -> None:
        self.history.add(Ended(self.at, self.conn, how))

    def bye(self, code: int, reason: str, retry: int | None) -> None:
        self.hears("bye", code=code, reason=reason, retry=retry)

    # --- the rest

    def drains(self, grace: float = 5) -> None:
        self.history.add(Draining(self.at, 0, grace))

    def drained(self) -> None:
        self.history.add(Drained(self.at, 0))

    def stalls(self, until: float) -> None:
        self.history.add(Weather(self.at, "A", "stall", until))

    def stuck(self, seconds: float) -> None:
        self.history.add(Stuck(self.at, self.conn, seconds))

    def leaves(self, what: str) -> None:
        self.history.add(Left(self.at, 0, what, 1))

    def malformed(self) -> None:
        self.history.add(Malformed(self.at, self.conn, "a masked frame"))

    def over(self, *behind: tuple[str, str, str | None, str]) -> None:
        self.history.add(Over(self.at, behind))


def caught_up(transport: str = "websocket", **more: Any) -> Story:
    """Somebody came when there were three events, and has them."""
    story = Story(transport, **more)
    story.stores(0, 1, 2)
    story.asks("0")
    story.opens("a.0")
    story.events(("a.1", 0), ("a.2", 1), ("a.3", 2))
    story.lives("a.3")
    return story


def event(cursor: str, number: int) -> dict[str, Any]:
    """An event as it is on the wire."""
    return {"channel": "c0", "id": cursor, "event": name_of(number), "data": [number, ""], "key": key_of(number)}
