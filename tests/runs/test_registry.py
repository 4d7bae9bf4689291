"""Which runs are known to go on, by what is said of them in all processes."""

from __future__ import annotations

from typing import Any

import trio

from triolet import Event, Limits
from triolet.log.memory import MemoryLog
from triolet.runs.intake import Items
from triolet.runs.registry import Registry
from triolet.runs.run import Run

CHANNEL = "answers/1"


async def items() -> Any:
    yield 1


async def nothing_lost() -> None:
    await trio.lowlevel.checkpoint()


def not_ended(_: Event) -> None:
    raise AssertionError("nothing has ended")


async def test_what_is_said_late_of_an_earlier_run_leaves_the_one_that_goes_on_known() -> None:
    log, limits = MemoryLog(), Limits()
    registry = Registry(log, limits, "one", not_ended, nothing_lost)
    earlier, later = (Run(CHANNEL, items(), Items(), limits, lambda more: None) for _ in range(2))
    async with log.open():
        await registry.begun(earlier)
        await registry.begun(later)
        await registry.over(CHANNEL, earlier.name)
        assert registry.open[CHANNEL].run == later.name
        await registry.over(CHANNEL, later.name)
        assert registry.open == {}
