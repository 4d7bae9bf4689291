"""Policies: what a client gets that stays behind. Each is a pure function of five numbers.

A policy is any function from a :class:`Lag` to a :class:`Step`; those here are what most apps want, and
:func:`ladder` chains them. It is asked again before each page that is read for a follower that is behind, and once in
``limits.policy_seconds`` while its client takes nothing. Whatever the policy says, a client whose kernel took
nothing for ``limits.stall_seconds`` is given up.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from inspect import iscoroutinefunction, signature
from typing import NamedTuple, TypeAlias

from ..errors import ConfigError, only_exceptions

__all__ = [
    "Lag",
    "Policy",
    "Step",
    "ask",
    "block",
    "catch_up",
    "check_policy",
    "disconnect",
    "fold",
    "holds_publishers",
    "ladder",
    "latest",
    "skip",
]


class Lag(NamedTuple):
    """How far a follower is behind.

    Attributes:
        events: events that were published and not yet sent to it.
        missed: those of them that were published before it came. What a client missed while it was away is no sign
            that it is slow.
        seconds: how long it has been behind.
        stalled: for how many seconds its kernel has taken nothing although something waited.
        pending: bytes that wait for its kernel.
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
    FOLD = 2
    """Of what it has not seen, send as one the events that go together (``fold`` of ``publish``)."""
    LATEST = 3
    """Of what it has not seen, send the newest of each key; a gap says that the others were left out."""
    SKIP = 4
    """Go on from the newest event; a gap names what was left out."""
    DISCONNECT = 5
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

    # A callable object where a closure would do: `repr` is what `explain` and the log show of a policy, and `blocks`
    # is read without calling it.

    def __call__(self, lag: Lag) -> Step:
        return self._decide(lag)

    def __repr__(self) -> str:
        return self._name


def catch_up() -> Policy:
    """Send everything, however long it takes: the default."""
    return _Rule("catch_up()", lambda lag: Step.CATCH_UP)


def latest(*, events: int) -> Policy:
    """Send only the newest event of each key to a client that is more than ``events`` behind, also after being away.

    It is for state that replaces itself: prices, positions, progress. An event without a key is never left out.

    Raises:
        ConfigError: the app's fault; ``events`` is no number above 0.
    """
    _check("latest", events=events)
    return _Rule(f"latest(events={events})", lambda lag: Step.LATEST if lag.events > events else Step.CATCH_UP)


def fold(*, events: int) -> Policy:
    """Send events that go together as one to a client that is more than ``events`` behind, also after being away.

    It is for what is published with ``fold``: the tokens of an answer, sums, patches of a state. A client makes of one
    event what it would have made of all that it stands for, so nothing is lost; a gap of reason ``conflated`` says how
    many are not sent each for itself. A client that follows with ``?fold=1`` is sent what it missed so in any case, and
    without such a gap.

    Raises:
        ConfigError: the app's fault; ``events`` is no number above 0.
    """
    _check("fold", events=events)
    return _Rule(f"fold(events={events})", lambda lag: Step.FOLD if lag.events > events else Step.CATCH_UP)


def skip(*, events: int) -> Policy:
    """Jump to the newest event when more than ``events`` behind, also after being away.

    It is for what is only of interest now: a live video's comments, a debug log.

    Raises:
        ConfigError: the app's fault; ``events`` is no number above 0.
    """
    _check("skip", events=events)
    return _Rule(f"skip(events={events})", lambda lag: Step.SKIP if lag.events > events else Step.CATCH_UP)


def disconnect(*, events: int | None = None, seconds: float | None = None) -> Policy:
    """Say bye to a client that is more than ``events`` behind, or behind for longer than ``seconds``.

    Only events count that were published while it was connected: a client that comes back after a night is not slow.

    Raises:
        ConfigError: the app's fault; neither is given, or one is no number above 0.
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
    """Make publishers wait while a client is more than ``events`` behind. A client that is behind for ``seconds`` is
    given up, so no publisher waits longer.

    It is for few, trusted followers that must see everything. It holds back publishers of the same process only.

    Raises:
        ConfigError: the app's fault; ``events`` or ``seconds`` is no number above 0.
    """
    _check("block", events=events, seconds=seconds)

    def decide(lag: Lag) -> Step:
        if lag.events - lag.missed <= events:
            return Step.CATCH_UP
        return Step.BLOCK if lag.seconds < seconds else Step.DISCONNECT

    return _Rule(f"block(events={events}, seconds={seconds})", decide, blocks=True)


def ladder(*rungs: Policy) -> Policy:
    """Take the most drastic step that any of these policies says.

    An example is ``ladder(latest(events=100), disconnect(seconds=60))``.

    Raises:
        ConfigError: the app's fault; no policy is given, or what is none.
    """
    if not rungs:
        raise ConfigError("a ladder needs rungs")
    for rung in rungs:
        check_policy(rung)
    name = f"ladder({', '.join(map(repr, rungs))})"
    # Step is ordered, the mildest first, so that `max` is the whole decision.
    return _Rule(name, lambda lag: max([rung(lag) for rung in rungs]), blocks=any(map(holds_publishers, rungs)))


def check_policy(policy: object) -> None:
    """Refuse what is no policy: ``policies.latest`` without its parentheses, say. Raises ConfigError."""
    try:
        signature(policy).bind(None)  # type: ignore[arg-type]  # what is no function is refused there
        asks = not iscoroutinefunction(policy)
    except ValueError:  # of a function that is not written in Python nothing is known
        asks = True
    except TypeError:
        asks = False
    if not asks:
        raise ConfigError(
            "policy= is an ordinary function of a Lag that returns a Step, and is made by policies.latest(events=100), "
            f"say; {policy!r:.80} is none"
        )


def ask(policy: Policy, lag: Lag) -> Step:
    """Ask a policy.

    Raises:
        ConfigError: the app's fault; what it says is no Step.
        Exception: the app's fault; what it raises.
    """
    with only_exceptions():
        step: object = policy(lag)
    if not isinstance(step, Step):
        raise ConfigError(f"a policy returns a Step, as Step.CATCH_UP, and this one has returned {step!r:.80}")
    return step


def holds_publishers(policy: Policy | None) -> bool:
    """Tell whether a policy may say ``Step.BLOCK``."""
    # An attribute and not a trial call: publishers look at this for every follower that falls behind, and a policy of
    # the app's own, which has none, must cost them nothing.
    return bool(getattr(policy, "blocks", False))


def _check(name: str, **bounds: float | None) -> None:
    for bound, value in bounds.items():
        if value is not None and not (isinstance(value, int | float) and value > 0):
            raise ConfigError(f"{name}({bound}=…) must be a number above 0, not {value!r}")
