"""From a seed to a plan. Each seed picks a few features and hammers them (swarm testing): a play that does a little of
everything seldom gets anything into a corner."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from triolet.client.choice import TRANSPORTS
from triolet.limits import Limits

from .draw_channels import with_channels
from .draw_many import with_many
from .draw_runs import with_runs
from .plan import PRESENCE, PYTHON, STREAMS, ClientPlan, FeedPlan, LogPlan, Plan, ProgramPlan, Rung, Step, letter
from .setting import Dice
from .steps import STEPS, Cut, Kill, Order, Publish, Revoke, Stall, Trouble, Wait

__all__ = ["FEATURES", "REDIS_TROUBLES", "draw"]

FEATURES = (
    "rush",  # publishing while clients come, at the same moment
    "bursts",  # many events at once: pages, rounds, a tail that is overrun
    "retention",  # little is kept, and what is read may be gone before it is sent
    "kernels",  # small kernels and large events: half-sent frames
    "slow",  # clients that read slowly or not at all, under policies
    "goers",  # clients that go at awkward moments
    "restarts",  # drains, restarts, a log that is lost
    "servers",  # several servers over one log
    "sockets",  # follow, unfollow, messages both ways
    "polls",
    "log",  # a log that is slow, full, or fails
    "lines",  # latency, bandwidth, faults of the network
    "quiet",  # long times without events: beats, silence
    "memory",  # a small budget
    "dedupe",
    "cancels",  # publishers that are cancelled
    "held",  # publishers that wait for clients which read little by little
    "presence",  # members who come and go, and servers that are killed
)
IDENTITY_SHARE = 0.3
"""Of the seeds: their clients have identities, and commands."""
REDIS_SHARE = 0.25
"""Of the seeds: their log is in a modelled Redis."""
PROGRAM_SHARE = 0.4
"""Of the seeds: some of their clients are programs that use the Python client."""
CHANNELS_SHARE = 0.8
"""Of the seeds without any of these, and without members: their channels end, are deleted, fold and have states."""
RUNS_SHARE = 0.2
"""Of the seeds: they have runs, beside all else."""
FEED_SHARE = 0.25
"""Of the seeds: tasks of the servers' own follow channels."""
MANY_SHARE = 0.2
"""Of the seeds: some of their clients follow many channels by one request."""
CONVERTED = 0.6
"""Of the clients there, but for members."""
HINT_TROUBLES = ("hints lost", "hints lost", "hints twice", "hints late")
REDIS_TROUBLES = (
    *(*HINT_TROUBLES, "connections lost", "lost before", "lost after", "slow"),
    *("away", "hangs", "hangs", "restarts", "restarts empty", "restarts older", "fails over", "fails over"),
)
MOST_CLIENTS = 6
MOST_STEPS = 22
WARNING_SECONDS = 2.0
"""Before its end a client is warned."""
LEASE_SECONDS = 3
"""Of members: a process that is killed is found to be dead after that."""
ROUTES: tuple[tuple[Rung, ...], ...] = (
    (),
    (Rung("latest", events=1),),
    (Rung("latest", events=4),),
    (Rung("skip", events=3),),
    (Rung("disconnect", events=5, seconds=3),),
    (Rung("block", events=2, seconds=2),),
    (Rung("latest", events=2), Rung("skip", events=6), Rung("disconnect", seconds=5)),
    (Rung("block", events=3, seconds=3), Rung("latest", events=5)),
)
CONFLATING = tuple(at for at, rungs in enumerate(ROUTES) if any(rung.kind == "latest" for rung in rungs))
HOLDING = tuple(at for at, rungs in enumerate(ROUTES) if any(rung.kind == "block" for rung in rungs))


