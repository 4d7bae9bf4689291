"""The pytest plugin: every Trio test runs on a seed, and a failing one says how it is repeated, step for step.

pytest finds it by its entry point, and it needs pytest-trio; without that it does nothing. Other tests are left alone.
"""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, Final

import pytest

__all__ = ["REPEAT"]

PARAMETER: Final = "_triolet_seed"
REPEAT: Final = "triolet seed"
"""The heading, in a failing test's report, of the command that repeats it."""

RANDOM: Final = "random"

SEED_KEY: Final = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Name the options, and the lines of the configuration."""
    group = parser.getgroup("triolet")
    group.addoption(
        "--triolet-seed",
        metavar="N",
        help="run every Trio test on this seed, a number, or on one that is drawn: random (default: triolet_seed)",
    )
    group.addoption(
        "--triolet-seeds", type=int, metavar="K", help="run every Trio test on K seeds, from --triolet-seed on"
    )
    parser.addini("triolet_seed", "the seed of every Trio test, a number or: random", default="0")


def pytest_configure(config: pytest.Config) -> None:
    """Decide the seed; a worker of pytest-xdist gets its controller's."""
    config.addinivalue_line("markers", "triolet_seeds(k): run this Trio test on k seeds, from the session's on")
    inherited = getattr(config, "workerinput", {}).get(PARAMETER)
    wanted = config.getoption("triolet_seed") or config.getini("triolet_seed")
    config.stash[SEED_KEY] = _number(wanted) if inherited is None else inherited
    times = config.getoption("triolet_seeds")
    if times is not None and times < 1:
        raise pytest.UsageError("--triolet-seeds is how many seeds: 1 or more")


def _number(wanted: str) -> int:
    if wanted == RANDOM:
        return int.from_bytes(os.urandom(4))
    try:
        return int(wanted)
    except ValueError:
        raise pytest.UsageError(f"a Triolet seed is a number or random, and not {wanted!r}") from None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give a worker of pytest-xdist the seed."""
    node.workerinput[PARAMETER] = node.config.stash[SEED_KEY]


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say the seed, where it matters."""
    if not config.pluginmanager.hasplugin("trio"):
        return None
    seed, times = config.stash[SEED_KEY], config.getoption("triolet_seeds")
    return f"triolet: seed {seed}" if times is None else f"triolet: seeds {seed} to {seed + times - 1}"


# --- many seeds


