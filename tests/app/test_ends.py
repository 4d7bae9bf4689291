"""``live.end`` over all transports: who follows, who comes later, and who comes from another place."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import ChannelEnded, Command, ConfigError, Identity, Limits, LogAway, Triolet, policies
from triolet.log import MemoryLog
from triolet.testing import Client
from triolet.testing.faults import stalled
from triolet.testing.http import RefusedError
from triolet.testing.scripted import away
from triolet.testing.server import serve

from .processes import Shared, processes
from .roads import ROADS, served

EACH = ["websocket", "sse", "long poll", "short poll", "follow"]
STREAMS = ["websocket", "sse"]
DONE = {"outcome": "done"}


def make_channel(limits: Limits | None = None, **options: Any) -> tuple[QuartTrio, Triolet]:
    """A shop whose one channel is followed with these options."""
    app = QuartTrio("ends")
    live = Triolet(app, limits=limits)

    @live.channel("/orders/<order_id>/events", **options)
    async def order_events(order_id: str) -> str:
        return f"orders/{order_id}"

    live.socket("/live")
    return app, live


async def expect_end(client: Client, cursor: str, data: object = DONE) -> None:
    """The next that is said is the end, and then its stream is over."""
    await client.expect("end", channel=ORDER, cursor=cursor, data=data)
    await expect_over(client)
    assert client.cursor == cursor


async def expect_over(client: Client) -> None:
    if client.transport in STREAMS:
        await client.expect("bye", code=1000, reason="ended", retry=None)
        assert await client.next() is None
    elif client.transport == "follow":
        await client.nothing_for(1)
        assert client.closed is None
    else:
        assert await client.next() is None
        assert (client.closed, client.retry) == ("the channel has ended", 60_000)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", EACH)
async def test_who_follows_is_told_of_the_end_behind_all_events(
    transport: str, road: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with served(app, road) as server, server.client(transport, ORDERS) as client:
        await client.until("live")
        first = await live.publish(ORDER, 1)
        end = await live.end(ORDER, DONE)
        assert (end.ends, end.offset, end.data) == (True, first.offset + 1, DONE)
        await client.expect("event", data=1)
        await expect_end(client, str(end.cursor))


@pytest.mark.parametrize("transport", EACH)
async def test_who_comes_later_is_told_what_is_kept_and_then_of_the_end(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(page_events=2, window_events=2))
    async with serve(app) as server:
        events = await live.publish_many(ORDER, [1, 2, 3, 4, 5])
        end = await live.end(ORDER, DONE)
        for after in ("0", str(events[1].cursor), *([] if "poll" in transport else ["-3"])):
            async with server.client(transport, ORDERS, after=after) as client:
                for event in events if after == "0" else events[-3 if after != "-3" else -2 :]:
                    await client.expect("event", id=str(event.cursor))
                await expect_end(client, str(end.cursor))


@pytest.mark.parametrize("transport", EACH)
@pytest.mark.parametrize("has_been_there", [False, True])
async def test_who_comes_from_now_or_has_the_end_is_told_of_it_at_once(
    transport: str, has_been_there: bool, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        await live.publish(ORDER, 1)
        cursor = str((await live.end(ORDER, DONE)).cursor)
        async with server.client(transport, ORDERS, after=cursor if has_been_there else None) as client:
            await client.expect("open", cursor=cursor, within=1)
            await expect_end(client, cursor)
            assert not [message for message in client.heard if message["type"] == "live"]


@pytest.mark.parametrize("transport", EACH)
async def test_a_cursor_past_the_end_or_of_another_log_is_a_gap_and_then_the_end(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        epoch = (await live.publish(ORDER, 1)).cursor.epoch
        cursor = str((await live.end(ORDER, DONE)).cursor)
        async with server.client(transport, ORDERS, after=f"{epoch}.99") as client:
            await client.expect("gap", reason="future", to=cursor)
            await expect_end(client, cursor)
        async with server.client(transport, ORDERS, after="other.1") as client:
            await client.expect("gap", reason="epoch")
            await client.expect("event", data=1)
            await expect_end(client, cursor)


async def test_an_end_on_the_wire_of_an_event_stream_has_its_cursor_as_id(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.events(ORDERS) as stream:
        opened = await stream.block()
        assert opened is not None
        while (block := await stream.block()) is not None and block.get("event") != "triolet.live":
            pass
        end = await live.end(ORDER, DONE)
        block = await stream.block()
        assert block is not None
        assert (block["event"], block["id"], set(block)) == ("triolet.end", str(end.cursor), {"event", "id", "data"})
        said = {"type": "end", "channel": ORDER, "cursor": str(end.cursor), "data": DONE}
        assert json.loads(block["data"]) == {**said, "time": int(end.published_at * 1000)}
        bye = await stream.block()
        assert bye is not None
        assert json.loads(bye["data"]) == {"type": "bye", "code": 1000, "reason": "ended", "retry": None}
        assert "retry" not in bye
        assert await stream.block() is None


@pytest.mark.parametrize("road", ROADS)
async def test_an_event_source_that_was_told_of_the_end_comes_back_no_more(
    road: str, autojump_clock: MockClock
) -> None:
    """It comes back after every stream by itself, and gives up at a 204."""
    app, live = make_shop()
    async with served(app, road) as server:
        await live.publish(ORDER, 1)
        end = await live.end(ORDER, DONE)
        headers = {"accept": "text/event-stream", "last-event-id": str(end.cursor)}
        answer = await server.request("GET", ORDERS, headers)
        assert (answer.status, answer.body) == (204, b"")
        headers["last-event-id"] = f"{end.cursor.epoch}.1"
        async with server.client("sse", f"{ORDERS}?after={headers['last-event-id']}") as client:
            await expect_end(client, str(end.cursor))
            with pytest.raises(RefusedError, match="204"):
                await client.reconnect()


async def test_to_end_twice_is_to_end_once(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app):
        first = await live.end(ORDER, DONE)
        assert await live.end(ORDER, "another outcome") == first
        with pytest.raises(ChannelEnded):
            await live.publish(ORDER, 1)


async def test_a_log_without_ends_says_so(autojump_clock: MockClock) -> None:
    class Endless(Shared):
        can_end = False

    app, live = make_shop()
    inner = MemoryLog()
    async with inner.open(), serve(app, log=Endless(inner)):
        with pytest.raises(ConfigError, match="knows no ends"):
            await live.end(ORDER)


@pytest.mark.parametrize("transport", EACH)
async def test_an_end_is_told_over_all_processes(transport: str, autojump_clock: MockClock) -> None:
    async with processes(2, make_shop) as (one, other), other.server.client(transport, ORDERS) as client:
        await client.until("live")
        end = await one.live.end(ORDER, DONE)
        await expect_end(client, str(end.cursor))


async def test_a_poll_at_the_end_is_answered_at_once_and_its_tag_goes_on_working(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        before = (await server.get(ORDERS)).json["cursor"]
        end = await live.end(ORDER, DONE)
        for after in (before, str(end.cursor)):
            for wait in ("", "&wait=20"):
                answer = await server.get(f"{ORDERS}?after={after}{wait}")
                assert (answer.json["events"], answer.json["retry"], answer.json["live"]) == ([], 60_000, True)
                assert answer.json["end"]["cursor"] == answer.json["cursor"] == str(end.cursor)
                if not wait:
                    again = await server.get(f"{ORDERS}?after={after}", if_none_match=answer.headers["etag"])
                    assert again.status == 304
        assert trio.current_time() == 0


async def test_on_a_socket_that_follows_many_only_the_follow_is_over(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        for order in ("A123", "B456"):
            await client.follow(f"/orders/{order}/events")
        await live.end(ORDER, DONE)
        await client.expect("end", channel=ORDER, data=DONE)
        await live.publish("orders/B456", 1)
        await client.expect("event", channel="orders/B456", data=1)
        beat = await client.expect("beat")
        assert list(beat["cursors"]) == ["orders/B456"]
        assert [message for message in client.heard if message["type"] in ("refused", "bye")] == []
        assert server.followers == 1
        await live.end("orders/B456")
        await client.expect("end", channel="orders/B456", data=None)
        await client.nothing_for(1)
        assert client.closed is None


async def test_a_channels_own_socket_goes_on_while_it_follows_another(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.websocket(ORDERS) as client:
        await client.until("live")
        await client.follow("/orders/B456/events")
        await live.end(ORDER, DONE)
        await client.expect("end", channel=ORDER)
        await live.publish("orders/B456", 1)
        await client.expect("event", data=1)
        await live.end("orders/B456")
        await client.expect("end", channel="orders/B456")
        await client.expect("bye", code=1000, reason="ended")


async def test_named_follows_of_one_channel_are_each_told_of_its_end_once(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(page_events=3, window_events=3))
    async with serve(app) as server, server.websocket("/live") as client:
        await client.follow(ORDERS, sub="live")
        await client.until("live")
        await live.publish_many(ORDER, list(range(9)))
        await client.follow(ORDERS, 0, sub="behind")
        await live.end(ORDER, DONE)
        await client.follow(ORDERS, sub="late")
        await trio.sleep(1)
        while len([message for message in client.heard if message["type"] == "end"]) < 3:
            await client.next(within=1)
        await client.nothing_for(1)
        for sub, events in (("live", 9), ("behind", 9), ("late", 0)):
            kinds = [message["type"] for message in client.heard_by(sub)]
            assert (kinds.count("event"), kinds.count("end"), kinds[-1]) == (events, 1, "end")
        assert server.followers == 0
        await live.delete(ORDER)
        await live.publish(ORDER, "anew")
        await client.nothing_for(1)


@pytest.mark.parametrize("transport", EACH)
async def test_an_end_is_never_filtered(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_channel(allow=lambda event, identity: False)
    async with serve(app) as server:
        async with server.client(transport, ORDERS) as client:
            await client.until("live")
            await live.publish(ORDER, "not for it")
            end = await live.end(ORDER, DONE)
            await expect_end(client, str(end.cursor))
        for after in ("0", None):
            async with server.client(transport, ORDERS, after=after) as client:
                await expect_end(client, str(end.cursor))
                assert client.events == []


@pytest.mark.parametrize("policy", [policies.skip(events=1), policies.latest(events=1)])
@pytest.mark.parametrize("transport", ["websocket", "sse", "follow"])
async def test_no_policy_leaves_the_end_out(transport: str, policy: policies.Policy, autojump_clock: MockClock) -> None:
    app, live = make_channel(Limits(window_events=2), policy=policy)
    async with serve(app) as server:
        for n in range(5):
            await live.publish(ORDER, n, key="one")
        end = await live.end(ORDER, DONE)
        async with server.client(transport, ORDERS, after="0") as client:
            gap = await client.expect("gap")
            assert gap["reason"] in ("skipped", "conflated")
            while (await client.next())["type"] != "end":  # type: ignore[index]  # it comes
                pass
            assert client.heard[-1]["cursor"] == str(end.cursor)
            await expect_over(client)


@pytest.mark.parametrize("transport", STREAMS)
async def test_a_slow_client_is_told_of_the_end_when_it_has_taken_all(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(stall_seconds=100, goodbye_seconds=5))
    async with serve(app) as server, server.client(transport, ORDERS, kernel_bytes=4_000) as client:
        await client.until("live")
        with stalled(client):
            await live.publish(ORDER, "x" * 20_000)
            await live.publish(ORDER, "y" * 20_000)
            end = await live.end(ORDER, DONE)
            await trio.sleep(20)
            assert server.connections == 1
        await client.expect("event")
        await client.expect("event")
        await expect_end(client, str(end.cursor))


async def test_a_client_that_takes_nothing_is_given_up_at_the_end_as_ever(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(stall_seconds=10))
    async with serve(app) as server, server.client("sse", ORDERS, kernel_bytes=4_000) as client:
        await client.until("live")
        with stalled(client):
            await live.publish(ORDER, "x" * 40_000)
            await live.end(ORDER, DONE)
            await trio.sleep(30)
            assert (server.connections, server.followers) == (0, 0)


async def test_a_publisher_that_waits_for_a_blocking_follower_is_not_left_by_an_end(
    autojump_clock: MockClock,
) -> None:
    app, live = make_channel(policy=policies.block(events=1, seconds=20))
    async with serve(app) as server, server.client("sse", ORDERS, kernel_bytes=4_000) as client:
        await client.until("live")
        with stalled(client):
            for _ in range(3):
                await live.publish(ORDER, "x" * 20_000)
            with trio.fail_after(30):
                await live.end(ORDER, DONE)
        with trio.fail_after(1), pytest.raises(ChannelEnded):
            await live.publish(ORDER, 1)


async def test_a_member_leaves_with_the_end_of_its_channel(autojump_clock: MockClock) -> None:
    app, live = make_channel(member=lambda order_id: "ann")
    async with serve(app) as server, server.client("follow", ORDERS) as client:
        await client.until("live")
        await trio.sleep(1)
        roster = await live.presence(ORDER).roster()
        assert list(roster.members) == ["ann"]
        await live.end(ORDER)
        await client.expect("end")
        await trio.sleep(20)
        assert (await live.presence(ORDER).roster()).members == ()


async def test_a_server_that_drains_at_the_end_says_either(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app, grace=5) as server, server.client("sse", ORDERS) as client:
        await client.until("live")
        end = await live.end(ORDER, DONE)
        server.stop.set()
        await client.expect("end", cursor=str(end.cursor))
        assert (await client.expect("bye"))["code"] in (1000, 1012)


async def test_who_is_revoked_at_the_end_is_gone_once(autojump_clock: MockClock) -> None:
    app = QuartTrio("ends")
    live = Triolet(app)

    @live.identify
    async def who(token: str | None) -> Identity | None:
        return None if token is None else Identity(token)

    @live.channel("/orders/<order_id>/events", recheck=1)
    async def order_events(order_id: str) -> str:
        return f"orders/{order_id}"

    async with serve(app) as server, AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(server.client(transport, ORDERS, headers={"authorization": "Bearer ann"}))
            for transport in STREAMS
        ]
        for client in clients:
            await client.until("live")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live.end, ORDER, DONE)
            nursery.start_soon(lambda: live.revoke(subject="ann"))
        for client in clients:
            said = [message async for message in client]
            assert said[-1]["code"] in (1000, 4403)
        assert (server.connections, server.followers) == (0, 0)


async def test_the_end_of_a_channel_outlives_what_retention_keeps(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(keep_seconds=60))
    async with serve(app) as server:
        await live.publish(ORDER, 1)
        end = await live.end(ORDER, DONE)
        await trio.sleep(1_000)
        for transport in EACH:
            for after in ("0", None):
                async with server.client(transport, ORDERS, after=after) as client:
                    await expect_end(client, str(end.cursor))


# --- what it is told by, and who asks


async def test_a_command_that_publishes_to_an_ended_channel_is_answered_409_and_does_nothing(
    autojump_clock: MockClock,
) -> None:
    app, live = make_shop()

    @live.command("/orders/<order_id>/pick")
    async def pick(order_id: str, command: Command) -> Any:
        await command.publish("elsewhere", 1)
        await command.publish(f"orders/{order_id}", 1)
        return {}

    async with serve(app) as server:
        await live.end(ORDER)
        for _ in range(2):
            answer = await server.post("/orders/A123/pick", idempotency_key='"1"')
            assert (answer.status, answer.json["error"]) == (409, "ended")
            assert "idempotency-replayed" not in answer.headers
        assert await live.channels("elsewhere") == []
        assert live.statistics().counts.commands["refused"] == 2


async def test_an_end_is_counted_and_explained(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.client("sse", ORDERS) as client, server.websocket("/live") as socket:
        await client.until("live")
        await socket.follow(ORDERS)
        ids = [conn.id for conn in live.connections()]
        await live.end(ORDER)
        await client.expect("end")
        await client.expect("bye")
        assert await client.next() is None
        await socket.expect("end")
        await server.get(ORDERS)
        counts = live.statistics().counts
        assert (counts.ends_told, counts.closed["1000", "ended"]) == (3, 1)
        said = [str(live.explain(conn_id)) for conn_id in ids]
        assert "The channel has ended, and it was told so" in said[0]
        assert f"a channel ended, and it was told so, in {ORDER}." in said[1]


async def test_an_end_while_the_log_is_away_fails_and_a_repeat_ends_it(autojump_clock: MockClock) -> None:
    async with processes(1, make_shop) as (one,), one.server.client("sse", ORDERS) as client:
        await client.until("live")
        with one.log.having(*away()), pytest.raises(LogAway):
            await one.live.end(ORDER, DONE)
        await client.nothing_for(1)
        end = await one.live.end(ORDER, DONE)
        await expect_end(client, str(end.cursor))


async def test_of_clients_that_were_told_of_an_end_nothing_is_held(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(server.client("sse", ORDERS)) for _ in range(50)]
            for client in clients:
                await client.until("live")
            await live.end(ORDER, DONE)
            for client in clients:
                await client.expect("end")
        await trio.sleep(10)
        assert (server.connections, server.followers) == (0, 0)
