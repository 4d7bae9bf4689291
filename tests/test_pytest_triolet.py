"""The pytest plugin, in projects of its own: what it seeds, what it repeats, what it says, and whom it leaves alone."""

from __future__ import annotations

import random
import secrets
import shlex
import sys
from types import SimpleNamespace

import pytest

from pytest_triolet import SEED_KEY, pytest_configure_node

pytest_plugins = ["pytester"]

RACE = """
import pytest, random, secrets, trio

async def order():
    came = []
    async def run(number):
        for _ in range(4):
            came.append(number)
            await trio.lowlevel.checkpoint()
    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(run, number)
    return came

@pytest.fixture
def token():
    return secrets.token_hex(4)

def say(*what):
    with open("said", "a") as file:
        print(*what, file=file)
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project in trio_mode, whose tests write what they saw into the file ``said``."""
    pytester.makeini("[pytest]\ntrio_mode = true\n")
    return pytester


def _said(project: pytest.Pytester, *args: str) -> list[str]:
    """What the tests of one run saw."""
    said = project.path / "said"
    said.unlink(missing_ok=True)
    project.runpytest_inprocess(*args)
    return said.read_text(encoding="utf-8").splitlines()


ALL_CHANCE = (
    RACE
    + """
async def test_a(token, autojump_clock):
    say(token, secrets.token_hex(4), random.random(), *await order())
"""
)


def test_a_test_sees_the_same_on_the_same_seed(project: pytest.Pytester) -> None:
    project.makepyfile(ALL_CHANCE)
    assert _said(project) == _said(project) == _said(project, "--triolet-seed=0")
    assert _said(project) != _said(project, "--triolet-seed=1") == _said(project, "--triolet-seed=1")


def test_the_seed_may_stand_in_the_configuration(project: pytest.Pytester) -> None:
    project.makepyfile(ALL_CHANCE)
    one = _said(project, "--triolet-seed=1")
    project.makeini("[pytest]\ntrio_mode = true\ntriolet_seed = 1\n")
    assert _said(project) == one
    assert _said(project, "--triolet-seed=0") != one


def test_what_a_fixture_draws_is_not_what_the_test_draws(project: pytest.Pytester) -> None:
    project.makepyfile(ALL_CHANCE)
    made, drawn, *_ = _said(project)[0].split()
    assert made != drawn


def test_a_random_seed_is_told_and_repeats(project: pytest.Pytester) -> None:
    project.makepyfile(ALL_CHANCE)
    result = project.runpytest_inprocess("--triolet-seed=random")
    (line,) = (line for line in result.outlines if line.startswith("triolet: seed "))
    said = (project.path / "said").read_text(encoding="utf-8").splitlines()
    assert _said(project, f"--triolet-seed={line.split()[-1]}") == said


SOMETIMES = (
    RACE
    + """
@pytest.mark.parametrize("name", ["a[b c]"])
async def test_it(name, autojump_clock):
    came = await order()
    say(*came)
    assert came[0] != 0
"""
)


def test_a_failing_test_tells_the_command_that_repeats_it(project: pytest.Pytester) -> None:
    project.makepyfile(SOMETIMES)
    result = project.runpytest_inprocess("--triolet-seeds=20")
    outcomes = result.parseoutcomes()
    assert 0 < outcomes["failed"] < 20
    assert outcomes["failed"] + outcomes["passed"] == 20
    result.stdout.fnmatch_lines(["triolet: seeds 0 to 19", "*- triolet seed -*", "to repeat it step for step:"])
    said = (project.path / "said").read_text(encoding="utf-8").splitlines()
    commands = [line.strip() for line in result.outlines if line.startswith("  pytest --triolet-seed=")]
    assert len(commands) == outcomes["failed"]
    for command in commands:
        program, *args = shlex.split(command)
        seed = int(args[0].removeprefix("--triolet-seed="))
        assert program == "pytest"
        assert _said(project, *args) == [said[seed]]


