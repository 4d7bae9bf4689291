"""One seed for a whole run: the scheduler's order, chance and the hour. The one file that knows Trio's private names.

Where a run could differ from another of the same seed, and what settles it:

- Trio shuffles the tasks of each pass with a generator of its own: it is seeded, and made to sort them by age first.
- ``os.urandom``, ``secrets`` and the functions of ``random`` (epochs, masks and keys of WebSockets), and what seeds a
  ``random.Random()`` that nobody seeds: streams of the seed.
- The hour, as events tell it: it goes with the virtual clock, from a fixed date on.
- The garbage collector ends forgotten generators whenever it likes: it rests.
- Threads (views that are not async, SQLite) end when the system likes, and a virtual clock jumps while they work: the
  loop is held until they have told it something.
- Deadlines that are equal, and the tasks of an event or scope, are gone through in the order of their addresses. This
  decides nothing: whoever is woken by them is woken for the same pass, and there sorted by age.
"""

from __future__ import annotations

import gc
import os
import random
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from hashlib import sha256
from typing import Any, Final, Generic, TypeVar, cast
from unittest.mock import patch

import trio
from trio.testing import MockClock

from .. import clock
from .threads import threads_held

__all__ = ["Played", "Seed", "Trace", "current", "play", "seeded"]

T = TypeVar("T")

PRIVATE: Final[dict[str, tuple[str, ...]]] = {
    "_core._run": ("_r", "_ALLOW_DETERMINISTIC_SCHEDULING"),
    "_threads": ("start_thread_soon",),
}
"""The private names of Trio that determinism needs: its shuffling generator, the switch that makes it sort before it
shuffles, and where ``to_thread`` gets a thread. tests/testing/test_seed.py holds what they must do."""

HOUR: Final = 1_750_000_000.0
"""The hour at the virtual clock's 0, in seconds since 1970: 2025-06-15 15:06:40 UTC."""


class Seed:
    """Where chance comes from: any number of streams, each decided by the seed's number and the stream's name.

    A stream more or less changes no other.
    """

    def __init__(self, number: int, phase: str = "") -> None:
        self.number = number
        self.phase = phase
        self._streams: dict[str, random.Random] = {}

    def __repr__(self) -> str:
        return f"Seed({self.number})" if not self.phase else f"Seed({self.number}, {self.phase!r})"

    def random(self, name: str) -> random.Random:
        """Return a stream of this seed. Who asks again for the same name gets the same object, which goes on."""
        if name not in self._streams:
            digest = sha256(f"{self.number}/{self.phase}/{name}".encode()).digest()
            self._streams[name] = random.Random(int.from_bytes(digest))
        return self._streams[name]


_active: list[Seed] = []


def current() -> Seed:
    """Return the seed of the :func:`seeded` block that is under way; outside of any, a new ``Seed(0)``."""
    return _active[-1] if _active else Seed(0)


@contextmanager
def seeded(seed: int, phase: str = "") -> Iterator[Seed]:
    """Decide by one number all that chance would, in this process and for the time of a ``with`` block.

    ``trio.run`` is called within the block, on a :class:`trio.testing.MockClock`. On a clock that goes by itself the
    order of tasks is decided too, but not when the system wakes them.

    Args:
        seed: any number.
        phase: a second part of the seed, for blocks of one seed that shall not draw the same.

    Yields:
        The seed, as :func:`current` returns it within the block.

    Raises:
        RuntimeError: this version of Trio is made otherwise; the message says what to do.

    Bounds: cyclic garbage is kept until the block ends, for the collector rests.
    """
    chosen = Seed(seed, phase)
    run, threads = _inside_trio()
    with ExitStack() as stack:
        stack.enter_context(_scheduler(run, chosen.random("scheduler")))
        stack.enter_context(_system_chance(chosen))
        stack.enter_context(patch.object(clock, "source", _hour))
        stack.enter_context(threads_held(threads))
        stack.enter_context(_no_collector())
        _active.append(chosen)
        stack.callback(_active.remove, chosen)
        yield chosen


