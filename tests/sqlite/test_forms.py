"""A file of an earlier form is given what it lacks, and has then what a new one has."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw
import pytest
from trio.testing import MockClock

from triolet.errors import ChannelEnded
from triolet.event import Cursor, Draft
from triolet.log.contract import Kept, Status
from triolet.sqlite.log import SqliteLog

KEY, PRINT, MINE, ITS = b"k" * 32, b"p" * 32, b"mine", b"its"

TO_FORM_4 = "ALTER TABLE channels DROP COLUMN deleted; PRAGMA user_version = 4"
TO_FORM_3 = (
    f"{TO_FORM_4}; ALTER TABLE channels DROP COLUMN ended; ALTER TABLE events DROP COLUMN fold; PRAGMA user_version = 3"
)
TO_FORM_2 = f"{TO_FORM_3}; DROP TABLE answers; PRAGMA user_version = 2"
TO_FORM_1 = f"{TO_FORM_2}; DROP TABLE changes; PRAGMA user_version = 1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.db"


def _rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(apsw.Connection(str(path))) as db:
        return list(db.execute(sql))


@pytest.mark.parametrize("older", [TO_FORM_1, TO_FORM_2, TO_FORM_3, TO_FORM_4])
async def test_a_file_of_an_older_form_is_taken_over_with_all_that_is_in_it(
    older: str, path: Path, autojump_clock: MockClock
) -> None:
    async with SqliteLog(path).open() as log:
        before = await log.append("a", [Draft.of(1, dedupe="d")])
        await log.append("b", [Draft.of(2)])
    _rows(path, older)
    async with SqliteLog(path).open() as log, SqliteLog(path).open() as other:
        page = await log.read("a", Cursor("", 0), limit=9, max_bytes=99)
        assert [event.data for event in page.events] == [1]
        assert await log.append("a", [Draft.of(9, dedupe="d")]) == list(page.events)
        if "changes" not in older:  # else how far it had come is not in it any more
            assert list(page.events) == before
        with other.tail() as tail:
            await log.claim(KEY, PRINT, MINE, 10)
            done = await log.commit(KEY, MINE, b"answer", 60, [("b", [Draft.of(3, key="k", fold="sum")])])
            assert isinstance(done, list)
            ((event,),) = done
            assert (event.offset, event.fold) == (2, "sum")
            assert list(await anext(tail)) == [event]
    async with SqliteLog(path).open() as log:
        assert await log.claim(KEY, PRINT, ITS, 10) == Kept(PRINT, b"answer")
        assert await log.status("b") == Status(event.cursor)
        (end,) = await log.append("b", [Draft.ending("done")])
        assert await log.status("b") == Status(end.cursor, end)
        with pytest.raises(ChannelEnded):
            await log.append("b", [Draft.of(4)])


@pytest.mark.parametrize("older", [TO_FORM_1, TO_FORM_2, TO_FORM_3, TO_FORM_4])
async def test_a_file_that_was_taken_over_is_made_as_a_new_one(
    older: str, path: Path, autojump_clock: MockClock
) -> None:
    columns = """
        SELECT t.name, c.cid, c.name, c.type, c."notnull", c.dflt_value, c.pk FROM sqlite_schema AS t
        JOIN pragma_table_info(t.name) AS c ORDER BY 1, 2"""
    indexes = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' ORDER BY 1"
    async with SqliteLog(path).open():
        pass
    new = _rows(path, columns), _rows(path, indexes), _rows(path, "PRAGMA user_version")
    _rows(path, older)
    assert _rows(path, columns) != new[0]
    async with SqliteLog(path).open():
        pass
    assert (_rows(path, columns), _rows(path, indexes), _rows(path, "PRAGMA user_version")) == new
