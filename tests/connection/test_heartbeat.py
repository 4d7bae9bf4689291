"""Beats, and clients that went without a word: to the second."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from tests.middleware import stand_before
from tests.peer import CLOSE, PING, PONG, TEXT, encode, peer
from tests.shop import ORDER, ORDERS, make_shop
from triolet import Connection, Draft, Limits
from triolet.closing import CRASHED
from triolet.connection import heartbeat
from triolet.log import MemoryLog
from triolet.testing import slow_reader
from triolet.testing.scripted import ScriptedLog, slow
from triolet.testing.server import MemoryServer, serve


async def test_a_quiet_websocket_hears_a_beat_every_beat_seconds(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(beat_seconds=20))
    async with serve(app) as server, server.websocket(ORDERS) as client:
        head = (await client.until("live"))["cursor"]
        times = []
        for _ in range(4):
            await client.expect("beat", cursors={ORDER: head})
            times.append(trio.current_time())
        assert 0 < times[0] <= 20
        assert times == pytest.approx([times[0] + 20 * n for n in range(4)])


async def test_clients_that_connect_together_do_not_beat_together(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(beat_seconds=20))
    times = []

    async def hear(server: MemoryServer) -> None:
        async with server.websocket(ORDERS) as client:
            await client.until("beat")
            times.append(trio.current_time())

    async with serve(app) as server, trio.open_nursery() as nursery:
        for _ in range(80):
            nursery.start_soon(hear, server)
    quarters = [sum(5 * n < time <= 5 * n + 5 for time in times) for n in range(4)]
    assert sum(quarters) == 80
    assert min(quarters) >= 8


@pytest.mark.parametrize("pause", [0.1, 3, 9, 9.9, 10.1, 11, 17, 19.9, 20.1, 27, 33])
async def test_a_client_hears_something_every_beat_seconds_and_no_beat_behind_an_event(
    pause: float, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(beat_seconds=20))
    async with serve(app) as server, server.websocket(ORDERS) as client, trio.open_nursery() as nursery:

        async def publish() -> None:
            while True:
                await trio.sleep(pause)
                await live.publish(ORDER, 1)

        await client.until("live")
        await client.until("beat")  # the first one is early
        nursery.start_soon(publish)
        heard = [("beat", trio.current_time())]
        while trio.current_time() < 500 and (message := await client.next()) is not None:
            heard.append((message["type"], trio.current_time()))
        nursery.cancel_scope.cancel()
        waits = [(kind, time - before) for (_, before), (kind, time) in pairwise(heard)]
        assert max(wait for _, wait in waits) <= 20.001
        assert min((wait for kind, wait in waits if kind == "beat"), default=20) >= 9.999


async def test_a_websocket_that_talks_is_neither_pinged_nor_told_a_second_beat(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(beat_seconds=20))
    frames, texts = [], []
    async with serve(app) as server, peer(server, "/warehouse") as client, trio.open_nursery() as nursery:

        async def talk() -> None:
            while True:
                await trio.sleep(1)
                await client.say(type="message", data=1)

        assert (await client.message())["type"] == "open"
        nursery.start_soon(talk)
        while trio.current_time() < 200:
            frame = await client.frame()
            assert frame is not None
            frames.append(frame.opcode)
            texts.append(json.loads(frame.payload)["type"])
        nursery.cancel_scope.cancel()
    assert set(frames) == {TEXT}
    assert texts.count("beat") == 1


async def test_a_websocket_that_only_listens_is_pinged_every_beat_seconds(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(beat_seconds=20))
    pings = []
    async with serve(app) as server, peer(server, ORDERS) as client, trio.open_nursery() as nursery:

        async def publish() -> None:
            while True:
                await trio.sleep(1)
                await live.publish(ORDER, 1)

        nursery.start_soon(publish)
        while trio.current_time() < 200:
            frame = await client.frame()
            assert frame is not None
            if frame.opcode == PING:
                pings.append(trio.current_time())
                await trio.sleep(0.1)  # its way here, and that of the answer
                await client.send(PONG)
        nursery.cancel_scope.cancel()
    assert 0 < pings[0] <= 20
    assert pings == pytest.approx([pings[0] + 20 * n for n in range(len(pings))])


async def test_one_that_stops_talking_is_pinged_and_found_silent_in_time(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(beat_seconds=20, silence_seconds=50))
    async with serve(app) as server, peer(server, "/warehouse") as client:
        for _ in range(70):
            await trio.sleep(1)
            await client.say(type="message", data=1)
        last, pings = trio.current_time(), []
        while (frame := await client.frame()) is not None and frame.opcode != CLOSE:
            if frame.opcode == PING:
                pings.append(trio.current_time() - last)
        assert trio.current_time() == pytest.approx(last + 50)
        assert 0 < pings[0] <= 20


async def test_while_the_process_stood_still_nobody_was_silent(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(beat_seconds=20, silence_seconds=50))
    async with serve(app) as server, peer(server, "/warehouse") as client:
        await client.say(type="message", data=1)
        await trio.sleep(5)
        autojump_clock.jump(100)
        pings: list[float] = []
        while len(pings) < 5:
            frame = await client.frame()
            assert frame is not None
            assert frame.opcode != CLOSE
            if frame.opcode == PING:
                pings.append(trio.current_time())
                await client.send(PONG)
        last = trio.current_time()
        assert 105 <= pings[0] <= 125
        while (frame := await client.frame()) is not None and frame.opcode != CLOSE:
            pass
        assert trio.current_time() == pytest.approx(last + 50)


@pytest.mark.parametrize("path", [ORDERS, "/raw"])
async def test_a_process_that_is_always_late_finds_who_is_silent(path: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(beat_seconds=20, silence_seconds=50))
    async with serve(app) as server, peer(server, path):
        for _ in range(40):
            await trio.sleep(5)
            assert server.connections == 1 or trio.current_time() > 50
            autojump_clock.jump(25)
        await trio.sleep(1)
        assert server.connections == 0


@pytest.mark.parametrize("late", [0.01, 60])
@pytest.mark.parametrize("middleware", [False, True], ids=["straight", "middleware"])
@pytest.mark.parametrize("path", [ORDERS, "/raw"])
async def test_a_pong_that_lies_there_when_the_time_is_over_counts(
    path: str, middleware: bool, late: float, autojump_clock: MockClock
) -> None:
    app, _ = make_shop(Limits(beat_seconds=20, silence_seconds=50))
    if middleware:
        stand_before(app)
    async with serve(app) as server, peer(server, path) as client:
        await trio.sleep(49.9)
        client.stream.connection.client.send(encode(PONG))
        autojump_clock.jump(0.1 + late)
        await trio.sleep(1)
        assert server.connections == 1


async def test_a_heartbeat_that_fails_ends_its_own_connection_and_no_other(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.websocket(ORDERS) as broken, server.websocket(ORDERS) as other:
        await broken.until("live")
        await other.until("live")
        wrong, write = min(live.service.context.registry.open), heartbeat._write

        def write_or_fail(conn: Connection, said: bool, pinged: bool) -> None:
            if conn.id == wrong:
                raise ZeroDivisionError
            write(conn, said, pinged)

        monkeypatch.setattr(heartbeat, "_write", write_or_fail)
        assert (await broken.ended())[0] == CRASHED.code
        for _ in range(3):
            await other.until("beat")
        assert list(live.service.context.registry.open) == [wrong + 1]
        assert live.service.server.counters.crashes == 1
    assert "a connection crashed: ZeroDivisionError" in caplog.text


async def test_a_quiet_event_stream_hears_a_beat_and_keeps_its_place(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(beat_seconds=20))
    async with serve(app) as server, server.events(ORDERS) as stream:
        await stream.own("live")
        event = await live.publish(ORDER, 1)
        await stream.event()
        block = await stream.block()
        assert block is not None
        assert (block["event"], block["id"]) == ("triolet.beat", str(event.cursor))
        assert json.loads(block["data"])["cursors"] == {ORDER: str(event.cursor)}
        assert trio.current_time() <= 20


async def test_a_beat_says_the_servers_time_in_ms(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        beat = await client.until("beat")
        assert beat["time"] > 1_700_000_000_000
        assert beat["cursors"] == {}


async def test_a_beat_says_how_far_each_of_many_channels_was_sent(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.websocket("/live") as client:
        ids = {}
        for order in ("A1", "A2"):
            ids[f"orders/{order}"] = str((await live.publish(f"orders/{order}", 1)).cursor)
            await client.say(type="follow", url=f"/orders/{order}/events", after=0)
        assert (await client.until("beat"))["cursors"] == ids


async def test_who_unfollows_hears_the_next_beat_no_later_for_it(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(beat_seconds=20))
    orders = [f"A{n}" for n in range(5)]
    async with serve(app) as server, server.websocket("/live") as client:
        for order in orders:
            await live.publish_many(f"orders/{order}", [Draft.of(n) for n in range(5)])
            await client.say(type="follow", url=f"/orders/{order}/events", after=0)
        await client.until("beat")
        first = trio.current_time()
        for n in range(1, 5):
            await trio.sleep(4 * n)  # before and after the middle of the time between two beats
            await client.say(type="unfollow", channel=f"orders/A{n}")
            await client.until("beat")
            assert trio.current_time() == pytest.approx(first + 20 * n)


async def test_a_raw_socket_hears_pings_and_no_beats(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(beat_seconds=20, silence_seconds=100))  # it answers none
    async with serve(app) as server, peer(server, "/raw") as client:
        frame = await client.frame()
        assert frame is not None
        assert frame.opcode == PING
        first = trio.current_time()
        assert first <= 20
        assert await client.frame() == frame
        # Where the first look was too early for a ping, this one is half a beat behind it, when a beat would be sent.
        second = trio.current_time()
        assert second in (pytest.approx(first + 10), pytest.approx(first + 20))
        assert await client.frame() == frame
        assert trio.current_time() == pytest.approx(second + 20)


@pytest.mark.parametrize("path", [ORDERS, "/live", "/raw", "/warehouse"])
async def test_a_websocket_that_says_nothing_is_gone_at_silence_seconds(path: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(beat_seconds=20, silence_seconds=50))
    async with serve(app) as server, peer(server, path) as client:
        await trio.sleep(49.999)
        assert server.connections == 1
        assert await client.ended() == 4409
        assert trio.current_time() == pytest.approx(50)


async def test_who_waits_to_be_let_in_is_not_silent(autojump_clock: MockClock) -> None:
    """The log may be away for long; nobody can say anything before the handshake is answered."""
    log = ScriptedLog(MemoryLog(), [slow("read", before=20)])
    app, _ = make_shop(Limits(beat_seconds=6, silence_seconds=15), log=log)
    async with serve(app) as server, peer(server, ORDERS) as client:
        let_in_at = trio.current_time()
        assert let_in_at >= 20
        assert await client.ended() == 4409
        assert trio.current_time() == pytest.approx(let_in_at + 15)


async def test_a_beat_says_nothing_of_a_channel_that_is_not_open_yet(autojump_clock: MockClock) -> None:
    log = ScriptedLog(MemoryLog())
    app, live = make_shop(Limits(beat_seconds=6), log=log)
    async with serve(app) as server, server.websocket("/live") as client:
        await client.next()
        event = await live.publish(ORDER, 1)
        async with server.websocket(ORDERS) as other:  # so that the channel is in memory, without that event
            await other.until("live")
            with log.having(slow("read", before=20)):
                await client.say(type="follow", url=ORDERS, after=0)
                for _ in range(3):
                    assert (await client.until("beat"))["cursors"] == {}
            await client.until("live")
            assert (await client.until("beat"))["cursors"] == {ORDER: str(event.cursor)}


async def test_any_word_of_a_client_is_a_sign_of_life(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(silence_seconds=50))
    async with serve(app) as server, peer(server, "/warehouse") as client:
        for opcode, payload in ((PONG, ""), (PING, ""), (TEXT, '{"type":"message","data":1}')):
            await trio.sleep(49)
            await client.send(opcode, payload)
        assert await client.ended() == 4409
        assert trio.current_time() == pytest.approx(3 * 49 + 50)


async def test_a_client_that_answers_pings_stays(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, server.websocket(ORDERS) as client:
        for _ in range(100):
            await client.until("beat")
        assert 1_980 <= trio.current_time() <= 2_000


async def test_an_event_stream_needs_no_sign_of_life(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, server.events(ORDERS) as stream:
        for _ in range(100):
            assert await stream.own("beat")
        assert 1_980 <= trio.current_time() <= 2_000


async def test_a_ping_is_answered_with_its_payload(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, peer(server, "/raw") as client:
        for payload in (b"", b"are you there?", b"\x00" * 125):
            await client.send(PING, payload)
            assert await client.frame() == (PONG, payload)


async def test_of_the_pings_of_a_client_that_does_not_read_the_last_is_answered(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, peer(server, ORDERS, kernel_bytes=1_000) as client:
        await client.until("live")
        await live.publish_many(ORDER, ["x" * 500] * 10)
        await trio.sleep(1)
        for n in range(5):
            await client.send(PING, b"%d" % n)
        await trio.sleep(1)
        pongs = []
        with trio.move_on_after(1):
            while (frame := await client.frame()) is not None:
                if frame.opcode == PONG:
                    pongs.append(frame.payload)
        assert pongs == [b"4"]


async def test_a_client_that_reads_slowly_and_says_nothing_is_pinged_between_what_it_reads(
    autojump_clock: MockClock,
) -> None:
    app, live = make_shop(Limits(beat_seconds=20, silence_seconds=50))
    async with serve(app) as server, server.websocket(f"{ORDERS}?after=0", kernel_bytes=500) as client:
        with slow_reader(client, bytes_per_second=700):  # its outlet is full all the time
            await live.publish_many(ORDER, ["x" * 300] * 300)
            for _ in range(300):
                await client.until("event", within=120)
        assert trio.current_time() > 150


async def test_a_pong_that_waits_for_room_is_not_lost_for_a_ping(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(beat_seconds=20, silence_seconds=50))
    async with serve(app) as server, peer(server, f"{ORDERS}?after=0", kernel_bytes=2_000) as client:
        await client.until("live")
        with slow_reader(client.stream, bytes_per_second=600):
            await live.publish(ORDER, "x" * 30_000)
            await trio.sleep(1)
            await client.send(PING, b"mine")
            while (frame := await client.frame()) is not None and frame.opcode != PONG:
                pass
            assert frame == (PONG, b"mine")
            assert trio.current_time() > 40