def _inside_trio() -> list[Any]:
    """The modules of ``PRIVATE``, checked."""
    found = []
    for path, names in PRIVATE.items():
        module: Any = reduce(lambda place, name: getattr(place, name, None), path.split("."), cast(Any, trio))
        for name in names:
            if not hasattr(module, name):
                raise RuntimeError(
                    f"Trio {trio.__version__} has no trio.{path}.{name}, by which Triolet makes tests repeatable: "
                    "install a newer Triolet or an older Trio, or do without: pytest -p no:triolet. (Who works on "
                    "Triolet finds what took its place, changes seed.py, and sees that test_seed.py passes.)"
                )
        found.append(module)
    return found


@contextmanager
def _scheduler(run: Any, stream: random.Random) -> Iterator[None]:
    with patch.object(run, "_ALLOW_DETERMINISTIC_SCHEDULING", True), _state_kept(run._r):
        run._r.setstate(stream.getstate())
        yield


@contextmanager
def _state_kept(generator: Any) -> Iterator[None]:
    state = generator.getstate()
    try:
        yield
    finally:
        generator.setstate(state)


@contextmanager
def _system_chance(seed: Seed) -> Iterator[None]:
    """What asks the system for chance, or a generator that nobody seeded, gets it from the seed."""
    stream = seed.random("system")
    unseeded = seed.random("unseeded")
    reseed = random.Random.seed

    def seed_or_draw(self: random.Random, a: Any = None, version: int = 2) -> None:
        reseed(self, unseeded.getrandbits(256) if a is None else a, version)

    shared = cast(Any, random)._inst
    with (
        _state_kept(shared),
        patch.object(os, "urandom", stream.randbytes),
        patch.object(random, "_urandom", stream.randbytes),
        patch.object(random.Random, "seed", seed_or_draw),
    ):
        shared.setstate(seed.random("shared").getstate())
        yield


def _hour() -> float:
    """The virtual clock's time as that of a day; real time in a run on another clock."""
    try:
        ticking = trio.lowlevel.current_clock()
    except RuntimeError:
        return HOUR
    return HOUR + ticking.current_time() if isinstance(ticking, MockClock) else clock.system()


@contextmanager
def _no_collector() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Trace(trio.abc.Instrument):
    """A hash over every step of every task: its name and the virtual time. Two runs of one seed have the same.

    Args:
        keep: keep the steps as lines in ``lines`` too, to look for the first in which two runs differ.

    Attributes:
        steps: how many there were.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self.steps = 0
        self.lines: list[str] = []
        self._keep = keep
        self._hash = sha256()

    @property
    def digest(self) -> str:
        """The hash so far, in hexadecimal."""
        return self._hash.hexdigest()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Called by Trio."""
        line = f"{trio.current_time()!r} {_without_addresses(task.name)}"
        self.steps += 1
        self._hash.update(line.encode() + b"\n")
        if self._keep:
            self.lines.append(line)


@lru_cache(1024)
def _without_addresses(name: str) -> str:
    return re.sub(r" at 0x[0-9a-fA-F]+", "", name)


@dataclass(frozen=True, slots=True)
class Played(Generic[T]):
    """What a run came to: its result, the hash of its steps, their number, and the lines, if they were kept."""

    result: T
    digest: str
    steps: int
    lines: list[str] = field(default_factory=list, repr=False)


def play(seed: int, main: Callable[..., Awaitable[T]], *args: Any, keep: bool = False) -> Played[T]:
    """Run an async function on the virtual clock, with all chance drawn from a seed.

    Args:
        seed: any number; the same one gives the same run, step for step.
        main: the async function; ``args`` are its.
        keep: whether the steps are kept as lines, see :class:`Trace`.

    Raises:
        BaseException: whatever ``main`` raises.
    """
    trace = Trace(keep=keep)
    with seeded(seed):
        result = trio.run(main, *args, clock=MockClock(autojump_threshold=0), instruments=[trace])
    return Played(result, trace.digest, trace.steps, trace.lines)
