"""Two servers of one app on one Redis: a client cannot tell which of them it is connected to, whatever the weather."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress

import pytest
import trio
from quart_trio import QuartTrio

from tests.e2e.needs import needs
from triolet import ChannelEnded, Limits, LogError, Triolet
from triolet.testing import TRANSPORTS, MemoryServer, Message, RefusedError, serve

from .servers import RedisServer

pytestmark = needs("redis-server", "redis-cli")

LIMITS = Limits(
    goodbye_seconds=0.3, beat_seconds=0.4, away_seconds=20, answer_seconds=0.5, look_seconds=0.2, poll_seconds=0.05
)
EVENTS = 120


def make_app(url: str) -> tuple[QuartTrio, Triolet]:
    app = QuartTrio(__name__)
    live = Triolet(app, log=f"{url}?start=wait", limits=LIMITS)  # a busy machine may take long to answer

    @live.channel("/events/<name>")
    async def events(name: str) -> str:
        return name

    return app, live


async def follow(servers: list[MemoryServer], transport: str, name: str, heard: list[Message]) -> None:
    """Follow up to the last event, going to the other server at each end of a connection."""
    cursor: str | None = "0"
    turn = 0
    while not (heard and heard[-1].get("data") == EVENTS):
        turn += 1
        with suppress(OSError, RefusedError, trio.BrokenResourceError):
            async with servers[turn % 2].client(transport, f"/events/{name}", after=cursor) as client:
                with trio.move_on_after(1.3):  # and now and then without need
                    while not (heard and heard[-1].get("data") == EVENTS):
                        message = await client.next()
                        if message is None:
                            break
                        cursor = client.cursor
                        heard.append(message)
        await trio.sleep(0.02)


def history(heard: list[Message]) -> list[int]:
    return [message["data"] for message in heard if message["type"] == "event"]


@pytest.mark.parametrize("restarts", [0, 2])
async def test_clients_that_go_from_server_to_server_hear_everything_once(restarts: int, durable: RedisServer) -> None:
    heard: dict[tuple[str, str], list[Message]] = {(way, name): [] for way in TRANSPORTS for name in "ab"}
    async with AsyncExitStack() as stack:
        apps = [make_app(durable.url) for _ in range(2)]
        servers = [await stack.enter_async_context(serve(app)) for app, _ in apps]

        async def publish(name: str) -> None:
            for number in range(1, EVENTS + 1):
                await apps[number % 2][1].publish(name, number)
                await trio.sleep(0.02)

        with trio.fail_after(90):
            async with trio.open_nursery() as nursery:
                for (transport, name), messages in heard.items():
                    nursery.start_soon(follow, servers, transport, name, messages)
                for name in "ab":
                    nursery.start_soon(publish, name)
                for _ in range(restarts):
                    await trio.sleep(0.6)
                    await trio.to_thread.run_sync(durable.stop)
                    await trio.sleep(0.5)
                    await trio.to_thread.run_sync(durable.start)
    for messages in heard.values():
        assert history(messages) == list(range(1, EVENTS + 1))
        assert not [message for message in messages if message["type"] == "gap"]


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_client_is_told_that_redis_is_away_and_then_that_it_came_back_empty(
    transport: str, server: RedisServer
) -> None:
    app, live = make_app(server.url)
    async with serve(app) as served, served.client(transport, "/events/a") as client:
        with trio.fail_after(60):
            await live.publish("a", 1)
            await client.expect(data=1)
            server.stop()
            while not (await client.until("beat")).get("stale"):
                pass
            server.start()
            await client.expect("gap", reason="epoch", missed=None)
            while (await client.until("beat")).get("stale"):
                pass
            await live.publish("a", 2)
            await client.expect(data=2)


async def test_publishing_fails_with_what_it_means_and_no_client_is_lost(server: RedisServer) -> None:
    app = QuartTrio(__name__)
    limits = Limits(goodbye_seconds=0.3, away_seconds=0.3, answer_seconds=0.3)
    live = Triolet(app, log=f"{server.url}?start=wait", limits=limits)

    @live.channel("/events")
    async def events() -> str:
        return "a"

    async with serve(app) as served, served.websocket("/events") as client:
        await client.until("live")
        server.freeze()
        with pytest.raises(LogError):
            await live.publish("a", 1, dedupe="one")
        server.thaw()
        with trio.fail_after(30):
            while True:
                with suppress(LogError):
                    event = await live.publish("a", 1, dedupe="one")
                    break
            await live.publish("a", 2)
            await client.expect(id=str(event.cursor))
            await client.expect(data=2)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_end_and_a_deletion_are_told_by_all_servers(transport: str, server: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        apps = [make_app(server.url) for _ in range(2)]
        servers = [await stack.enter_async_context(serve(app)) for app, _ in apps]
        one, other = (live for _, live in apps)
        with trio.fail_after(60):
            async with servers[1].client(transport, "/events/a") as client:
                await client.until("live")
                await one.publish("a", 1)
                end = await one.end("a", "done")
                await client.expect("event", data=1)
                await client.expect("end", cursor=str(end.cursor), data="done")
            with pytest.raises(ChannelEnded):
                await other.publish("a", 2)
            assert await other.channels() == ["a"]
            deleted = await other.delete("a")
            async with servers[0].client(transport, "/events/a", after="0") as client:
                await client.expect("end", cursor=str(deleted.cursor), data={"outcome": "deleted"})
            await one.publish("a", 2)
            async with servers[1].client(transport, "/events/a", after="0") as client:
                await client.expect("event", data=2)
