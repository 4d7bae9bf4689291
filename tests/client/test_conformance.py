"""The conformance table, played on the Python client in this process."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from conformance.adapters.triolet_client import Player
from conformance.run import cases, play

CASES = dict(cases())


def test_there_are_at_least_forty_cases() -> None:
    assert len({case["name"] for case in CASES.values()}) >= 40
    assert all(case["about"].endswith(".") for case in CASES.values())


@pytest.mark.parametrize("name", CASES)
async def test_the_client_does_what_the_table_says(name: str, mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        player = Player(nursery, mock_clock)
        dialogue = play(CASES[name])  # which raises where the client does something else
        step: dict[str, Any] = next(dialogue)
        done = 0
        try:
            while True:
                done += 1
                step = dialogue.send(await player.do(step))
        except StopIteration:
            pass
        finally:
            await player.do({"end": True})
    assert done >= sum("do" in step for step in CASES[name]["steps"])