def test_a_mark_asks_for_seeds_unless_one_is_named(project: pytest.Pytester) -> None:
    project.makepyfile(
        RACE
        + """
@pytest.mark.triolet_seeds(5)
async def test_it(autojump_clock):
    say(*await order())
"""
    )
    assert len(set(_said(project))) == 5
    assert len(_said(project, "--triolet-seed=3")) == 1
    assert _said(project)[3:4] == _said(project, "--triolet-seed=3")
    assert len(set(_said(project, "--triolet-seeds=7"))) == 7
    assert _said(project, "--triolet-seed=2", "--triolet-seeds=2") == _said(project)[2:4]


def test_seeds_stand_beside_parameters_and_trio_fixtures(project: pytest.Pytester) -> None:
    project.makepyfile(
        RACE
        + """
@pytest.fixture
async def value():
    yield secrets.token_hex(2)

@pytest.mark.triolet_seeds(2)
@pytest.mark.parametrize("x", "ab")
@pytest.mark.parametrize("y", "cd")
async def test_it(x, y, value, nursery):
    say(x, y, value)
    assert y == "d"
"""
    )
    result = project.runpytest_inprocess()
    assert result.parseoutcomes() == {"passed": 4, "failed": 4}
    result.stdout.re_match_lines([r"  pytest --triolet-seed=0 '\S+::test_it\[c-a\]'"])
    said = [line.split() for line in (project.path / "said").read_text(encoding="utf-8").splitlines()]
    assert len({value for _, _, value in said}) == 2


def test_each_example_of_hypothesis_is_seeded_and_hypothesis_is_not(project: pytest.Pytester) -> None:
    project.makepyfile(
        RACE
        + """
from hypothesis import given, settings, strategies

@settings(max_examples=20, database=None, derandomize=False)
@given(strategies.integers(0, 1 << 60))
async def test_it(number):
    say(number, secrets.token_hex(4), *await order())
"""
    )
    first, second = (dict(line.split(maxsplit=1) for line in _said(project)) for _ in range(2))
    assert len({*first.values(), *second.values()}) == 1
    assert first.keys() != second.keys()


def test_other_tests_are_left_alone(project: pytest.Pytester) -> None:
    project.makepyfile(
        RACE
        + """
import os, time
from triolet.testing.seed import _active
SYSTEM = os.urandom

@pytest.mark.triolet_seeds(3)
def test_it(token):
    assert not _active
    assert os.urandom is SYSTEM
    say(token)
"""
    )
    assert len({*_said(project), *_said(project)}) == 2


def test_an_unknown_seed_is_said(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess("--triolet-seed=seven")
    result.stderr.fnmatch_lines(["*a Triolet seed is a number or random, and not 'seven'*"])


def test_no_seeds_are_too_few(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess("--triolet-seeds=0")
    result.stderr.fnmatch_lines(["*1 or more*"])


def test_without_pytest_trio_it_does_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import sys\ndef test_it(request):\n    assert 'triolet.testing.seed' not in sys.modules")
    result = pytester.runpytest_subprocess("-p", "no:trio", "--triolet-seed=3", "--triolet-seeds=4", "-v")
    assert result.parseoutcomes() == {"passed": 1}
    result.stdout.no_fnmatch_line("triolet: seed*")


def test_it_is_light(pytester: pytest.Pytester) -> None:
    """It is loaded wherever Triolet is installed, also where nobody uses it."""
    script = "import sys, pytest_triolet; print(*sys.modules)"
    loaded = pytester.run(sys.executable, "-c", script).outlines[0].split()
    assert "pytest_triolet" in loaded
    assert not {"trio", "triolet", "quart", "quart_trio", "hypercorn", "apsw"} & set(loaded)


def test_workers_of_xdist_get_the_seed_of_their_controller(project: pytest.Pytester) -> None:
    class Controller:
        """What pytest-xdist does on both sides."""

        @staticmethod
        @pytest.hookimpl(tryfirst=True)
        def pytest_configure(config: pytest.Config) -> None:
            node = SimpleNamespace(config=SimpleNamespace(stash={SEED_KEY: 7}), workerinput={})
            pytest_configure_node(node)
            vars(config)["workerinput"] = node.workerinput

    project.makepyfile(ALL_CHANCE)
    assert project.inline_run("--triolet-seed=random", plugins=[Controller()]).ret == 0
    said = (project.path / "said").read_text(encoding="utf-8").splitlines()
    assert _said(project, "--triolet-seed=7") == said


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("async def test_it(server): pass", "async def test_it(server, autojump_clock)"),
        ("@pytest.mark.usefixtures('autojump_clock')\nasync def test_it(): pass", "async def test_it(autojump_clock)"),
    ],
)
def test_a_clock_that_would_not_be_the_tests_is_told(project: pytest.Pytester, how: str, told: str) -> None:
    project.makepyfile(f"import pytest\n@pytest.fixture\nasync def server(autojump_clock): return 1\n{how}")
    result = project.runpytest_inprocess()
    assert result.parseoutcomes() == {"failed": 1}
    assert "This test would wait in real time" in str(result.stdout)
    assert told in str(result.stdout)


