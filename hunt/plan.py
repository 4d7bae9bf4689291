"""What a seed decides: who is there, what happens to them, and when. All of it frozen, so that it can be shrunk."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

from triolet import policies
from triolet.limits import Limits

__all__ = [
    "POLLS",
    "STREAMS",
    "ClientPlan",
    "Cut",
    "Fault",
    "Follow",
    "LogPlan",
    "LogTrouble",
    "Lose",
    "Ping",
    "Plan",
    "Publish",
    "RedisTrouble",
    "Restart",
    "Return",
    "Rung",
    "Say",
    "Stall",
    "Step",
    "Unfollow",
    "Wait",
    "letter",
]

STREAMS = ("websocket", "sse", "sse behind", "socket")
POLLS = ("long poll", "short poll")


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung of a route's policy: ``latest``, ``skip``, ``disconnect`` or ``block``."""

    kind: str
    events: int | None = None
    seconds: float | None = None

    def build(self) -> policies.Policy:
        """The policy."""
        if self.kind == "disconnect":
            return policies.disconnect(events=self.events, seconds=self.seconds)
        assert self.events is not None
        if self.kind == "block":
            return policies.block(events=self.events, seconds=self.seconds or 1)
        return {"latest": policies.latest, "skip": policies.skip}[self.kind](events=self.events)

    def __str__(self) -> str:
        bounds = [f"{name}={value}" for name in ("events", "seconds") if (value := getattr(self, name)) is not None]
        return f"{self.kind}({', '.join(bounds)})"


@dataclass(frozen=True, slots=True)
class ClientPlan:
    """One client.

    ``transport``: one of STREAMS and POLLS; ``sse behind`` asks for a page first on the same connection. A ``socket``
    follows each of ``channels`` by URL; the others follow the first one. ``route``: whose policy it is under.
    ``start``: its first cursor, or None for "from now". ``roams``: it comes back to the next server. ``latency``
    (seconds one way), ``bandwidth`` (bytes a second, 0 for no limit) and ``kernel`` (bytes) are its line's.
    ``pause``: seconds between two reads.
    ``mute``: it answers no ping.
    """

    name: str
    transport: str
    channels: tuple[int, ...] = (0,)
    route: int = 0
    server: int = 0
    start: str | None = None
    roams: bool = False
    latency: float = 0.0
    bandwidth: float = 0
    kernel: int = 64 << 10
    pause: float = 0
    mute: bool = False
    deflate: bool = False
    comes_at: float = 0

    def __str__(self) -> str:
        said = [f"client {self.name}: {self.transport} of {', '.join(f'c{c}' for c in self.channels)}"]
        said += [f"after {self.start}"] if self.start is not None else ["from now"]
        said += [f"on server {self.server}"] if self.server else []
        defaults = {field.name: field.default for field in fields(self)}
        for name in ("route", "roams", "latency", "bandwidth", "kernel", "pause", "mute", "deflate", "comes_at"):
            if getattr(self, name) != defaults[name]:
                said.append(f"{name}={getattr(self, name)}")
        return ", ".join(said)


@dataclass(frozen=True, slots=True)
class LogPlan:
    """The log all servers share: ``tail_events`` may wait for one listener, which hears of them ``tail_seconds`` late;
    an append and a read take so many seconds, and give way to other tasks for so many passes of the scheduler before
    and after (``yields``)."""

    tail_events: int = 16_384
    append_seconds: float = 0
    read_seconds: float = 0
    tail_seconds: float = 0
    yields: int = 0


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is done for so long."""

    seconds: float

    def __str__(self) -> str:
        return f"wait {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class Publish:
    """Somebody publishes ``count`` times, ``batch`` events each (0: one, by ``publish``), ``pace`` seconds apart, in a
    task of its own. ``repeats``: each is published again with the same ``dedupe``. ``cancelled``: given up after so
    many passes of the scheduler."""

    channel: int
    count: int
    batch: int = 0
    size: int = 0
    server: int = 0
    pace: float = 0
    via: str = "app"
    repeats: bool = False
    cancelled: int | None = None

    def __str__(self) -> str:
        each = f" of {self.batch} events" if self.batch else ""
        told = f"publish{' through HTTP' if self.via == 'http' else ''} {self.count}x{each} to c{self.channel}"
        told += f" on server {self.server}" if self.server else ""
        told += f", {self.size} bytes" if self.size else ""
        told += f", {self.pace:g} s apart" if self.pace else ""
        told += ", each twice with one dedupe" if self.repeats else ""
        return told + (f", given up after {self.cancelled} passes" if self.cancelled is not None else "")


@dataclass(frozen=True, slots=True)
class Cut:
    """A client's connection goes: ``reset``, ``fin``, ``silent`` (nobody is told), ``mid-frame``; it stays away."""

    client: int
    how: str
    seconds: float

    def __str__(self) -> str:
        return f"{letter(self.client)} goes ({self.how}), for {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class Return:
    """A client goes and comes back with another cursor: ``0``, ``now``, ``old`` (one it had) or ``future``."""

    client: int
    after: str

    def __str__(self) -> str:
        return f"{letter(self.client)} comes back with the cursor: {self.after}"