def draw(seed: int) -> Plan:
    """Draw a plan. The same seed gives the same plan, on every machine and Python."""
    chance = random.Random(f"triolet hunt {seed}")
    features = set(chance.sample(FEATURES, chance.choice([2, 3, 3, 4])))
    servers = chance.choice([2, 2, 3]) if "servers" in features else 1
    channels = chance.choice([1, 2, 3] if features & {"sockets", "bursts"} else [1, 1, 2])
    routes = chance.sample(range(1, len(ROUTES)), chance.choice([1, 1, 2]))
    clients = tuple(
        _client(chance, features, letter(at), servers, channels, routes)
        for at in range(chance.randint(2, MOST_CLIENTS))
    )
    if features & {"slow", "retention", "bursts"} and chance.random() < 0.6:
        clients = _with_twins(clients, chance)
    plan = Plan(
        seed=seed,
        limits=_limits(chance, features),
        routes=ROUTES,
        clients=clients,
        steps=tuple(_steps(chance, Dice(chance, features, clients, servers, channels))),
        servers=servers,
        channels=channels,
        grace=chance.choice([2, 5]),
        deflate=chance.random() < 0.3,
        log=_log(chance, features),
    )
    if "presence" in features:
        plan = _with_members(plan, random.Random(f"triolet hunt {seed} with members"))
    chance = random.Random(f"triolet hunt {seed} with identities")
    if chance.random() < IDENTITY_SHARE:
        plan = _with_identities(plan, chance, features)
    chance = random.Random(f"triolet hunt {seed} on Redis")  # a stream of its own: other seeds' plans stay as they are
    plan = _on_redis(plan, chance) if chance.random() < REDIS_SHARE else plan
    chance = random.Random(f"triolet hunt {seed} with programs")
    if chance.random() < PROGRAM_SHARE:
        plan = _with_programs(plan, chance, features)
    else:
        chance = random.Random(f"triolet hunt {seed} with channels")
        if chance.random() < CHANNELS_SHARE and not (plan.has_members or plan.has_identities):
            plan = with_channels(plan, chance, features)
    chance = random.Random(f"triolet hunt {seed} with runs")
    if chance.random() < RUNS_SHARE:
        plan = with_runs(plan, chance, features)
    chance = random.Random(f"triolet hunt {seed} with many")
    plan = with_many(plan, chance) if chance.random() < MANY_SHARE else plan
    chance = random.Random(f"triolet hunt {seed} with feeds")
    return _with_feeds(plan, chance) if chance.random() < FEED_SHARE else plan


def _steps(chance: random.Random, dice: Dice) -> list[Step]:
    """Draw steps, and waits between them, which are not counted."""
    weights = [kind.weight(dice) for kind in STEPS]
    steps: list[Step] = []
    for kind in chance.choices(STEPS, weights, k=chance.randint(6, MOST_STEPS)):
        steps.append(kind.draw(dice))
        if dice.happens(0.5 - dice.has("rush") * 0.3):
            steps.append(Wait.draw(dice))
    return steps


def _with_feeds(plan: Plan, chance: random.Random) -> Plan:
    """The same play, and tasks of the servers' own that follow a channel."""
    feeds = tuple(
        FeedPlan(
            f"feed {number}",
            chance.randrange(plan.channels),
            chance.randrange(plan.servers),
            chance.choice([None, "0"]),
            chance.choice([0, 0, 0.2, 1.5]),
        )
        for number in range(chance.choice([1, 1, 2]))
    )
    return replace(plan, feeds=feeds)


def _with_twins(clients: tuple[ClientPlan, ...], chance: random.Random) -> tuple[ClientPlan, ...]:
    """The same clients, but two of them stand at one place under different policies: what is made for one of them is
    not what the other gets."""
    first, second, *rest = clients
    kind = first.transport if first.transport in STREAMS else chance.choice(["websocket", "sse"])
    first = replace(first, transport=kind, route=chance.choice(CONFLATING), start="0", comes_at=chance.choice([2, 6]))
    second = replace(first, name=second.name, route=0)
    pair = [first, second] if chance.random() < 0.5 else [second, first]
    return tuple(replace(client, name=letter(at)) for at, client in enumerate((*pair, *rest)))


