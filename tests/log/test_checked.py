"""What a log of one's own returns is looked at before it is believed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import msgspec
import pytest
from trio.testing import MockClock

from triolet.errors import LogBroken
from triolet.event import DELETED, END, Cursor, Draft, Event, Gap
from triolet.log import MemoryLog, Page
from triolet.log.checked import checked, read_checked, status_checked

HEAD = Cursor("e", 10)
OLDEST = Cursor("", 0)


def event(offset: int, epoch: str = "e", channel: str = "c") -> Event:
    return Event(Cursor(epoch, offset), channel, "message", b"1", None, 0.0)


def page(offsets: Sequence[int], gap: Gap | None = None, head: Cursor = HEAD) -> Page:
    return Page(tuple(event(offset) for offset in offsets), gap, head)


def to(offset: int, epoch: str = "e", reason: str = "expired") -> Gap:
    return Gap(Cursor("e", 1), Cursor(epoch, offset), None, reason)


def strange(**fields: Any) -> Page:
    """A page of which one event is none that could have been published."""
    return Page((event(4), msgspec.structs.replace(event(5), **fields), event(6)), None, HEAD)


GOOD = {
    "all of it": (page([1, 2, 3]), OLDEST),
    "the oldest kept": (page([7, 8, 9, 10]), OLDEST),
    "nothing is kept": (page([]), OLDEST),
    "after a cursor": (page([4, 5]), Cursor("e", 3)),
    "after a bare offset": (page([4, 5]), Cursor("", 3)),
    "after one of an earlier epoch, of which nothing is lost": (page([4, 5]), Cursor("d", 3)),
    "at the head": (page([]), HEAD),
    "behind a gap": (page([8, 9], to(7)), Cursor("e", 1)),
    "behind a gap to the head": (page([], to(10)), Cursor("e", 1)),
    "of another life": (page([1, 2], to(0, reason="epoch")), Cursor("d", 99)),
    "of a channel that is new": (page([], None, Cursor("e", 0)), Cursor("e", 0)),
    "the channel's end": (strange(name=END, json=DELETED), Cursor("e", 3)),
}
BAD = {
    "a hole": (page([4, 6]), Cursor("e", 3)),
    "a hole at the beginning": (page([5, 6]), Cursor("e", 3)),
    "a hole behind a gap": (page([9, 10], to(7)), Cursor("e", 1)),
    "reversed": (page([6, 5, 4]), Cursor("e", 3)),
    "one of them twice": (page([4, 4, 6]), Cursor("e", 3)),
    "what was read before": (page([3, 4]), Cursor("e", 3)),
    "the same again": (page([1, 2, 3]), Cursor("e", 3)),
    "nothing, though there is more": (page([]), Cursor("e", 3)),
    "nothing behind a gap, though there is more": (page([], to(7)), Cursor("e", 1)),
    "past the head": (page([10, 11]), Cursor("e", 9)),
    "a head that is behind the cursor": (page([]), Cursor("e", 11)),
    "a gap past the head": (page([], to(11)), Cursor("e", 1)),
    "a gap to another epoch": (page([8], to(7, "d")), Cursor("e", 1)),
    "an event of another epoch": (Page((event(4), event(5, "d")), None, HEAD), Cursor("e", 3)),
    "an event of another channel": (Page((event(4), event(5, channel="d")), None, HEAD), Cursor("e", 3)),
    "a name that forges a field": (strange(name="a\nid: 9"), Cursor("e", 3)),
    "a name of Triolet's own": (strange(name="triolet.bye"), Cursor("e", 3)),
    "a key that forges a field": (strange(key="a\rid: 9"), Cursor("e", 3)),
    "a key with a line break of Unicode": (strange(key="a\u2028"), Cursor("e", 3)),
    "data with a line break, as somebody has edited them": (strange(json=b'{\n  "a": 1\n}'), Cursor("e", 3)),
    "data that end an event": (strange(json=b"1\r\rdata: 2"), Cursor("e", 3)),
    "a time that is none": (strange(published_at=math.nan), Cursor("e", 3)),
    "a time without end": (strange(published_at=math.inf), Cursor("e", 3)),
    "nothing at all": (Page((), None, HEAD), Cursor("e", 0)),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_page_that_keeps_the_contract_is_let_through(name: str) -> None:
    given, after = GOOD[name]
    assert checked(given, "c", after) is given


@pytest.mark.parametrize("name", BAD)
def test_a_page_that_breaks_the_contract_is_an_error_that_says_how(name: str) -> None:
    given, after = BAD[name]
    with pytest.raises(LogBroken, match=rf"breaks its contract, reading after {after}: .*check_log"):
        checked(given, "c", after)


async def test_every_page_of_a_log_of_ours_is_let_through(autojump_clock: MockClock) -> None:
    async with MemoryLog().open() as log:
        await log.append("c", [Draft.of(number) for number in range(20)])
        epoch = (await log.head("c")).epoch
        for after in [OLDEST, *[Cursor(name, at) for name in (epoch, "", "other") for at in (0, 1, 19, 20, 21)]]:
            for limit in (1, 7, 100):
                given = await log.read("c", after, limit=limit, max_bytes=1_000)
                assert await read_checked(log, "c", after, limit=limit, max_bytes=1_000) == given


NO_ANSWERS: dict[str, Any] = {
    "nothing": None,
    "a list": [],
    "no head": Page((), None, None),  # type: ignore[arg-type]  # what is none of its answers
    "no gap": Page((), "a gap", HEAD),  # type: ignore[arg-type]  # as above
    "no events": Page(({"offset": 4},), None, HEAD),  # type: ignore[arg-type]  # as above
    "text for data": strange(json="1"),
    "no time": strange(published_at=None),
    "more than was asked for": page([4, 5, 6, 7]),
    "an error of its own": KeyError("a bug of the log's"),
    "what asyncio's libraries raise": import_module("asyncio").CancelledError(),
}


class Strange(MemoryLog):
    def __init__(self, answer: Any) -> None:
        super().__init__()
        self._answer = answer

    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Any:
        return self._give()

    async def status(self, channel: str) -> Any:
        return self._give()

    def _give(self) -> Any:
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


@pytest.mark.parametrize("name", NO_ANSWERS)
async def test_what_is_no_answer_of_a_log_is_the_stores_fault(name: str, caplog: pytest.LogCaptureFixture) -> None:
    log = Strange(NO_ANSWERS[name])
    with pytest.raises(LogBroken):
        await read_checked(log, "c", Cursor("e", 3), limit=3, max_bytes=99)
    with pytest.raises(LogBroken):
        await status_checked(log, "c")
    told = [record.getMessage().partition("()")[0] for record in caplog.records]
    assert told == ["Strange.read", "Strange.status"]