def test_a_clock_by_another_name_or_beside_a_fixtures_is_the_tests(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
import pytest, trio

@pytest.fixture
def clock(autojump_clock):
    return autojump_clock

@pytest.fixture
async def server(autojump_clock):
    return 1

async def test_one(clock):
    await trio.sleep(1e6)

async def test_two(server, autojump_clock):
    await trio.sleep(1e6)
"""
    )
    assert project.runpytest_inprocess().parseoutcomes() == {"passed": 2}


def test_an_async_test_that_no_mode_runs_is_told_which_would(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]")
    pytester.makepyfile("async def test_it(autojump_clock): pass")
    result = pytester.runpytest_inprocess()
    result.stdout.fnmatch_lines(["*trio_mode = true*"])


def test_an_error_from_within_groups_keeps_its_cause(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
import trio

async def test_it(autojump_clock):
    async with trio.open_nursery(), trio.open_nursery():
        try:
            {}["missing"]
        except KeyError as error:
            raise ValueError("found nothing") from error
"""
    )
    result = project.runpytest_inprocess()
    result.stdout.fnmatch_lines(["*KeyError: 'missing'", "*direct cause of*", "*ValueError: found nothing"])
    result.stdout.no_fnmatch_line("*ExceptionGroup*")


@pytest.mark.parametrize("mark", ["triolet_seeds", "triolet_seeds(0)", "triolet_seeds(k=3)", "triolet_seeds('3')"])
def test_a_mark_that_does_not_say_how_many_is_told(project: pytest.Pytester, mark: str) -> None:
    project.makepyfile(f"import pytest\n@pytest.mark.{mark}\nasync def test_it(): pass")
    project.runpytest_inprocess().stdout.fnmatch_lines(["*test_it: the mark says how many seeds*"])


def test_a_random_seed_names_none_so_a_mark_counts_from_it(project: pytest.Pytester) -> None:
    project.makepyfile("import pytest\n@pytest.mark.triolet_seeds(3)\nasync def test_it(): pass")
    assert project.runpytest_inprocess("--triolet-seed=random").parseoutcomes() == {"passed": 3}


def test_who_else_seeds_chance_before_a_test_does_not_decide_it(project: pytest.Pytester) -> None:
    class Randomly:
        """What pytest-randomly does, with another seed each time."""

        @staticmethod
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_call() -> None:
            random.seed(secrets.randbits(64))

    project.makepyfile(ALL_CHANCE)
    said = _said(project)
    assert project.inline_run(plugins=[Randomly()]).ret == 0
    assert (project.path / "said").read_text(encoding="utf-8").splitlines() == 2 * said