def _with_members(plan: Plan, chance: random.Random) -> Plan:
    """The same play with members, and with some who look on: as much is kept as presence needs."""
    clients = []
    for client in plan.clients:
        looks_on = chance.random() < 0.4
        seen = tuple(number + PRESENCE for number in client.channels)
        if looks_on and client.transport == "socket":
            client = replace(client, channels=(*client.channels, *seen), member=chance.random() < 0.7)
        elif looks_on:
            client = replace(client, channels=seen[:1])
        else:
            client = replace(client, member=chance.random() < 0.8)
        clients.append(client)
    limits = replace(
        plan.limits,
        lease_seconds=LEASE_SECONDS,
        keep_events=chance.choice([40, 10_000]),
        keep_bytes=Limits().keep_bytes,
        keep_seconds=chance.choice([20, Limits().keep_seconds]),
    )
    steps = [*plan.steps]
    for _ in range(chance.choice([0, 1, 2])):  # and then it is quiet for as long as it takes to find who is lost
        steps.insert(chance.randint(0, len(steps)), Wait(12))
    if chance.random() < 0.7:
        at = chance.choice([len(steps), chance.randint(0, len(steps))])  # at the end nothing else has them stated anew
        steps[at:at] = [Trouble("begins again", 0), Wait(16)]
    members = [at for at, client in enumerate(clients) if client.member and client.transport in STREAMS]
    if members and chance.random() < 0.5:  # one goes, and its leave is lost
        steps += [Wait(6), Trouble("put back", 3), Wait(1), Cut(chance.choice(members), "reset", 4), Wait(12)]
    return replace(plan, clients=tuple(clients), limits=limits, steps=tuple(steps))


def _with_identities(plan: Plan, chance: random.Random, features: set[str]) -> Plan:
    """The same play with identities, and what becomes of them; and with commands. Enough is kept for what servers tell
    each other."""
    if plan.servers == 1 and chance.random() < 0.6:  # what one says the other hears
        plan = replace(plan, servers=2, clients=tuple(_moved(client, chance) for client in plan.clients))
    clients = []
    for client in plan.clients:
        if chance.random() < 0.8:
            expires = chance.random() < 0.5
            client = replace(
                client,
                subject=chance.choice(["u", "me", "her"]),
                lasts=chance.choice([3, 5]) if expires else 0,
                renews=chance.choice([0, 0.5, WARNING_SECONDS, 2.5]) if expires and chance.random() < 0.7 else None,
            )
        way = chance.choice("rrrkkf")
        clients.append(replace(client, way=way, route=0 if way == "f" else client.route))
    steps = [*plan.steps]
    dice = Dice(chance, features, tuple(clients), plan.servers, plan.channels)
    for _ in range(chance.choice([2, 4, 6])):
        kind = chance.choice((Revoke, Order))
        at = chance.randint(0, len(steps))
        more = [Publish(chance.randrange(plan.channels), 3, pace=chance.choice([0, 0.2]))] * (kind is Revoke)
        steps[at:at] = [kind.draw(dice), *more, *[Wait(chance.choice([0.3, 3]))] * (chance.random() < 0.3)]
    usual = Limits()
    limits = replace(
        plan.limits,
        expiry_warning_seconds=WARNING_SECONDS,
        lease_seconds=LEASE_SECONDS,
        keep_events=usual.keep_events,
        keep_bytes=usual.keep_bytes,
        keep_seconds=usual.keep_seconds,
    )
    return replace(plan, clients=tuple(clients), limits=limits, steps=tuple(steps))


def _on_redis(plan: Plan, chance: random.Random) -> Plan:
    """The same play with the log in Redis, which keeps all: trouble with the log is Redis's, and there is more of
    it."""

    def trouble() -> Trouble:
        return Trouble(chance.choice(kinds), chance.choice([12, 30] if hears_badly else [0.3, 1, 3, 6]))

    hears_badly = chance.random() < 0.35
    kinds = HINT_TROUBLES if hears_badly else chance.sample(REDIS_TROUBLES, 3)  # hammer some
    steps = [trouble() if isinstance(step, Trouble) else step for step in plan.steps]
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(steps))
        publish = Publish(chance.randrange(plan.channels), chance.choice([1, 3]), pace=chance.choice([0, 0.2, 1]))
        steps[at:at] = [trouble(), publish]  # somebody publishes into it
    publish = Publish(chance.randrange(plan.channels), 3, pace=0.2, server=chance.randrange(plan.servers))
    if not hears_badly and chance.random() < 0.4:  # who waits for an answer gives up, and it is done all the same
        steps += [Trouble("lost after", 6), publish, Wait(0.3), Trouble("hangs", 6), publish, Wait(6)]
    if not hears_badly and chance.random() < 0.4:  # what clients have seen is lost, and then it is quiet
        steps += [Wait(6), publish, Wait(1), Trouble("fails over", 1), publish, Wait(12)]
    if hears_badly and plan.channels == 1:  # the next hint is to be another channel's
        plan = replace(plan, channels=2, clients=tuple(_spread(client, chance) for client in plan.clients))
        steps = [replace(step, channel=chance.randrange(2)) if isinstance(step, Publish) else step for step in steps]
    if hears_badly:  # and then it is quiet: what was missed is to be missed
        steps.append(Trouble("hints lost", 30))
        for _ in range(3):
            server, first = chance.randrange(plan.servers), chance.randrange(2)
            steps += [Publish(first, server=server), Publish(1 - first, server=server), Wait(4)]
    if plan.servers == 1 and (hears_badly or chance.random() < 0.5):
        plan = replace(plan, servers=2, clients=tuple(_moved(client, chance) for client in plan.clients))
        steps = [replace(step, server=chance.randrange(2)) if isinstance(step, Publish) else step for step in steps]
    usual = Limits()
    limits = replace(
        plan.limits,
        away_seconds=chance.choice([1, 3]),
        answer_seconds=chance.choice([0.5, 1]),
        look_seconds=chance.choice([0.5, 1]),
        keep_events=usual.keep_events,
        keep_bytes=usual.keep_bytes,
        keep_seconds=usual.keep_seconds,
    )
    log = LogPlan(tail_events=plan.log.tail_events, yields=plan.log.yields)
    return replace(plan, limits=limits, steps=tuple(steps), log=log, redis=True)


