"""What is remembered of a connection: the last notable things, and of most connections none."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from triolet.bounds import HAPPENINGS
from triolet.connection.history import Happening, History


async def test_what_happened_is_remembered_with_its_time(autojump_clock: MockClock) -> None:
    history = History()
    assert (history.eventful, history.happenings) == (False, ())
    await trio.sleep(3)
    history.note("gap", "orders", "expired")
    assert history.eventful
    assert history.happenings == (Happening(history.opened_at + 3, "gap", "orders", "expired"),)


async def test_only_the_last_things_are_remembered() -> None:
    history = History()
    for n in range(3 * HAPPENINGS):
        history.note(str(n))
    assert [one.what for one in history.happenings] == [str(n) for n in range(2 * HAPPENINGS, 3 * HAPPENINGS)]
