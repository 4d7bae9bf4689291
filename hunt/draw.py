"""From a seed to a plan. Each seed picks a few features and hammers them (swarm testing): a play that does a little of
everything seldom gets anything into a corner."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from triolet.limits import Limits

from .plan import (
    ClientPlan,
    Cut,
    Fault,
    Follow,
    LogPlan,
    LogTrouble,
    Lose,
    Ping,
    Plan,
    Publish,
    RedisTrouble,
    Restart,
    Return,
    Rung,
    Say,
    Stall,
    Step,
    Unfollow,
    Wait,
    letter,
)

__all__ = ["FEATURES", "draw"]

FEATURES = (
    "rush",  # publishing while clients come, at the same moment
    "bursts",  # many events at once: pages, rounds, a tail that is overrun
    "retention",  # little is kept
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
)
LARGE = {"kernels", "slow", "memory", "held"}
PAGED = ("bursts", "slow")
FAULTS = ("stalled", "cut", "cut without fin", "half open", "slow reader", "reordered accepts")
REDIS_SHARE = 0.25
"""Of the seeds: their log is in a modelled Redis."""
HINT_TROUBLES = ("hints lost", "hints lost", "hints twice", "hints late")
REDIS_TROUBLES = (
    *(*HINT_TROUBLES, "connections lost", "lost before", "lost after", "slow"),
    *("away", "hangs", "hangs", "full", "restarts", "restarts empty", "restarts older", "fails over", "fails over"),
)
MOST_CLIENTS = 6
MOST_STEPS = 22
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
    steps = _Steps(chance, features, clients, servers, channels)
    plan = Plan(
        seed=seed,
        limits=_limits(chance, features),
        routes=ROUTES,
        clients=clients,
        steps=tuple(steps.draw(chance.randint(6, MOST_STEPS))),
        servers=servers,
        channels=channels,
        grace=chance.choice([2, 5]),
        deflate=chance.random() < 0.3,
        log=_log(chance, features),
    )
    chance = random.Random(f"triolet hunt {seed} on Redis")  # a stream of its own: other seeds' plans stay as they are
    return _on_redis(plan, chance) if chance.random() < REDIS_SHARE else plan


def _on_redis(plan: Plan, chance: random.Random) -> Plan:
    """The same play with the log in Redis: trouble with the log is Redis's, and there is more of it."""

    def trouble() -> RedisTrouble:
        return RedisTrouble(chance.choice(kinds), chance.choice([12, 30] if hears_badly else [0.3, 1, 3, 6]))

    hears_badly = chance.random() < 0.35
    kinds = HINT_TROUBLES if hears_badly else chance.sample(REDIS_TROUBLES, 3)  # hammer some
    steps = [trouble() if isinstance(step, LogTrouble) else step for step in plan.steps]
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(steps))
        publish = Publish(chance.randrange(plan.channels), chance.choice([1, 3]), pace=chance.choice([0, 0.2, 1]))
        steps[at:at] = [trouble(), publish]  # somebody publishes into it
    if hears_badly and plan.channels == 1:  # the next hint is to be another channel's
        plan = replace(plan, channels=2, clients=tuple(_spread(client, chance) for client in plan.clients))
        steps = [replace(step, channel=chance.randrange(2)) if isinstance(step, Publish) else step for step in steps]
    if hears_badly:  # and then it is quiet: what was missed is to be missed
        steps.append(RedisTrouble("hints lost", 30))
        for _ in range(3):
            server, first = chance.randrange(plan.servers), chance.randrange(2)
            steps += [Publish(first, 1, server=server), Publish(1 - first, 1, server=server), Wait(4)]
    if plan.servers == 1 and (hears_badly or chance.random() < 0.5):
        plan = replace(plan, servers=2, clients=tuple(_moved(client, chance) for client in plan.clients))
        steps = [replace(step, server=chance.randrange(2)) if isinstance(step, Publish) else step for step in steps]
    limits = replace(
        plan.limits,
        away_seconds=chance.choice([1, 3]),
        answer_seconds=chance.choice([0.5, 1]),
        look_seconds=chance.choice([0.5, 1]),
    )
    log = LogPlan(tail_events=plan.log.tail_events, yields=plan.log.yields)
    return replace(plan, limits=limits, steps=tuple(steps), log=log, redis=True)


