"""Public coroutines that are called from another thread or event loop: an error that says what to do, and no harm."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.peer import peer
from tests.shop import make_shop
from triolet import Command, Connection, Feed, Identity, Reducer, Run, Triolet
from triolet.app.presence import Presence
from triolet.errors import WrongThreadError
from triolet.event import Cursor, Draft, Live
from triolet.limits import Limits
from triolet.log import EventLog
from triolet.testing import Tokens
from triolet.testing.server import serve

GOODBYE_SECONDS = 0.2
"""Of which the kit waits for three, and here the clock is the system's."""

Call = Callable[[], Coroutine[Any, Any, Any]]


def without_a_loop(call: Call) -> None:
    """As far as a coroutine goes by itself, in a thread where nothing runs."""
    call().send(None)


WAYS: dict[str, Callable[[Call], object]] = {
    "asyncio": lambda call: asyncio.run(call()),
    "trio": trio.run,
    "no loop": without_a_loop,
}


async def at_once(call: Callable[[], object]) -> None:
    """What is no coroutine, called in one."""
    call()


OF_TRIOLET: dict[str, Callable[[Triolet], Coroutine[Any, Any, Any]]] = {
    "publish": lambda live: live.publish("c", "elsewhere"),
    "publish_many": lambda live: live.publish_many("c", ["elsewhere", "twice"]),
    "end": lambda live: live.end("c"),
    "delete": lambda live: live.delete("c"),
    "channels": lambda live: live.channels(),
    "state": lambda live: live.state("c", Reducer(lambda state, event: state, name="none", initial=None)),
    "tell": lambda live: at_once(lambda: live.tell("c", "elsewhere")),
    "unwatched": lambda live: live.unwatched("c", 1),
    "watchers": lambda live: at_once(lambda: live.watchers("c")),
    "connections": lambda live: at_once(live.connections),
    "explain": lambda live: at_once(lambda: live.explain(1)),
    "run": lambda live: live.run("r", Tokens()),
    "stop_run": lambda live: live.stop_run("r"),
    "ticket": lambda live: live.ticket(Identity("ann")),
    "revoke": lambda live: live.revoke(subject="ann"),
    "roster": lambda live: live.presence("c").roster(),
    "begin to follow": lambda live: live.follow("c").__aenter__(),
    "__aexit__": lambda live: live.__aexit__(None, None, None),
}
OF_LOG: dict[str, Callable[[EventLog], Coroutine[Any, Any, Any]]] = {
    "append": lambda log: log.append("c", [Draft.of("elsewhere")]),
    "append nothing": lambda log: log.append("c", []),
    "read": lambda log: log.read("c", Cursor("", 0), limit=10, max_bytes=1_000),
    "head": lambda log: log.head("c"),
    "status": lambda log: log.status("c"),
    "delete": lambda log: log.delete("c"),
    "channels": lambda log: log.channels(),
    "claim": lambda log: log.claim(bytes(32), bytes(32), bytes(16), 1),
    "commit": lambda log: log.commit(bytes(32), bytes(16), b"", 1, []),
    "release": lambda log: log.release(bytes(32), bytes(16)),
}
OF_CONNECTION: dict[str, Callable[[Connection], Coroutine[Any, Any, Any]]] = {
    "follow": lambda conn: conn.follow("c"),
    "unfollow": lambda conn: at_once(lambda: conn.unfollow("c")),
    "send": lambda conn: conn.send("elsewhere"),
    "close": lambda conn: conn.close(),
    "__anext__": lambda conn: conn.__anext__(),
}
OF_RUN: dict[str, Callable[[Run], Coroutine[Any, Any, Any]]] = {
    "stop": lambda run: run.stop(),
    "wait": lambda run: run.wait(),
}


async def refused_elsewhere(way: str, call: Call) -> None:
    """Call it in a thread of its own."""
    raised: list[BaseException] = []

    def other() -> None:
        try:
            WAYS[way](call)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    with trio.fail_after(10):
        await trio.to_thread.run_sync(thread.join, abandon_on_cancel=True)
    assert [type(error) for error in raised] == [WrongThreadError], raised
    assert "trio.from_thread.run" in str(raised[0])
    assert "SyncPublisher" in str(raised[0])


async def next_of(batches: AsyncIterator[Any]) -> Any:
    return await batches.__anext__()


