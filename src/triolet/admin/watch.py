"""Looks at all workers once a second, for all pages of the operator's that are open together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Final

import msgspec
import trio

from ..clock import wall_time
from ..event import Cursor, Event
from ..log.epoch import draw_epoch
from ..server.isolation import isolated
from ..wire.codec import SSE_CHUNKED
from ..wire.messages import Live, Open, SnapshotMessage
from .bounds import ADMIN_IDLE_LOOK_SECONDS, ADMIN_LATE_SECONDS, ADMIN_LOOK_SECONDS, ADMIN_PAGES
from .contract import Answer, Question, Staff
from .figures import Figures, Point, Sample
from .reckoner import Heard, Reckoner

__all__ = ["CHANNEL", "EVENT", "Hour", "Watch"]

CHANNEL: Final = "figures"
EVENT: Final = "figures"

Send = Callable[[bytes], Awaitable[None]]


class Hour(msgspec.Struct):
    """What a page begins with: the last hour, and the figures of now."""

    points: list[Point]
    now: Figures


class Shown:
    """What pages are shown of one look: encoded once for all of them, and the hour when the first one needs it.

    Args:
        cursor: its place in the channel of figures.
        figures: what was seen.
        points: the hour behind it.
        passed: how many points there have ever been.
    """

    def __init__(self, cursor: Cursor, figures: Figures, points: list[Point], passed: int) -> None:
        self.passed = passed
        self._cursor = cursor
        self._figures = figures
        self._points = points

    @cached_property
    def event(self) -> bytes:
        """The figures, for a page that has the hour."""
        now = self._figures
        event = Event(self._cursor, CHANNEL, EVENT, msgspec.json.encode(now), None, now.time / 1000)
        return SSE_CHUNKED.join([SSE_CHUNKED.event(event)])

    @cached_property
    def state(self) -> bytes:
        """The hour and the figures, for a page that has nothing, or not enough."""
        cursor, hour = str(self._cursor), msgspec.Raw(msgspec.json.encode(Hour(self._points, self._figures)))
        return SSE_CHUNKED.say(SnapshotMessage(CHANNEL, cursor, hour)) + SSE_CHUNKED.say(Live(CHANNEL, cursor))


class Watch:
    """The figures of all workers, as a channel: a state (the last hour) and an event each second, on Triolet's wire.

    Args:
        staff: the workers.

    Bounds: one look at a time, at most three questions to a worker that does not answer; ``ADMIN_PAGES`` pages. No page
    has a queue: a slow one is sent what is newest when it has taken what it was sent before.

    Attributes:
        pages: how many are open.
    """

    def __init__(self, staff: Staff) -> None:
        self.pages = 0
        self._staff = staff
        self._reckoner = Reckoner()
        self._epoch = draw_epoch()
        self._looks = 0
        self._asked: set[int] = set()
        self._heard: dict[int, tuple[float, Sample | None]] = {}
        """What each worker has said, and when; before it has said anything, when it was first asked."""
        self._shown: Shown | None = None
        self._news = trio.Event()
        self._wanted = trio.Event()

    @property
    def has_room(self) -> bool:
        """Whether one more page may be shown the figures."""
        return self.pages < ADMIN_PAGES

    async def run(self) -> None:
        """Look, once a second while a page is open, and else once in ten, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                begun = trio.current_time()
                await isolated(partial(self._look, nursery), _was_logged)
                await trio.sleep_until(begun + ADMIN_LOOK_SECONDS)
                if not self.pages:
                    self._wanted = trio.Event()
                    with trio.move_on_at(begun + ADMIN_IDLE_LOOK_SECONDS):
                        await self._wanted.wait()

    async def feed(self, send: Send) -> None:
        """Show one page the hour, and then the figures of each second, until cancelled.

        Args:
            send: takes what is sent; while it waits, nothing else is kept for the page.

        Raises:
            Exception: what ``send`` raises.

        Cancellation: a part of it may be sent.
        """
        with self._page():
            await send(SSE_CHUNKED.say(Open(CHANNEL, None, filtered=True)))
            sent: Shown | None = None
            while True:
                while self._shown is None or self._shown is sent:
                    await self._news.wait()
                shown = self._shown
                # One that has missed a point begins anew: its charts would have a hole.
                whole = sent is None or shown.passed - sent.passed > 1
                await send(shown.state if whole else shown.event)
                sent = shown

    @contextmanager
    def _page(self) -> Iterator[None]:
        if not self.pages:
            self._shown = None  # it may be ten seconds old
            self._wanted.set()
        self.pages += 1
        try:
            yield
        finally:
            self.pages -= 1

    async def _look(self, nursery: trio.Nursery) -> None:
        begun, asked = trio.current_time(), trio.Event()
        self._asked.clear()

        async def ask() -> None:
            await isolated(partial(self._staff.ask_all, Question("figures"), self._hear), _was_logged)
            asked.set()

        nursery.start_soon(ask)
        with trio.move_on_after(ADMIN_LATE_SECONDS):
            await asked.wait()
        now = trio.current_time()
        self._heard = {number: heard for number, heard in self._heard.items() if number in self._asked}
        heard = {number: self._of(number, begun, now) for number in self._asked}
        figures = self._reckoner.look(now, int(wall_time() * 1000), heard, self._staff.figures)
        self._looks += 1
        cursor = Cursor(self._epoch, self._looks)
        self._shown = Shown(cursor, figures, list(self._reckoner.points), self._reckoner.passed)
        self._news.set()
        self._news = trio.Event()

    def _of(self, number: int, begun: float, now: float) -> Heard:
        """What a worker has said. One that owes less than a look's time may only be busy."""
        at, sample = self._heard[number]
        late = at < begun and now - at >= ADMIN_LOOK_SECONDS
        return Heard(sample, now - at if late else None)

    def _hear(self, number: int, answer: Answer | None) -> None:
        if answer is None:
            self._asked.add(number)
            self._heard.setdefault(number, (trio.current_time(), None))
        elif answer.status == 200:
            self._heard[number] = trio.current_time(), msgspec.json.decode(answer.body, type=Sample)


def _was_logged() -> None:
    """Nothing more is to be done about it: the next look is a new one."""