def _with_programs(plan: Plan, chance: random.Random, features: set[str]) -> Plan:
    """The same play, but some of its clients are programs with the Python client, whatever befalls them; and they are
    killed, and hold more than a client holds for them."""
    clients = tuple(
        client if client.member or chance.random() > CONVERTED else _program(client, chance) for client in plan.clients
    )
    dice = Dice(chance, features, clients, plan.servers, plan.channels)
    if not dice.programs:
        return plan
    steps = [*plan.steps]
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        at, publish = chance.randint(0, len(steps)), Publish(chance.randrange(plan.channels), chance.choice([1, 3, 6]))
        steps[at:at] = [publish, Kill.draw(dice)]
    if chance.random() < 0.25:
        at, slow = chance.randint(0, len(steps)), chance.choice(dice.programs)
        publish = Publish(clients[slow].channels[0] % PRESENCE, 15, batch=10)
        steps[at:at] = [Stall(slow, chance.choice([3, 6])), publish, Wait(chance.choice([0.3, 3]))]
    return replace(plan, clients=clients, steps=tuple(steps))


def _program(client: ClientPlan, chance: random.Random) -> ClientPlan:
    usual = {"sse behind": "sse", "socket": "websocket", "long poll": "long-poll", "short poll": "poll"}
    chooses = chance.random() < 0.3
    store = chance.choice(["", "", "auto", "auto", "explicit"])
    program = ProgramPlan(
        transports=TRANSPORTS if chooses else (usual.get(client.transport, client.transport),),
        shares=client.transport == "socket",
        twin=chance.random() < 0.3,
        store=store,
        save_seconds=chance.choice([0, 0, 0.05, 0.4]) if store else 0,
        fails=chance.choice([0, 0, 0, 4]) if store else 0,
        wall=chance.choice(["", "upgrades", "streams"]) if chooses else "",
        wall_at=chance.choice([0, 2, 6]) if chooses else 0,
        library=chance.choice(["trio-websocket"] * 5 + ["websockets"]),
    )
    return replace(client, transport=PYTHON, program=program, mute=False, deflate=False)


