"""Every promise of a transport, over every path that can be had in memory; and that the table says all of it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.paths.ground import freeze
from tests.paths.memory import IN_MEMORY, in_memory
from tests.paths.promises import DIALOGUES
from tests.paths.table import NOT_GIVEN, NOT_MEANT, PATHS, PROMISES, TRANSPORTS, Cell, cells

COUNTED = [
    cell
    for cell in cells(*IN_MEMORY)
    if cell.promise == "silence" and cell[1:] != ("sse", "http2 middleware")  # ASGI says that it is gone, and not why
]


@pytest.mark.parametrize("cell", cells(*IN_MEMORY), ids="-".join)
async def test_a_promise_is_kept(cell: Cell, autojump_clock: MockClock) -> None:
    async with in_memory(cell) as ground:
        await DIALOGUES[cell.promise](ground)


@pytest.mark.parametrize("cell", COUNTED, ids="-".join)
async def test_a_client_that_has_frozen_is_counted_as_silent(cell: Cell, autojump_clock: MockClock) -> None:
    async with in_memory(cell) as ground, ground.client() as client:
        await client.until("live")
        freeze(client)
        await trio.sleep(10)
        live = ground.reach.app.extensions["triolet"]
        assert live.statistics().counts.heartbeat_misses == 1


def test_the_table_names_what_there_is() -> None:
    assert list(DIALOGUES) == list(PROMISES)
    for promise, transport in NOT_MEANT:
        assert promise in PROMISES
        assert transport in TRANSPORTS
    for cell in NOT_GIVEN:
        assert (cell.promise, cell.transport) not in NOT_MEANT
        assert cell in {
            Cell(promise, transport, path) for promise in PROMISES for transport in TRANSPORTS for path in PATHS
        }
