"""The state of a channel and its stream in one step, on every transport, over the whole server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.middleware import stand_before
from triolet import Draft, Event, Identity, Limits, Reducer, Triolet
from triolet.errors import ConfigError
from triolet.log import MemoryLog
from triolet.testing.client_websocket import WebSocketClient
from triolet.testing.clients import Client
from triolet.testing.http import RefusedError
from triolet.testing.server import MemoryServer, serve

CHANNEL = "carts/1"
WAYS = (
    *("websocket", "follow", "sse", "long poll", "short poll"),
    *("websocket behind middleware", "sse behind middleware", "long poll behind middleware"),
)
LIMITS = Limits(page_events=3, window_events=5, keep_events=8, poll_seconds=1, wait_seconds=5)


def total(state: dict[str, int], event: Event) -> dict[str, int]:
    """What the events add up to, and how many they are."""
    return {"sum": state["sum"] + event.data, "count": state["count"] + 1}


def reducer(**options: Any) -> Reducer:
    return Reducer(total, initial={"sum": 0, "count": 0}, name="total", channels="carts/*", **options)


@asynccontextmanager
async def served(
    snapshot: Any, way: str = "", limits: Limits = LIMITS, log: MemoryLog | None = None, **options: Any
) -> AsyncIterator[tuple[MemoryServer, Triolet]]:
    app = QuartTrio("states")
    live = Triolet(app, log=log or MemoryLog(limits, epoch="e"), limits=limits)

    @live.channel("/cart", snapshot=snapshot, **options)
    async def cart() -> str:
        return CHANNEL

    live.socket("/live")
    if "middleware" in way:
        stand_before(app)
    async with serve(app, grace=5) as server:
        yield server, live


def client_of(server: MemoryServer, way: str, path: str = "/cart?snapshot=1", **options: Any) -> Client:
    return server.client(way.removesuffix(" behind middleware"), path, **options)


async def publish(live: Triolet, *values: int) -> None:
    await live.publish_many(CHANNEL, [Draft.of(value) for value in values])


async def is_turned_away(server: MemoryServer, way: str) -> None:
    """A poll is answered 500; a stream ends, a follow on a socket is refused, and the client is to come back later."""
    if "poll" in way:
        with pytest.raises(RefusedError, match="500"):
            await client_of(server, way).__aenter__()
    elif way == "follow":  # its socket may follow more
        with pytest.raises(RefusedError, match="refused"):
            await client_of(server, way).__aenter__()
    else:
        async with client_of(server, way) as client:
            assert (await client.until("bye"))["code"] == 1011


def state_of(message: Any) -> tuple[str, Any, int | None]:
    return message["cursor"], message["data"], message.get("missed", 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["function", "reducer"])
async def test_a_client_is_given_the_state_and_then_what_comes(autojump_clock: MockClock, way: str, kind: str) -> None:
    async def state(channel: str) -> Any:
        assert channel == CHANNEL
        return {"sum": 6, "count": 3}, "e.3"

    async with served(state if kind == "function" else reducer(), way) as (server, live):
        await publish(live, 1, 2, 3)
        async with client_of(server, way) as client:
            opened = await client.expect("open")
            assert opened["cursor"] is None
            assert state_of(await client.expect("snapshot")) == ("e.3", {"sum": 6, "count": 3}, 0)
            assert (await client.expect("live"))["cursor"] == "e.3"
            await publish(live, 4)
            assert (await client.expect("event"))["id"] == "e.4"
            await client.reconnect()
            assert (await client.expect("open"))["cursor"] == "e.4"  # it knows its place, and wants no state
            assert (await client.expect("live"))["cursor"] == "e.4"


@pytest.mark.parametrize("way", WAYS)
async def test_who_has_lost_events_is_given_the_state_in_place_of_the_gap(autojump_clock: MockClock, way: str) -> None:
    async with served(reducer(every=2), way) as (server, live):
        for n in range(1, 21):
            await publish(live, n)
            await trio.sleep(1.5)
        async with client_of(server, way, after="e.5") as client:
            await client.expect("open")
            assert state_of(await client.expect("snapshot")) == ("e.20", {"sum": 210, "count": 20}, 0)
            await client.expect("live")
            await publish(live, 1)
            assert (await client.expect("event"))["id"] == "e.21"
        async with client_of(server, way, after="another.5") as client:
            await client.expect("open")
            assert state_of(await client.expect("snapshot")) == ("e.21", {"sum": 211, "count": 21}, 0)
        async with client_of(server, way, "/cart", after="e.5") as client:
            await client.expect("open")
            assert (await client.expect("gap"))["missed"] == 8  # who asks for no state is told what it has lost
        async with client_of(server, way, after="e.15") as client:
            await client.expect("open")
            assert [(await client.expect("event"))["data"] for _ in range(5)] == [16, 17, 18, 19, 20]


@pytest.mark.parametrize("way", WAYS)
async def test_a_state_that_is_older_than_what_is_kept_is_followed_by_its_gap(
    autojump_clock: MockClock, way: str
) -> None:
    asked: list[str] = []

    def state(channel: str) -> Any:
        asked.append(channel)
        return "old", "e.2"

    async with served(state, way) as (server, live):
        await publish(live, *range(1, 21))
        async with client_of(server, way) as client:
            await client.expect("open")
            assert state_of(await client.expect("snapshot")) == ("e.2", "old", 0)
            gap = await client.expect("gap")
            assert (gap["from"], gap["to"], gap["missed"]) == ("e.2", "e.12", 10)
            assert [(await client.expect("event"))["data"] for _ in range(8)] == list(range(13, 21))
    assert len(asked) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_what_the_app_gets_wrong_ends_the_stream_and_is_logged(
    autojump_clock: MockClock, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[Any] = []

    def state(channel: str) -> Any:
        answer = answers.pop(0)
        if answer == "fails":
            raise ValueError("no database")
        return answer

    wrong = ["fails", None, ("data",), ("data", "no cursor"), (b"bytes", "e.1"), ("x" * 2_000_000, "e.1")]
    async with served(state, way) as (server, live):
        await publish(live, 1)
        for answer in wrong:
            answers[:] = [answer] * 2
            caplog.clear()
            await is_turned_away(server, way)
            assert "there is no snapshot of the channel 'carts/1'" in caplog.text
        assert live.statistics().counts.snapshots == {"given": 0, "failed": len(wrong)}
        answers[:] = [("right", "e.1")]
        async with client_of(server, way) as client:
            await client.expect("open")
            await client.expect("snapshot")
        assert live.statistics().counts.snapshots["given"] == 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_state_that_takes_too_long_is_none(autojump_clock: MockClock, way: str) -> None:
    async def state(channel: str) -> Any:
        await trio.sleep_forever()

    async with served(state, way) as (server, _):
        started = trio.current_time()
        await is_turned_away(server, way)
        assert trio.current_time() - started == pytest.approx(LIMITS.snapshot_seconds, abs=1)


async def test_a_herd_asks_the_app_once(autojump_clock: MockClock) -> None:
    asked: list[str] = []

    async def state(channel: str) -> Any:
        asked.append(channel)
        await trio.sleep(1)
        return "state", "e.1"

    async with served(state) as (server, live):
        await publish(live, 1)

        async def come(way: str) -> None:
            async with client_of(server, way) as client:
                await client.expect("open")
                assert (await client.expect("snapshot"))["data"] == "state"

        async with trio.open_nursery() as nursery:
            for way in WAYS[:5] * 10:
                nursery.start_soon(come, way)
    assert len(asked) < 4


@pytest.mark.parametrize("way", WAYS)
async def test_each_is_given_its_own_state_where_the_function_asks_who_it_is(
    autojump_clock: MockClock, way: str
) -> None:
    def state(channel: str, identity: Identity | None) -> Any:
        return None if identity is None else identity.subject, "e.1"

    app = QuartTrio("personal")
    live = Triolet(app, log=MemoryLog(epoch="e"))
    live.socket("/live")

    @live.identify
    async def who(token: str | None) -> Identity | None:
        return None if token is None else Identity(token)

    @live.channel("/cart", snapshot=state, allow=lambda event, identity: event.data == 1)
    async def cart() -> str:
        return CHANNEL

    async with serve(app, grace=5) as server:
        await publish(live, 1, 2)
        for name in ("ada", "bob"):
            headers = {"Authorization": f"Bearer {name}"}
            async with client_of(server, way, headers=headers) as client:
                assert (await client.expect("open"))["filtered"] is True
                assert (await client.expect("snapshot"))["data"] == name


def test_a_state_for_all_cannot_stand_at_a_route_where_not_all_may_see_all() -> None:
    live = Triolet()
    with pytest.raises(ConfigError, match=r"state_of\(channel, identity\)"):
        live.channel("/a", snapshot=lambda channel: None, allow=lambda event, identity: True)
    with pytest.raises(ConfigError, match=r"state_of\(channel, identity\)"):
        live.channel("/a", snapshot=reducer(), allow=lambda event, identity: True)


@pytest.mark.parametrize("wrong", [5, "state", lambda: None, lambda a, b, c: None])
def test_what_gives_no_state_is_refused_at_the_start(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="snapshot= is a function"):
        Triolet().channel("/a", snapshot=wrong)


@pytest.mark.parametrize("way", WAYS)
async def test_the_switch_is_off_where_it_says_so_and_where_the_route_has_no_state(
    autojump_clock: MockClock, way: str
) -> None:
    async with served(reducer(), way) as (server, live):
        await publish(live, 1)
        async with client_of(server, way, "/cart?snapshot=0") as client:
            assert (await client.expect("open"))["cursor"] == "e.1"
            await client.expect("live")
    async with served(None, way) as (server, live):
        await publish(live, 1)
        async with client_of(server, way) as client:
            assert (await client.expect("open"))["cursor"] == "e.1"
            await client.expect("live")


async def test_two_follows_of_one_channel_have_each_its_own(autojump_clock: MockClock) -> None:
    async with served(reducer()) as (server, live):
        await publish(live, 1, 2)
        async with WebSocketClient(server, "/live") as client:
            await client.expect("open")
            assert (await client.follow("/cart?snapshot=1", sub="a"))["for"] == ["a"]
            told = await client.expect("snapshot")
            assert (told["for"], told["cursor"], told["data"]["sum"]) == (["a"], "e.2", 3)
            await client.expect("live")
            assert (await client.follow("/cart?after=0", sub="b"))["for"] == ["b"]
            assert [(await client.expect("event"))["for"] for _ in range(2)] == [["b"], ["b"]]


async def test_the_answer_to_a_poll_has_the_state(autojump_clock: MockClock) -> None:
    async with served(reducer()) as (server, live):
        await publish(live, 1, 2)
        answer = await server.request("GET", "/cart?snapshot=1")
        body = json.loads(answer.body)
        assert body["snapshot"] == {
            "type": "snapshot",
            "channel": CHANNEL,
            "cursor": "e.2",
            "data": {"sum": 3, "count": 2},
        }
        assert (body["events"], body["cursor"]) == ([], "e.2")
        again = await server.request("GET", "/cart?snapshot=1", {"If-None-Match": answer.headers["etag"]})
        assert again.status == 200  # two states may be of one cursor


@pytest.mark.parametrize("way", ["sse", "short poll"])
async def test_a_state_with_a_cursor_of_the_future_is_warned_of_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    def rows_of(channel: str) -> tuple[str, str]:
        return "rows", "e.7"

    async with served(rows_of) as (server, live):
        await publish(live, 1, 2, 3)
        for _ in range(3):
            async with client_of(server, way) as client:
                assert state_of(await client.until("snapshot")) == ("e.7", "rows", 0)
                assert (await client.until("gap"))["reason"] == "future"
        (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert "rows_of gave a state of the channel 'carts/1' as of e.7, and the channel stands at e.3" in warning
        assert "Return the cursor that the channel had before the data was read" in warning


async def test_a_state_of_what_the_window_has_not_heard_of_yet_is_none_of_the_future(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def rows_of(channel: str) -> tuple[str, Any]:
        (event,) = await log.append(CHANNEL, [Draft.of("as it is read")])
        return "rows", event.cursor

    log = MemoryLog(LIMITS, epoch="e")
    async with served(rows_of, log=log) as (server, _), client_of(server, "sse") as client:
        await client.until("snapshot")
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
