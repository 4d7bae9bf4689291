"""What is to happen once, over the modelled Redis of the hunt: the contract, and that it holds in any weather."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from hunt.redis_scripts import Watcher
from hunt.redis_server import ModelledDialer, ModelledRedis
from triolet.errors import LogAway, LogError, LogUncertain
from triolet.event import Cursor, Draft
from triolet.limits import Limits
from triolet.log.contract import NOTHING_KEPT, EventLog, Kept
from triolet.redis.connect import Dialer
from triolet.redis.log import RedisLog
from triolet.redis.scripts import decode_row
from triolet.redis.url import RedisAddress
from triolet.testing import LogCheck
from triolet.testing.log_commands import COMMAND_CHECKS, PAIR_CHECKS, PairCheck
from triolet.testing.log_ends import END_CHECKS, check_ends_of_pair

ADDRESS = RedisAddress.parse("redis://modelled?start=wait")
LIMITS = Limits(away_seconds=2, answer_seconds=0.5, look_seconds=0.5)
CHECKS = [
    check for check in (*COMMAND_CHECKS, *END_CHECKS) if not {"retention", "keep"} & set(check.__name__.split("_"))
]
"""The model keeps all events for ever."""


class ModelledLog(RedisLog):
    """A RedisLog whose way leads to the model; the first one of a model that is opened runs it."""

    def __init__(
        self, server: ModelledRedis, limits: Limits, clock: Callable[[], float], address: RedisAddress = ADDRESS
    ) -> None:
        super().__init__(address, limits, clock)
        self._server = server

    def _dialer(self, nursery: trio.Nursery) -> Dialer:
        return ModelledDialer(self._server, ADDRESS, self._limits.answer_seconds, nursery)


class OnlyLog(ModelledLog):
    """The only one of its model, or the first of two."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[RedisLog]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._server.run)
            async with super().open() as log:
                yield log
            nursery.cancel_scope.cancel()


def modelled(seed: int = 0) -> ModelledRedis:
    return ModelledRedis(random.Random(seed), 1, Watcher())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.strip("_"))
async def test_the_model_keeps_the_promise_too(check: LogCheck, autojump_clock: MockClock) -> None:
    await check(lambda limits, clock: OnlyLog(modelled(), limits, clock))


@pytest.mark.parametrize("check", [*PAIR_CHECKS, check_ends_of_pair], ids=lambda check: check.__name__.strip("_"))
async def test_two_processes_on_the_model_keep_one_promise(check: PairCheck, autojump_clock: MockClock) -> None:
    def pair(limits: Limits, clock: Callable[[], float]) -> tuple[EventLog, EventLog]:
        server = modelled()
        return OnlyLog(server, limits, clock), ModelledLog(server, limits, clock)

    await check(pair)


# --- any weather


IDS, LEASE = 25, 1.0


class Commands:
    """Clients that ask for what is to happen once, of several processes, until they are answered."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.answers: dict[int, set[bytes]] = {number: set() for number in range(IDS)}
        self.ran = 0

    async def ask(self, logs: list[RedisLog], number: int) -> None:
        """Ask one process, or another, until there is an answer."""
        await trio.sleep(10 * self.chance.random())
        while True:
            await trio.sleep(self.chance.random())
            try:
                answer = await self._run(self.chance.choice(logs), number)
            except LogError:
                continue
            if answer is not None:
                self.answers[number].add(answer)
                return

    async def _run(self, log: RedisLog, number: int) -> bytes | None:
        key, holder = bytes([number]) * 32, self.chance.randbytes(12)
        kept = await log.claim(key, b"print", holder, LEASE)
        if kept is not None:
            return kept.answer
        self.ran += 1
        dies = self.chance.random()
        if dies < 0.15:  # the process ends here
            return None
        answer = b"%d %d" % (number, self.ran)
        writes = [("all", [Draft.of(number)]), (f"one{number}", [Draft.of(answer.decode())])]
        while True:
            with trio.move_on_after(0.2 if dies > 0.85 else 60):  # or in the middle of this
                try:
                    done = await log.commit(key, holder, answer, 1_000, writes)
                except LogUncertain:
                    continue
                except LogAway:
                    await log.release(key, holder)
                    return None
                return done.answer if isinstance(done, Kept) else answer
            return None


async def _weather(server: ModelledRedis, chance: random.Random) -> None:
    """One harm after the other. What Redis has acknowledged it keeps."""
    while True:
        await trio.sleep(chance.random() * 2)
        kind = chance.choice(
            ["down", "hangs", "slow", "lost before", "lost after", "hints lost", "hints late", "break"]
        )
        if kind == "break":
            server.break_all()
            continue
        server.begin(kind)
        await trio.sleep(chance.random() * 3)
        if kind == "down" and chance.random() < 0.5:
            server.live_anew()
        server.end(kind)


@pytest.mark.parametrize("seed", range(20))
async def test_in_any_weather_what_is_asked_for_happens_once(seed: int, autojump_clock: MockClock) -> None:
    chance = random.Random(seed)
    server, commands = modelled(seed), Commands(chance)
    async with trio.open_nursery() as outer:
        first = OnlyLog(server, LIMITS, trio.current_time)
        others = [ModelledLog(server, LIMITS, trio.current_time) for _ in range(2)]
        async with first.open() as one, others[0].open() as two, others[1].open() as three:
            outer.start_soon(_weather, server, chance)
            async with trio.open_nursery() as nursery:
                for number in range(IDS):
                    for _ in range(3):
                        nursery.start_soon(commands.ask, [one, two, three], number)
            outer.cancel_scope.cancel()
    stored = server.scripts.data.channels
    assert sorted(int(decode_row(entry.blob)[2]) for entry in stored["all"].entries) == list(range(IDS))
    for number, answers in commands.answers.items():
        (entry,) = stored[f"one{number}"].entries
        (answer,) = answers
        assert decode_row(entry.blob)[2] == b'"%b"' % answer
    assert commands.ran > IDS, "some ran in vain"


async def test_after_a_failover_a_claim_that_was_lost_commits_nothing(autojump_clock: MockClock) -> None:
    server = modelled()
    async with OnlyLog(server, LIMITS, trio.current_time).open() as log:
        behind = server.scripts.data.copy()
        await log.claim(b"k", b"p", b"mine", 100)
        server.scripts.data = behind
        server.live_anew()
        server.break_all()
        writes = [("a", [Draft.of(1)])]
        assert await log.commit(b"k", b"mine", b"", 100, writes) == NOTHING_KEPT
        assert await log.claim(b"k", b"p", b"its", 100) is None
        assert isinstance(await log.commit(b"k", b"its", b"", 100, writes), list)
        page = await log.read("a", Cursor("", 0), limit=9, max_bytes=999)
        assert [event.data for event in page.events] == [1]
