"""The modelled Redis of the simulation is held against a real one: the same calls to both, the same answers."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from coredis.connection import BaseConnection
from coredis.exceptions import ResponseError

from hunt.redis_scripts import Data, Scripts
from tests.e2e.needs import needs
from triolet.event import DELETED, END
from triolet.redis.append import APPEND
from triolet.redis.channels import LIST
from triolet.redis.connect import Dialer
from triolet.redis.scripts import LOOK, PROBE, READ, Hint, Script, encode_row, parse_hint
from triolet.redis.url import RedisAddress

from .servers import RedisServer

pytestmark = needs("redis-server", "redis-cli")

CALLS = 600
HINTS = "{model:0}:hints:0"
LOG = "{model:0}:log"
CHANNELS = ("a", "b", "c")
ONCE = ("k", "l", "m")


class Both:
    """A real server and a model of it, asked the same."""

    def __init__(self, server: RedisServer, connection: BaseConnection, chance: random.Random) -> None:
        self.chance = chance
        self.epochs = ["", "unheard of"]
        self.heard: list[Hint | None] = []
        self.modelled: list[Hint | None] = []
        self.model = Scripts(time.time, lambda channel, payload: self.modelled.append(parse_hint(payload)))
        self.seen: set[str] = set()
        self._server = server
        self._connection = connection
        self._saved: dict[Any, Any] = {}
        self._copy: Data | None = None
        self._lives = 0

    async def listen(self) -> None:
        async for push in self._connection.push_messages:
            message: Any = push
            if message[0] == b"message":
                self.heard.append(parse_hint(message[2]))

    async def call(self, script: Script, keys: list[str], *args: Any) -> Any:
        """Ask both, and hold their answers against each other."""
        try:
            answer: Any = await self._connection.create_request(b"EVAL", script.text, len(keys), *keys, *args)
        except ResponseError as error:
            answer = kind_of(error)
        try:
            modelled = self.model.run(script.sha, keys, args)
        except ResponseError as error:
            modelled = kind_of(error)
        assert modelled == answer
        if isinstance(answer, list):
            self.epochs.append(answer[0].decode())
        self.seen.add(answer if isinstance(answer, str) else "answers")
        return answer

    async def begin_anew(self) -> None:
        """Another replication id, as after a promotion."""
        await self._connection.create_request(b"REPLICAOF", "127.0.0.1", "1")
        await self._connection.create_request(b"REPLICAOF", "NO", "ONE")
        self._lives += 1
        self.model.replid = f"life {self._lives}"

    async def save(self) -> None:
        ask = self._connection.create_request
        keys: Any = await ask(b"KEYS", "*")
        self._saved = {key: (await ask(b"PTTL", key), await ask(b"DUMP", key)) for key in keys}
        self._copy = self.model.data.copy()

    async def restore(self) -> None:
        """Come back older: a replica that had heard no more is promoted."""
        ask = self._connection.create_request
        await ask(b"FLUSHALL")
        for key, (ttl, dump) in self._saved.items():
            await ask(b"RESTORE", key, max(0, ttl), dump)
        self.model.data = Data() if self._copy is None else self._copy.copy()
        await self.begin_anew()


def kind_of(error: ResponseError) -> str:
    said = str(error)
    assert "TRIOLET" in said, said
    return said[said.index("TRIOLET") :]


def keys_of(channel: str) -> list[str]:
    return [f"{{model:0}}:events:{channel}", f"{{model:0}}:dedupe:{channel}"]


class Calls:
    """Draws calls: all is kept, though one who reads may say that less is; the clock goes on by itself."""

    def __init__(self, both: Both) -> None:
        self.both = both
        self.chance = both.chance
        self.other = random.Random("how much is kept")
        self.keep = (10_000, 604_800, 1 << 20)
        self.now = 1_000.0
        self.committed = self.refused = 0
        self.numbers = dict.fromkeys(("w1", "w2"), 0)

    def candidate(self) -> str:
        return f"epoch{self.chance.randrange(10**9)}"

    def known(self) -> tuple[str, int]:
        """What a process knows that asks: mostly less than there is, at times more, as after keys were put back."""
        return self.chance.choice([("", 0), ("", 99), (self.both.epochs[-1], self.chance.choice([0, 0, 0, 9]))])

    async def append(self) -> None:
        chance = self.chance
        self.now += chance.choice([0, 0, 1, 7, 30])
        writer = chance.choice(list(self.numbers))
        self.numbers[writer] += chance.choice([1, 1, 1, 1, 0, -1])  # sent again, or too late
        keep_events, keep_seconds, keep_bytes = self.keep
        args: list[Any] = [
            self.candidate(),
            repr(self.now),
            1,
            self.numbers[writer],
            keep_events,
            keep_seconds,
            keep_bytes,
        ]
        args += ["PUBLISH", HINTS, *self.known()]
        keys = [LOG, f"{{model:0}}:writer:{writer}"]
        for kind in chance.choices(
            ["append", "delete", "claim", "commit", "release"], [4, 0.8, 2, 3, 0.5], k=chance.choice([1, 1, 2, 6])
        ):
            args.append(kind)
            if kind == "delete":
                channel = chance.choice(CHANNELS)
                keys += keys_of(channel)
                args += [1, channel, "", 1, encode_row(END, DELETED, None), len(DELETED), END]
            elif kind != "append":
                keys.append(f"{{model:0}}:once:{chance.choice(ONCE)}")
                args += {"claim": [chance.choice([b"p", b"\xff\0"])], "commit": [], "release": []}[kind]
                args.append(chance.choice([b"me", b"\0it"]))
                args += {"claim": [], "commit": [chance.choice([b"", b"\xffyes"])], "release": []}[kind]
                args += [] if kind == "release" else [chance.choice([5, 30.5, 300])]
            if kind in ("append", "commit"):
                self.draw_sections(keys, args, chance.choice([0, 1, 2] if kind == "commit" else [1, 1, 2]))
        answer = await self.both.call(APPEND, keys, *args)
        if isinstance(answer, list):
            groups = [result for result in answer[3] if isinstance(result, list)]
            self.refused += sum(result[0] == 2 for result in groups if len(result) == 2)
            stored = [result[1] for result in groups if len(result) == 2 and isinstance(result[1], list)]
            self.committed += sum(isinstance(each[0], bytes) for each in stored)

    def draw_sections(self, keys: list[str], args: list[Any], count: int) -> None:
        chance = self.chance
        args.append(count)
        for channel in chance.sample(CHANNELS, count):
            drafts = chance.choice([1, 1, 2, 5])
            keys += keys_of(channel)
            ends = chance.random() < 0.1
            args += [channel, chance.choice(["", "20000 inf 1048576", "9000 604800.5 65536"]), drafts + ends]
            for _ in range(drafts):
                json = b"x" * chance.choice([1, 10, 30])
                unique = chance.choice(["", "", f"d{chance.randrange(12)}"])
                args += [encode_row("name", json, *chance.choice([(None,), ("key", "sum")])), len(json), unique]
            args += [encode_row(END, b"7", None), 1, END] if ends else []

    async def read(self) -> None:
        chance, channel = self.chance, self.chance.choice([*CHANNELS, "nobody's"])
        await self.both.call(
            READ,
            [LOG, keys_of(channel)[0]],
            *(self.candidate(), repr(self.now + chance.choice([0, 9, 50])), 1),
            *(self.other.choice([self.keep[0], 1, 5]), self.other.choice([self.keep[1], 3.5, 20]), channel),
            *(chance.choice(self.both.epochs[:2] + self.both.epochs[-40:]), chance.randrange(60)),
            *(chance.choice([0, 1, 3, 1_000]), chance.choice([1, 40, 10**6])),
        )

    async def list(self) -> None:
        least, most = self.chance.choice([(b"(", b"(\xff"), (b"[b", b"(b\xff"), (b"(a", b"(\xff")])
        cursor = self.chance.choice([b"0", b"end"])
        args = (self.candidate(), repr(self.now), 1, "{model:0}:events:", cursor, least, most)
        await self.both.call(LIST, [LOG], *args, self.chance.choice([1, 2, 9]), 1_000)

    async def look(self) -> None:
        await self.both.call(LOOK, [LOG], self.candidate(), 1, *self.known())

    async def probe(self) -> None:
        await self.both.call(PROBE, ["{model:0}:probe"], "PUBLISH", HINTS)

    async def trouble(self) -> None:
        both, chance = self.both, self.chance
        makers: list[Callable[[], Any]] = [
            both.begin_anew,
            both.save,
            both.restore,
        ]
        await chance.choice(makers)()


@asynccontextmanager
async def both_of(server: RedisServer, seed: int) -> AsyncIterator[Both]:
    async with trio.open_nursery() as nursery:
        dialer = Dialer(RedisAddress.parse(server.url), 10, nursery)
        async with dialer.connected(0) as connection:
            connection.send_command(b"SUBSCRIBE", HINTS)
            both = Both(server, connection, random.Random(seed))
            nursery.start_soon(both.listen)
            yield both
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", range(12))
async def test_the_model_answers_as_redis_does(seed: int, shared: RedisServer) -> None:
    shared.ask("FLUSHALL")
    async with both_of(shared, seed) as both:
        calls = Calls(both)
        kinds = [calls.append, calls.read, calls.list, calls.look, calls.probe, calls.trouble]
        for _ in range(CALLS):
            await both.chance.choices(kinds, [10, 10, 2, 1, 0.3, 1])[0]()
        await calls.look()
        assert both.heard == both.modelled
        assert "answers" in both.seen
        assert calls.committed > 2
        assert calls.refused > 2
        assert len([hint for hint in both.heard if hint is not None]) > CALLS / 20