def _spread(client: ClientPlan, chance: random.Random) -> ClientPlan:
    if client.transport == "socket":
        return replace(client, channels=tuple(dict.fromkeys((0, 1, *client.channels))))
    return replace(client, channels=(client.channels[0] // PRESENCE * PRESENCE + chance.randrange(2),))


def _moved(client: ClientPlan, chance: random.Random) -> ClientPlan:
    return replace(client, server=chance.randrange(2), roams=chance.random() < 0.7)


def _limits(chance: random.Random, features: set[str]) -> Limits:
    def pick(default: float, *others: float, when: str) -> Any:
        return chance.choice(others) if when in features and chance.random() < 0.7 else default

    beat = chance.choice([1, 2, 4]) if "quiet" in features else chance.choice([4, 8])
    return Limits(
        stall_seconds=chance.choice([2, 4]),
        beat_seconds=beat,
        silence_seconds=beat * 2.5,
        policy_seconds=chance.choice([0.5, 1]),
        goodbye_seconds=chance.choice([0.5, 1]),
        wait_seconds=chance.choice([3, 10]),
        poll_seconds=chance.choice([2, 5]),
        keep_events=pick(10_000, 1, 2, 3, 5, 8, 20, when="retention"),
        keep_bytes=pick(64 << 20, 40, 400, 2_000, 10_000, when="retention"),
        keep_seconds=pick(604_800, 1, 3, 8, 20, when="retention"),
        window_events=pick(512, 1, 2, 4, when=chance.choice(["bursts", "retention", "log", "slow"])),
        window_bytes=pick(1 << 20, 100, 1_000, when=chance.choice(["bursts", "retention", "memory"])),
        page_events=pick(256, 1, 2, 3, when=chance.choice(["bursts", "retention", "polls", "log", "slow"])),
        page_bytes=1_000
        if "memory" in features
        else pick(256 << 10, 100, 1_000, when=chance.choice(["bursts", "slow"])),
        idle_windows=pick(1_024, 1, when=chance.choice(["polls", "goers", "sockets"])),
        replay_turns=pick(8, 1, when=chance.choice(["rush", "goers", "slow"])),
        replay_bytes=pick(8 << 20, 1, 1_000, when=chance.choice(["rush", "retention"])),
        windows_bytes=pick(64 << 20, 1, 1_000, when="memory"),
        memory_bytes=pick(512 << 20, 30_000, 100_000, when="memory"),
        outbox_messages=pick(64, 1, 4, when="sockets"),
        inbox_messages=pick(64, 1, 3, when="sockets"),
    )


def _log(chance: random.Random, features: set[str]) -> LogPlan:
    troubled = "log" in features
    races = chance.choice([0, 0, 0.05, 0.4]) if "retention" in features else 0  # with what is read meanwhile
    return LogPlan(
        tail_events=chance.choice([1, 2, 5]) if "bursts" in features and chance.random() < 0.7 else 16_384,
        append_seconds=chance.choice([0, 0, 0.2]) if troubled else 0,
        read_seconds=chance.choice([0, 0.1, 1.5]) if troubled else races,
        tail_seconds=chance.choice([0, 0.01, 0.3]) if features & {"log", "servers", "rush", "bursts"} else 0,
        yields=chance.choice([0, 1, 1, 4] if features & {"rush", "goers", "log", "servers"} else [0, 0, 1]),
    )


def _client(
    chance: random.Random, features: set[str], name: str, servers: int, channels: int, routes: list[int]
) -> ClientPlan:
    kinds = ["websocket", "sse", "socket", "sse behind", "long poll", "websocket", "sse", "socket"]
    kinds += ["socket"] * 6 if "sockets" in features else []
    kinds += ["long poll", "short poll"] * 4 if "polls" in features else []
    transport = chance.choice(kinds)
    wanted = chance.randint(1, channels) if transport == "socket" else 1
    policed = chance.random() < (0.8 if "slow" in features else 0.25)
    slow = chance.random() < (0.5 if "slow" in features else 0.15 if transport == "socket" else 0)
    lined = "lines" in features and chance.random() < 0.6
    held = "held" in features and chance.random() < 0.7
    kernels = [64, 700, 4_000] if features & {"kernels", "slow", "held"} else [700, 4_000, 65_536, 65_536]
    return ClientPlan(
        name=name,
        transport=transport,
        channels=tuple(chance.sample(range(channels), wanted)),
        route=chance.choice(HOLDING) if held else chance.choice(routes) if policed else 0,
        server=chance.randrange(servers),
        start=chance.choice([None, None, "0", "0", "0"]),
        roams=servers > 1 and chance.random() < 0.7,
        latency=chance.choice([0, 0.02, 0.3]) if lined else 0.0,
        bandwidth=chance.choice([0, 8_000, 20_000]) if lined else 0,
        kernel=chance.choice([16_000, 65_536]) if lined else chance.choice(kernels),
        pause=chance.choice([0.1, 0.5, 1.5]) if slow or held else 0,
        mute=transport in ("websocket", "socket") and "quiet" in features and chance.random() < 0.35,
        deflate=chance.random() < 0.3,
        comes_at=0 if chance.random() < 0.6 else chance.choice([0.5, 2, 6]),
    )
