"""Three logs on one Redis that is killed, frozen, full and cut off: nothing is lost, stored twice or out of order.

Which harm comes next is drawn from a seed; when exactly it comes is the machine's. What must hold depends on neither.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
import trio

from tests.e2e.needs import needs
from triolet.errors import LogAway, LogError, LogFull, LogUncertain
from triolet.event import Cursor, Draft, Event
from triolet.limits import Limits
from triolet.redis.log import RedisLog

from .servers import RedisServer

pytestmark = needs("redis-server", "redis-cli")

LIMITS = Limits(away_seconds=0.7, answer_seconds=0.4, look_seconds=0.2)
SECONDS = 6


class Fleet:
    """Publishers and followers, and what they know: what was stored for sure, surely not, or who knows."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.stored: dict[int, Event] = {}
        self.refused: set[int] = set()
        self.drawn = 0
        self.publishing = True
        self.following = True

    async def publish(self, log: RedisLog, channel: str) -> None:
        """Publish numbers, each once, and now and then give up waiting."""
        while self.publishing:
            self.drawn += 1
            number = self.drawn
            with trio.move_on_after(self.random.choice([0.05, 5])):
                try:
                    (self.stored[number],) = await log.append(channel, [Draft.of(number)])
                except LogUncertain:
                    pass
                except (LogAway, LogFull):
                    self.refused.add(number)
            await trio.sleep(0.01 * self.random.random())

    async def follow(self, log: RedisLog, channel: str, heard: list[int]) -> None:
        """Follow as the hub does: from the tail where it goes on, from the log where it does not."""
        position = Cursor("", 0)
        with log.tail() as tail:
            while self.following:
                position = await self._catch_up(log, channel, position, heard)
                with trio.move_on_after(0.5):
                    for event in await anext(tail):
                        if event.channel == channel and event.cursor == Cursor(position.epoch, position.offset + 1):
                            heard.append(event.data)
                            position = event.cursor
            await self._catch_up(log, channel, position, heard)

    async def _catch_up(self, log: RedisLog, channel: str, position: Cursor, heard: list[int]) -> Cursor:
        while True:
            try:
                page = await log.read(channel, position, limit=256, max_bytes=1 << 20)
            except LogError:
                await trio.sleep(0.05)
                continue
            assert page.gap is None
            if not page.events:
                return page.head
            heard += [event.data for event in page.events]
            position = page.events[-1].cursor


async def _storm(server: RedisServer, fleet: Fleet) -> None:
    def restart() -> None:
        server.stop()
        server.start()

    def ask(*command: str) -> Callable[[], object]:
        return lambda: server.ask(*command, check=False)

    harms: list[tuple[Callable[[], object], float, Callable[[], object] | None]] = [
        (restart, 0, None),
        (server.stop, 1, server.start),
        (server.freeze, 0.1, server.thaw),
        (server.freeze, 1, server.thaw),
        (ask("CLIENT", "KILL", "TYPE", "pubsub"), 0, None),
        (ask("SCRIPT", "FLUSH"), 0, None),
        (ask("CLIENT", "PAUSE", "300", "ALL"), 0, None),
        (ask("CONFIG", "SET", "maxmemory", "1"), 0.2, ask("CONFIG", "SET", "maxmemory", "0")),
    ]
    with trio.move_on_after(SECONDS) as scope:
        while not scope.cancel_called:
            begin, seconds, end = fleet.random.choice(harms)
            with trio.CancelScope(shield=True):  # bounded: what was begun is ended
                await trio.to_thread.run_sync(begin)
                await trio.sleep(seconds)
                if end is not None:
                    await trio.to_thread.run_sync(end)
            await trio.sleep(0.4 * fleet.random.random())
    fleet.publishing = False


@pytest.mark.parametrize("seed", [1])
async def test_in_a_storm_nothing_is_lost_stored_twice_or_heard_out_of_order(seed: int, durable: RedisServer) -> None:
    fleet = Fleet(seed)
    heard: dict[str, list[list[int]]] = {"a": [], "b": []}
    async with AsyncExitStack() as stack:
        logs = [await stack.enter_async_context(RedisLog(f"{durable.url}?start=wait", LIMITS).open()) for _ in range(3)]
        async with trio.open_nursery() as followers:
            async with trio.open_nursery() as publishers:
                for log in logs:
                    for channel, histories in heard.items():
                        histories.append([])
                        followers.start_soon(fleet.follow, log, channel, histories[-1])
                        for _ in range(2):
                            publishers.start_soon(fleet.publish, log, channel)
                publishers.start_soon(_storm, durable, fleet)
            fleet.following = False
        kept = {
            name: (await logs[0].read(name, Cursor("", 0), limit=1 << 20, max_bytes=1 << 30)).events for name in heard
        }
    for name, events in kept.items():
        numbers = [event.data for event in events]
        assert [event.offset for event in events] == list(range(1, len(events) + 1))
        assert len(set(numbers)) == len(numbers)
        assert not fleet.refused & set(numbers)
        assert heard[name] == [numbers] * 3
    for number, event in fleet.stored.items():
        assert kept[event.channel][event.offset - 1].data == number
    assert fleet.stored
