"""What one process does that serves."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from triolet.errors import ConfigError
from triolet.workers.process import _beside


async def fails() -> None:
    async with trio.open_nursery():
        raise ConfigError("the app did not start")


async def test_an_app_that_does_not_start_is_one_error_and_no_group(autojump_clock: MockClock) -> None:
    with pytest.raises(ConfigError, match="did not start"):
        await _beside(fails, trio.sleep_forever)


async def test_a_crash_stays_in_its_group(autojump_clock: MockClock) -> None:
    async def crashes() -> None:
        raise ZeroDivisionError

    with pytest.raises(BaseExceptionGroup) as group:
        await _beside(trio.sleep_forever, crashes)
    assert group.group_contains(ZeroDivisionError)