@dataclass(frozen=True, slots=True)
class Stall:
    """A client does not read for so long."""

    client: int
    seconds: float

    def __str__(self) -> str:
        return f"{letter(self.client)} does not read for {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class Fault:
    """A network fault: ``stalled``, ``cut``, ``half open``, ``slow reader``, of one client (None: of all)."""

    kind: str
    client: int | None
    seconds: float

    def __str__(self) -> str:
        who = "everybody" if self.client is None else letter(self.client)
        return f"the network of {who}: {self.kind} for {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class Follow:
    """A socket follows another channel, or the same anew."""

    client: int
    channel: int

    def __str__(self) -> str:
        return f"{letter(self.client)} follows c{self.channel}"


@dataclass(frozen=True, slots=True)
class Unfollow:
    """A socket follows one no longer."""

    client: int
    channel: int

    def __str__(self) -> str:
        return f"{letter(self.client)} follows c{self.channel} no longer"


@dataclass(frozen=True, slots=True)
class Say:
    """A socket sends the app messages, which are echoed."""

    client: int
    count: int
    size: int

    def __str__(self) -> str:
        return f"{letter(self.client)} says {self.count} messages of {self.size} bytes"


@dataclass(frozen=True, slots=True)
class Ping:
    """A WebSocket client pings."""

    client: int
    count: int

    def __str__(self) -> str:
        return f"{letter(self.client)} pings {self.count}x"


@dataclass(frozen=True, slots=True)
class Restart:
    """A server drains, is away, and is there again."""

    server: int
    seconds: float

    def __str__(self) -> str:
        return f"server {self.server} drains, and is back after {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class Lose:
    """All servers drain, the log is lost, and all begin again."""

    def __str__(self) -> str:
        return "all servers drain, the log is lost, and all begin again"


@dataclass(frozen=True, slots=True)
class LogTrouble:
    """For so many seconds the log has: ``slow append``, ``slow read``, ``full``, ``fails before`` or ``fails after``
    (it has stored), ``unreadable``. Or all of it is lost at once, while the servers go on: ``begins again``."""

    kind: str
    seconds: float

    def __str__(self) -> str:
        return f"the log: {self.kind}, {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class RedisTrouble:
    """For so many seconds the log's Redis is ``away`` or ``hangs``, has ``hints lost``, ``hints twice`` or ``hints
    late``, is ``slow`` or ``full``, loses connections over an append (``lost before`` it is done, ``lost after``); or
    is away and then ``restarts``, with all it had or ``restarts empty``. Or it goes on for so long and then ``restarts
    older`` or ``fails over`` to a replica, with what it had at first. ``connections lost``: each breaks once."""

    kind: str
    seconds: float

    def __str__(self) -> str:
        return f"Redis: {self.kind}, {self.seconds:g} s"


Step: TypeAlias = (
    Wait
    | Publish
    | Cut
    | Return
    | Stall
    | Fault
    | Follow
    | Unfollow
    | Say
    | Ping
    | Restart
    | Lose
    | LogTrouble
    | RedisTrouble
)


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole play. ``routes`` are the policies of the routes: ``()`` is to catch up. ``redis``: the log is in a
    modelled Redis, through each server's RedisLog."""

    seed: int
    limits: Limits
    routes: tuple[tuple[Rung, ...], ...]
    clients: tuple[ClientPlan, ...]
    steps: tuple[Step, ...]
    servers: int = 1
    channels: int = 1
    grace: float = 5
    deflate: bool = False
    log: LogPlan = LogPlan()
    redis: bool = False

    def settings(self) -> list[str]:
        """What differs from the defaults, in words."""
        defaults = Limits()
        said = [
            f"{field.name}={getattr(self.limits, field.name):g}"
            for field in fields(Limits)
            if getattr(self.limits, field.name) != getattr(defaults, field.name)
        ]
        told = [f"limits: {', '.join(said)}"] if said else []
        told += [f"{self.servers} servers over one log"] if self.servers > 1 else []
        told += ["the log is in Redis"] if self.redis else []
        used = sorted({client.route for client in self.clients})
        told += [f"route {at}: {' or '.join(map(str, self.routes[at]))}" for at in used if self.routes[at]]
        if self.log != LogPlan():
            told.append(f"log: {', '.join(f'{f.name}={getattr(self.log, f.name)}' for f in fields(LogPlan))}")
        return told

    def without_clients(self, gone: set[int]) -> Plan:
        """The same play without some clients: steps that are about them are gone, the others' are renumbered."""
        places = {old: new for new, old in enumerate(at for at in range(len(self.clients)) if at not in gone)}
        steps: list[Step] = []
        for step in self.steps:
            who = getattr(step, "client", None)
            if who is None:
                steps.append(step)
            elif who in places:
                steps.append(_moved(step, places[who]))
        clients = tuple(
            replace(client, name=letter(places[at])) for at, client in enumerate(self.clients) if at in places
        )
        return replace(self, clients=clients, steps=tuple(steps))


def _moved(step: Any, client: int) -> Step:
    """The same step about another client."""
    moved: Step = replace(step, client=client)
    return moved


def letter(client: int) -> str:
    """The name of a client by its place."""
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[client]
