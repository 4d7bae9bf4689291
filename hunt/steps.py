"""The table of steps: each kind says once how often and how it is drawn, played, shrunk and told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial

import trio

from triolet.errors import NotServingError
from triolet.event import Cursor
from triolet.testing import faults

from .history import Banned, Weather
from .identities import Ban
from .plan import PRESENCE, Step, channel_name, letter, url_path
from .setting import Dice, World
from .steps_channels import Close, List
from .steps_programs import Kill
from .steps_runs import Begin, Halt

__all__ = [
    "STEPS",
    "Begin",
    "Close",
    "Cut",
    "Fault",
    "Halt",
    "Kill",
    "List",
    "Lose",
    "Order",
    "Publish",
    "PutBack",
    "Restart",
    "Revoke",
    "Stall",
    "Talk",
    "Trouble",
    "Wait",
    "changes_the_log",
]

LARGE = {"kernels", "slow", "memory", "held"}
FAULTS = ("stalled", "cut", "cut without fin", "half open", "slow reader", "reordered accepts")
LOG_TROUBLES = (
    *("slow append", "slow read", "full", "fails before", "fails after", "unreadable"),
    *("begins again", "put back"),
)
REVOKE_SECONDS = 4
"""After which whoever revokes something gives up."""
SLOW_BYTES = 500
"""Bytes a second, of a slow reader."""


@dataclass(frozen=True)
class Wait(Step):
    """Nothing is done for so long."""

    seconds: float

    @classmethod
    def weight(cls, dice: Dice) -> float:
        return 0  # it is drawn between others

    @classmethod
    def draw(cls, dice: Dice) -> Wait:
        return cls(dice.choice([0, 0.01, 0.3, 1, 3, 6, *([12] * dice.has("quiet", "slow", "lines", "polls"))]))

    async def play(self, world: World) -> None:
        await trio.sleep(self.seconds)

    def __str__(self) -> str:
        return f"wait {self.seconds:g} s"


@dataclass(frozen=True)
class Publish(Step):
    """Somebody publishes ``count`` times, ``batch`` events each (0: one, by ``publish``), ``pace`` seconds apart, in a
    task of its own. ``via``: the ``app``, ``http``, a ``thread`` that hands it to the app's event loop, or an event
    loop ``elsewhere``, in another thread, which is refused. ``repeats``: each is published again with the same
    ``dedupe``. ``cancelled``: given up after so many passes of the scheduler. ``fold``: how they go together."""

    channel: int
    count: int = 1
    batch: int = 0
    size: int = 0
    server: int = 0
    pace: float = 0
    via: str = "app"
    repeats: bool = False
    cancelled: int | None = None
    fold: str = ""

    @classmethod
    def weight(cls, dice: Dice) -> float:
        return 6

    @classmethod
    def draw(cls, dice: Dice) -> Publish:
        return cls(
            channel=dice.choice(dice.channels),
            count=dice.choice([1, 3, 8, 20] if dice.has("bursts", "rush") else [1, 1, 3, 6]),
            batch=dice.choice([2, 5] if dice.has("held") else [0, 0, 2, 5]),
            size=dice.choice([0, 0, 30, 300] + ([300, 1_000, 3_000] if dice.has(*LARGE) else [])),
            server=dice.choice(dice.servers),
            pace=dice.choice([0, 0, 0, 0.01, 0.2, 1]),
            via=dice.choice(["http"] * 6 + ["thread"] * 2 + ["elsewhere"]) if dice.happens(0.18) else "app",
            repeats=dice.happens(0.6 if dice.has("dedupe") else 0.05),
            cancelled=dice.choice(range(6)) if dice.has("cancels") and dice.happens(0.6) else None,
        )

    async def play(self, world: World) -> None:
        world.start(world.publisher.publish, self)

    def __str__(self) -> str:
        each = f" of {self.batch} events" if self.batch else ""
        way = {"app": "", "http": " through HTTP", "thread": " from a thread", "elsewhere": " in another event loop"}
        told = f"publish{way[self.via]} {self.count}x{each} to c{self.channel}"
        told += f" on server {self.server}" if self.server else ""
        told += f", {self.size} bytes" if self.size else ""
        told += f", {self.pace:g} s apart" if self.pace else ""
        told += f", {self.fold}" if self.fold else ""
        told += ", each twice with one dedupe" if self.repeats else ""
        return told + (f", given up after {self.cancelled} passes" if self.cancelled is not None else "")


@dataclass(frozen=True)
class Cut(Step):
    """A client's connection goes: ``reset``, ``fin``, ``silent`` (nobody is told), ``mid-frame``; it stays away. It
    comes back with the cursor it has, or another (``after``): ``0``, ``now``, ``old`` (one it had) or ``future``."""

    client: int
    how: str
    seconds: float
    after: str | None = None

    @classmethod
    def weight(cls, dice: Dice) -> float:
        often = 3 if dice.has("goers", "retention", "rush", "presence") else 0.7
        return often + (1.5 if dice.has("retention", "restarts", "polls") else 0.3)

    @classmethod
    def draw(cls, dice: Dice) -> Cut:
        how = dice.choice(["reset", "reset", "fin", "silent", "mid-frame"])
        returns = dice.happens(0.35)
        after = dice.choice(["0", "now", "old", "old", "future"]) if returns else None
        return cls(dice.choice(dice.clients), how, dice.choice([0, 0, 0.01, 0.5, 4]), after)

    async def play(self, world: World) -> None:
        client = world.clients[self.client]
        client.leave(self.how, self.seconds)
        if self.after is not None:
            for channel in list(client.cursors):
                client.go_on_from(channel, self._cursor(world.head(channel), client.had))
        await trio.lowlevel.checkpoint()

    def _cursor(self, head: Cursor, had: list[str]) -> str | None:
        had = [cursor for cursor in had if cursor.startswith(head.epoch)]
        past = str(Cursor(head.epoch, head.offset + 1_000))
        return {"0": "0", "now": None, "old": had[len(had) // 2] if had else "0", "future": past}[self.after or "0"]

    def __str__(self) -> str:
        told = f"{letter(self.client)} goes ({self.how}), for {self.seconds:g} s"
        return told + (f", and comes back with the cursor: {self.after}" if self.after is not None else "")


@dataclass(frozen=True)
class Stall(Step):
    """A client does not read for so long."""

    client: int
    seconds: float

    @classmethod
    def weight(cls, dice: Dice) -> float:
        return 2 if dice.has("slow", "kernels", "retention") else 0.4

    @classmethod
    def draw(cls, dice: Dice) -> Stall:
        return cls(dice.choice(dice.clients), dice.choice([0.5, 1.5, 3, 6]))

    async def play(self, world: World) -> None:
        world.clients[self.client].stall(self.seconds)
        await trio.lowlevel.checkpoint()

    def __str__(self) -> str:
        return f"{letter(self.client)} does not read for {self.seconds:g} s"


@dataclass(frozen=True)
class Fault(Step):
    """A network fault of one client (None: of all)."""

    kind: str
    client: int | None
    seconds: float

    @classmethod
    def weight(cls, dice: Dice) -> float:
        return 3 if dice.has("lines") else 0.1

    @classmethod
    def draw(cls, dice: Dice) -> Fault:
        kind = dice.choice(FAULTS)
        everybody = kind == "reordered accepts" or dice.happens(0.25)
        return cls(kind, None if everybody else dice.choice(dice.clients), dice.choice([0.3, 2, 6]))

    async def play(self, world: World) -> None:
        world.start(self._last, world)

    async def _last(self, world: World) -> None:
        who = world.network if self.client is None else world.clients[self.client]
        makers: dict[str, Callable[[], AbstractContextManager[None]]] = {
            "stalled": lambda: faults.stalled(who),
            "cut": lambda: faults.cut(who),
            "cut without fin": lambda: faults.cut(who, fin=False),
            "half open": lambda: faults.half_open(who),
            "slow reader": lambda: faults.slow_reader(who, bytes_per_second=SLOW_BYTES),
            "reordered accepts": lambda: faults.reordered_accepts(world.network),
        }
        if self.kind == "reordered accepts" and world.network.arrival is not None:
            return  # two of them at once would have to end in turn
        name = "" if self.client is None else letter(self.client)
        world.history.add(Weather(world.history.now, name, self.kind, world.history.now + self.seconds))
        with makers[self.kind]():
            await trio.sleep(self.seconds)

    def __str__(self) -> str:
        who = "everybody" if self.client is None else letter(self.client)
        return f"the network of {who}: {self.kind} for {self.seconds:g} s"


@dataclass(frozen=True)
class Talk(Step):
    """A socket follows a channel (another, or the same anew), unfollows one, or says messages, which are echoed; or a
    WebSocket pings."""

    client: int
    what: str
    channel: int = 0
    count: int = 1
    size: int = 0

    @classmethod
    def weight(cls, dice: Dice) -> float:
        if dice.sockets:
            return 7 if dice.has("sockets") else 1
        return (2 if dice.has("kernels") else 0.5) if dice.websockets else 0

    @classmethod
    def draw(cls, dice: Dice) -> Talk:
        what = dice.choice(["follow", "follow", "follow", "unfollow", "say", "say", "ping"])
        if not dice.sockets or not dice.has("sockets"):
            what = dice.choice(["say", "ping"]) if dice.sockets else "ping"
        if what == "ping":
            return cls(dice.choice(dice.websockets), what, count=dice.choice([1, 3, 8]))
        if what == "say":
            return cls(dice.choice(dice.sockets), what, 0, dice.choice([1, 5, 20]), dice.choice([0, 100, 1_000]))
        return cls(dice.choice(dice.sockets), what, dice.choice(dice.channels))

    async def play(self, world: World) -> None:
        await world.clients[self.client].talk(self)
        await trio.lowlevel.checkpoint()

    def __str__(self) -> str:
        what = channel_name(self.channel) if self.what.endswith("follow") else f"{self.count}x, {self.size} bytes"
        return f"{letter(self.client)}: {self.what} {what}"


@dataclass(frozen=True)
class Restart(Step):
    """A server drains, or is killed, after so many passes of the scheduler, is away, and is there again."""

    server: int
    seconds: float
    killed: bool = False
    passes: int = 0

    @classmethod
    def weight(cls, dice: Dice) -> float:
        return 1.5 if dice.has("restarts", "presence") else 0.15

    @classmethod
    def draw(cls, dice: Dice) -> Restart:
        killed = dice.happens(0.6 if dice.has("presence") else 0.2)
        return cls(dice.choice(dice.servers), dice.choice([0, 0.5, 3]), killed)

    async def play(self, world: World) -> None:
        world.start(self._happen, world)

    async def _happen(self, world: World) -> None:
        host = world.hosts[self.server]
        for _ in range(self.passes):
            await trio.lowlevel.checkpoint()
        if host.server is not None:
            await host.stop(killed=self.killed)
            await trio.sleep(self.seconds)
            await world.serve(host)

    def __str__(self) -> str:
        what = "is killed" if self.killed else "drains"
        what += f" in {self.passes} passes" if self.passes else ""
        return f"server {self.server} {what}, and is back after {self.seconds:g} s"


@dataclass(frozen=True)
class Lose(Step):
    """All servers drain, the log is lost, and all begin again."""

    @classmethod
    def weight(cls, dice: Dice) -> float:
        return 1 if dice.has("restarts") else 0.05

    @classmethod
    def draw(cls, dice: Dice) -> Lose:
        return cls()

    async def play(self, world: World) -> None:
        await _while_nobody_serves(world, world.log.lose)

    def __str__(self) -> str:
        return "all servers drain, the log is lost, and all begin again"


@dataclass(frozen=True)
class PutBack(Step):
    """A backup is made; after so long all servers drain, it is put back, and all begin again."""

    seconds: float

    @classmethod
    def weight(cls, dice: Dice) -> float:
        return 1 if dice.has("restarts") else 0.05

    @classmethod
    def draw(cls, dice: Dice) -> PutBack:
        return cls(dice.choice([0.3, 1, 3]))

    async def play(self, world: World) -> None:
        world.start(self._happen, world)

    async def _happen(self, world: World) -> None:
        backup = world.log.backup()
        await trio.sleep(self.seconds)
        await _while_nobody_serves(world, partial(world.log.put_back, backup))

    def __str__(self) -> str:
        return f"a backup is made; after {self.seconds:g} s all servers drain, it is put back, and all begin again"


async def _while_nobody_serves(world: World, work: Callable[[], None]) -> None:
    async with trio.open_nursery() as stopping:
        for host in world.hosts:
            stopping.start_soon(host.stop)
    work()
    for host in world.hosts:
        await world.serve(host)


@dataclass(frozen=True)
class Trouble(Step):
    """For so many seconds the log is in trouble: of LOG_TROUBLES, or, in Redis, of those of ``redis_stage``."""

    kind: str
    seconds: float

    @classmethod
    def weight(cls, dice: Dice) -> float:
        return 2.5 if dice.has("log") else 0

    @classmethod
    def draw(cls, dice: Dice) -> Trouble:
        return cls(dice.choice(LOG_TROUBLES), dice.choice([0.3, 1, 3]))

    async def play(self, world: World) -> None:
        world.start(world.log.befall, self.kind, self.seconds)

    def __str__(self) -> str:
        return f"the log: {self.kind}, {self.seconds:g} s"


@dataclass(frozen=True)
class Revoke(Step):
    """For so long the app says no to a client's ``subject``, ``session``, ``channel`` or ``url``. It is revoked on a
    server; or nothing is (None), and the app is only asked again."""

    client: int
    by: str
    seconds: float
    server: int | None = None

    @classmethod
    def weight(cls, dice: Dice) -> float:
        return 0  # such steps are put between the others, where there are identities

    @classmethod
    def draw(cls, dice: Dice) -> Revoke:
        server = dice.choice(dice.servers) if dice.happens(0.8) else None
        by = ["subject", "session", "channel", "url"] if server is not None else ["channel", "url"]
        return cls(dice.choice(dice.clients), dice.choice(by), dice.choice([2, 6, 8]), server)

    async def play(self, world: World) -> None:
        world.start(self._happen, world)

    async def _happen(self, world: World) -> None:
        client, history = world.plan.clients[self.client], world.history
        number = client.channels[0] % PRESENCE
        url = url_path(client, number)
        named = {"subject": client.subject, "session": client.session, "channel": channel_name(number), "url": url}
        if not named[self.by]:
            return
        ban, since = Ban(self.by, named[self.by]), history.now
        world.rules.bans.append(ban)
        live, told = None if self.server is None else world.hosts[self.server].live, False
        with suppress(NotServingError), trio.move_on_after(REVOKE_SECONDS):  # where its server is killed it never ends
            told = live is not None and await live.revoke(**{ban.by: ban.value})
        at, server = history.now, None if live is None else self.server
        history.add(Banned(at, ban, since, at + self.seconds, server, told))
        await trio.sleep(self.seconds)
        world.rules.bans.remove(ban)

    def __str__(self) -> str:
        how = "is not allowed" if self.server is None else f"is revoked on server {self.server}"
        return f"the {self.by} of {letter(self.client)} {how}, for {self.seconds:g} s"


@dataclass(frozen=True)
class Order(Step):
    """A client asks for a command that publishes to so many channels, over its WebSocket or by POST, until it is
    answered; and then again. ``twice``: at two servers at once. ``cut``: the first time it goes after so many seconds.
    ``other``: at last it asks with other data under the same id. ``fails``: the view ``raises`` or ``aborts``."""

    client: int
    server: int = 0
    channels: int = 1
    socket: bool = False
    twice: bool = False
    cut: float | None = None
    other: bool = False
    fails: str = ""
    seconds: float = 0

    @classmethod
    def weight(cls, dice: Dice) -> float:
        return 0

    @classmethod
    def draw(cls, dice: Dice) -> Order:
        return cls(
            client=dice.choice(dice.clients),
            server=dice.choice(dice.servers),
            channels=len(dice.channels),
            socket=dice.happens(0.5),
            twice=dice.happens(0.3),
            cut=dice.choice([0, 0.1, 0.5]) if dice.happens(0.4) else None,
            other=dice.happens(0.3),
            fails=dice.choice(["raises", "aborts"]) if dice.happens(0.25) else "",
            seconds=dice.choice([0, 0, 0.2, 2]),
        )

    async def play(self, world: World) -> None:
        world.start(world.orders.order, self)

    def __str__(self) -> str:
        how = "over its WebSocket" if self.socket else f"on server {self.server}"
        how += ", at two servers at once" if self.twice else ""
        how += f", and goes after {self.cut:g} s" if self.cut is not None else ""
        how += ", and then with other data" if self.other else ""
        how += f"; it {self.fails}" if self.fails else ""
        return f"{letter(self.client)} asks for a command to {self.channels} channels, {self.seconds:g} s long, {how}"


STEPS: tuple[type[Step], ...] = (
    *(Publish, Cut, Stall, Fault, Talk, Restart, Lose, PutBack, Trouble, Wait, Revoke, Order),
    *(Kill, Close, List, Begin, Halt),
)


def changes_the_log(step: Step) -> bool:
    """Whether the log may not be, or not tell, what it was. A hint that was lost is found without a next event."""
    return isinstance(step, Lose | PutBack) or (isinstance(step, Trouble) and not step.kind.startswith("hints"))
