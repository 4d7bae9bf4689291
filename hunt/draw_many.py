"""Plays in which clients follow many channels by one request."""

from __future__ import annotations

import random
from dataclasses import replace

from .plan import PRESENCE, ClientPlan, Plan, Step
from .steps import Publish, Revoke, Talk

__all__ = ["with_many"]

CONVERTED = 0.7
"""Of the clients there that may be."""
MAY = ("sse", "sse behind", "websocket", "socket", "long poll")


def with_many(plan: Plan, chance: random.Random) -> Plan:
    """The same play, but some of its clients follow many channels by one request, and now and then others than before:
    what happens to the one channel is not to touch what they are told of the other."""
    steps = [*plan.steps]
    if plan.channels == 1:
        steps = [_elsewhere(step, chance) for step in steps]
    channels = max(2, plan.channels)
    named = {step.client for step in steps if isinstance(step, Revoke) and step.by == "url"}
    clients = tuple(
        # Of those whose URL is revoked some go on to have but one.
        client if at in named and chance.random() < 0.5 else _client(client, chance, channels)
        for at, client in enumerate(plan.clients)
    )
    some = [at for at, client in enumerate(clients) if client.transport.startswith("many")]
    for _ in range(chance.choice([0, 1, 2])) if some else ():
        talk = Talk(chance.choice(some), chance.choice(["follow", "unfollow"]), chance.randrange(channels))
        steps.insert(chance.randint(0, len(steps)), talk)
    return replace(plan, clients=clients, steps=tuple(steps), channels=channels)


def _elsewhere(step: Step, chance: random.Random) -> Step:
    return replace(step, channel=chance.randrange(2)) if isinstance(step, Publish) else step


def _client(client: ClientPlan, chance: random.Random, channels: int) -> ClientPlan:
    if client.transport not in MAY or chance.random() > CONVERTED:
        return client
    first = client.channels[0]
    more = chance.sample(range(channels), chance.randint(1, channels))
    followed = tuple(dict.fromkeys([*client.channels, *(number + first // PRESENCE * PRESENCE for number in more)]))
    transport = "many poll" if client.transport == "long poll" or chance.random() < 0.3 else "many sse"
    return replace(client, transport=transport, channels=followed, mute=False, deflate=False)
