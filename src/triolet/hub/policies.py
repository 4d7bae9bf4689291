"""Policies: what a client gets that stays behind. Pure functions of four numbers and a past.

A policy is any function from a :class:`Lag` to a :class:`Step`; those here are what most apps want, and
:func:`ladder` chains them. It is asked again before each page that is read for a follower that is behind, and once in
``limits.policy_seconds`` while its client takes nothing. Whatever the policy says, a client whose kernel took
nothing for ``limits.stall_seconds`` is given up.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from ..errors import ConfigError

__all__ = [
    "Lag",
    "Policy",
    "Step",
    "block",
    "catch_up",
    "disconnect",
    "holds_publishers",
    "ladder",
    "latest",
    "skip",
]


class Lag(NamedTuple):
    """How far a follower is behind.

    ``events`` were published and not yet sent to it, ``missed`` of them before it came (what it missed while it was
    away is no sign that it is slow). ``seconds`` it has been behind; for ``stalled`` seconds its kernel took nothing
    although something waited, ``pending`` bytes.
    """

    events: int
    missed: int
    seconds: float
    stalled: float
    pending: int


class Step(IntEnum):
    """What to do, the mildest first: a ladder takes the most drastic of what its rungs say."""

    CATCH_UP = 0
    """Go on from the cursor, event by event."""
    BLOCK = 1
    """The same, and publishers of this process wait."""
    LATEST = 2
    """Of what it has not seen, send the newest of each key; a gap says that the others were left out."""
    SKIP = 3
    """Go on from the newest event; a gap names what was left out."""
    DISCONNECT = 4
    """Say bye (4410, "too far behind")."""


Policy: TypeAlias = Callable[[Lag], Step]
"""One of your own that says ``Step.BLOCK`` needs an attribute ``blocks`` that is true: publishers ask only those."""


class _Rule:
    """A policy with the name under which a log line or an explanation speaks of it."""

    __slots__ = ("_decide", "_name", "blocks")

    def __init__(self, name: str, decide: Callable[[Lag], Step], *, blocks: bool = False) -> None:
        self._name = name
        self._decide = decide
        self.blocks = blocks

    def __call__(self, lag: Lag) -> Step:
        return self._decide(lag)

    def __repr__(self) -> str:
        return self._name


def catch_up() -> Policy:
    """Send everything, however long it takes: the default."""
    return _Rule("catch_up()", lambda lag: Step.CATCH_UP)


def latest(*, events: int) -> Policy:
    """Send a client that is more than so many events behind only the newest event of each key, also after being away.

    For state that replaces itself: prices, positions, progress. An event without a key is never left out.
    """
    _check("latest", events=events)
    return _Rule(f"latest(events={events})", lambda lag: Step.LATEST if lag.events > events else Step.CATCH_UP)


def skip(*, events: int) -> Policy:
    """Jump to the newest event when more than so many events behind, also after being away.

    For what is only of interest now: a live video's comments, a debug log.
    """
    _check("skip", events=events)
    return _Rule(f"skip(events={events})", lambda lag: Step.SKIP if lag.events > events else Step.CATCH_UP)


def disconnect(*, events: int | None = None, seconds: float | None = None) -> Policy:
    """Say bye to a client that is more than so many events, or for longer than so many seconds, behind.

    Of the events, those count that came while it was connected: a client that comes back after a night is not slow.

    Raises:
        ConfigError: neither is given.
    """
    if events is None and seconds is None:
        raise ConfigError("disconnect needs events=, seconds=, or both")
    _check("disconnect", events=events, seconds=seconds)

    def decide(lag: Lag) -> Step:
        late = seconds is not None and lag.seconds > seconds
        far = events is not None and lag.events - lag.missed > events
        return Step.DISCONNECT if late or far else Step.CATCH_UP

    return _Rule(f"disconnect(events={events}, seconds={seconds})", decide)


def block(*, events: int, seconds: float) -> Policy:
    """Have publishers wait while a client is more than so many events behind; one that has then been behind for so many
    seconds is given up, so no publisher waits longer.

    For few, trusted followers that must see everything. It holds publishers of the same process.
    """
    _check("block", events=events, seconds=seconds)

    def decide(lag: Lag) -> Step:
        if lag.events - lag.missed <= events:
            return Step.CATCH_UP
        return Step.BLOCK if lag.seconds < seconds else Step.DISCONNECT

    return _Rule(f"block(events={events}, seconds={seconds})", decide, blocks=True)


def ladder(*rungs: Policy) -> Policy:
    """Take the most drastic step that any of these policies says.

    ``ladder(latest(events=100), disconnect(seconds=60))``, say.

    Raises:
        ConfigError: no rungs.
    """
    if not rungs:
        raise ConfigError("a ladder needs rungs")
    name = f"ladder({', '.join(map(repr, rungs))})"
    return _Rule(name, lambda lag: max([rung(lag) for rung in rungs]), blocks=any(map(holds_publishers, rungs)))


def holds_publishers(policy: Policy | None) -> bool:
    """Whether a policy may say ``Step.BLOCK``."""
    return bool(getattr(policy, "blocks", False))


def _check(name: str, **bounds: float | None) -> None:
    for bound, value in bounds.items():
        if value is not None and not (isinstance(value, int | float) and value > 0):
            raise ConfigError(f"{name}({bound}=…) must be a number above 0, not {value!r}")
