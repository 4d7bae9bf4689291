"""The promise, for every schedule: what a client is given is the log after its cursor, or a gap that says what is not.

Clients on every transport follow one channel while events are published, retention drops the oldest, networks are cut
with and without notice, clients read slowly or not at all, policies leave events out or give clients up, and the server
restarts, with its log or without.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import h11
import trio
from hypothesis import event, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.listeners import TRANSPORTS, Listener, Message, listening
from tests.shop import ORDER, ORDERS, make_shop
from triolet import Cursor, Draft, Limits, Triolet, policies
from triolet.log import MemoryLog
from triolet.testing.server import MemoryServer, serve


@dataclass(frozen=True)
class Publish:
    count: int
    size: int


@dataclass(frozen=True)
class Wait:
    seconds: float


@dataclass(frozen=True)
class Cut:
    """One client's network goes; with ``notice`` the server is told. It comes back after a while."""

    client: int
    notice: bool
    seconds: float


@dataclass(frozen=True)
class Stall:
    """One client does not read for a while."""

    client: int
    seconds: float


@dataclass(frozen=True)
class Restart:
    """The server drains and starts again; with ``lost`` its log is gone."""

    lost: bool


@dataclass(frozen=True)
class Schedule:
    limits: Limits
    policy: policies.Policy | None
    kernel_bytes: int
    clients: list[tuple[str, str | None]]
    steps: list[Any]


SECONDS = st.sampled_from([0.0, 0.5, 3.0, 12.0, 40.0])
WHO = st.integers(0, 3)
STEPS = st.one_of(
    st.builds(Publish, st.integers(1, 6), st.sampled_from([0, 0, 400, 3_000])),
    st.builds(Publish, st.integers(1, 6), st.sampled_from([0, 0, 400, 3_000])),
    st.builds(Wait, SECONDS),
    st.builds(Cut, WHO, st.booleans(), SECONDS),
    st.builds(Stall, WHO, SECONDS),
    st.builds(Restart, st.booleans()),
)
LIMITS = st.builds(
    Limits,
    keep_events=st.sampled_from([2, 5, 1_000]),
    window_events=st.sampled_from([1, 3, 512]),
    page_events=st.sampled_from([1, 3, 256]),
    page_bytes=st.sampled_from([500, 256 << 10]),
)
POLICIES = st.sampled_from(
    [
        None,
        policies.latest(events=1),
        policies.latest(events=4),
        policies.skip(events=3),
        policies.disconnect(events=5, seconds=3),
        policies.block(events=3, seconds=2),
        policies.ladder(policies.latest(events=2), policies.skip(events=6), policies.disconnect(seconds=5)),
    ]
)
SCHEDULES = st.builds(
    Schedule,
    LIMITS,
    POLICIES,
    st.sampled_from([700, 4_000, 64 << 10]),
    st.lists(st.tuples(st.sampled_from([*TRANSPORTS, "follow"]), st.sampled_from([None, "0"])), min_size=1, max_size=4),
    st.lists(STEPS, min_size=1, max_size=14),
)


def key_of(number: int) -> str | None:
    """The key of an event's data; every fourth event has none."""
    return None if number % 4 == 3 else f"key {number % 4}"