def _spread(client: ClientPlan, chance: random.Random) -> ClientPlan:
    return replace(client, channels=(0, 1) if client.transport == "socket" else (chance.randrange(2),))


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
        keep_events=pick(10_000, 1, 2, 3, 5, 8, when="retention"),
        keep_bytes=pick(64 << 20, 40, 400, 2_000, when="retention"),
        keep_seconds=pick(604_800, 3, 8, when="retention"),
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
    return LogPlan(
        tail_events=chance.choice([1, 2, 5]) if "bursts" in features and chance.random() < 0.7 else 16_384,
        append_seconds=chance.choice([0, 0, 0.2]) if troubled else 0,
        read_seconds=chance.choice([0, 0.1, 1.5]) if troubled else 0,
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


class _Steps:
    """Draws the steps of one plan."""

    def __init__(
        self, chance: random.Random, features: set[str], clients: tuple[ClientPlan, ...], servers: int, channels: int
    ) -> None:
        self._chance = chance
        self._features = features
        self._clients = clients
        self._servers = servers
        self._channels = channels
        self._sockets = [at for at, client in enumerate(clients) if client.transport == "socket"]
        self._websockets = [at for at, client in enumerate(clients) if client.transport in ("socket", "websocket")]

    def draw(self, count: int) -> list[Step]:
        """Draw so many steps, waits between them not counted."""
        makers, weights = zip(*self._weighted(), strict=True)
        steps: list[Step] = []
        rest = ("rush" in self._features) * 0.3
        for maker in self._chance.choices(makers, weights, k=count):
            steps.append(maker())
            if self._chance.random() < 0.5 - rest:
                steps.append(self._wait())
        return steps

    def _weighted(self) -> list[tuple[Callable[[], Step], float]]:
        has = self._features.__contains__
        return [
            (self._publish, 6),
            (self._cut, 3 if has("goers") or has("retention") or has("rush") else 0.7),
            (self._return, 1.5 if has("retention") or has("restarts") or has("polls") else 0.3),
            (self._stall, 2 if has("slow") or has("kernels") or has("retention") else 0.4),
            (self._fault, 3 if has("lines") else 0.1),
            (self._restart, 1.5 if has("restarts") else 0.15),
            (Lose, 1 if has("restarts") else 0.05),
            (self._log, 2.5 if has("log") else 0),
            (self._follow, 3 if has("sockets") and self._sockets else 0),
            (self._unfollow, 1.5 if has("sockets") and self._sockets else 0),
            (self._say, 2.5 if has("sockets") and self._sockets else 0.5 if self._sockets else 0),
            (self._ping, (2 if has("kernels") else 0.5) if self._websockets else 0),
        ]

    def _wait(self) -> Wait:
        long = [3, 6, 12] if self._features & {"quiet", "slow", "lines", "polls"} else [3, 6]
        return Wait(self._chance.choice([0, 0.01, 0.3, 1, *long]))

    def _publish(self) -> Publish:
        chance, has = self._chance, self._features.__contains__
        sizes = [0, 0, 30, 300] + ([300, 1_000, 3_000] if self._features & LARGE else [])
        return Publish(
            channel=chance.randrange(self._channels),
            count=chance.choice([1, 3, 8, 20] if has("bursts") or has("rush") else [1, 1, 3, 6]),
            batch=chance.choice([2, 5] if has("held") else [0, 0, 2, 5]),
            size=chance.choice(sizes),
            server=chance.randrange(self._servers),
            pace=chance.choice([0, 0, 0, 0.01, 0.2, 1]),
            via="http" if chance.random() < 0.12 else "app",
            repeats=chance.random() < (0.6 if has("dedupe") else 0.05),
            cancelled=chance.randrange(6) if has("cancels") and chance.random() < 0.6 else None,
        )

    def _anybody(self) -> int:
        return self._chance.randrange(len(self._clients))

    def _cut(self) -> Cut:
        how = self._chance.choice(["reset", "reset", "fin", "silent", "mid-frame"])
        return Cut(self._anybody(), how, self._chance.choice([0, 0, 0.01, 0.5, 4]))

    def _return(self) -> Return:
        return Return(self._anybody(), self._chance.choice(["0", "now", "old", "old", "future"]))

    def _stall(self) -> Stall:
        return Stall(self._anybody(), self._chance.choice([0.5, 1.5, 3, 6]))

    def _fault(self) -> Fault:
        kind = self._chance.choice(
            ["stalled", "cut", "cut without fin", "half open", "slow reader", "reordered accepts"]
        )
        everybody = kind == "reordered accepts" or self._chance.random() < 0.25
        return Fault(kind, None if everybody else self._anybody(), self._chance.choice([0.3, 2, 6]))

    def _restart(self) -> Restart:
        return Restart(self._chance.randrange(self._servers), self._chance.choice([0, 0.5, 3]))

    def _log(self) -> LogTrouble:
        kinds = ["slow append", "slow read", "full", "fails before", "fails after", "unreadable", "begins again"]
        return LogTrouble(self._chance.choice(kinds), self._chance.choice([0.3, 1, 3]))

    def _follow(self) -> Follow:
        return Follow(self._chance.choice(self._sockets), self._chance.randrange(self._channels))

    def _unfollow(self) -> Unfollow:
        return Unfollow(self._chance.choice(self._sockets), self._chance.randrange(self._channels))

    def _say(self) -> Say:
        chance = self._chance
        return Say(chance.choice(self._sockets), chance.choice([1, 5, 20]), chance.choice([0, 100, 1_000]))

    def _ping(self) -> Ping:
        return Ping(self._chance.choice(self._websockets), self._chance.choice([1, 3, 8]))
