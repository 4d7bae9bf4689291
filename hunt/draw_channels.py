"""Plays in which channels end, are deleted and begin anew, events fold, and states are kept."""

from __future__ import annotations

import random
from dataclasses import replace

from triolet.event import FOLDS
from triolet.limits import Keep

from .plan import ClientPlan, Plan, Rung, Step
from .setting import Dice
from .steps import Close, Cut, List, Publish, Wait

__all__ = ["with_channels"]

FOLDING: tuple[tuple[Rung, ...], ...] = (
    (Rung("fold", events=1),),
    (Rung("fold", events=4),),
    (Rung("fold", events=2), Rung("skip", events=12)),
    (Rung("fold", events=2), Rung("block", events=20, seconds=2)),
)
AGES = (1, 3, 8)


def with_channels(plan: Plan, chance: random.Random, features: set[str]) -> Plan:
    """The same play, and some of this: ends and deletions, folds, states, and channels that are kept otherwise."""
    topics = set(chance.sample(("ends", "deletes", "folds", "states", "keeps"), chance.choice([2, 3, 3])))
    channels = max(plan.channels, chance.choice([1, 2, 2]))
    routes = plan.routes + FOLDING
    places = range(len(plan.routes), len(routes))
    clients = tuple(_client(client, chance, topics, channels, places) for client in plan.clients)
    dice = Dice(chance, features, clients, plan.servers, channels)
    folds = chance.sample(FOLDS, chance.choice([1, 1, 2])) if "folds" in topics else [""]
    steps = [_step(step, chance, folds, channels) for step in plan.steps]
    for _ in range(chance.choice([2, 3, 3])):
        at = chance.randint(0, len(steps))
        steps[at:at] = _scene(dice, topics, folds)
    if topics & {"ends", "deletes"} and chance.random() < 0.5:  # it stays so
        steps += [Close(chance.randrange(channels), chance.choice(sorted(_ways(topics))), dice.choice(dice.servers))]
    steps += [Wait(3), List.draw(dice)]
    limits = plan.limits
    if "keeps" in topics:
        kept = Keep(events=chance.choice([None, 1, 3, 6]), seconds=chance.choice([None, *AGES]))
        limits = replace(limits, keep={chance.choice(["c0", "c1", "c*"]): kept})
    every = chance.choice([1, 2, 5, 20]) if "states" in topics else 0
    return replace(
        plan, clients=clients, routes=routes, steps=tuple(steps), channels=channels, limits=limits, every=every
    )


def _ways(topics: set[str]) -> set[str]:
    return {{"ends": "end", "deletes": "delete"}[topic] for topic in topics & {"ends", "deletes"}}


def _client(client: ClientPlan, chance: random.Random, topics: set[str], channels: int, places: range) -> ClientPlan:
    if client.transport == "socket":
        client = replace(client, channels=tuple(sorted({*client.channels, chance.randrange(channels)})))
    elif chance.random() < 0.5:
        client = replace(client, channels=(chance.randrange(channels),))
    if chance.random() < 0.2:  # who may not see all; and so has no state, and no policy
        client = replace(client, way="f", route=0)
    elif "folds" in topics and chance.random() < 0.35:
        place = chance.choice(places)
        client = client if client.way == "f" else replace(client, route=place)
    return replace(
        client,
        folds="folds" in topics and chance.random() < 0.6,
        state="states" in topics and chance.random() < 0.7,
        start=chance.choice([None, client.start]) if "states" in topics else client.start,
    )


def _step(step: Step, chance: random.Random, folds: list[str], channels: int) -> Step:
    if not isinstance(step, Publish):
        return step
    channel = step.channel if chance.random() < 0.7 else chance.randrange(channels)
    fold = chance.choice(folds) if chance.random() < 0.8 else ""
    return replace(step, channel=channel, fold=fold, count=step.count * (3 if fold and step.count < 8 else 1))


def _scene(dice: Dice, topics: set[str], folds: list[str]) -> list[Step]:
    """Somebody is away while something happens to a channel, and it is gone on with, or not."""
    channel, server = dice.choice(dice.channels), dice.choice(dice.servers)

    def publish(count: int, pace: float = 0) -> Publish:
        return Publish(channel, count, dice.choice([0, 0, 3]), server=server, pace=pace, fold=dice.choice(folds))

    steps: list[Step] = [publish(dice.choice([1, 4, 12]), dice.choice([0, 0, 0.1]))]
    if dice.happens(0.6):
        steps.insert(0, Cut(dice.choice(dice.clients), "reset", dice.choice([0.5, 2]), dice.choice([None, None, "0"])))
    if dice.happens(0.4):
        steps.append(Wait(dice.choice([0, 0.01, 0.3, 3])))
    ways = sorted(_ways(topics))
    if ways and dice.happens(0.75):
        way = dice.choice(ways)
        steps.append(Close(channel, way, dice.choice(dice.servers)))
        if dice.happens(0.5):  # somebody comes before it goes on
            back = Cut(
                dice.choice(dice.clients), "reset", dice.choice([0, 0.01]), dice.choice([None, "0", "old", "now"])
            )
            steps += [Wait(0.3), back, Wait(1)]
        steps += [Wait(dice.choice([0, 0.01, 0.3, 4]))] if dice.happens(0.6) else []
        steps += [List.draw(dice)] if dice.happens(0.3) else []
        steps.append(publish(dice.choice([1, 3])))
        if way == "end" and dice.happens(0.6):  # or nobody would publish to it any more
            steps += [Wait(dice.choice([0.3, 4])), Close(channel, "delete", server), publish(2)]
    if dice.happens(0.4):
        steps.append(Cut(dice.choice(dice.clients), "reset", 0.5, dice.choice([None, "0", "now", "old", "old"])))
    return [*steps, Wait(dice.choice([0.3, 1, 4]))]
