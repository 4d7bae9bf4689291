"""Each bug that ``tests/e2e`` plants still has its place in the source. To find them takes minutes: see there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.planting import BUGS, SOURCE, read_bug


@pytest.mark.parametrize("path", BUGS, ids=lambda path: path.stem)
def test_a_bug_to_plant_has_its_place_in_the_source(path: Path) -> None:
    for file, old, _ in read_bug(path).hunks:
        assert (SOURCE / file).read_text(encoding="utf-8").count(old) == 1, f"plant it anew, in {file}"
