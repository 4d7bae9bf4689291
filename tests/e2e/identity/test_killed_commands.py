"""kill -9 of workers amid 5,000 commands: each takes effect once, and its answer says what its event says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import trio

from tests.e2e.many.history import read
from tests.e2e.needs import needs
from tests.e2e.redis.servers import running
from tests.e2e.workers import Workers, workers

from .pickers import Picker

HERE = Path(__file__).parent
CLIENTS = 50
COMMANDS = 100
"""Of each client."""
LIMITS = {"lease_seconds": 1}
"""What a dead worker held is free again after so long."""
KILL_AFTER = (0.25, 0.6)
"""The parts of the commands that are answered when a worker is killed."""


@contextmanager
def sqlite(folder: Path) -> Iterator[str]:
    yield f"sqlite:///{folder / 'events.db'}"


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    with running(folder / "redis") as server:
        yield server.url


async def have_all_done(server: Workers, pickers: list[Picker]) -> list[int]:
    """Run the clients, and kill a worker now and then. Returns which."""
    killed: list[int] = []
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            for picker in pickers:
                nursery.start_soon(picker.run)
            for part in KILL_AFTER:
                await answered(pickers, round(part * CLIENTS * COMMANDS))
                killed.append(server.kill_one())
    return killed


async def answered(pickers: list[Picker], commands: int) -> None:
    """Wait until so many are answered."""
    while sum(len(picker.answers) for picker in pickers) < commands:  # noqa: ASYNC110  (nobody needs to know sooner)
        await trio.sleep(0.005)


@pytest.mark.parametrize("log", [sqlite, pytest.param(redis, marks=needs("redis-server", "redis-cli"))])
def test_each_command_takes_effect_once_and_is_answered_while_workers_are_killed(
    log: Callable[[Path], AbstractContextManager[str]], tmp_path: Path
) -> None:
    arguments = ["--app-dir", str(HERE)]
    with (
        log(tmp_path) as url,
        workers(tmp_path, app="shop_app:app", log=url, limits=LIMITS, arguments=arguments) as server,
    ):
        pickers = [Picker(server.address, number, COMMANDS) for number in range(CLIENTS)]
        killed = trio.run(have_all_done, server, pickers)
        orders, audit = read(server.address, "orders"), read(server.address, "audit")
        outcomes = sum((picker.outcomes for picker in pickers), Counter())
        assert "Traceback" not in server.log, server.log
    answers = {id: answer for picker in pickers for id, answer in picker.answers.items()}
    assert Counter(status for status, _ in answers.values()) == {200: CLIENTS * COMMANDS}, outcomes
    by_id = {done["id"]: done for done in orders.values()}
    assert len(by_id) == len(orders) == CLIENTS * COMMANDS, "one event for each id"
    assert list(audit.values()) == list(orders.values()), "both channels have the same, in the same order"
    assert {id: said for id, (_, said) in answers.items()} == by_id, "the answer says what the event says"
    assert len(set(killed)) == len(KILL_AFTER)
    assert outcomes["repeated"], "some were answered with what was kept"
    assert outcomes["websocket: Unanswered"] + outcomes["post: Unanswered"], f"some lost their answer: {outcomes}"
