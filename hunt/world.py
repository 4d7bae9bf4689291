"""Plays a plan: servers over one log, clients that come and go, publishers, and whatever befalls them. All that matters
is recorded in the history."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import trio
import trio.testing

from triolet.app.extension import Triolet
from triolet.errors import LogError, NotServingError, where
from triolet.event import Cursor
from triolet.testing.network import MemoryLink, Network
from triolet.testing.reach import Reach
from triolet.testing.seed import current
from triolet.testing.server import MemoryServer, serve

from .clients import Player
from .feeds import Feed
from .folding import number_of
from .history import (
    KILLED,
    Calm,
    Crashed,
    Drained,
    Draining,
    History,
    Kept,
    Left,
    Over,
    Present,
    Serving,
    Stuck,
)
from .identities import Rules
from .many import ManyPlayer
from .orders import Orders
from .plan import MANY, PRESENCE, PYTHON, STREAMS, ClientPlan, Plan, channel_name
from .programs import Program
from .publisher import Publisher
from .runs import Runs
from .stage import SharedLog, make_app
from .steps import Publish, changes_the_log

__all__ = ["Host", "World", "play"]

CATCH_UP_SECONDS = 60
"""How long nobody may get any further, once the weather is good, before all have caught up."""

MOST_SECONDS = 1_200
"""Of a play. One that is not over then never ends."""

SETTLING_SECONDS = 4
"""After which whoever lost Redis has it again."""

ASKING_SECONDS = 1.3
"""Between two looks at who is present."""

WORTH_TELLING_SECONDS = 1.0

GATHERING_SECONDS = 15
"""After which, and a few leases, members who were lost or poll no longer are found to be gone."""


class Host(Reach):
    """One place where a server runs, with breaks.

    Attributes:
        server: the one that serves there now; None while none does. ``over``: none does, nor ends. ``ends``: its app's
            own tasks do.
    """

    def __init__(self, world: World, number: int, nursery: trio.Nursery) -> None:
        super().__init__(world.network, nursery)
        self.world = world
        self.number = number
        self.server: MemoryServer | None = None
        self.live: Triolet | None = None
        self.starting = trio.Lock()
        self._life = trio.CancelScope()
        self.ends = trio.Event()
        self.over = trio.Event()
        self.over.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until the server is told to stop, and has ended; or is killed."""
        world, history = self.world, self.world.history
        app, live = make_app(world.plan, world.log.attach(), world.rules)
        self.over, self.ends = trio.Event(), trio.Event()
        try:
            with trio.CancelScope() as self._life:
                async with serve(app, grace=world.plan.grace) as server:
                    self.server, self.live = server, live
                    history.add(Serving(history.now, self.number))
                    task_status.started()
                    await server.ended.wait()
                    self.server = self.live = None
                    self.ends.set()
                    if world.feeds:
                        await trio.testing.wait_all_tasks_blocked()
                    if not server.stop.is_set():
                        what = "the server ended by itself: its app's log or hub crashed"
                        history.add(Crashed(history.now, self.number, what))
                    history.add(Drained(history.now, self.number))
                self._left("budget bytes", server.worker.budget.held)
                self._left("crashed connections", server.worker.metrics.crashes)
                self._left("connections", server.connections)
            if self._life.cancelled_caught:
                history.add(Drained(history.now, self.number))
        except Exception as error:
            history.add(Crashed(history.now, self.number, f"{where(error)}: {error!r}"))
        finally:
            self.server = self.live = None
            self.ends.set()
            self.over.set()

    def enter(self, link: MemoryLink, address: str) -> None:
        """Take in a connection, if anybody listens."""
        if self.server is None or self.server.worker.draining.is_set():
            link.abort()
            return
        self.world.links.append((self, address, link))
        client = self.world.who(address)
        if client is not None and client.line is not None and client.plan.transport in STREAMS:
            self.world.watched.append(_Watched(self.world.history, client.line.number, link))
        self.server.enter(link, address)

    async def stop(self, *, killed: bool = False) -> None:
        """Have the server drain, and wait until it has ended; or kill it."""
        server, history = self.server, self.world.history
        if server is None:
            return
        if killed or not server.stop.is_set():
            history.add(Draining(history.now, self.number, KILLED if killed else self.world.plan.grace))
        if killed:
            for host, _, link in self.world.links:
                if host is self and not link.closed:
                    link.abort()  # as its kernel does
            self.server = self.live = None  # nobody comes to it any more
            self._life.cancel()
        server.stop.set()
        await self.over.wait()

    async def ask_who_is_present(self) -> None:
        """Record who is, in each channel."""
        world, history = self.world, self.world.history
        for number in range(world.plan.channels):
            since, live = history.now, self.live
            open_ones = [world.who(address) for _, address, link in world.links if not link.closed]
            there = [client.plan.name for client in open_ones if client is not None]
            try:
                if live is not None:
                    roster = await live.presence(channel_name(number)).roster()
                    members = tuple(session.member for session in roster.sessions)
                    told = (since, self.number, channel_name(number), members, tuple(there))
                    history.add(Present(history.now, *told))
            except (LogError, NotServingError):
                pass

    async def speak_to_others(self) -> None:
        """Say something to the other servers: with the first word the tasks begin that say it."""
        if self.live is not None:
            self.live.tell("nobody's", None)
            await self.live.stop_run("nobody's")

    def look_at_what_is_left(self) -> None:
        """Record what is there although all clients have gone."""
        if self.server is None or self.server.hub is None:
            return
        server, hub, seen = self.server, self.server.hub, self.server.hub.statistics()
        self._left("connections", server.connections)
        self._left("followers", seen.followers)
        self._left("live followers", seen.live)
        self._left("watchers", sum(audience.watchers for audience in hub.windows))
        self._left("turns of replay", hub.replay.taking_part)
        if self.live is not None:
            self._left("runs", len(self.live.runs()))
            self._left("long polls", len(self.live.service.context.long_polls))
        self._left("budget bytes that no window holds", server.worker.budget.held - seen.window_bytes)

    def _left(self, what: str, count: float) -> None:
        if count:
            self.world.history.add(Left(self.world.history.now, self.number, what, count))


