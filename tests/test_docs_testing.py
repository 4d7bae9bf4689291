"""What "Test your live app" says is tried out: its tests pass, or fail with the very words that the page shows."""

from __future__ import annotations

import re
import shutil
from textwrap import dedent

import pytest

from triolet import Triolet, testing

from .pages import kept

DOCS = kept("testing")

pytest_plugins = ["pytester"]

LOADED = [Triolet, *(getattr(testing, name) for name in testing.__all__)]
"""What is not imported before it, each run of pytest in here imports anew, and other classes with it."""

PASSED = 70
"""Tests of the page that pass on one seed."""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """The page's folder, as a reader has it in the end, but for the fix."""
    pytester.makeini("[pytest]\ntrio_mode = true\n")
    for path in DOCS.glob("*.py"):
        shutil.copy(path, pytester.path)
    return pytester


def same_for_all_runs(text: str) -> str:
    """A text without what another order of the same things would change: seed, epoch, beats."""
    text = re.sub(r"(?<![\w-])[\w-]{8}\.(\d+)", r"EPOCH.\1", text)
    text = re.sub(r"(\[seed|--triolet-seed=)\d+", r"\1N", text)
    text = re.sub(r"time=\d{13}", "time=NOW", text)
    text = re.sub(r"^.* s <- beat .*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"[ _^]+$", "", text, flags=re.MULTILINE)


def check_shown(name: str, said: str) -> None:
    """Hold what a file of the page shows, between lines of ``…``, against what was said."""
    shown = (DOCS / name).read_text(encoding="utf-8")
    for part in shown.split("…\n"):
        assert same_for_all_runs(part).rstrip() in same_for_all_runs(said), (
            f"{name} does not show this any more:\n{said}"
        )


def test_the_pages_tests_pass(project: pytest.Pytester) -> None:
    others = [path for path in project.path.glob("test_*.py") if path.name != "test_amid_bids.py"]
    project.runpytest_inprocess(*others).assert_outcomes(passed=PASSED)


def test_an_expectation_that_is_not_met_is_shown_as_on_the_page(project: pytest.Pytester) -> None:
    first = project.path / "test_first.py"
    first.write_text(first.read_text(encoding="utf-8").replace('"amount": 110', '"amount": 120'), encoding="utf-8")
    result = project.runpytest_inprocess("-k", "sse", first)
    result.assert_outcomes(failed=1)
    check_shown("unmet.txt", shown_errors(result))


def test_the_auctions_bug_is_found_as_on_the_page(project: pytest.Pytester) -> None:
    test = project.path / "test_amid_bids.py"
    result = project.runpytest_inprocess("-x", test)
    result.assert_outcomes(failed=1, passed=result.parseoutcomes().get("passed", 0))
    check_shown("amid_bids.txt", result.stdout.str())
    repeated = project.runpytest_inprocess(*re.findall(r"--triolet-seed=\d+", result.stdout.str())[:1], test)
    assert shown_errors(repeated) == shown_errors(result)


def test_the_auctions_bug_is_no_more_once_it_is_fixed(project: pytest.Pytester) -> None:
    shutil.copy(DOCS / "fixed" / "auction.py", project.path)
    result = project.runpytest_inprocess()
    result.assert_outcomes(passed=PASSED + 100)


def shown_errors(result: pytest.RunResult) -> str:
    """The error that a run shows, without pytest's margin."""
    return dedent("\n".join(line[1:].rstrip() for line in result.outlines if line.startswith("E ")))
