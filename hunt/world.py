"""Plays a plan: servers over one log, clients that come and go, publishers, and whatever befalls them. All that matters
is recorded in the history."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from triolet.app.extension import Triolet
from triolet.errors import where
from triolet.event import Cursor
from triolet.testing import faults
from triolet.testing.network import ClientEnd, MemoryLink, Network
from triolet.testing.seed import current
from triolet.testing.server import MemoryServer, serve

from .client import Client
from .history import (
    Calm,
    Crashed,
    Drained,
    Draining,
    Heard,
    History,
    Kept,
    Left,
    Message,
    Over,
    Sampled,
    Serving,
    Weather,
)
from .plan import (
    Cut,
    Fault,
    Follow,
    LogTrouble,
    Lose,
    Ping,
    Plan,
    Publish,
    RedisTrouble,
    Restart,
    Return,
    Say,
    Stall,
    Step,
    Unfollow,
    Wait,
)
from .polls import PollClient
from .publisher import Publisher
from .stage import SharedLog, channel_name, make_app
from .streams import EventStreamClient, SocketClient, WebSocketClient

if TYPE_CHECKING:
    from .redis_stage import RedisStage

__all__ = ["Host", "World", "play"]

CATCH_UP_SECONDS = 60
"""How long nobody may get any further, once the weather is good, before all have caught up."""

MOST_SECONDS = 1_200
"""Of a play. One that is not over then never ends."""

MOMENT_SECONDS = 0.12
"""What has waited no longer says nothing of a client, which may read ten times a second."""

SETTLING_SECONDS = 4
"""After which whoever lost Redis has it again."""

KINDS: dict[str, type[Client]] = {
    "websocket": WebSocketClient,
    "socket": SocketClient,
    "sse": EventStreamClient,
    "sse behind": EventStreamClient,
    "long poll": PollClient,
    "short poll": PollClient,
}


class Host:
    """One place where a server runs, with breaks.

    Attributes:
        server: the one that serves there now; None while none does.
    """

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.server: MemoryServer | None = None
        self.live: Triolet | None = None
        self._starting = trio.Lock()

    async def start(self, nursery: trio.Nursery) -> None:
        """Have a server serve here, if none does."""
        async with self._starting:
            if self.server is None:
                await nursery.start(self.run)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until the server is told to stop, and has ended."""
        world, history = self.world, self.world.history
        app, live = make_app(world.plan, world.log.attach())
        try:
            async with serve(app, grace=world.plan.grace) as server:
                self.server, self.live = server, live
                history.add(Serving(history.now, self.number))
                task_status.started()
                await server.ended.wait()
                self.server = self.live = None
                if not server.stop.is_set():
                    history.add(
                        Crashed(history.now, self.number, "the server ended by itself: its app's log or hub crashed")
                    )
                history.add(Drained(history.now, self.number))
            self._left("budget bytes", server.worker.budget.held)
            self._left("crashed connections", server.worker.metrics.crashes)
            self._left("connections", server.connections)
        except Exception as error:
            history.add(Crashed(history.now, self.number, f"{where(error)}: {error!r}"))
        finally:
            self.server = self.live = None

    def accept(self, link: MemoryLink, address: str) -> None:
        """Take in a connection, if anybody listens."""
        if self.server is None or self.server.worker.draining.is_set():
            link.abort()
        else:
            self.server.worker.enter(link, address)
            self.world.links.append(link)

    async def stop(self) -> None:
        """Have the server drain, and wait until it has ended."""
        server, history = self.server, self.world.history
        if server is not None:
            if not server.stop.is_set():
                history.add(Draining(history.now, self.number, self.world.plan.grace))
            server.stop.set()
            await server.ended.wait()

    def look(self) -> None:
        """Record who has bytes waiting, but for those of this very moment: a beat may come whenever we look."""
        if self.live is not None and self.live.service.running:
            seen = [conn for conn in self.live.connections() if conn.stalled_seconds > MOMENT_SECONDS]
            # Their numbers go on from one play to the next; ours begin with each.
            ids = [self.world.numbers.setdefault(conn.id, len(self.world.numbers) + 1) for conn in seen]
            waiting = tuple((at, conn.pending_bytes, conn.stalled_seconds) for at, conn in zip(ids, seen, strict=True))
            followed = [(at, conn.followers) for at, conn in zip(ids, seen, strict=True) if conn.followers]
            places = tuple((at, " ".join(follower.cursor for follower in followers)) for at, followers in followed)
            if waiting:
                self.world.history.add(Sampled(self.world.history.now, self.number, waiting, places))

    def look_at_what_is_left(self) -> None:
        """Record what is there although all clients have gone."""
        if self.server is None or self.server.hub is None:
            return
        server, hub, seen = self.server, self.server.hub, self.server.hub.statistics()
        self._left("connections", server.connections)
        self._left("followers", seen.followers)
        self._left("live followers", seen.live)
        self._left("turns of replay", hub.replay.taking_part)
        self._left("budget bytes that no window holds", server.worker.budget.held - seen.window_bytes)

    def _left(self, what: str, count: float) -> None:
        if count:
            self.world.history.add(Left(self.world.history.now, self.number, what, count))


