"""A log under check: what makes one, and what the conformance suite does with it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Final, Literal

from ..errors import LogBroken
from ..event import Cursor, Draft, Event
from ..limits import Limits
from ..log.checked import checked
from ..log.contract import EventLog, Page

__all__ = [
    "OLDEST",
    "Clock",
    "LogCheck",
    "LogFactory",
    "Subject",
    "hear",
    "offsets",
    "opened",
    "same",
    "true",
    "where_it_can",
]

logger = logging.getLogger("triolet.testing")

LogFactory = Callable[[Limits, Callable[[], float]], EventLog]
"""Makes a new, empty, unopened log at each call, which keeps to these limits and takes its time from there."""

LogCheck = Callable[[LogFactory], Awaitable[None]]
"""Checks one promise on logs that it has made, opens and closes itself."""

ALL: Final = 1 << 30
"""A bound in bytes that is none."""

OLDEST: Final = Cursor("", 0)
"""Asks for the oldest event kept."""


@dataclass
class Clock:
    """Tells the time that a check has set."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Subject:
    """An open log, and what the checks do with it."""

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self.log = log
        self.clock = clock

    async def put(self, channel: str, *values: object) -> list[Event]:
        """Append values."""
        return await self.log.append(channel, [Draft.of(value) for value in values])

    async def page(self, channel: str, after: Cursor = OLDEST, limit: int = 1 << 20) -> Page:
        """Read a page, and check that it is one."""
        page = await self.log.read(channel, after, limit=limit, max_bytes=ALL)
        try:
            return checked(page, channel, after)
        except LogBroken as error:
            raise AssertionError(str(error)) from error

    async def all(self, channel: str) -> list[Event]:
        """Read all that is kept."""
        return list((await self.page(channel)).events)


@asynccontextmanager
async def opened(factory: LogFactory, limits: Limits | None = None) -> AsyncIterator[Subject]:
    """Open a new log for the time of a block."""
    clock = Clock()
    async with factory(limits or Limits(), clock).open() as log:
        yield Subject(log, clock)


def same(actual: object, expected: object, promise: str) -> None:
    """Raise AssertionError, which tells the promise, where two are not the same."""
    if actual != expected:
        raise AssertionError(f"{promise}:\n  expected {_short(expected)}\n  but got  {_short(actual)}")


def true(holds: object, promise: str) -> None:
    """Raise AssertionError, which tells the promise, where it does not hold."""
    if not holds:
        raise AssertionError(promise)


def offsets(events: Sequence[Event]) -> list[int]:
    """Return the offsets of events."""
    return [event.offset for event in events]


async def hear(tail: AsyncIterator[Sequence[Event]], channel: str, offset: int) -> dict[str, list[Event]]:
    """Listen until a channel's event of this offset was heard. Return everything by channel; under an empty name is
    that something was lost."""
    heard: dict[str, list[Event]] = {channel: []}
    while offset not in offsets(heard[channel]):
        events = await anext(tail)
        if not events:
            heard[""] = []
        for event in events:
            heard.setdefault(event.channel, []).append(event)
    return heard


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:400]} … {text[-190:]}"


def where_it_can(check: LogCheck, what: Literal["end", "commit"], told: str) -> LogCheck:
    """Leave a check out for a log that cannot do something, and say so.

    Args:
        check: the check.
        what: of which ``can_end`` or ``can_commit`` of the log tells.
        told: what is said of a log that cannot, behind its name.
    """

    @wraps(check)
    async def checked(factory: LogFactory) -> None:
        log = factory(Limits(), Clock())
        if getattr(log, f"can_{what}"):
            await check(factory)
        else:
            logger.warning("%s %s: %s is left out", type(log).__name__, told, check.__name__)

    return checked
