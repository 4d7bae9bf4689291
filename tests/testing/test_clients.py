"""The kit's clients: one ear for all transports, and what they do as a browser would."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import Limits, policies
from triolet.log import MemoryLog
from triolet.testing.clients import POLLS, STREAMS, TRANSPORTS, Client
from triolet.testing.faults import cut, half_open, stalled
from triolet.testing.http import RefusedError
from triolet.testing.network import ClientEnd, Line
from triolet.testing.server import serve

EVERY = (*TRANSPORTS, "follow")


def shop(**options: Any) -> Any:
    """The shop, with a log whose epoch is known."""
    limits = Limits(**options)
    return make_shop(limits, log=MemoryLog(limits, epoch="e"))


# --- what they hear


@pytest.mark.parametrize("transport", EVERY)
async def test_all_transports_hear_the_same(transport: str, autojump_clock: MockClock) -> None:
    app, live = shop(keep_events=2)
    async with serve(app) as server:
        published = await live.publish_many(ORDER, [1, 2, 3, 4])
        async with server.client(transport, ORDERS, after="e.1") as client:
            await client.until("live")
            await live.publish(ORDER, {"n": 5}, name="fifth", key="k")
            await client.expect()
    time = int(published[0].published_at * 1000)
    told = {"type": "event", "channel": ORDER, "time": time}
    opened, gap, three, four, caught_up, fifth = client.heard
    opened.pop("url", None)
    fifth.pop("key", None)  # an event stream has no field for it
    assert opened == {"type": "open", "channel": ORDER, "cursor": "e.1"}
    assert gap == {"type": "gap", "channel": ORDER, "from": "e.1", "to": "e.2", "missed": 1, "reason": "expired"}
    assert three == {**told, "id": "e.3", "event": "message", "data": 3}
    assert four == {**told, "id": "e.4", "event": "message", "data": 4}
    assert caught_up == {"type": "live", "channel": ORDER, "cursor": "e.4"}
    assert fifth == {**told, "id": "e.5", "event": "fifth", "data": {"n": 5}}
    assert [event["id"] for event in client.events] == ["e.3", "e.4", "e.5"]


@pytest.mark.parametrize("transport", EVERY)
@pytest.mark.parametrize(("newest", "begins"), [(-2, "e.1"), (-9, "e.0")])
async def test_who_asks_for_the_newest_begins_before_the_first_of_them(
    transport: str, newest: int, begins: str, autojump_clock: MockClock
) -> None:
    app, live = shop()
    async with serve(app) as server:
        await live.publish_many(ORDER, [1, 2, 3])
        async with server.client(transport, ORDERS, after=newest) as client:
            assert (await client.expect("open"))["cursor"] == begins
            await client.expect(data=2 if newest == -2 else 1)


@pytest.mark.parametrize("transport", EVERY)
async def test_a_cursor_whose_epoch_begins_with_a_minus_is_no_number_of_events(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop(log=MemoryLog(Limits(), epoch="-e"))
    async with serve(app) as server:
        for letter in "abcd":
            await live.publish(ORDER, letter, key="text", fold="concat")
        async with server.client(transport, f"{ORDERS}?fold=1", after="-e.1") as client:
            assert (await client.expect("open"))["cursor"] == "-e.1"
            await client.expect(data="bcd", id="-e.4")


@pytest.mark.parametrize("transport", EVERY)
async def test_the_cursor_is_that_of_what_was_taken(transport: str, autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server:
        await live.publish_many(ORDER, [1, 2, 3])
        async with server.client(transport, ORDERS) as client:
            await client.until("live")
            assert client.cursor == "e.3"
            await live.publish_many(ORDER, [4, 5])
            await trio.sleep(5)
            await client.expect(data=4)
            assert (client.cursor, client.cursors) == ("e.4", {ORDER: "e.4"})
            await client.expect(data=5)
            assert client.cursor == "e.5"


@pytest.mark.parametrize("transport", STREAMS)
async def test_a_gap_of_conflated_events_leaves_the_cursor_where_it_is(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop(log=MemoryLog(Limits(), epoch="e"), policy=policies.latest(events=3))
    async with serve(app) as server:
        for n in range(10):
            await live.publish(ORDER, n, key=f"key {n % 2}")
        async with server.client(transport, ORDERS, after=0) as client:
            gap = await client.expect("gap", reason="conflated")
            assert client.cursor == gap["from"]
            await client.until("live")
            assert client.cursor == "e.10"


@pytest.mark.parametrize("transport", EVERY)
async def test_a_client_lives_on_while_nobody_listens_to_it(transport: str, autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.client(transport, ORDERS) as client:
        await trio.sleep(600)
        assert client.closed is None
        await live.publish(ORDER, 1)
        await client.expect(data=1)


async def test_a_cancelled_wait_loses_nothing(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.sse(ORDERS) as client:
        await client.until("live")
        with trio.move_on_after(1) as scope:
            await client.expect()
        assert scope.cancelled_caught
        await live.publish(ORDER, 1)
        await client.expect(data=1)


async def test_messages_can_be_gone_through_up_to_the_end(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.sse(ORDERS, after=0) as client:
        await live.publish_many(ORDER, [1, 2])
        await trio.sleep(1)
        server.stop.set()
        kinds = [message["type"] async for message in client if message["type"] not in ("live", "beat")]
        assert kinds == ["open", "event", "event", "bye"]
        assert await client.next() is None


# --- how they come and go


@pytest.mark.parametrize("transport", EVERY)
async def test_who_is_refused_hears_why(transport: str, autojump_clock: MockClock) -> None:
    app, _ = shop()
    async with serve(app) as server:
        with pytest.raises(RefusedError, match="/orders/secret/events was") as refused:
            async with server.client(transport, "/orders/secret/events"):
                pass
        assert refused.value.status == (None if transport == "follow" else 403)
        await trio.sleep(5)
        assert server.connections == 0


@pytest.mark.parametrize("transport", EVERY)
async def test_a_client_that_was_cut_off_comes_back_to_where_it_was(transport: str, autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.client(transport, ORDERS, after=0) as client:
        await live.publish_many(ORDER, [1, 2])
        await client.expect(data=1)
        await client.expect(data=2)
        client.cut()
        assert await client.next(within=1) in (None, client.heard[-1])
        assert client.closed == "cut"
        await trio.sleep(1)
        assert (server.connections, server.followers) == (0, 0)
        await live.publish(ORDER, 3)
        await client.reconnect()
        await client.expect("open", cursor="e.2")
        await client.expect(data=3)
        assert client.closed is None


@pytest.mark.parametrize("after", [None, -1])
@pytest.mark.parametrize("transport", [one for one in EVERY if one != "plain sse"])
async def test_a_client_that_was_cut_off_before_its_open_was_taken_comes_back_to_where_it_began(
    transport: str, after: int | None, autojump_clock: MockClock
) -> None:
    app, live = shop()
    async with serve(app) as server:
        await live.publish_many(ORDER, [1, 2])
        async with server.client(transport, ORDERS, after=after) as client:
            await trio.sleep(1)
            with cut(client):
                await live.publish_many(ORDER, [3, 4])
            await client.reconnect()
            await client.expect("open", cursor="e.2" if after is None else "e.1")
            for number in [3, 4] if after is None else [2, 3, 4]:
                await client.expect(data=number)


@pytest.mark.parametrize("transport", EVERY)
async def test_a_fault_of_the_network_is_done_to_a_client(transport: str, autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.client(transport, ORDERS) as client:
        await client.until("live")
        with stalled(client):
            await live.publish(ORDER, 1)
            await client.nothing_for(4)
        await client.expect(data=1, within=6)
        with cut(client):
            await live.publish(ORDER, 2)
            while await client.next(within=30) is not None:
                pass
            with pytest.raises(trio.BrokenResourceError):
                await client.reconnect()
        await client.reconnect()
        await client.expect(data=2)


@pytest.mark.parametrize("transport", EVERY)
async def test_what_came_and_was_not_taken_is_told_once_more_and_heard_once(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live = shop()
    async with serve(app) as server, server.client(transport, ORDERS, after=0) as client:
        await live.publish_many(ORDER, [1, 2, 3])
        await client.expect(data=1)
        await trio.sleep(3)
        await client.reconnect()
        await client.expect("open", cursor="e.1")
        await client.expect(data=2)
        await client.expect(data=3)
        await client.nothing_for(5)


async def test_an_event_source_goes_by_the_id_of_a_beat(autojump_clock: MockClock) -> None:
    app, _ = shop()
    async with serve(app) as server, server.sse(ORDERS) as page, server.websocket(ORDERS) as socket:
        for client, cursor in ((page, "e.7"), (socket, "e.0")):
            await client.until("live")
            client.hear({"type": "beat", "cursors": {ORDER: "e.7"}})
            await client.expect("beat")
            assert client.cursor == cursor


async def test_an_event_source_comes_back_with_last_event_id_and_its_old_url(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.sse(ORDERS, after=0) as client:
        await live.publish(ORDER, 1)
        await client.expect(data=1)
        await client.reconnect()
        assert f"GET {ORDERS}?after=0 last-event-id=e.1" in client.dialogue()
        await client.nothing_for(10)


@pytest.mark.parametrize("transport", EVERY)
async def test_who_leaves_leaves_nothing(transport: str, autojump_clock: MockClock) -> None:
    app, _ = shop()
    async with serve(app) as server:
        async with server.client(transport, ORDERS) as client:
            await client.until("live")
        await trio.sleep(1)
        assert (server.connections, server.followers, client.ends) == (0, 0, ())
        assert client.closed == "left"


@pytest.mark.parametrize("transport", EVERY)
async def test_a_client_may_come_back_at_every_step_of_what_arrives(
    transport: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive_some = ClientEnd.receive_some

    async def as_a_socket_does(end: ClientEnd, max_bytes: int | None = None) -> bytes:
        data = await receive_some(end, max_bytes)
        with trio.CancelScope(shield=True):  # a task that runs again has its data, whatever was closed before it ran
            await trio.lowlevel.checkpoint()
        return data

    monkeypatch.setattr(ClientEnd, "receive_some", as_a_socket_does)
    app, live = shop()
    async with serve(app) as server, server.client(transport, ORDERS) as client:
        await client.until("live")
        for steps in range(30):
            await live.publish(ORDER, steps)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            await client.reconnect()
            await client.until("live")
        while [event["data"] for event in client.events][-1:] != [29]:
            await client.until("event")
        assert [event["data"] for event in client.events] == list(range(30))


async def test_a_server_that_does_not_answer_is_waited_for_a_minute(autojump_clock: MockClock) -> None:
    app, _ = shop()
    async with serve(app) as server:
        for transport in EVERY:
            client = server.client(transport, ORDERS)
            with half_open(client), pytest.raises(trio.TooSlowError):
                await client.__aenter__()
            assert (client.closed, client.ends) == ("not let in", ())
        assert trio.current_time() == 60 * len(EVERY)


async def test_each_client_is_somewhere_else_and_may_be_told_where(autojump_clock: MockClock) -> None:
    app, _ = shop()
    async with serve(app) as server:
        first, second = server.sse(ORDERS), server.websocket(ORDERS)
        assert first.address != second.address
        assert server.sse(ORDERS, address=first.address).address == first.address
        assert len({server.network.new_address() for _ in range(70_000)}) == 70_000


async def test_a_client_may_have_a_line_of_its_own(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.sse(ORDERS, line=Line(latency=0.2)) as client:
        await client.until("live")
        before = trio.current_time()
        await live.publish(ORDER, 1)
        await client.expect(data=1)
        assert trio.current_time() - before == pytest.approx(0.2)


async def test_no_such_transport(autojump_clock: MockClock) -> None:
    app, _ = shop()
    async with serve(app) as server:
        with pytest.raises(ValueError, match="'carrier pigeon' is no transport: websocket, sse, "):
            server.client("carrier pigeon", ORDERS)


@pytest.mark.parametrize("transport", EVERY)
async def test_no_such_option(transport: str, autojump_clock: MockClock) -> None:
    app, _ = shop()
    unknown: Any = {"cookies": {"session": "s"}}
    async with serve(app) as server:
        with pytest.raises(TypeError, match="a client has no option 'cookies', but after, follow, headers, "):
            server.client(transport, ORDERS, **unknown)


@pytest.mark.parametrize("transport", EVERY)
async def test_who_was_never_opened_is_told_so_at_once(transport: str, autojump_clock: MockClock) -> None:
    app, _ = shop()
    async with serve(app) as server:
        client, before = server.client(transport, ORDERS), trio.current_time()
        with pytest.raises(AssertionError, match="it was never opened: async with"):
            await client.expect()
        assert trio.current_time() == before
        with pytest.raises(AssertionError, match="cannot come back: it was never opened"):
            await client.reconnect()
        async with client:
            assert client.closed is None


async def test_a_command_opens_no_socket_that_nobody_would_close(autojump_clock: MockClock) -> None:
    app, _ = shop()
    async with serve(app) as server:
        with pytest.raises(AssertionError, match="it was never opened: async with"):
            await server.websocket("/live").command("/orders/A123/paid")


async def test_what_breaks_within_a_client_is_raised_where_it_is_listened_to(autojump_clock: MockClock) -> None:
    class Broken(Client):
        async def connect(self) -> None:
            self.dial()

        async def read(self) -> str:
            self.hear({"type": "event", "id": "e.1", "data": 1})
            raise ZeroDivisionError("a bug")

    app, _ = shop()
    async with serve(app) as server, Broken(server, ORDERS) as client:
        await client.expect(data=1)
        with pytest.raises(ZeroDivisionError):
            await client.next()


async def test_what_a_test_raises_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    app, _ = shop()
    error = KeyError("mine")
    with pytest.raises(KeyError) as raised:
        async with serve(app) as server, server.sse(ORDERS), server.websocket(ORDERS):
            raise error
    assert raised.value is error


# --- on a socket


async def test_a_socket_is_talked_with(autojump_clock: MockClock) -> None:
    app, _ = shop()
    async with serve(app) as server, server.websocket("/warehouse") as client:
        await client.say(type="message", data={"pick": "A123"})
        await client.expect("message", data={"echo": {"pick": "A123"}})
        await client.close(3001, "enough")
        assert await client.ended() == (3001, "")
        with pytest.raises(trio.BrokenResourceError, match="the connection has ended: closed by the server"):
            await client.say(type="message", data=1)


async def test_a_raw_socket_is_talked_with(autojump_clock: MockClock) -> None:
    app, _ = shop()
    async with serve(app) as server, server.websocket("/raw") as client:
        big = "å" * 100_000
        for kind, data in (("text", "as it is"), ("text", '{"no": "type"}'), ("bytes", b"\x00"), ("text", big)):
            await client.send(data)
            await client.expect(kind, data=data)


async def test_a_socket_follows_many_channels_by_url(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.websocket("/live") as client:
        await live.publish("orders/A1", 1)
        await client.follow("/orders/A1/events", after=0)
        await client.expect(channel="orders/A1", data=1)
        assert (await client.follow("/orders/A2/events"))["channel"] == "orders/A2"
        assert client.cursors == {"orders/A1": "e.1", "orders/A2": "e.0"}
        with pytest.raises(RefusedError):
            await client.follow("/orders/secret/events")
        server.stop.set()
        assert await client.ended() == (1012, "restarting")
        assert (client.code, client.retry) == (1012, client.heard[-1]["retry"])


# --- polling


async def test_a_short_poll_asks_when_it_is_told_to_and_says_what_it_has(autojump_clock: MockClock) -> None:
    app, live = shop(poll_seconds=3)
    async with serve(app) as server, server.short_poll(ORDERS) as client:
        await trio.sleep(10)
        counts = live.statistics().counts
        assert (client.retry, counts.short_polls, counts.not_modified) == (3_000, 1 + 1, 2)  # the second has a cursor
        await live.publish(ORDER, 1)
        await client.expect(data=1)
        assert trio.current_time() == 12


async def test_a_long_poll_is_answered_first_and_then_held(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.long_poll(ORDERS, wait=7) as client:
        await client.until("live", within=0.001)
        await trio.sleep(20)
        assert dict(live.statistics().counts.long_polls) == {"events": 0, "timeout": 2, "draining": 0}
        await live.publish(ORDER, 1)
        await client.expect(data=1, within=0.001)


@pytest.mark.parametrize("transport", POLLS)
async def test_a_poll_of_many_pages_says_once_that_it_is_up_to_date(transport: str, autojump_clock: MockClock) -> None:
    app, live = shop(page_events=10)
    async with serve(app) as server:
        await live.publish_many(ORDER, list(range(25)))
        async with server.client(transport, ORDERS, after=0) as client:
            await client.until("live", within=0.001)
            await live.publish(ORDER, 25)
            await client.expect(data=25)
            await client.nothing_for(30)
    assert [event["data"] for event in client.events] == list(range(26))
    assert [message["type"] for message in client.heard].count("live") == 1


async def test_a_poll_that_is_refused_later_ends_with_the_time_to_come_back(autojump_clock: MockClock) -> None:
    app, _ = shop()
    refusing = False

    async def close_down() -> Any:
        return ("full", 503, {"Retry-After": "7"}) if refusing else None

    app.before_request(close_down)
    async with serve(app) as server, server.short_poll(ORDERS) as client:
        await client.until("live")
        refusing = True
        assert await client.next() is None
        assert client.closed is not None
        assert "answered 503: full" in client.closed
        assert client.retry == 7_000


async def test_a_pong_does_not_come_amid_a_long_message(autojump_clock: MockClock) -> None:
    app, _ = shop(message_seconds=60, beat_seconds=4)
    line = Line(bandwidth=500, client_bytes=1_000)
    async with serve(app) as server, server.websocket("/raw", line=line) as client:
        await client.send("x" * 10_000)
        await client.expect("text", data="x" * 10_000, within=60)


@pytest.mark.parametrize("own", ['{"type": "bye"}', '{"type": ["open"]}', '{"type": "open"}', "[1]"])
async def test_an_apps_own_messages_may_look_like_ours(own: str, autojump_clock: MockClock) -> None:
    app, _ = shop()
    async with serve(app) as server, server.websocket("/raw") as client:
        await client.send(own)
        await client.next(within=1)
        assert (client.cursor, client.retry, len(client.heard)) == (None, None, 1)
