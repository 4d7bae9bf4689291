"""What a seed decides: who is there, what happens to them, and when. All of it frozen, so that it can be shrunk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, ClassVar, Self, TypeVar

from triolet import policies
from triolet.limits import Limits

__all__ = [
    "MANY",
    "PRESENCE",
    "PYTHON",
    "RECHECK_SECONDS",
    "STREAMS",
    "ClientPlan",
    "FeedPlan",
    "LogPlan",
    "Plan",
    "ProgramPlan",
    "Rung",
    "Step",
    "channel_name",
    "letter",
    "plainer",
    "silence_of",
    "url_path",
]

STREAMS = ("websocket", "sse", "sse behind", "socket", "many sse")
MANY = ("many sse", "many poll")
"""The transports of clients that follow many channels by one request."""
PYTHON = "python"
"""The transport of a client that is a program with the Python client: that has transports of its own."""
RECHECK_SECONDS = 2.0
"""In which a view is asked again, where that is."""
PRESENCE = 100
"""Channel 100 is the presence of channel 0."""

T = TypeVar("T")


def channel_name(number: int) -> str:
    """The name of a channel of the plan."""
    return f"c{number}" if number < PRESENCE else f"triolet.presence/c{number - PRESENCE}"


def letter(client: int) -> str:
    """The name of a client by its place."""
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[client]


def url_path(client: ClientPlan, number: int) -> str:
    """The path at which a client follows a channel."""
    name = f"c{number}" if number < PRESENCE else f"p{number - PRESENCE}"
    return f"/{client.way}{client.route}/{name}"


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung of a route's policy: ``latest``, ``fold``, ``skip``, ``disconnect`` or ``block``."""

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
        others = {"latest": policies.latest, "fold": policies.fold, "skip": policies.skip}
        return others[self.kind](events=self.events)

    def __str__(self) -> str:
        bounds = [f"{name}={value}" for name in ("events", "seconds") if (value := getattr(self, name)) is not None]
        return f"{self.kind}({', '.join(bounds)})"


@dataclass(frozen=True, slots=True)
class ProgramPlan:
    """How a program uses the Python client.

    ``transports``: what the client is given. ``shares``: its follows share a socket. ``twin``: it follows its first
    channel twice, from different places. ``store``: cursors are kept by itself (``auto``), or when the program says so
    (``explicit``); "": the program keeps them. A save takes ``save_seconds``, and every ``fails``-th one fails (0:
    none). ``wall``: a proxy that lets no ``upgrades`` through, from ``wall_at`` on, or no ``streams`` either.
    ``library``: of WebSockets.
    """

    transports: tuple[str, ...] = ("websocket",)
    shares: bool = False
    twin: bool = False
    store: str = ""
    save_seconds: float = 0
    fails: int = 0
    wall: str = ""
    wall_at: float = 0
    library: str = "trio-websocket"

    def __str__(self) -> str:
        return f"({', '.join(_unlike(self, ProgramPlan()))})"


@dataclass(frozen=True, slots=True)
class ClientPlan:
    """One client.

    ``transport``: one of STREAMS or MANY, ``long poll``, ``short poll`` or PYTHON; ``sse behind`` asks for a page first
    on the same connection. A ``socket`` follows each of ``channels`` by URL, and so do a ``program`` and those of MANY;
    the others follow the first one. ``route``: whose policy it is under. ``member``: it is present where it follows.
    ``start``: its first cursor, or None for "from now". ``roams``: it comes back to the next server. ``latency``
    (seconds one way), ``bandwidth`` (bytes a second, 0 for no limit) and ``kernel`` (bytes) are its line's. ``pause``:
    seconds between two reads. ``mute``: it answers no ping. ``way``: of its route; ``f`` is filtered, ``k`` is
    rechecked. ``subject``: of its identity ("": it has none), whose session is its name; its credentials last so many
    seconds (0: for ever), and so long after it is warned it renews (None: never). A program takes an item every
    ``pause`` seconds, and its tokens take ``renews`` seconds to get (None: it has one text as long as it lives).
    ``folds``: what it has missed comes folded; ``state``: it asks for the channel's state.
    """

    name: str
    transport: str
    channels: tuple[int, ...] = (0,)
    route: int = 0
    server: int = 0
    start: str | None = None
    member: bool = False
    roams: bool = False
    latency: float = 0.0
    bandwidth: float = 0
    kernel: int = 64 << 10
    pause: float = 0
    mute: bool = False
    deflate: bool = False
    comes_at: float = 0
    way: str = "r"
    subject: str = ""
    lasts: float = 0
    renews: float | None = None
    folds: bool = False
    state: bool = False
    program: ProgramPlan = ProgramPlan()

    @property
    def names(self) -> bool:
        """Whether it gives its follows names, and follows each channel twice: every third socket does."""
        return self.transport == "socket" and sum(map(ord, self.name)) % 3 == 0

    @property
    def session(self) -> str:
        """Of its identity; "" where it has none."""
        return self.name if self.subject else ""

    def __str__(self) -> str:
        told = f"client {self.name}: {self.transport} of {', '.join(map(channel_name, self.channels))}"
        return ", ".join([told, *_unlike(self, ClientPlan("", ""), {"name", "transport", "channels"})])


