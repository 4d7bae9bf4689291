"""Makes a failing plan smaller, as long as it fails in the same way: fewer clients, fewer steps, plainer everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, replace
from typing import Any, TypeVar

from triolet.limits import Limits

from .plan import LogPlan, Plan, Publish, Step, Wait

__all__ = ["shrink"]

T = TypeVar("T")

MOST_PLAYS = 250
"""Plans that are tried before the smallest so far is good enough."""


def shrink(plan: Plan, fails: Callable[[Plan], bool], most_plays: int = MOST_PLAYS) -> Plan:
    """Make a plan smaller.

    Args:
        plan: one that fails.
        fails: whether a plan fails in the same way. It is called ``most_plays`` times at most.

    Returns:
        One that fails, from which nothing can be taken any more (or not within so many plays).
    """
    return _Shrinker(plan, fails, most_plays).run()


class _Shrinker:
    def __init__(self, plan: Plan, fails: Callable[[Plan], bool], plays: int) -> None:
        self._plan = plan
        self._fails = fails
        self._plays = plays

    def run(self) -> Plan:
        before = None
        while before != self._plan and self._plays > 0:
            before = self._plan
            self._without_clients()
            self._without_steps()
            self._simpler(_plainer)
            self._simpler(_plainer_steps)
            self._simpler(_plainer_clients)
            self._simpler(_plainer_limits)
        return self._plan

    def _try(self, smaller: Plan) -> bool:
        """Go on with a smaller plan, if it fails too."""
        if self._plays <= 0 or smaller == self._plan:
            return False
        self._plays -= 1
        if self._fails(smaller):
            self._plan = smaller
            return True
        return False

    def _without_clients(self) -> None:
        at = len(self._plan.clients) - 1
        while at >= 0 and len(self._plan.clients) > 1:
            self._try(self._plan.without_clients({at}))
            at -= 1

    def _without_steps(self) -> None:
        """Delta debugging (Zeller and Hildebrandt, 2002): halves, quarters, down to single steps."""
        size = max(1, len(self._plan.steps) // 2)
        while True:
            at = 0
            while at < len(self._plan.steps):
                steps = self._plan.steps[:at] + self._plan.steps[at + size :]
                if not self._try(replace(self._plan, steps=steps)):
                    at += size
            if size == 1:
                return
            size = max(1, size // 2)

    def _simpler(self, ways: Callable[[Plan], Iterator[Plan]]) -> None:
        """Take every way that still fails; after each one look again."""
        tried: set[Plan] = set()
        found = True
        while found and self._plays > 0:
            found = False
            for smaller in ways(self._plan):
                if smaller not in tried:
                    tried.add(smaller)
                    if self._try(smaller):
                        found = True
                        break


def _plainer(plan: Plan) -> Iterator[Plan]:
    if plan.servers > 1:
        clients = tuple(replace(client, server=0, roams=False) for client in plan.clients)
        steps = tuple(_with(step, server=0) for step in plan.steps)
        yield replace(plan, servers=1, clients=clients, steps=steps)
    used = {channel for client in plan.clients for channel in client.channels}
    used |= {getattr(step, "channel", 0) for step in plan.steps}
    if plan.channels > max(used) + 1:
        yield replace(plan, channels=max(used) + 1)
    if plan.redis:  # trouble that only Redis has befalls nobody then
        yield replace(plan, redis=False)
    if plan.deflate:
        yield replace(plan, deflate=False, clients=tuple(replace(client, deflate=False) for client in plan.clients))
    for log in _defaults(plan.log, LogPlan()):
        yield replace(plan, log=log)


def _plainer_steps(plan: Plan) -> Iterator[Plan]:
    for at, step in enumerate(plan.steps):
        for plainer in _plainer_step(step):
            yield replace(plan, steps=(*plan.steps[:at], plainer, *plan.steps[at + 1 :]))


def _plainer_step(step: Step) -> Iterator[Step]:
    if isinstance(step, Publish):
        for name, value in (("count", 1), ("batch", 0), ("size", 0), ("pace", 0), ("via", "app"), ("repeats", False)):
            if getattr(step, name) != value:
                yield _with(step, **{name: value})
        if step.cancelled is not None:
            yield replace(step, cancelled=None)
        if step.count > 2:
            yield replace(step, count=step.count // 2)
        if step.batch > 2:
            yield replace(step, batch=step.batch // 2)
    elif isinstance(step, Wait) and step.seconds > 1:
        yield Wait(step.seconds // 2)
    elif getattr(step, "count", 1) > 1:
        yield _with(step, count=1)


def _plainer_clients(plan: Plan) -> Iterator[Plan]:
    for at, client in enumerate(plan.clients):
        plain = replace(client, route=0, start=client.start, roams=False, latency=0.0, bandwidth=0, kernel=64 << 10)
        plain = replace(plain, pause=0, mute=False, deflate=False, comes_at=0, channels=client.channels[:1])
        for plainer in _defaults(client, plain):
            yield replace(plan, clients=(*plan.clients[:at], plainer, *plan.clients[at + 1 :]))


def _plainer_limits(plan: Plan) -> Iterator[Plan]:
    kept = {"stall_seconds", "beat_seconds", "silence_seconds", "policy_seconds", "goodbye_seconds", "wait_seconds"}
    for limits in _defaults(plan.limits, Limits(), kept | {"poll_seconds"}):
        yield replace(plan, limits=limits)


def _defaults(thing: T, plain: T, kept: set[str] | frozenset[str] = frozenset()) -> Iterator[T]:
    """The thing with one field as in the plain one."""
    for field in fields(thing):  # type: ignore[arg-type]  # both are dataclasses
        value = getattr(plain, field.name, MISSING)
        if field.name not in kept and getattr(thing, field.name) != value:
            yield _with(thing, **{field.name: value})


def _with(thing: T, **changes: Any) -> T:
    """The thing with some fields changed, of those that it has."""
    names = {field.name for field in fields(thing)}  # type: ignore[arg-type]  # a dataclass
    return replace(thing, **{name: value for name, value in changes.items() if name in names})  # type: ignore[type-var]
