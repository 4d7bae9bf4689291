"""What the app hands in is JSON that comes back as it went in, or nothing of it is stored: one table of all entries."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from quart import Response, request
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.paths.memory import served
from triolet import Command, Connection, DataError, Identity, Limits, Member, Reducer, SyncPublisher, Triolet
from triolet.errors import SnapshotError
from triolet.testing import MemoryServer, serve
from triolet.value import MAX_DEPTH


class Mute:
    """It cannot be said what this is."""

    def __str__(self) -> str:
        raise RuntimeError("a bug of the app's")

    __repr__ = __str__


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


def cycle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


BAD: dict[str, Any] = {
    "NaN": math.nan,
    "Infinity": -math.inf,
    "half a surrogate pair": "\ud800",
    "a name of half a pair": {"\udfff": 1},
    "bytes": b"bytes",
    "a set": {1},
    "names that are one": {1: "a", "1": "b"},
    "too deep": nested(MAX_DEPTH + 1),
    "much too deep": nested(20_000),
    "a cycle": cycle(),
    "no JSON": msgspec.Raw(b"NaN"),
    "more than a value": msgspec.Raw(b'1,"admin":true'),
    "a name twice": msgspec.Raw(b'{"a":1,"a":2}'),
    "an object": object(),
    "what cannot say what it is": Mute(),
    "such a name": {Mute(): 1},
}


class Place:
    """An app that is served, and each thing of it that takes a value."""

    def __init__(self) -> None:
        self.app = QuartTrio("values")
        self.live = live = Triolet(self.app)
        self.raised = 0
        self.value: Any = None
        live.socket("/live")

        @live.channel("/c", snapshot=lambda channel: (self.value, "0"))
        async def stated() -> str:
            return "c"

        @live.channel("/reduced", snapshot=Reducer(lambda state, event: self.value, name="r"))
        async def reduced() -> str:
            return "reduced"

        @live.channel("/present", member=lambda: Member("ann", self.value))
        async def present() -> str:
            return "c"

        @live.socket("/talk")
        async def talk(conn: Connection) -> None:
            try:
                await conn.send(self.value)
            except DataError:
                self.raised += 1

        @live.command("/publish")
        async def publish(command: Command) -> dict[str, Any]:
            await command.publish("c", 1)
            await command.publish("c", self.value)
            return {}

        @live.command("/text")
        async def text(command: Command) -> Any:
            await command.publish("c", 1)
            return "{", 200, {"content-type": "application/problem+json"}

        @live.command("/answer")
        async def answer(command: Command) -> dict[str, Any]:
            await command.publish("c", 1)
            return {"answer": self.value}

    async def fails(self, server: MemoryServer, path: str) -> None:
        """A command that has failed: its client is told so, and may ask again."""
        for _ in range(2):
            answer = await server.post(path, b"1", idempotency_key="1")
            assert (answer.status, answer.headers.get("idempotency-replayed")) == (500, None)
        async with server.websocket("/live") as client:
            assert (await client.command(path, 1, "1"))["status"] == 500


async def items(value: Any) -> AsyncIterator[Any]:
    yield value


async def run(place: Place, server: MemoryServer) -> None:
    began = await place.live.run("run", items(place.value))
    assert await began.wait() == "failed"
    await place.live.delete("run")


async def stop(place: Place, server: MemoryServer) -> None:
    async def endless() -> AsyncIterator[int]:
        await trio.sleep_forever()
        yield 1

    began = await place.live.run("run", endless())
    for stops in (began.stop, lambda reason: place.live.stop_run("run", reason)):
        with pytest.raises(DataError):
            await stops(place.value)
    assert began.outcome is None
    assert await began.stop() == "stopped"
    await place.live.delete("run")


async def send(place: Place, server: MemoryServer) -> None:
    async with server.websocket("/talk") as client:
        await client.ended()
    assert place.raised == 1
    place.raised = 0


async def present(place: Place, server: MemoryServer) -> None:
    assert (await server.get("/present", accept="text/event-stream")).status == 500
    assert (await place.live.presence("c").roster()).sessions == ()


async def snapshot(place: Place, server: MemoryServer) -> None:
    async with server.sse("/c?snapshot=1") as client:
        await client.until("bye")


async def reduced(place: Place, server: MemoryServer) -> None:
    await place.live.publish("reduced", 1)
    with pytest.raises(SnapshotError):
        await place.live.state("reduced", Reducer(lambda state, event: place.value, name="r"))


async def kit(place: Place, server: MemoryServer) -> None:
    async with server.websocket("/c") as client:
        await client.command("/publish", place.value)


Entry = Callable[[Place, MemoryServer], Awaitable[object]]


async def entered(entry: Callable[[Place], Any], place: Place) -> None:
    made = entry(place)
    if isinstance(made, Awaitable):
        await made


def raising(entry: Callable[[Place], Any]) -> Entry:
    async def enter(place: Place, server: MemoryServer) -> None:
        with pytest.raises(DataError):
            await entered(entry, place)

    return enter


def refusing(entry: Entry) -> Entry:
    async def enter(place: Place, server: MemoryServer) -> None:
        with pytest.raises(DataError):
            await entry(place, server)

    return enter


ENTRIES: dict[str, Entry] = {
    "publish": raising(lambda place: place.live.publish("c", place.value)),
    "publish_many": raising(lambda place: place.live.publish_many("c", [1, place.value])),
    "tell": raising(lambda place: place.live.tell("c", place.value)),
    "end": raising(lambda place: place.live.end("c", place.value)),
    "ticket": raising(lambda place: place.live.ticket(Identity("ann", claims={"a": place.value}))),
    "initial": raising(lambda place: Reducer(lambda state, event: state, initial=place.value, name="r")),
    "SyncPublisher": raising(lambda place: SyncPublisher("sqlite:///none.db").publish("c", place.value)),
    "SyncPublisher, many": raising(lambda place: SyncPublisher("sqlite:///none.db").publish_many("c", [place.value])),
    "the kit's command": refusing(kit),
    "send": send,
    "run": run,
    "stop": stop,
    "member": present,
    "snapshot": snapshot,
    "reduce": reduced,
    "command.publish": lambda place, server: place.fails(server, "/publish"),
    "answer": lambda place, server: place.fails(server, "/answer"),
    "text": lambda place, server: place.fails(server, "/text"),
}


@pytest.mark.parametrize("entry", ENTRIES)
async def test_what_is_no_json_value_goes_in_nowhere(entry: str, autojump_clock: MockClock) -> None:
    place = Place()
    async with serve(place.app) as server:
        for bad, value in BAD.items():
            place.value = value
            try:
                await ENTRIES[entry](place, server)
            except BaseException as error:
                error.add_note(f"it was {bad}")
                raise
        assert (await place.live.publish("c", 1)).offset == 1, "something was stored"
        async with server.sse("/c", after=0) as client:
            await client.expect(event="message", data=1)


async def test_the_log_names_whose_value_it_was(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    place = Place()
    place.value = math.nan
    async with serve(place.app) as server:
        await place.fails(server, "/answer")
        await snapshot(place, server)
        await place.live.publish("reduced", 1)
        async with server.sse("/reduced?snapshot=1") as client:
            await client.until("bye")
    told = caplog.text
    assert ": the view answer (test_values.py:" in told
    assert "NaN is no number of JSON" in told
    assert told.count("what <lambda> (test_values.py:") == 2


async def test_what_the_app_does_with_its_data_afterwards_changes_nothing(autojump_clock: MockClock) -> None:
    app = QuartTrio("values")
    live = Triolet(app, limits=Limits(lease_seconds=3, keep_seconds=8))
    info: dict[str, Any] = {"name": "Ann"}

    @live.channel("/c", member=lambda: Member("ann", info))
    async def view() -> str:
        return "c"

    async with serve(app) as server, server.sse("/c") as client:
        await client.until("open")
        said: dict[str, Any] = {"typing": True}
        live.tell("c", said)
        said["typing"] = info["name"] = math.nan
        await client.expect("tell", data={"typing": True})
        await trio.sleep(30)  # who is there is stated again, before retention has dropped it
        (ann,) = (await live.presence("c").roster()).sessions
        assert ann.info == {"name": "Ann"}
        assert (await live.publish("c", 1)).offset == 1


@pytest.mark.parametrize("log", ["memory:", "sqlite"])
async def test_data_may_be_as_deep_as_it_may_wherever_it_goes(
    log: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    app = QuartTrio("values")
    live = Triolet(app)
    deepest = nested(MAX_DEPTH)
    most = nested(MAX_DEPTH - 2)

    @live.channel("/c", member=lambda: Member("ann", most), snapshot=lambda channel: (deepest, "0"))
    async def view() -> str:
        return "c"

    @live.channel("/who", snapshot=lambda channel: ([{"info": most}], "0"))
    async def who() -> str:
        return live.presence("c").channel

    @live.command("/echo")
    async def echo(command: Command) -> Any:
        await command.publish("c", command.data)
        return command.data

    url = log if log == "memory:" else f"sqlite:///{tmp_path}/log.db"
    async with serve(app, log=url) as server, server.sse("/c?snapshot=1") as client:
        await client.expect("snapshot", data=deepest)
        await trio.sleep(1)
        live.tell("c", deepest)
        await client.expect("tell", data=deepest)
        assert (await client.command("/echo", deepest))["data"] == deepest
        await client.expect(event="message", data=deepest)
        assert (await live.presence("c").roster()).sessions[0].info == most
        async with server.sse("/who?snapshot=1") as other:
            await other.expect("snapshot")


@pytest.mark.parametrize("items", [{"a": 1}, b"ab", None, 5, Mute()])
async def test_what_is_no_list_of_items_is_published_as_none(items: Any, autojump_clock: MockClock) -> None:
    place = Place()
    async with serve(place.app):
        with pytest.raises(DataError, match="is a list of data and drafts"):
            await place.live.publish_many("c", items)
        assert (await place.live.publish("c", 1)).offset == 1


class Text(str):
    """As a template's Markup, or a StrEnum's."""


async def test_a_subclass_of_text_is_the_text(autojump_clock: MockClock) -> None:
    app = QuartTrio("values")
    live = Triolet(app)

    @live.identify
    async def who(token: str | None) -> Identity | None:
        return None if token is None else Identity(Text("ann"), Text("login"))

    @live.channel("/c", member=lambda: Text("ann"))
    async def view() -> str:
        return Text("c")

    @live.command("/publish")
    async def publish(command: Command) -> dict[str, Any]:
        await command.publish(Text("c"), 1, name=Text("n"))
        return {}

    headers = {"authorization": "Bearer x"}
    async with serve(app) as server, server.sse("/c", headers=headers) as client:
        assert (await server.post("/publish", b"", idempotency_key="1", **headers)).status == 200
        assert (await server.post("/triolet/ticket", b"", **headers)).status == 200
        assert (await live.presence("c").roster()).members == ("ann",)
        await client.expect(event="n", data=1)
        for part in ("subject", "session", "channel", "channels"):
            assert await live.revoke(**{part: Text("nobody")})
        assert await live.revoke(url=Text("/c"), subject=Text("ann"))
        await client.until("bye")


UNSENDABLE: dict[str, Any] = {
    "a control character": ("x-a", "a\0b"),
    "a name in two lines": ("x\n", "1"),
    "a name that is none": ("x a", "1"),
    "half a surrogate pair": ("x-a", "\ud800"),
    "99": 99,
    "101": 101,
    "1000": 1000,
}


@pytest.mark.parametrize("bad", UNSENDABLE)
@pytest.mark.parametrize("path", ["http1", "http2", "middleware"])
async def test_a_head_that_no_answer_can_have_is_a_failure_of_its_own_request(
    path: str, bad: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    app = QuartTrio("values")
    live = Triolet(app)
    live.socket("/live")

    @live.channel("/c")
    async def view() -> str:
        return "c"

    @app.get("/page")
    async def page() -> str:
        return "a page"

    @live.command("/do")
    async def do(command: Command) -> Any:
        await command.publish("c", 1)
        response = Response("{}", content_type="application/json")
        return spoil(response)

    def spoil(response: Any) -> Any:
        said = UNSENDABLE[bad]
        if isinstance(said, int):
            response.status_code = said
        else:
            response.headers._list.append(said)  # past werkzeug, which refuses some of them
        return response

    @app.after_request
    async def after(response: Any) -> Any:
        return response if request.path == "/do" or "well" in request.args else spoil(response)

    async with served(app, path) as server, server.sse("/c?well=1") as bystander:
        for _ in range(2):
            assert (await server.post("/do", b"", idempotency_key="1")).status == 500
        async with server.websocket("/live?well=1") as client:
            assert (await client.command("/do", None, "1"))["status"] == 500
        for url in ("/c", "/page"):
            assert (await server.get(url)).status == 500
        assert (await server.get("/c", accept="text/event-stream")).status == 500
        assert (await server.upgrade("/c")).status == 500
        await live.publish("c", 2)
        await bystander.expect(event="message", data=2)
    said = [record.getMessage() for record in caplog.records]
    assert [one for one in said if "the view do (test_values.py:" in one]
    assert [one for one in said if one.startswith("the view of /c failed: DataError")]
