"""Makes a failing plan smaller, as long as it fails in the same way: fewer clients, fewer steps, plainer everything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, replace
from typing import Any

from triolet.limits import Limits

from .plan import ClientPlan, LogPlan, Plan, ProgramPlan, plainer

__all__ = ["MOST_PLAYS", "shrink"]

MOST_PLAYS = 250
"""Plans that are tried before the smallest so far is good enough."""
KEPT_LIMITS = frozenset(
    f"{name}_seconds"
    for name in ("stall", "beat", "silence", "policy", "goodbye", "wait", "poll", "lease", "run_lease")
)


def shrink(plan: Plan, fails: Callable[[Plan], bool], most_plays: int = MOST_PLAYS) -> Plan:
    """Make a plan smaller.

    Args:
        plan: one that fails.
        fails: whether a plan fails in the same way. It is called ``most_plays`` times at most.

    Returns:
        One that fails, from which nothing can be taken any more (or not within so many plays).
    """
    plays = most_plays
    before = None
    tried = {plan}

    def is_better(smaller: Plan) -> bool:
        nonlocal plays
        if smaller in tried or plays <= 0:
            return False
        tried.add(smaller)
        plays -= 1
        return fails(smaller)

    while before != plan and plays > 0:
        before = plan
        for at in range(len(plan.clients) - 1, -1, -1):
            if len(plan.clients) > 1 and is_better(smaller := plan.without_client(at)):
                plan = smaller
        plan = _fewer_steps(plan, is_better)
        for ways in (_plainer, _plainer_steps, _plainer_clients, _plainer_limits):
            while (found := next(filter(is_better, ways(plan)), None)) is not None and plays > 0:
                plan = found
    return plan


def _fewer_steps(plan: Plan, is_better: Callable[[Plan], bool]) -> Plan:
    """Delta debugging (Zeller and Hildebrandt, 2002): halves, quarters, down to single steps."""
    size = max(1, len(plan.steps) // 2)
    while size:
        at = 0
        while at < len(plan.steps):
            smaller = replace(plan, steps=plan.steps[:at] + plan.steps[at + size :])
            if is_better(smaller):
                plan = smaller
            else:
                at += size
        size //= 2
    return plan


def _plainer(plan: Plan) -> Iterator[Plan]:
    if plan.servers > 1:
        clients = tuple(replace(client, server=0, roams=False) for client in plan.clients)
        each: tuple[Any, ...] = plan.steps
        steps = tuple(replace(step, server=0) if _has(step, "server") else step for step in each)
        feeds = tuple(replace(feed, server=0) for feed in plan.feeds)
        yield replace(plan, servers=1, clients=clients, steps=steps, feeds=feeds)
    for at in range(len(plan.feeds)):
        yield replace(plan, feeds=plan.feeds[:at] + plan.feeds[at + 1 :])
    used = [number for client in plan.clients for number in client.channels] + [feed.channel for feed in plan.feeds]
    most = max(number % 100 for number in [*used, *(getattr(step, "channel", 0) for step in plan.steps)])
    if plan.channels > most + 1:
        yield replace(plan, channels=most + 1)
    if plan.redis:  # trouble that only Redis has befalls nobody then
        yield replace(plan, redis=False)
    if plan.deflate:
        yield replace(plan, deflate=False, clients=tuple(replace(client, deflate=False) for client in plan.clients))
    for log in plainer(plan.log, LogPlan()):
        yield replace(plan, log=log)


def _plainer_steps(plan: Plan) -> Iterator[Plan]:
    for at, step in enumerate(plan.steps):
        for smaller in step.plainer():
            yield replace(plan, steps=(*plan.steps[:at], smaller, *plan.steps[at + 1 :]))


def _plainer_clients(plan: Plan) -> Iterator[Plan]:
    for at, client in enumerate(plan.clients):
        plain = ClientPlan(client.name, client.transport, client.channels[:1], 0, client.server, client.start)
        for smaller in plainer(client, plain):
            yield replace(plan, clients=(*plan.clients[:at], smaller, *plan.clients[at + 1 :]))
        for program in plainer(client.program, ProgramPlan(client.program.transports[:1])):
            smaller = replace(client, program=program)
            yield replace(plan, clients=(*plan.clients[:at], smaller, *plan.clients[at + 1 :]))


def _plainer_limits(plan: Plan) -> Iterable[Plan]:
    return (replace(plan, limits=limits) for limits in plainer(plan.limits, Limits(), KEPT_LIMITS))


def _has(thing: Any, name: str) -> bool:
    return name in {field.name for field in fields(thing)}
