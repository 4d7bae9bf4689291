"""Plays with runs: each on a channel of its own, or where others publish; whose processes are killed."""

from __future__ import annotations

import random
from dataclasses import replace

from triolet.event import FOLDS

from .plan import PRESENCE, ClientPlan, Plan, Step
from .setting import Dice
from .steps import Begin, Close, Cut, Halt, Publish, Restart, Wait

__all__ = ["with_runs"]

LEASE_SECONDS = 3


def with_runs(plan: Plan, chance: random.Random, features: set[str]) -> Plan:
    """The same play, and some runs in it."""
    first = plan.channels
    fresh = list(range(first, first + chance.choice([1, 1, 2])))
    clients = tuple(_client(client, chance, fresh) for client in plan.clients)
    dice = Dice(chance, features, clients, plan.servers, first + len(fresh))
    folds = ["", chance.choice(FOLDS)]
    steps = [*plan.steps]
    for channel in fresh if chance.random() < 0.8 else [*fresh, chance.randrange(first)]:
        at = chance.randint(0, len(steps))
        steps[at:at] = _scene(dice, channel, chance.choice(folds))
    limits = replace(
        plan.limits,
        run_lease_seconds=LEASE_SECONDS,
        run_batch_events=chance.choice([1, 3, 256, 256]),
        run_stop_seconds=chance.choice([1, 4]),
    )
    return replace(plan, clients=clients, steps=tuple(steps), channels=first + len(fresh), limits=limits)


def _client(client: ClientPlan, chance: random.Random, fresh: list[int]) -> ClientPlan:
    """Most look at what runs tell: by the only channel that they follow, or by another one."""
    if client.transport == "socket":
        return replace(client, channels=tuple(dict.fromkeys([*client.channels, *fresh])))
    if chance.random() < 0.6 and client.channels[0] < PRESENCE:
        return replace(client, channels=(chance.choice(fresh),))
    return client


def _scene(dice: Dice, channel: int, fold: str) -> list[Step]:
    """A run begins; something befalls it, or who looks at it; and then it is over, or found to be lost."""
    begin = replace(Begin.draw(dice), channel=channel, fold=fold)
    if dice.happens(0.6):  # it goes on for long enough that something may befall it
        begin = replace(begin, pace=dice.choice([0.2, 1, 1]), count=dice.choice([8, 12]))
    steps: list[Step] = [begin]
    for _ in range(dice.choice([1, 1, 2, 3])):
        steps.append(Wait(dice.choice([0, 0.01, 0.3, 1, 3])))
        what = dice.choice(["kill", "kill", "kill", "stop", "cut", "cut", "end", "again", "publish", "leave"])
        if what == "kill":
            passes = dice.choice([0, 1, 3, 8, 21])
            steps.append(Restart(begin.server, dice.choice([0, 0.5, 3]), dice.happens(0.65), passes))
            steps += [Wait(6)] * dice.happens(0.7)
        elif what == "stop":
            steps.append(replace(Halt.draw(dice), channel=channel))
        elif what == "cut":
            after = dice.choice([None, None, "0", "old", "now"])
            steps.append(Cut(dice.choice(dice.clients), "reset", dice.choice([0, 0.5, 2]), after))
        elif what == "end":
            steps.append(Close(channel, dice.choice(["end", "end", "delete"]), dice.choice(dice.servers)))
        elif what == "again":
            steps.append(replace(begin, server=dice.choice(dice.servers)))
        elif what == "publish":
            steps.append(Publish(channel, 3, server=dice.choice(dice.servers), pace=dice.choice([0, 0.2])))
        else:  # nobody looks on any more
            steps += [Cut(client, "reset", 6) for client in dice.clients]
    return steps