@dataclass(frozen=True, slots=True)
class FeedPlan:
    """A task of a server's own that follows a channel, after a cursor (None: from now), and takes an item every
    ``pause`` seconds."""

    name: str
    channel: int = 0
    server: int = 0
    after: str | None = None
    pause: float = 0

    def __str__(self) -> str:
        told = f"{self.name}: a task of server {self.server} follows {channel_name(self.channel)}"
        return ", ".join([told, *_unlike(self, FeedPlan(""), {"name", "channel", "server"})])


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


@dataclass(frozen=True)
class Step(ABC):
    """Something that happens in a play. Each kind says once how it is drawn, played, shrunk (towards the defaults of
    its fields) and told. A field ``client``, ``channel`` or ``server`` is the number of one."""

    LESS: ClassVar[tuple[str, ...]] = ("count", "batch", "seconds")
    """Fields that are halved where there is no default to go to."""

    @classmethod
    @abstractmethod
    def weight(cls, dice: Any) -> float:
        """How often it is drawn, beside others."""

    @classmethod
    @abstractmethod
    def draw(cls, dice: Any) -> Self:
        """Draw one."""

    @abstractmethod
    async def play(self, world: Any) -> None:
        """Have it happen; what takes its time is begun with ``world.start``."""

    def plainer(self) -> Iterator[Step]:
        """The steps that are this one with one thing less in it."""
        yield from plainer(self)
        for name in self.LESS:
            value = getattr(self, name, 0)
            if value > 1:
                yield replace(self, **{name: value // 2})


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole play. ``routes`` are the policies of the routes: ``()`` is to catch up. ``redis``: the log is in a
    modelled Redis, through each server's RedisLog. ``every``: after so many events a Reducer keeps a channel's state
    anew (0: there is none). ``feeds``: tasks of the servers' own."""

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
    every: int = 0
    feeds: tuple[FeedPlan, ...] = ()

    @property
    def has_members(self) -> bool:
        """Whether anybody is present anywhere."""
        return any(client.member for client in self.clients)

    @property
    def has_identities(self) -> bool:
        """Whether the app asks who clients are."""
        return any(client.subject for client in self.clients)

    @property
    def has_runs(self) -> bool:
        """Whether any may have to be found lost."""
        return self.limits.run_lease_seconds < Limits().run_lease_seconds

    def settings(self) -> list[str]:
        """What differs from the defaults, in words."""
        said = _unlike(self.limits, Limits())
        told = [f"limits: {', '.join(said)}"] if said else []
        told += [f"{self.servers} servers over one log"] if self.servers > 1 else []
        told += ["the log is in Redis"] if self.redis else []
        told += [f"states are kept after {self.every} events"] if self.every else []
        used = sorted({client.route for client in self.clients})
        told += [f"route {at}: {' or '.join(map(str, self.routes[at]))}" for at in used if self.routes[at]]
        said = _unlike(self.log, LogPlan())
        return told + ([f"log: {', '.join(said)}"] if said else [])

    def without_client(self, gone: int) -> Plan:
        """The same play without a client: steps that are about it are gone, the others' are renumbered."""
        about: list[tuple[Any, int | None]] = [(step, getattr(step, "client", None)) for step in self.steps]
        moved = [replace(step, client=at - 1) if at and at > gone else step for step, at in about if at != gone]
        rest = [client for at, client in enumerate(self.clients) if at != gone]
        clients = tuple(replace(client, name=letter(at)) for at, client in enumerate(rest))
        return replace(self, clients=clients, steps=tuple(moved))


def silence_of(plan: Plan) -> float:
    """Seconds without a word after which a program's client takes a connection for lost."""
    seconds: float = max(3 * plan.limits.beat_seconds, plan.limits.wait_seconds + 5)
    return seconds


def plainer(thing: T, plain: T | None = None, kept: frozenset[str] = frozenset()) -> Iterator[T]:
    """The thing with one field as in a plain one; without that, as the field's default says."""
    for field in fields(thing):  # type: ignore[arg-type]  # a dataclass
        value = field.default if plain is None else getattr(plain, field.name)
        if value is not MISSING and field.name not in kept and getattr(thing, field.name) != value:
            yield replace(thing, **{field.name: value})  # type: ignore[type-var]


def _unlike(thing: Any, plain: Any, kept: set[str] | frozenset[str] = frozenset()) -> list[str]:
    found = {field.name: getattr(thing, field.name) for field in fields(thing) if field.name not in kept}
    return [f"{name}={value}" for name, value in found.items() if value != getattr(plain, name)]
