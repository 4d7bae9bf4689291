"""The hunt can find things: bugs that are planted in Triolet, one at a time, are each found within 200 seeds.

A patch says in which seed its bug was found (``Seed: 52``), and that is played first: to find it there again takes a
second. Where it is not there any more, because plans or Triolet have changed, all 200 are played from 0 on. The table
then says the new seed, and that belongs into the patch.

One bug alone: ``pytest tests/e2e/test_planted_bugs.py -k await-before-live``. A patch that no longer applies fails, and
is to be made anew where its code is now.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import pytest

from .hunting import LIBRARIES, SEEDS, hunt_in
from .planting import BUGS, Bug, StalePatchError, plant, read_bug

HUNT_SECONDS = 500

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Hunted:
    """What came of one bug: the ``seed`` where it was found, and how many seconds that took; or why it was not."""

    bug: Bug
    seed: int | None
    said: str
    seconds: float

    def __str__(self) -> str:
        place = "not found" if self.seed is None else f"seed {self.seed:>4}"
        moved = "" if self.seed == self.bug.seed else f" (its patch says {self.bug.seed})"
        return f"{self.bug.name:35} {place}{moved} {self.seconds:6.1f} s  {self.said:.100}"


@pytest.fixture(scope="module")
def hunted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Hunted]:
    """The bugs of the chosen tests, hunted side by side, and told as a table."""
    chosen = [item.callspec.params.get("path") for item in request.session.items if hasattr(item, "callspec")]
    paths = [path for path in BUGS if path in chosen]
    folders = [tmp_path_factory.mktemp(path.stem) for path in paths]
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(LIBRARIES)
    with (
        ProcessPoolExecutor(os.cpu_count(), processes, max_tasks_per_child=1) as pool,
        ThreadPoolExecutor(os.cpu_count()) as threads,
    ):
        found = list(threads.map(partial(hunt_for, pool), paths, folders))
    show(request.config, found)
    return {each.bug.name: each for each in found}


def show(config: pytest.Config, found: list[Hunted]) -> None:
    """Print in which seed each bug was found, whatever pytest captures."""
    terminal, capture = map(config.pluginmanager.getplugin, ("terminalreporter", "capturemanager"))
    if terminal is not None and capture is not None:
        with capture.global_and_fixture_disabled():
            terminal.write_line("")
            for each in sorted(found, key=lambda each: SEEDS if each.seed is None else each.seed):
                terminal.write_line(str(each))


def hunt_for(pool: Executor, path: Path, folder: Path) -> Hunted:
    """Plant one bug in a copy and hunt there, in a process of its own."""
    bug = read_bug(path)
    began = perf_counter()
    try:
        plant(bug, folder)
        found = pool.submit(hunt_in, folder, bug.seed, bug.finds, HUNT_SECONDS).result()
    except Exception as error:
        return Hunted(bug, None, f"{type(error).__name__}: {error}", perf_counter() - began)
    seconds = perf_counter() - began
    if not Path(found.source).is_relative_to(folder):
        return Hunted(bug, None, f"hunted in {found.source}, not in the copy", seconds)
    return Hunted(bug, found.seed, found.said or f"found instead: {found.others}", seconds)


@pytest.mark.parametrize("path", BUGS, ids=lambda path: path.stem)
def test_the_hunt_finds_a_planted_bug(path: Path, hunted: dict[str, Hunted]) -> None:
    found = hunted[path.stem]
    assert found.seed is not None, f"{found.bug.said}\n{found.said}"


def test_there_are_twenty_bugs_at_least() -> None:
    assert len(BUGS) >= 20


def test_a_patch_that_no_longer_applies_is_said_to_be_stale(tmp_path: Path) -> None:
    bug = read_bug(BUGS[0])
    file, old, new = bug.hunks[0]
    stale = Bug(bug.name, bug.said, bug.finds, bug.seed, ((file, f"{old}that is gone\n", new),))
    with pytest.raises(StalePatchError, match="stands 0 times"):
        plant(stale, tmp_path)
