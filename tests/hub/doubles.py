"""What stands in for sockets and for a log whose tail the test holds in its hand."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import trio

from triolet import Cursor, Draft, Event, EventLog, Gap, Limits
from triolet.budget import Budget
from triolet.hub import Follower, Hub, Lag, Policy, State, Step, Subscription
from triolet.log import MemoryLog, Page, Status
from triolet.sockets.outlet import Outlet
from triolet.wire.codec import WEBSOCKET, Codec

CHANNEL = "orders"


class Sink(Outlet):
    """An outlet over a kernel that takes so many bytes."""

    def __init__(self, room: float = math.inf) -> None:
        super().__init__(Budget(1 << 30))
        self.send = self._send
        self.room = room
        self.batches: list[Any] = []
        self.taken = b""
        self.rest = b""
        self.gone = False
        self.on_write: Callable[[], None] = lambda: None

    def _send(self, batch: Any) -> int:
        if self.gone:
            raise BrokenPipeError
        if self.room <= 0:
            raise BlockingIOError
        size = int(min(self.room, len(batch)))
        self.room -= size
        self.taken += batch[:size]
        self.batches.append(batch)
        self.on_write()
        return size

    @property
    def empty(self) -> bool:
        return not self.rest

    @property
    def pending(self) -> int:
        return len(self.rest)

    def keep(self, batch: Any, taken: int) -> None:
        self.rest = batch[taken:]

    async def drained(self) -> None:
        raise AssertionError("the test reads on itself: see drain()")

    def fail(self) -> None:
        self.gone = True
        super().fail()

    def abort(self) -> None:
        self.gone = True
        self.rest = b""

    def drain(self) -> None:
        """The client has read on, everything."""
        self.room = math.inf
        self.taken += self.rest
        self.rest = b""


class Client:
    """A follower with a writer that the test moves: :meth:`read_on`."""

    def __init__(self, hub: Hub, sink: Sink, codec: Codec = WEBSOCKET, policy: Policy | None = None) -> None:
        self.hub = hub
        self.sink = self.outlet = sink
        self.codec = codec
        self.policy = policy
        self.marks = None
        self.woken = 0
        self.steps: list[Step] = []
        self.finished = 0
        self.follower: Follower

    async def follow(
        self, after: Cursor | None = None, channel: str = CHANNEL, allow: Callable[[Event], bool] | None = None
    ) -> Client:
        self.follower = await self.hub.follow(Subscription(channel, after, policy=self.policy, allow=allow), self)
        return self

    async def read_on(self) -> list[Any]:
        """Do what a connection's writer does, to the end of what there is or fits. Returns the gaps."""
        gaps: list[Gap] = []
        follower = self.follower
        while follower.state is State.BEHIND:
            reading = await self.hub.read(follower)
            gaps += reading.gaps
            if reading.batch is not None:
                assert self.sink.write(reading.batch)
            follower.position = reading.position
            if reading.ends:
                self.finish(follower)
                break
            if not self.sink.empty:
                break
            if not follower.go_live() and reading.position == reading.start and not reading.gaps:
                follower.wait_for_round()
                break
        return gaps

    @property
    def live(self) -> bool:
        return self.follower.state is State.LIVE

    @property
    def seen(self) -> list[int]:
        """The offsets of what the kernel took, frame by frame."""
        return offsets(self.sink.taken)

    def fell_behind(self, follower: Follower) -> None:
        self.woken += 1

    def finish(self, follower: Follower) -> None:
        self.finished += 1
        self.hub.leave(follower)

    def stepped(self, follower: Follower, step: Step, lag: Lag) -> None:
        self.steps.append(step)


class HandTailLog(MemoryLog):
    """A log in memory whose tail says what the test has it say, when it has it say it."""

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(limits, epoch="e")
        self._send, self._receive = trio.open_memory_channel[Sequence[Event]](math.inf)

    @contextmanager
    def tail(self) -> Iterator[AsyncIterator[Sequence[Event]]]:
        yield self._receive

    async def tell(self, *events: Event) -> None:
        """Let the pump take these, and finish its round."""
        self._send.send_nowait(events)
        await trio.testing.wait_all_tasks_blocked()


class CountingLog(MemoryLog):
    """Counts who reads from it, and can hold up whoever asks for a head."""

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(limits, epoch="e")
        self.reads = 0
        self.heads = 0
        self.hold: trio.Event | None = None

    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        self.reads += 1
        return await super().read(channel, after, limit=limit, max_bytes=max_bytes)

    async def status(self, channel: str) -> Status:
        self.heads += 1
        if self.hold is not None:
            await self.hold.wait()
        return await super().status(channel)


@asynccontextmanager
async def running(log: EventLog, limits: Limits | None = None) -> AsyncIterator[Hub]:
    """A hub whose pump runs."""
    hub = Hub(log, limits or Limits(), Budget(1 << 30))
    async with log.open(), trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        yield hub
        nursery.cancel_scope.cancel()


async def publish(log: EventLog, count: int = 1, channel: str = CHANNEL, size: int = 0) -> list[Event]:
    """Append so many events at once."""
    return await log.append(channel, [Draft.of({"n": n, "fill": "x" * size}) for n in range(count)])


def offsets(frames: bytes) -> list[int]:
    """The offsets of the events in WebSocket frames, in order; raises where the last one is cut."""
    found = []
    while frames:
        size, head = frames[1], 2
        if size > 125:
            width = 2 if size == 126 else 8
            size, head = int.from_bytes(frames[2 : 2 + width], "big"), 2 + width
        assert len(frames) >= head + size, "a frame was cut"
        found.append(int(frames[head : head + size].split(b'"id":"')[1].split(b'"')[0].rpartition(b".")[2]))
        frames = frames[head + size :]
    return found


async def live(hub: Hub, count: int = 1) -> list[Client]:
    """So many clients that have caught up."""
    clients = [await Client(hub, Sink()).follow() for _ in range(count)]
    for client in clients:
        await client.read_on()
    assert all(client.live for client in clients)
    return clients


async def blocked() -> None:
    """Let everybody go on until all wait."""
    await trio.testing.wait_all_tasks_blocked()
