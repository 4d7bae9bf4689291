"""``live.explain``: what a developer reads about one client."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.monitoring.test_statistics import BIG, SMALL, read_all, shop, stalled
from tests.peer import CLOSE, peer
from tests.shop import ORDER, ORDERS, make_shop
from triolet import Connection, Limits, Triolet, UnknownConnectionError, policies
from triolet.closing import CATALOGUE
from triolet.monitoring.explain import WHY
from triolet.testing.server import serve


def last(live: Triolet) -> int:
    """The id of the connection that was opened last."""
    return max(conn.id for conn in live.connections())


async def fall_behind(live: Triolet) -> None:
    """What it takes for a client that does not read to be behind by ten events: two fill its kernel."""
    await live.publish_many(ORDER, [BIG] * 2)
    await trio.sleep(1)
    await live.publish_many(ORDER, [BIG] * 10)
    await trio.sleep(2)


async def test_a_healthy_client_is_up_to_date(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), server.websocket(ORDERS) as client:
        await client.until("live")
        await trio.sleep(12)
        told = live.explain(last(live))
    assert told.verdict == "up to date"
    assert told.sentences[0].endswith("(websocket) has been open for 12.0 s.")
    assert told.sentences[1:] == ("It follows 1 channel and is up to date.",)


async def test_a_socket_that_follows_nothing_is_said_to(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), server.websocket("/warehouse") as client:
        await client.next()
        assert "It follows nothing." in live.explain(last(live)).sentences


async def test_a_stalled_client_is_told_since_when_and_until_when(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), stalled(server, "sse"):
        await fall_behind(live)
        told = live.explain(last(live))
        text = str(told)
    assert told.verdict == "stalled"
    assert "In orders/A123 it is 10 events and 2.0 s behind, for 3.0 s now" in text
    assert "Its kernel took nothing for 3.0 s" in text
    assert "closed as slow (4408) in 7.0 s." in text
    assert "3.0 s ago it fell behind: its kernel took no more." in text


async def test_a_client_that_is_behind_is_told_from_where_it_is_sent_what_it_missed(autojump_clock: MockClock) -> None:
    limits = Limits(window_events=5, stall_seconds=1_000)
    async with shop(limits) as (server, live), stalled(server):
        await fall_behind(live)
        assert "is sent what it missed from the log" in str(live.explain(last(live)))


async def test_what_a_policy_will_do_is_foretold(autojump_clock: MockClock) -> None:
    policy = policies.ladder(policies.skip(events=60), policies.disconnect(seconds=30))
    async with shop(policy=policy) as (server, live), stalled(server):
        await fall_behind(live)
        sentences = live.explain(last(live)).sentences
    assert "If it stays behind, its policy says disconnect in 27.0 s." in sentences
    assert "If it falls 51 events further behind, its policy says skip." in sentences


async def test_a_policy_that_fails_is_said_to(autojump_clock: MockClock) -> None:
    def fails(lag: policies.Lag) -> policies.Step:
        if lag.seconds > 60:
            raise OSError("no database")
        return policies.Step.CATCH_UP

    async with shop(policy=fails) as (server, live), stalled(server):
        await fall_behind(live)
        said = str(live.explain(last(live)))
    assert "Its policy fails: OSError" in said


async def test_a_policy_that_blocks_says_so_now(autojump_clock: MockClock) -> None:
    async with shop(policy=policies.block(events=5, seconds=60)) as (server, live), stalled(server):
        await fall_behind(live)
        sentences = live.explain(last(live)).sentences
    assert "Its policy says block." in sentences
    assert any("its policy stepped in in orders/A123: block, 10 events" in sentence for sentence in sentences)


async def test_a_client_that_retention_has_passed_is_told_so(autojump_clock: MockClock) -> None:
    async with shop(Limits(keep_events=5)) as (server, live), stalled(server):
        await fall_behind(live)
        assert "Retention has passed it there" in str(live.explain(last(live)))


async def test_a_gap_is_remembered_with_what_it_left_out(autojump_clock: MockClock) -> None:
    async with shop(Limits(keep_events=10)) as (server, live):
        events = await live.publish_many(ORDER, list(range(30)))
        async with server.websocket(f"{ORDERS}?after={events[4].cursor}") as client:
            gap = await client.until("gap")
            await client.until("live")
            await trio.sleep(4)
            told = live.explain(last(live))
    between = f"{gap['from']} to {gap['to']}"
    assert told.verdict == "up to date"
    assert f"4.0 s ago it was told of a gap in orders/A123: expired, {between}, 15 events missed." in told.sentences


async def test_a_skip_is_remembered_and_that_the_client_caught_up(autojump_clock: MockClock) -> None:
    async with shop(policy=policies.skip(events=5)) as (server, live), stalled(server) as client:
        await fall_behind(live)
        await read_all(client)
        told = live.explain(last(live))
    happened = [happening.what for happening in told.connection.happenings]
    assert happened == ["fell behind", "policy", "gap", "caught up"]
    assert "skipped" in str(told)


async def test_only_the_last_things_that_happened_are_remembered(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), stalled(server) as client:
        for _ in range(20):
            await live.publish_many(ORDER, [BIG] * 2)
            await read_all(client)
        assert len(live.explain(last(live)).connection.happenings) == 16


async def test_a_client_that_was_closed_as_slow_is_explained_afterwards(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), stalled(server):
        await fall_behind(live)
        slow = last(live)
        await trio.sleep(12)
        told = live.explain(slow)
    assert told.verdict == "closed"
    assert told.sentences[0].endswith("ended 5.0 s ago, after it had been open for 10.0 s: 4408 slow.")
    assert "Its kernel took nothing for limits.stall_seconds" in told.sentences[1]
    assert "In orders/A123 it was 10 events and 9.0 s behind, for 10.0 s by then." in told.sentences


async def test_a_client_that_closed_by_itself_is_said_to_have_said_goodbye(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), peer(server, ORDERS) as client:
        await client.until("live")
        left = last(live)
        await client.send(CLOSE, (1001).to_bytes(2, "big"))
        await client.ended()
        told = live.explain(left)
    assert told.sentences[0].endswith("1001 closed by the client.")
    assert told.sentences[1] == "The client said goodbye."


async def test_a_handler_that_takes_nothing_is_named(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(inbox_messages=2))
    seen: list[int] = []

    @live.socket("/asleep")
    async def asleep(conn: Connection) -> None:
        seen.append(conn.id)
        await trio.sleep_forever()

    async with serve(app) as server, peer(server, "/asleep") as client:
        for n in range(4):
            await client.say(type="message", data=n)
        await trio.sleep(1)
        assert "The app's handler does not take its messages" in str(live.explain(seen[0]))
        await client.ended()
        assert "The app's handler had not taken its messages." in live.explain(seen[0]).sentences


async def test_a_client_behind_in_many_channels_is_told_of_the_worst(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(stall_seconds=1_000, silence_seconds=2_000))

    @live.socket("/many")
    async def many(conn: Connection) -> None:
        for n in range(6):
            await conn.follow(f"orders/{n}")
        await trio.sleep_forever()

    async with serve(app) as server, peer(server, "/many", kernel_bytes=SMALL) as client:
        for _ in range(6):
            await client.until("live")
        for n in range(6):
            await live.publish_many(f"orders/{n}", [BIG] * 2)
            await trio.sleep(1)
            await live.publish_many(f"orders/{n}", [BIG] * (n + 1))
            await trio.sleep(1)
        text = str(live.explain(last(live)))
    assert "In orders/5 it is 8 events" in text
    assert "orders/1" not in text
    assert "It is behind in 3 more of its 6 channels." in text


async def test_an_unknown_connection_is_an_error_that_says_where_ids_come_from(autojump_clock: MockClock) -> None:
    async with shop() as (_, live):
        with pytest.raises(UnknownConnectionError, match="none of the last 256 that ended"):
            live.explain(10**9)


async def test_only_the_last_connections_that_ended_are_known(autojump_clock: MockClock) -> None:
    async with shop(Limits(ended_connections=2)) as (server, live):
        ids = []
        for _ in range(3):
            async with server.websocket(ORDERS) as client:
                await client.until("live")
                ids.append(last(live))
            await trio.sleep(1)
        with pytest.raises(UnknownConnectionError):
            live.explain(ids[0])
        assert [live.explain(id_).verdict for id_ in ids[1:]] == ["closed", "closed"]


def test_every_closing_has_a_sentence_that_says_why() -> None:
    assert WHY.keys() == set(CATALOGUE)