class _Watched:
    """A server's end of a connection, seen from below: for how long its kernel takes nothing of what it has."""

    def __init__(self, history: History, conn: int, link: MemoryLink) -> None:
        self._history, self._conn = history, conn
        self.link = link
        self._since: float | None = None
        self._send = link.send
        link.send = self.send

    def send(self, data: Any) -> int:
        """See the link's own."""
        try:
            taken = self._send(data)
        except BlockingIOError:
            if self._since is None:
                self._since = self._history.now
            raise
        self.look()
        self._since = None if taken == len(data) else self._history.now
        return taken

    def look(self) -> None:
        """Record it, where that is long."""
        seconds = 0 if self._since is None else self._history.now - self._since
        if seconds > WORTH_TELLING_SECONDS:
            self._history.add(Stuck(self._history.now, self._conn, seconds))


class World:
    """All that there is in one play."""

    def __init__(self, plan: Plan, history: History, hosts: trio.Nursery) -> None:
        self.plan = plan
        self.history = history
        self.network = Network(random=current().random("network"))
        self.log = _log(plan, history)
        self.hosts = [Host(self, number, hosts) for number in range(plan.servers)]
        self.clients = [self._client(client, f"198.51.100.{at + 1}") for at, client in enumerate(plan.clients)]
        self.feeds = [Feed(self, feed) for feed in plan.feeds]
        self.links: list[tuple[Host, str, MemoryLink]] = []
        self.watched: list[_Watched] = []
        self.publisher = Publisher(history, self.hosts)
        self.orders = Orders(history, self.publisher, self.clients, self.hosts)
        self.runs = Runs(history, self.publisher, self.hosts)
        self.rules = Rules()
        self._nursery = hosts
        self._doing: trio.Nursery | None = None
        self._connections = 0

    def next_connection(self) -> int:
        """A number that no connection had."""
        self._connections += 1
        return self._connections

    def _client(self, plan: ClientPlan, address: str) -> Player | Program:
        if plan.transport == PYTHON:
            return Program(self, plan, address)
        return (ManyPlayer if plan.transport in MANY else Player)(self, plan, address)

    @property
    def readers(self) -> list[Player | Program | Feed]:
        """All that follow: clients, and tasks of the servers' own."""
        return [*self.clients, *self.feeds]

    def who(self, address: str) -> Player | Program | None:
        """The client at an address, if it is one's."""
        return next((client for client in self.clients if client.address == address), None)

    def head(self, channel: str) -> Cursor:
        """Where the log is, as the ledger knows."""
        place: Cursor = self.log.place(channel)
        return place

    def start(self, work: Callable[..., Any], *args: Any) -> None:
        """Begin what a step takes its time for."""
        assert self._doing is not None
        self._doing.start_soon(work, *args)

    async def serve(self, host: Host) -> None:
        """Have a server serve at a place, if none does."""
        async with host.starting:
            if host.server is None:
                await host.over.wait()
                await self._nursery.start(host.run)

    # --- the play

    async def play(self) -> None:
        """Play it, to the end."""
        history = self.history
        async with self.log.running():
            for host in self.hosts:
                await self.serve(host)
            for host in self.hosts if self.plan.has_members else []:
                await host.ask_who_is_present()  # with the first question presence begins its tasks
            for host in self.hosts if self.plan.has_runs else []:
                await host.speak_to_others()
            tasks = _tasks(self._nursery)
            async with trio.open_nursery() as clients:
                clients.start_soon(self._watch)
                for reader in self.readers:
                    clients.start_soon(reader.live)
                for host in self.hosts if self.plan.has_members else []:
                    clients.start_soon(self._ask_on, host)
                async with trio.open_nursery() as self._doing:  # until everything that steps began has ended
                    for step in self.plan.steps:
                        await step.play(self)
                await self._calm()
                clients.cancel_scope.cancel()
            self.network.vanish()
            await trio.sleep(4 * self.plan.limits.goodbye_seconds)
            await trio.testing.wait_all_tasks_blocked()
            for host in self.hosts:
                host.look_at_what_is_left()
            left = max(0, _tasks(self._nursery) - tasks)  # less are there where something had only just begun
            opened = sum(not link.closed for _, _, link in self.links)
            for what, count in (("tasks", left), ("sockets", opened)):
                if count:
                    history.add(Left(history.now, -1, what, count))
            await self._read_all()
            for host in self.hosts:
                await host.stop()
            self._look_for_objects()

    def _look_for_objects(self) -> None:
        """Record what there still is of Python clients, though their programs have left them."""
        remains = [thing for client in self.clients if isinstance(client, Program) for thing in client.remains]
        if remains:
            gc.collect()
            if count := sum(thing() is not None for thing in remains):
                self.history.add(Left(self.history.now, -1, "objects of a client", count))

    async def _calm(self) -> None:
        """The weather is good, and everybody catches up. Where the log was in trouble there is one last event in each
        channel: servers may hear only with that what has become of the log."""
        history, plan = self.history, self.plan
        self.log.calm = True
        if plan.redis:
            await trio.sleep(SETTLING_SECONDS)
        history.add(Calm(history.now))
        for client in self.clients:
            client.brighten()
        for feed in self.feeds:
            feed.pause = 0
        has_changed = any(map(changes_the_log, plan.steps))
        if has_changed:
            for number in range(plan.channels):
                await self.publisher.publish(Publish(number))
        if plan.has_runs:
            await trio.sleep(SETTLING_SECONDS + 2 * plan.limits.run_lease_seconds)
        if plan.has_members:
            await trio.sleep(GATHERING_SECONDS + 4 * plan.limits.lease_seconds)
        presence = {channel_name(number + PRESENCE) for number in range(plan.channels)}
        untold = presence if has_changed else set()
        await self._all_catch_up(untold, presence)
        behind = tuple(
            (reader.plan.name, channel, reader.cursors[channel], str(self.head(channel)))
            for reader in self.readers
            for channel in reader.behind(untold)
        )
        history.add(Over(history.now, behind))

    async def _all_catch_up(self, untold: set[str], growing: set[str]) -> None:
        """Wait until all have caught up, or nobody gets any further but in channels that grow for ever."""
        stands, since = "", self.history.now
        while any(reader.behind(untold) for reader in self.readers) and self.history.now < since + CATCH_UP_SECONDS:
            cursors = [(at, cursor) for reader in self.readers for at, cursor in reader.cursors.items()]
            before, stands = stands, str([(at, cursor) for at, cursor in cursors if at not in growing])
            since = since if stands == before else self.history.now
            await trio.sleep(0.5)

    async def _read_all(self) -> None:
        """Record what the log holds."""
        history = self.history
        for number in range(self.plan.channels):
            channel = channel_name(number)
            page = await self.log.kept(channel)
            events = tuple((event.offset, number_of(event.data)) for event in page.events)
            history.add(Kept(history.now, channel, page.head.epoch, events))

    async def _watch(self) -> None:
        """Look at what servers cannot send. However seldom: what is recorded is measured from when it began."""
        while True:
            self.watched = [one for one in self.watched if not one.link.closed]
            for one in self.watched:
                one.look()
            await trio.sleep(1)

    async def _ask_on(self, host: Host) -> None:
        while True:
            await trio.sleep(ASKING_SECONDS)
            await host.ask_who_is_present()


def _tasks(nursery: trio.Nursery) -> int:
    """How many tasks there are in a nursery, and in theirs."""
    return sum(1 + sum(_tasks(inner) for inner in task.child_nurseries) for task in nursery.child_tasks)


def _log(plan: Plan, history: History) -> Any:
    if not plan.redis:
        return SharedLog(plan, history)
    from .redis_stage import RedisStage  # here, for it needs coredis

    return RedisStage(plan, history)


async def play(plan: Plan, history: History) -> None:
    """Play a plan, in a run of its own on a virtual clock, and record what happens."""
    history.begin()
    with trio.move_on_after(MOST_SECONDS) as patience:
        async with trio.open_nursery() as hosts:
            world = World(plan, history, hosts)
            async with world.network.running():
                await world.play()
    if patience.cancelled_caught:
        history.add(Crashed(history.now, -1, f"the play did not end in {MOST_SECONDS} s"))