@asynccontextmanager
async def living(kind: str, folder: Path) -> AsyncIterator[Triolet]:
    url = "memory:" if kind == "memory" else f"sqlite:///{folder / 'log.db'}"
    with trio.fail_after(30):
        async with Triolet(log=url) as live:
            await live.publish("c", "before")
            yield live
            assert (await live.publish("c", "after")).offset == 2
            page = await live.log.read("c", Cursor("", 0), limit=10, max_bytes=1_000)
            assert [event.data for event in page.events] == ["before", "after"]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OF_TRIOLET)
async def test_an_app_goes_on_after_a_call_from_elsewhere(name: str, way: str, kind: str, tmp_path: Path) -> None:
    async with living(kind, tmp_path) as live:
        await refused_elsewhere(way, lambda: OF_TRIOLET[name](live))


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OF_LOG)
async def test_a_log_goes_on_after_a_call_from_elsewhere(name: str, way: str, kind: str, tmp_path: Path) -> None:
    async with living(kind, tmp_path) as live:
        log = live.log
        with log.tail() as tail:
            await refused_elsewhere(way, lambda: OF_LOG[name](log))
            await live.publish("heard", "here")
            assert [event.data for event in await anext(tail)] == ["here"]
        await log.append("heard", [])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OF_CONNECTION)
async def test_a_connection_goes_on_after_a_call_from_elsewhere(name: str, way: str) -> None:
    app, live = make_shop(Limits(goodbye_seconds=GOODBYE_SECONDS))
    talking = trio.Event()
    conns: list[Connection] = []

    @live.socket("/talk")
    async def talk(conn: Connection) -> None:
        conns.append(conn)
        talking.set()
        async for message in conn:
            await conn.send({"echo": message})

    with trio.fail_after(30):
        async with serve(app) as server, peer(server, "/talk") as client:
            await talking.wait()
            await refused_elsewhere(way, lambda: OF_CONNECTION[name](conns[0]))
            await client.say(type="message", data="here")
            assert (await client.until("message"))["data"] == {"echo": "here"}
            conns.clear()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OF_RUN)
async def test_a_run_goes_on_after_a_call_from_elsewhere(name: str, way: str, tmp_path: Path) -> None:
    async with living("memory", tmp_path) as live:
        tokens = Tokens()
        run = await live.run("r", tokens)
        await refused_elsewhere(way, lambda: OF_RUN[name](run))
        await tokens.give("here")
        tokens.finish()
        assert await run.wait() == "done"


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_iterated_over_goes_on_after_a_call_from_elsewhere(way: str, tmp_path: Path) -> None:
    async with living("memory", tmp_path) as live, live.follow("heard", 0) as feed:
        assert isinstance(await anext(feed), Live)
        with live.log.tail() as tail:
            await refused_elsewhere(way, lambda: feed.__anext__())
            await refused_elsewhere(way, lambda: next_of(tail))
            event = await live.publish("heard", "here")
            assert await anext(feed) == event
            assert await anext(tail) == [event]


@pytest.mark.parametrize("way", WAYS)
async def test_a_command_goes_on_after_a_call_from_elsewhere(way: str) -> None:
    with trio.fail_after(30):
        command = Command("1", None, None, Limits())
        await refused_elsewhere(way, lambda: command.publish("c", "elsewhere"))
        assert command.close() == []


def test_no_public_coroutine_is_forgotten_here() -> None:
    tried = {
        Triolet: {*OF_TRIOLET, "__aenter__", "identity"},  # where it is entered it lives; there is a request, or none
        EventLog: {*OF_LOG},
        Connection: {*OF_CONNECTION},
        Run: {*OF_RUN},
        Feed: {"__aenter__", "__aexit__", "__anext__"},  # of which the one that leaves wakes nobody
        Presence: {"roster"},
        Command: {"publish"},
    }
    for kind, names in tried.items():
        methods = inspect.getmembers(kind, inspect.iscoroutinefunction)
        assert {name for name, _ in methods if not name.startswith("_") or name.endswith("__")} <= names, kind


async def test_a_second_life_elsewhere_leaves_the_first_alone(tmp_path: Path) -> None:
    async with living("memory", tmp_path) as live:
        with pytest.raises(Exception, match="has an app"):
            async with live:
                pass


async def test_what_the_error_names_works(tmp_path: Path) -> None:
    async with living("memory", tmp_path) as live:
        event = await trio.to_thread.run_sync(lambda: trio.from_thread.run(live.publish, "other", 1))
        assert event.offset == 1