@pytest.fixture
def _triolet_seed(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat a Trio test with as many seeds as are asked for. Last, so that the seed stands last in a test's name."""
    times = _times(metafunc)
    if times > 1:
        first = metafunc.config.stash[SEED_KEY]
        seeds = range(first, first + times)
        metafunc.fixturenames.append(PARAMETER)
        metafunc.parametrize(PARAMETER, seeds, indirect=True, ids=[f"seed{seed}" for seed in seeds])


def _times(metafunc: pytest.Metafunc) -> int:
    """How many seeds: those of the command line; or those of the mark, unless the command line names one seed."""
    config = metafunc.config
    if not config.pluginmanager.hasplugin("trio") or not _becomes_trio(metafunc):
        return 1
    asked: int | None = config.getoption("triolet_seeds")
    if asked is not None:
        return asked
    mark = metafunc.definition.get_closest_marker("triolet_seeds")
    if mark is None or config.getoption("triolet_seed") not in (None, RANDOM):
        return 1
    match mark.args:
        case (int(times),) if times >= 1 and not mark.kwargs:
            return times
    raise pytest.UsageError(f"{metafunc.definition.nodeid}: the mark says how many seeds, as in triolet_seeds(100)")


def _becomes_trio(metafunc: pytest.Metafunc) -> bool:
    if metafunc.definition.get_closest_marker("trio") is not None:
        return True
    function = metafunc.function
    inner = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    return inspect.iscoroutinefunction(inner) and bool(metafunc.config.getini("trio_mode"))


# --- one test


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Fixtures that are no coroutines are made here; so are apps and logs in them."""
    __tracebackhide__ = True
    _check_mode(item)
    with _seeded(item, "setup"):
        return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Run the test on its seed; of a Hypothesis test, each example."""
    __tracebackhide__ = True
    if not _is_trio(item):
        return (yield)
    _check_clock(item)
    # Around the function only: Hypothesis's own draws must not be ours, or it would try the same examples for ever;
    # and others, such as pytest-randomly, seed what they like before it.
    test: Any = getattr(item, "obj", None)
    place, name = (test.hypothesis, "inner_test") if hasattr(test, "hypothesis") else (item, "obj")
    plain = getattr(place, name)
    setattr(place, name, _each_seeded(plain, item))
    try:
        return (yield)
    except BaseExceptionGroup as group:  # pytest-trio's own nursery makes one of a single error, too
        error = _only(group)
    finally:
        setattr(place, name, plain)
    raise error  # not within the except: it is to keep its own cause and context


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """The second half of the fixtures."""
    with _seeded(item, "teardown"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell how a failing test is repeated."""
    report = yield
    if report.failed and _is_trio(item):
        report.sections.append((REPEAT, f"to repeat it step for step:\n  {_command(item)}"))
    return report


def _check_mode(item: pytest.Item) -> None:
    """Fail an async test that nobody runs, but which wants Trio's clock: pytest would advise what is there already."""
    wants = getattr(item, "fixturenames", ())
    runs = any(item.get_closest_marker(name) for name in ("trio", "anyio", "asyncio"))
    awaits = inspect.iscoroutinefunction(getattr(item, "obj", None)) and "autojump_clock" in wants
    if awaits and not runs and item.config.pluginmanager.hasplugin("trio"):
        pytest.fail(
            "This is no Trio test yet: let the configuration of pytest say trio_mode = true, or mark it with "
            "@pytest.mark.trio",
            pytrace=False,
        )


def _check_clock(item: pytest.Item) -> None:
    """Fail a test whose clock is its fixtures' only: pytest-trio would run it on the system's, and say nothing."""
    from trio.abc import Clock  # here, for the same reason as in _seeded

    found: dict[str, Any] = getattr(item, "funcargs", {})
    clocks = [name for name, value in found.items() if isinstance(value, Clock)]
    own = getattr(getattr(item, "_fixtureinfo", None), "argnames", ())
    if clocks and not any(name in own for name in clocks):
        pytest.fail(
            f"This test would wait in real time: pytest-trio takes a clock from the test's own parameters only, and "
            f"{clocks[0]} is a fixture's, or a mark's. Name it in the test: "
            f"async def {getattr(item, 'originalname', None) or item.name}({', '.join([*own, clocks[0]])})",
            pytrace=False,
        )


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error that groups hold, or the group of several."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _is_trio(item: pytest.Item) -> bool:
    return item.config.pluginmanager.hasplugin("trio") and item.get_closest_marker("trio") is not None


def _seed_of(item: pytest.Item) -> int:
    parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    seed: int = parameters.get(PARAMETER, item.config.stash[SEED_KEY])
    return seed


def _seeded(item: pytest.Item, phase: str = "") -> AbstractContextManager[object]:
    if not _is_trio(item):
        return nullcontext()
    from triolet.testing.seed import seeded  # here, so that who has no such test does not load Trio

    return seeded(_seed_of(item), phase)


def _each_seeded(inner: Callable[..., object], item: pytest.Item) -> Callable[..., object]:
    @wraps(inner)
    def example(*args: Any, **kwargs: Any) -> object:
        __tracebackhide__ = True
        with _seeded(item):
            return inner(*args, **kwargs)

    return example


def _command(item: pytest.Item) -> str:
    seed = _seed_of(item)
    name = item.nodeid
    if PARAMETER in getattr(getattr(item, "callspec", None), "params", ()):
        alone, last = f"[seed{seed}]", f"-seed{seed}]"
        name = f"{name.removesuffix(last)}]" if name.endswith(last) else name.replace(alone, "")
    return f"pytest --triolet-seed={seed} {shlex.quote(name)}"
