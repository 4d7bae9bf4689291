"""The table over real paths: TLS, HTTP/2, nginx and haproxy as documented, and plain Hypercorn.

All dialogues of a path are held with one server, each on a channel of its own: first the light ones, so many at a time;
then those of many megabytes, beside which a machine that is busy is too slow for the others; each of those about
memory alone; and in the end that about the end. A test tells what became of its own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.e2e.needs import needs
from tests.e2e.paths.servers import NEEDS, REAL, Standing, standing
from tests.e2e.paths.sockets import SocketReach
from tests.paths.ground import Ground
from tests.paths.promises import DIALOGUES
from tests.paths.table import Cell, cells
from triolet.testing.reach import Reach

PATIENCE_SECONDS = 120
AT_ONCE = 12
"""Dialogues at a time. All their clients are this process: with all of them at once, where it has to wait for a core
besides, it answers pings too late, and the server takes clients for gone that are well."""
TOO_MUCH = {"nginx": (290, 80_000), "haproxy": (290, 80_000), "hypercorn": (280, 40_000)}
"""Where two connections are between, with megabytes in their kernels, or the server does not keep its own small."""

Outcomes = dict[Cell, BaseException | None]


class RealGround(Ground):
    """A real path, whose server all cells share."""

    alone = False
    slack = 15.0

    def __init__(self, cell: Cell, reach: Reach, stop: Callable[[], None]) -> None:
        super().__init__(cell, reach)
        self.too_many, self.big_bytes = TOO_MUCH.get(cell.path, (self.too_many, self.big_bytes))
        self.rounds = 3 if cell.path in ("nginx", "haproxy") else 1
        self._stop = stop

    async def stop(self) -> None:
        self._stop()
        await trio.lowlevel.checkpoint()


async def hold(
    cell: Cell, stands: Standing, stop: Callable[[], None], outcomes: Outcomes, turns: trio.CapacityLimiter
) -> None:
    """Hold one dialogue when it is its turn, and keep what became of it."""
    try:
        async with turns, trio.open_nursery() as nursery:
            ground = RealGround(cell, SocketReach(stands.address, stands.protocol, nursery), stop)
            with trio.fail_after(PATIENCE_SECONDS):
                await DIALOGUES[cell.promise](ground)
            nursery.cancel_scope.cancel()
        outcomes[cell] = None
    except BaseException as error:
        outcomes[cell] = error


async def hold_all(wanted: list[Cell], stands: Standing, outcomes: Outcomes) -> None:
    """Hold the dialogues of a path."""
    asked: list[object] = []
    last = [cell for cell in wanted if cell.promise == "goodbye"]

    def stop() -> None:
        asked.append(asked)
        if len(asked) == len(last):
            os.kill(stands.server.pid, signal.SIGTERM)

    of_memory = [cell for cell in wanted if cell.promise == "budget"]
    heavy = [cell for cell in wanted if cell.promise == "stall"]
    light = [cell for cell in wanted if cell not in of_memory + heavy + last]
    turns = trio.CapacityLimiter(AT_ONCE)
    for together in (light, heavy, *([cell] for cell in of_memory), last):
        async with trio.open_nursery() as nursery:
            for cell in together:
                nursery.start_soon(hold, cell, stands, stop, outcomes, turns)


@pytest.fixture(scope="module")
def held(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Outcomes]:
    """Gives what became of a path's dialogues, all that were asked for; they are held when the first is asked."""
    known: dict[str, Outcomes] = {}

    def hold_path(path: str) -> Outcomes:
        if path not in known:
            outcomes: Outcomes = {}
            known[path] = outcomes
            asked = [cell for item in request.session.items if (cell := _cell_of(item, request.path)) is not None]
            with standing(path, tmp_path_factory.mktemp(path)) as stands:
                trio.run(hold_all, [cell for cell in asked if cell.path == path], stands, outcomes)
                told = any(error is None for cell, error in outcomes.items() if cell.promise == "goodbye")
                code = stands.server.wait() if told else stands.server.terminate()
                assert code == 0, f"exit code {code}:\n{stands.server.log[-4_000:]}"
        return known[path]

    return hold_path


def _cell_of(item: pytest.Item, path: Path) -> Cell | None:
    """The cell that a test of this file is about."""
    if item.path != path or not isinstance(item, pytest.Function):
        return None
    cell: Any = item.callspec.params["cell"]
    return cell if isinstance(cell, Cell) else None


def _parameter(cell: Cell) -> object:
    marks = [needs(NEEDS[cell.path])] if cell.path in NEEDS else []
    return pytest.param(cell, marks=marks, id="-".join(cell))


@pytest.mark.parametrize("cell", [_parameter(cell) for cell in cells(*REAL)])
def test_a_promise_is_kept(cell: Cell, held: Callable[[str], Outcomes]) -> None:
    error = held(cell.path)[cell]
    if error is not None:
        raise error
