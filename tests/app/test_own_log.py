"""A log of one's own that fails in every method, and in every way: it is said once, by the method's name; nobody who
waits hangs; the server serves on; and when the log is well again so is everything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from importlib import import_module
from typing import Any, TypeVar

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import Command, Cursor, Draft, Event, EventLog, Identity, Limits, LogError, Reducer, Triolet
from triolet.errors import CursorError, RunError
from triolet.log import Kept, MemoryLog, Page, Status
from triolet.testing import RefusedError
from triolet.testing.server import MemoryServer, serve

PATIENCE = 5
"""For how long an answer of this log is waited for."""
HANGS = 60
"""Whoever has no answer in so many seconds has none."""
AGAIN = 20
"""After so many seconds whatever has failed has been tried again."""


T = TypeVar("T")


class Foreign(BaseException):
    """Neither Trio's nor the interpreter's own."""


class Own(EventLog):
    """Keeps all in memory, and fails while it is told to."""

    patience = PATIENCE

    def __init__(self, method: str, fault: Callable[[Any, Sequence[Any]], Any]) -> None:
        self.inner = MemoryLog()
        self.failing = False
        self.failed = 0
        self.well = trio.Event()
        self._method = method
        self._fault = fault

    async def _do(self, method: str, does: Callable[..., Awaitable[T]], *args: Any, **named: Any) -> T:
        if not self.failing or method != self._method:
            return await does(*args, **named)
        self.failed += 1
        if self._fault is never:
            await trio.sleep_forever()
        answer: T = self._fault(await does(*args, **named), args)
        return answer

    def open(self) -> AbstractAsyncContextManager[EventLog]:
        return self.inner.open()

    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        return await self._do("append", self.inner.append, channel, drafts)

    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        return await self._do("read", self.inner.read, channel, after, limit=limit, max_bytes=max_bytes)

    async def head(self, channel: str) -> Cursor:
        return await self._do("head", self.inner.head, channel)

    async def status(self, channel: str) -> Status:
        return await self._do("status", self.inner.status, channel)

    async def delete(self, channel: str) -> Event:
        return await self._do("delete", self.inner.delete, channel)

    async def channels(self, prefix: str = "", after: str = "", limit: int = 1_000) -> list[str]:
        return await self._do("channels", self.inner.channels, prefix, after, limit)

    async def claim(self, key: bytes, print: bytes, holder: bytes, seconds: float) -> Kept | None:
        return await self._do("claim", self.inner.claim, key, print, holder, seconds)

    async def commit(
        self, key: bytes, holder: bytes, answer: bytes, seconds: float, writes: Sequence[tuple[str, Sequence[Draft]]]
    ) -> list[list[Event]] | Kept:
        return await self._do("commit", self.inner.commit, key, holder, answer, seconds, writes)

    async def release(self, key: bytes, holder: bytes) -> None:
        await self._do("release", self.inner.release, key, holder)

    @property
    def stale(self) -> bool:
        if self.failing and self._method == "stale":
            self.failed += 1
            is_stale: bool = self._fault(False, ())
            return is_stale
        return False

    @contextmanager
    def tail(self) -> Iterator[AsyncIterator[Sequence[Event]]]:
        if self.failing and self._method == "tail":
            self.failed += 1
            yield self._fault(None, ())
            return
        with self.inner.tail() as steps:
            yield self._steps(steps)

    async def _steps(self, steps: AsyncIterator[Sequence[Event]]) -> AsyncIterator[Sequence[Event]]:
        async for step in steps:
            if not self.failing or self._method not in ("tail", "step"):
                yield step
                continue
            self.failed += 1
            if self._method == "tail":
                return  # so that it is called again
            if self._fault is never:
                await self.well.wait()
                yield step
            else:
                yield self._fault(step, ())


# --- in which ways


def raises(make: Callable[[], BaseException]) -> Callable[[Any, Sequence[Any]], Any]:
    def fault(answer: Any, args: Sequence[Any]) -> Any:
        raise make()

    return fault


def gives(answer: Any) -> Callable[[Any, Sequence[Any]], Any]:
    return lambda _, args: answer


def never(answer: Any, args: Sequence[Any]) -> Any:
    return answer


def moved(by: int) -> Callable[[Any, Sequence[Any]], Any]:
    """Each cursor in an answer is so far from where it is; each key is held by another, or by nobody."""

    def move(answer: Any) -> Any:
        if isinstance(answer, Cursor):
            return Cursor(answer.epoch, max(0, answer.offset + by))
        if isinstance(answer, list | tuple):
            return type(answer)([move(part) for part in answer])
        if isinstance(answer, Event | Page | Status):
            return type(answer)(*[move(getattr(answer, name)) for name in answer.__struct_fields__])
        return answer

    def fault(answer: Any, args: Sequence[Any]) -> Any:
        if args and isinstance(args[0], bytes):  # a key
            return Kept(args[1] if by < 0 else b"another", b"what was answered")
        return move(answer)

    return fault


RAISES: dict[str, Callable[[], BaseException]] = {
    "raises LogError": lambda: LogError("the store is down"),
    "raises ValueError": lambda: ValueError("a bug of the log's"),
    "raises what is no error of a log's": lambda: CursorError("e.x"),
    "raises a BaseException": Foreign,
    "raises asyncio's CancelledError": import_module("asyncio").CancelledError,
    "raises a group": lambda: BaseExceptionGroup("of the log's", [Foreign()]),
}
WAYS: dict[str, Callable[[Any, Sequence[Any]], Any]] = {
    **{name: raises(make) for name, make in RAISES.items()},
    "returns None": gives(None),
    "returns a text": gives("text"),
    "returns numbers": gives([1, 2, 3]),
    "returns what was": moved(-1),
    "returns what will be": moved(1_000),
    "never returns": never,
}
METHODS = [
    "append",
    "read",
    "head",
    "status",
    "delete",
    "channels",
    "claim",
    "commit",
    "release",
    "stale",
    "tail",
    "step",
]
"""The tail fails at once, or in a step."""
NOT_WRONG = {
    ("claim", "returns None"),
    *[("release", way) for way in WAYS if way.startswith("returns")],
    *[("stale", way) for way in WAYS if way.startswith("returns")],
}
"""What is an answer, or is not looked at."""
NOT_SEEN = {"returns what was", "returns what will be", "never returns"}
"""What only some methods can be seen to do: others lie well, or nobody waits for them."""


# --- what everybody does


def made(log: Own) -> tuple[QuartTrio, Triolet]:
    app = QuartTrio("own")
    live = Triolet(app, log=log, limits=Limits(lease_seconds=6, command_run_seconds=10, beat_seconds=2))
    sums = Reducer(lambda state, event: state + 1, name="sums", initial=0, every=1)

    @live.identify
    async def who(token: str | None) -> Identity | None:
        return None if token is None else Identity(token)

    @live.channel("/c", snapshot=sums)
    async def c() -> str:
        return "c"

    @live.channel("/room", member=lambda: "ann")
    async def room() -> str:
        return "room"

    @live.command("/command")
    async def command(command: Command) -> dict[str, int]:
        await command.publish("c", command.data)
        return {"done": 1}

    return app, live


async def everything(live: Triolet, server: MemoryServer, turn: str) -> None:
    """Ask for all that a log is asked for. Each may fail, and none may hang; what fails is the store's fault."""

    async def calls() -> None:
        for call in (
            lambda: live.publish("c", 1),
            lambda: live.publish_many("c", [1, 2]),
            lambda: live.channels(),
            lambda: live.delete("gone"),
            lambda: live.end(f"ended/{turn}"),
            lambda: live.revoke(subject="nobody"),
            lambda: live.ticket(Identity("ann")),
            lambda: live.run(f"run/{turn}", items()),
        ):
            with suppress(LogError, RunError):
                await call()

    async def follow(path: str, after: str | None, transport: Any) -> None:
        with suppress(RefusedError, AssertionError, trio.BrokenResourceError):
            async with transport(path, after=after) as client:
                with trio.move_on_after(3):
                    await client.until("bye")

    async def commands() -> None:
        for number in range(2):
            answer = await server.request("POST", "/command", {"idempotency-key": f"{turn}{number}"}, b"7")
            assert answer.status in (200, 409, 422, 503)
        await server.get("/c?ticket=unknown")

    with trio.fail_after(HANGS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(calls)
            nursery.start_soon(commands)
            for path, after in (("/c", "0"), ("/c", "-1"), ("/c?snapshot=1", None), ("/room", None)):
                for transport in (server.sse, server.websocket, server.long_poll):
                    nursery.start_soon(follow, path, after, transport)


async def items() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", METHODS)
async def test_a_log_that_fails_is_named_and_nobody_hangs_and_the_server_serves_on(
    method: str, way: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    log = Own(method, WAYS[way])
    app, live = made(log)
    async with serve(app) as server:
        await everything(live, server, "before")
        async with server.websocket("/c"):  # it stays
            caplog.clear()
            log.failing = True
            await everything(live, server, "during")
            await trio.sleep(AGAIN)
            assert log.failed
            log.failing = False
            log.well.set()
            _check_said(method, way, caplog)
            await trio.sleep(AGAIN)
            await everything(live, server, "after")
            assert (await server.request("POST", "/command", {"idempotency-key": "well"}, b"7")).status == 200
            async with server.sse("/c", after="0") as client:
                await live.publish("c", "heard")
                while (await client.until("event"))["data"] != "heard":
                    pass


def _check_said(method: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    said = [record.getMessage() for record in caplog.records if record.name == "triolet.log"]
    assert len(said) <= 1, "it is said once"
    assert said or way in NOT_SEEN or (method, way) in NOT_WRONG
    assert all(line.startswith(f"Own.{'tail' if method == 'step' else method}") for line in said)