class World:
    """All that there is in one play."""

    def __init__(self, plan: Plan, history: History) -> None:
        self.plan = plan
        self.history = history
        history.begin()
        self.network = Network(random=current().random("network"))
        self.log = _log(plan, history)
        self.hosts = [Host(self, number) for number in range(plan.servers)]
        self.clients = [
            KINDS[client.transport](self, client, f"198.51.100.{at + 1}") for at, client in enumerate(plan.clients)
        ]
        self.links: list[MemoryLink] = []
        self.numbers: dict[int, int] = {}
        self.publisher = Publisher(self)
        self._connections = 0

    def next_connection(self) -> int:
        """A number that no connection had."""
        self._connections += 1
        return self._connections

    def dial(self, client: Client) -> ClientEnd:
        """Connect a client to its server."""
        host = self.hosts[client.server]
        return self.network.connect(client.address, partial(host.accept, address=client.address), client.line)

    def head(self, channel: str) -> Cursor:
        """Where the log is, as the ledger knows."""
        return self.log.place(channel)

    def hear(self, conn: int, message: Message) -> None:
        """Record what a client heard."""
        self.history.add(Heard(self.history.now, conn, message))

    # --- the play

    async def play(self) -> None:
        """Play it, to the end."""
        history = self.history
        async with self.log.opened(), trio.open_nursery() as hosts:
            for host in self.hosts:
                await host.start(hosts)
            tasks = _tasks(hosts)
            async with trio.open_nursery() as clients:
                clients.start_soon(self._watch)
                for client in self.clients:
                    clients.start_soon(client.live)
                await self._act(hosts)
                await self._calm()
                clients.cancel_scope.cancel()
            self.network.vanish()
            await trio.sleep(4 * self.plan.limits.goodbye_seconds)
            await trio.testing.wait_all_tasks_blocked()
            for host in self.hosts:
                host.look_at_what_is_left()
            left = _tasks(hosts) - tasks
            if left:
                history.add(Left(history.now, -1, "tasks", left))
            opened = sum(not link.closed for link in self.links)
            if opened:
                history.add(Left(history.now, -1, "sockets", opened))
            await self._read_all()
            for host in self.hosts:
                await host.stop()

    async def _act(self, hosts: trio.Nursery) -> None:
        """Do the steps, and wait until everything they began has ended."""
        async with trio.open_nursery() as doing:
            for step in self.plan.steps:
                await self._do(step, doing, hosts)

    async def _do(self, step: Step, doing: trio.Nursery, hosts: trio.Nursery) -> None:
        if isinstance(step, Wait):
            await trio.sleep(step.seconds)
        elif isinstance(step, Publish):
            doing.start_soon(self.publisher.publish, step)
        elif isinstance(step, Restart):
            doing.start_soon(self._restart, step, hosts)
        elif isinstance(step, Lose):
            await self._lose(hosts)
        elif isinstance(step, LogTrouble | RedisTrouble):
            doing.start_soon(self.log.befall, step)
        elif isinstance(step, Fault):
            doing.start_soon(self._fault, step)
        else:
            self._befall(self.clients[step.client], step)
            await trio.lowlevel.checkpoint()

    def _befall(self, client: Client, step: Cut | Return | Stall | Follow | Unfollow | Say | Ping) -> None:
        """Something happens to one client."""
        if isinstance(step, Cut):
            client.leave(step.how, step.seconds)
        elif isinstance(step, Stall):
            client.stall(step.seconds)
        elif isinstance(step, Return):
            client.leave("reset", 0)
            for channel in list(client.cursors):
                client.go_on_from(channel, self._cursor(client, channel, step.after))
        elif isinstance(step, Ping) and isinstance(client, WebSocketClient):
            client.ping(step.count)
        elif isinstance(client, SocketClient):
            if isinstance(step, Follow):
                client.follow(channel_name(step.channel))
            elif isinstance(step, Unfollow):
                client.unfollow(channel_name(step.channel))
            elif isinstance(step, Say):
                client.echo(step.count, step.size)
                client.acknowledge()

    def _cursor(self, client: Client, channel: str, after: str) -> str | None:
        head = self.head(channel)
        had = [cursor for cursor in client.had if cursor.startswith(head.epoch)]
        return {
            "0": "0",
            "now": None,
            "old": had[len(had) // 2] if had else "0",
            "future": str(Cursor(head.epoch, head.offset + 1_000)),
        }[after]

    async def _restart(self, step: Restart, hosts: trio.Nursery) -> None:
        host = self.hosts[step.server]
        if host.server is None:
            return
        await host.stop()
        await trio.sleep(step.seconds)
        await host.start(hosts)

    async def _lose(self, hosts: trio.Nursery) -> None:
        async with trio.open_nursery() as stopping:
            for host in self.hosts:
                stopping.start_soon(host.stop)
        self.log.lose()
        for host in self.hosts:
            await host.start(hosts)

    async def _fault(self, step: Fault) -> None:
        who: tuple[Any, ...] = (self.network,) if step.client is None else (self.clients[step.client],)
        name = "" if step.client is None else self.plan.clients[step.client].name
        makers: dict[str, Callable[[], AbstractContextManager[None]]] = {
            "stalled": lambda: faults.stalled(*who),
            "cut": lambda: faults.cut(*who),
            "cut without fin": lambda: faults.cut(*who, fin=False),
            "half open": lambda: faults.half_open(*who),
            "slow reader": lambda: faults.slow_reader(*who, bytes_per_second=500),
            "reordered accepts": lambda: faults.reordered_accepts(self.network),
        }
        if step.kind == "reordered accepts" and self.network.arrival is not None:
            return  # two of them at once would have to end in turn
        self.history.add(Weather(self.history.now, name, step.kind, self.history.now + step.seconds))
        with makers[step.kind]():
            await trio.sleep(step.seconds)

    async def _calm(self) -> None:
        """The weather is good, and everybody catches up. Where the log was in trouble there is one last event in each
        channel: servers may hear only with that what has become of the log."""
        history = self.history
        self.log.calm = True
        if self.plan.redis:
            await trio.sleep(SETTLING_SECONDS)
        history.add(Calm(history.now))
        for client in self.clients:
            client.brighten()
        if any(map(_changes_the_log, self.plan.steps)):
            for number in range(self.plan.channels):
                await self.publisher.publish(Publish(number, 1))
        await self._all_catch_up()
        behind = tuple(
            (client.plan.name, channel, cursor, str(self.head(channel)))
            for client in self.clients
            for channel, cursor in client.cursors.items()
            if cursor != str(self.head(channel)) or not client.caught_up
        )
        history.add(Over(history.now, behind))

    async def _all_catch_up(self) -> None:
        """Wait until all have caught up, or nobody gets any further."""
        stands, since = "", self.history.now
        while not all(client.caught_up for client in self.clients) and self.history.now < since + CATCH_UP_SECONDS:
            before, stands = stands, str([client.cursors for client in self.clients])
            since = since if stands == before else self.history.now
            await trio.sleep(0.5)

    async def _read_all(self) -> None:
        """Record what the log holds."""
        history = self.history
        for number in range(self.plan.channels):
            channel = channel_name(number)
            page = await self.log.kept(channel)
            events = tuple((event.offset, event.data[0]) for event in page.events)
            history.add(Kept(history.now, channel, page.head.epoch, events))

    async def _watch(self) -> None:
        """Look at the servers, once a second."""
        while True:
            for host in self.hosts:
                host.look()
            await trio.sleep(1)


def _tasks(nursery: trio.Nursery) -> int:
    """How many tasks there are in a nursery, and in theirs."""
    return sum(1 + sum(_tasks(inner) for inner in task.child_nurseries) for task in nursery.child_tasks)


def _changes_the_log(step: Step) -> bool:
    """Whether the log may not be, or not tell, what it was. A hint that was lost is found without a next event."""
    is_redis = isinstance(step, RedisTrouble) and not step.kind.startswith("hints")
    return is_redis or isinstance(step, Lose | LogTrouble)


def _log(plan: Plan, history: History) -> SharedLog | RedisStage:
    if not plan.redis:
        return SharedLog(plan, history)
    from .redis_stage import RedisStage  # here, for it needs coredis

    return RedisStage(plan, history)


async def play(plan: Plan, history: History) -> None:
    """Play a plan, in a run of its own on a virtual clock, and record what happens."""
    world = World(plan, history)
    with trio.move_on_after(MOST_SECONDS) as patience:
        async with world.network.running():
            await world.play()
    if patience.cancelled_caught:
        world.history.add(Crashed(world.history.now, -1, f"the play did not end in {MOST_SECONDS} s"))