class Book:
    """All that was ever published, by the log's epoch and the offset."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.epoch = "a"
        self.lives: dict[str, list[int]] = {"a": []}
        self._number = 0

    @property
    def head(self) -> Cursor:
        return Cursor(self.epoch, len(self.lives[self.epoch]))

    async def publish(self, live: Triolet, step: Publish) -> None:
        numbers = list(range(self._number, self._number + step.count))
        self._number += step.count
        self.lives[self.epoch] += numbers
        await live.publish_many(ORDER, [Draft.of([number, "x" * step.size], key=key_of(number)) for number in numbers])

    def begin_again(self) -> None:
        self.epoch = chr(ord(self.epoch) + 1)
        self.lives[self.epoch] = []


@dataclass
class Client:
    """One client, which goes on from its cursor whenever its connection ends, and checks every word it hears."""

    transport: str
    start: str | None
    book: Book
    kernel_bytes: int
    cursor: Cursor | None = None
    away_until: float = 0
    stalled_until: float = 0
    listener: Listener | None = None
    abandoned: list[Listener] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    conflated_to: Cursor | None = None

    @property
    def caught_up(self) -> bool:
        return self.cursor == self.book.head

    def cut(self, step: Cut, nursery: trio.Nursery, server: MemoryServer) -> None:
        """Lose the connection, if there is one. Without notice it stays as it is, and nobody reads from it."""
        self.away_until = trio.current_time() + step.seconds
        listener, self.listener = self.listener, None
        if listener is None:
            return
        if step.notice:
            listener.cut()
        else:
            self.abandoned.append(listener)
            nursery.start_soon(self.live, server)

    async def live(self, server: MemoryServer) -> None:
        """Follow, and come back; until this connection was cut without notice, and another one has begun."""
        while True:
            await trio.sleep_until(self.away_until)
            after = self.start if self.cursor is None else self.cursor
            try:
                async with listening(server, self.transport, ORDERS, after, kernel_bytes=self.kernel_bytes) as listener:
                    self.listener = listener
                    await self._listen(listener)
            except* (trio.BrokenResourceError, h11.RemoteProtocolError):
                pass  # cut, given up, or the server went before it answered
            await trio.sleep(0.1)

    async def _listen(self, listener: Listener) -> None:
        while (message := await listener.next()) is not None:
            if listener in self.abandoned:
                await trio.sleep_forever()  # what still comes here, nobody hears
            if self.listener is not listener:
                return
            self.hear(message)
            await trio.sleep_until(self.stalled_until)

    def hear(self, message: Message) -> None:
        """Check a message against the book, and against what was heard before."""
        kind = message["type"]
        if kind in ("open", "live"):
            told = Cursor.parse(message["cursor"])
            assert self.cursor in (None, told), f"{kind} at {told} to a client at {self.cursor}"
            self.cursor = told
            self.conflated_to = None
        elif kind == "gap":
            self._hear_gap(Cursor.parse(message["from"]), Cursor.parse(message["to"]), message)
        elif kind == "event":
            self._hear_event(Cursor.parse(message["id"]), message["data"][0])
        elif kind == "beat":
            assert list(message["cursors"].values()) in ([], [str(self.cursor)])

    def _hear_event(self, at: Cursor, number: int) -> None:
        if self.cursor is None:  # a first poll "from the oldest kept" is told no cursor before
            self.cursor = Cursor(at.epoch, at.offset - 1)
        expected = Cursor(self.cursor.epoch, self.cursor.offset + 1)
        assert at == expected or self._was_conflated(at), f"{at} to a client at {self.cursor}"
        assert self.book.lives[at.epoch][at.offset - 1] == number
        self.cursor = at

    def _was_conflated(self, at: Cursor) -> bool:
        """Whether a newer one with the same key, not after the announced end, stands for each event before this one."""
        if self.conflated_to is None or self.cursor is None or at.epoch != self.conflated_to.epoch:
            return False
        keys = [key_of(number) for number in self.book.lives[at.epoch][: self.conflated_to.offset]]
        return at.offset <= self.conflated_to.offset and all(
            keys[gone] is not None and keys[gone] in keys[gone + 1 :]
            for gone in range(self.cursor.offset, at.offset - 1)
        )

    def _hear_gap(self, after: Cursor, to: Cursor, message: Message) -> None:
        assert self.cursor in (None, after), f"a gap from {after} to a client at {self.cursor}"
        if message["reason"] == "conflated":
            assert after.epoch == to.epoch
            assert 0 < message["missed"] < to.offset - after.offset
            assert to.offset <= len(self.book.lives[to.epoch])
            self.gaps.append("conflated")
            self.cursor, self.conflated_to = after, to
            return
        oldest_ever_expected = len(self.book.lives[to.epoch]) - self.book.limits.keep_events + 1
        if message["reason"] == "epoch":
            assert after.epoch < to.epoch
            assert message["missed"] is None
            assert to.offset < max(oldest_ever_expected, 1)
        elif message["reason"] == "skipped":
            assert after.epoch == to.epoch
            assert message["missed"] == to.offset - after.offset > 0
        else:
            assert (message["reason"], after.epoch) == ("expired", to.epoch)
            assert message["missed"] == to.offset - after.offset > 0
            assert to.offset < oldest_ever_expected, f"{message} although {to} is kept"
        self.gaps.append(message["reason"])
        self.cursor = to


async def play(schedule: Schedule) -> list[Client]:
    """Play a schedule to its end, and on until every client has caught up."""
    book = Book(schedule.limits)
    log = MemoryLog(schedule.limits, epoch=book.epoch)
    clients = [Client(transport, start, book, schedule.kernel_bytes) for transport, start in schedule.clients]
    steps = iter(schedule.steps)
    while True:
        app, live = make_shop(schedule.limits, log=log, policy=schedule.policy)
        async with serve(app, grace=5) as server, trio.open_nursery() as nursery:
            for client in clients:
                client.listener = None
                nursery.start_soon(client.live, server)
            last = await act(steps, clients, book, live, nursery, server)
            if last is None:
                await all_catch_up(clients, book)
            else:
                server.stop.set()
                await server.ended.wait()
            nursery.cancel_scope.cancel()
        if last is None:
            return clients
        if last.lost:
            book.begin_again()
            log = MemoryLog(schedule.limits, epoch=book.epoch)


async def act(
    steps: Any, clients: list[Client], book: Book, live: Triolet, nursery: trio.Nursery, server: MemoryServer
) -> Restart | None:
    """Do the steps up to a restart, or all."""
    for step in steps:
        if isinstance(step, Restart):
            return step
        if isinstance(step, Publish):
            await book.publish(live, step)
        elif isinstance(step, Wait):
            await trio.sleep(step.seconds)
        elif step.client < len(clients):
            client = clients[step.client]
            if isinstance(step, Cut):
                client.cut(step, nursery, server)
            else:
                client.stalled_until = trio.current_time() + step.seconds
    return None


async def all_catch_up(clients: list[Client], book: Book) -> None:
    for _ in range(600):
        if not all(client.caught_up for client in clients):
            await trio.sleep(1)
    assert {client.cursor for client in clients} == {book.head}


@settings(max_examples=400)
@given(SCHEDULES, st.random_module())
def test_every_client_is_given_the_log_after_its_cursor_or_told_what_is_missing(schedule: Schedule, seed: Any) -> None:
    clients = trio.run(play, schedule, clock=MockClock(autojump_threshold=0))
    for client in clients:
        for reason in client.gaps:
            event(f"a gap on {client.transport}: {reason}")
