"""Rows that somebody has deleted from the file are a gap, and no client is stopped by them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw
import pytest
from trio.testing import MockClock

from triolet.event import Cursor, Draft
from triolet.limits import Limits
from triolet.log.checked import read_checked
from triolet.sqlite.log import SqliteLog

CASES = {
    "one": ([3], 1, [([2], None), ([4, 5, 6], 1)]),
    "some": ([3, 4], 0, [([1, 2], None), ([5, 6], 2)]),
    "two apart": ([2, 4], 1, [([3], 1), ([5, 6], 1)]),
    "the first": ([1], 0, [([2, 3, 4, 5, 6], None)]),
    "the newest": ([5, 6], 3, [([4], None), ([], 2)]),
    "all": ([1, 2, 3, 4, 5, 6], 2, [([], 4)]),
}
"""What is deleted, after what is read, and the pages: their events, and how many a gap before them leaves out."""


async def pages(log: SqliteLog, start: int) -> list[tuple[list[int], int | None]]:
    found = []
    head = await log.head("a")
    after = Cursor(head.epoch, start) if start else Cursor("", 0)
    while after.offset < head.offset:
        page = await read_checked(log, "a", after, limit=10, max_bytes=1 << 20)
        assert page.gap is None or page.gap.reason == "expired"
        found.append(([event.offset for event in page.events], None if page.gap is None else page.gap.missed))
        after = page.events[-1].cursor if page.events else page.gap.to if page.gap else page.head
    return found


@pytest.mark.parametrize("case", CASES)
async def test_what_somebody_has_deleted_is_a_gap(case: str, tmp_path: Path, autojump_clock: MockClock) -> None:
    deleted, start, expected = CASES[case]
    path = tmp_path / "orders.db"
    async with SqliteLog(path, limits=Limits()).open() as log:
        await log.append("a", [Draft.of(number) for number in range(6)])
        await log.append("b", [Draft.of(number) for number in range(9)])
        with closing(apsw.Connection(str(path))) as db:
            for offset in deleted:
                db.execute("DELETE FROM events WHERE offset = ? AND channel = 1", (offset,))
        assert await pages(log, start) == expected
        (event,) = await log.append("a", [Draft.of("more")])
        assert event.offset == 7
        assert (await pages(log, 6)) == [([7], None)]
