"""What a client sends: what is taken, and where it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.peer import BINARY, PING, PONG, TEXT, encode, peer
from tests.shop import ORDER, ORDERS, make_shop
from triolet import Connection, Limits
from triolet.connection.reader import MessageHandler
from triolet.testing.server import serve


def message(data: Any) -> str:
    return json.dumps({"type": "message", "data": data})


async def test_a_message_comes_to_the_handler_and_its_answer_back(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, server.websocket("/warehouse") as client:
        for data in (1, None, "text", {"a": [1, 2]}, "x" * 100_000):
            await client.say(type="message", data=data)
            assert (await client.until("message"))["data"] == {"echo": data}


async def test_a_message_in_fragments_is_one_message(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, peer(server, "/warehouse") as client:
        text = message("in pieces")
        await client.send(TEXT, text[:5], fin=False)
        await client.send(0, text[5:9], fin=False)
        await client.send(PING, b"between")
        await client.send(0, text[9:])
        assert (await client.until("message"))["data"] == {"echo": "in pieces"}


async def test_a_message_may_come_byte_by_byte(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, peer(server, "/warehouse") as client:
        for byte in encode(TEXT, message("slowly")):
            await client.stream.send_all(bytes([byte]))
            await trio.sleep(0.1)
        assert (await client.until("message"))["data"] == {"echo": "slowly"}


WRONG = {
    "binary where JSON is spoken": (encode(BINARY, message(1)), 1003),
    "not UTF-8": (encode(TEXT, b'{"type":"message","data":"\xff"}'), 1007),
    "not UTF-8 over fragments": (encode(TEXT, b"\xc3", fin=False) + encode(0, b"\xc3"), 1007),
    "not masked": (encode(TEXT, message(1), mask=False), 1002),
    "a reserved opcode": (encode(3, b""), 1002),
    "a reserved bit": (b"\xc1\x80\x00\x00\x00\x00", 1002),
    "a ping in fragments": (encode(PING, b"", fin=False), 1002),
    "a ping too long": (encode(PING, b"x" * 126), 1002),
    "a fragment of nothing": (encode(0, b"x"), 1002),
    "a message within a message": (encode(TEXT, b"{", fin=False) + encode(TEXT, b"}"), 1002),
    "no JSON": (encode(TEXT, "hello"), 1008),
    "JSON of another shape": (encode(TEXT, '{"type":"event","data":1}'), 1008),
    "too deep": (encode(TEXT, '{"type":"message","data":' + "[" * 40 + "]" * 40 + "}"), 1008),
    "no cursor": (encode(TEXT, '{"type":"follow","url":"/orders/A1/events","after":"a.b.c"}'), 1008),
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_client_that_breaks_a_rule_is_told_which_and_no_other_notices(
    what: str, autojump_clock: MockClock
) -> None:
    data, code = WRONG[what]
    app, _ = make_shop()
    async with serve(app) as server, server.websocket("/warehouse") as bystander:
        async with peer(server, "/warehouse") as client:
            await client.stream.send_all(data)
            assert await client.ended() == code
        assert trio.current_time() < 3
        assert server.worker.crashes == 0
        await bystander.say(type="message", data=what)
        assert (await bystander.until("message"))["data"] == {"echo": what}


async def test_what_came_before_a_broken_rule_is_still_answered(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, peer(server, "/warehouse") as client:
        await client.stream.send_all(encode(PING, b"first") + encode(3, b""))
        frames = [frame async for frame in _frames(client)]
        assert (PONG, b"first") in frames
        assert frames[-1].payload[:2] == (1002).to_bytes(2, "big")


async def _frames(client: Any) -> Any:
    while (frame := await client.frame()) is not None:
        yield frame


@pytest.mark.parametrize("size", [101, 70_000, 1 << 40])
async def test_a_message_over_the_bound_is_refused_when_its_head_is_there(size: int, autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(message_bytes=100))
    async with serve(app) as server, peer(server, "/warehouse") as client:
        await client.stream.send_all(
            b"\x81\xff" + size.to_bytes(8, "big") if size > 65_535 else encode(TEXT, b"x" * size)
        )
        assert await client.ended() == 1009


async def test_a_message_over_the_bound_is_refused_in_fragments_too(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(message_bytes=100))
    async with serve(app) as server, peer(server, "/warehouse") as client:
        await client.send(TEXT, b"x" * 60, fin=False)
        await client.send(0, b"x" * 60, fin=False)
        assert await client.ended() == 1009


async def test_a_message_in_too_many_fragments_is_refused(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(message_fragments=128))
    async with serve(app) as server, peer(server, "/warehouse") as client:
        await client.stream.send_all(encode(TEXT, b"", fin=False) + encode(0, b"", fin=False) * 127)
        await trio.sleep(1)
        assert server.connections == 1
        await client.send(0, b"", fin=False)
        assert await client.ended() == 1008


@pytest.mark.parametrize("begun", [b"\x81", b"\x81\x85\x00\x00\x00\x00ab", encode(TEXT, b"ab", fin=False)])
async def test_a_message_that_is_begun_has_so_many_seconds_to_be_finished(
    begun: bytes, autojump_clock: MockClock
) -> None:
    app, _ = make_shop(Limits(message_seconds=10))
    async with serve(app) as server, peer(server, "/warehouse") as client:
        await trio.sleep(5)
        await client.stream.send_all(begun)
        await trio.sleep(9)
        await client.send(PING) if len(begun) > 8 else None
        await trio.sleep(0.999)
        assert server.connections == 1
        assert await client.ended() == 1008
        assert trio.current_time() == pytest.approx(15)


async def test_a_client_that_begins_its_next_message_with_the_end_of_the_last_is_not_out_of_time(
    autojump_clock: MockClock,
) -> None:
    app, _ = make_shop(Limits(message_seconds=10))
    async with serve(app) as server, peer(server, "/warehouse") as client:
        frame = encode(TEXT, message("again"))
        await client.stream.send_all(frame[:10])
        for _ in range(10):
            await trio.sleep(6)
            await client.stream.send_all(frame[10:] + frame[:10])
            assert (await client.until("message"))["data"] == {"echo": "again"}


async def test_a_message_that_came_while_the_process_stood_still_is_not_out_of_time(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(message_seconds=10))
    text = "x" * 500_000  # more than is read at once
    async with serve(app) as server, peer(server, "/warehouse", kernel_bytes=1 << 20) as client:
        frame = encode(TEXT, message(text))
        await client.stream.send_all(frame[:100])
        await trio.testing.wait_all_tasks_blocked()
        assert client.stream.connection.client.send(frame[100:]) == len(frame) - 100
        autojump_clock.jump(11)
        assert (await client.until("message"))["data"] == {"echo": text}


async def test_a_flood_of_control_frames_ends_the_connection(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(control_per_second=10))
    async with serve(app) as server, peer(server, "/warehouse") as client:
        await client.stream.send_all(encode(PING) * 40)
        await trio.sleep(1)
        assert server.connections == 1
        await client.stream.send_all(encode(PONG) * 60)
        assert await client.ended() == 1008


async def test_control_frames_at_the_allowed_pace_go_on_for_ever(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(control_per_second=10))
    async with serve(app) as server, peer(server, "/raw") as client:
        for n in range(300):
            await client.send(PING, b"%d" % n)
            await trio.sleep(0.11)
        pongs = [(await client.frame()) for _ in range(300)]
        assert pongs[-1] in [
            (PONG, b"%d" % n) for n in (299, 298, 297)
        ]  # one or two pings of the server's are among them


async def test_a_flood_of_messages_is_read_at_the_allowed_pace_and_none_is_lost(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(messages_per_second=100))
    taken: list[tuple[int, float]] = []

    @live.socket("/taker")
    async def taker(conn: Connection) -> None:
        async for n in conn:
            taken.append((n, trio.current_time()))

    async with serve(app) as server, peer(server, "/taker") as client:
        for n in range(700):
            await client.send(TEXT, message(n))
        await trio.sleep(10)
        assert [n for n, _ in taken] == list(range(700))
        assert taken[199][1] == pytest.approx(0)
        assert taken[-1][1] == pytest.approx(5, abs=0.1)


async def test_others_have_their_turn_between_messages_of_many_fragments(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_row = [0]
    deliver = MessageHandler.deliver

    def counted(handler: MessageHandler, said: Any, size: int) -> Any:
        in_a_row[-1] += 1
        return deliver(handler, said, size)

    async def others() -> None:
        while True:
            in_a_row.append(0)
            await trio.lowlevel.checkpoint()

    monkeypatch.setattr(MessageHandler, "deliver", counted)
    app, _ = make_shop()
    fragments = encode(TEXT, b"", fin=False) + encode(0, b"", fin=False) * 126 + encode(0, b"")
    async with serve(app) as server, peer(server, "/raw") as client, trio.open_nursery() as nursery:
        nursery.start_soon(others)
        await client.stream.send_all(fragments * 15)
        while sum(in_a_row) < 15:
            await trio.lowlevel.checkpoint()
        assert max(in_a_row) <= 2
        nursery.cancel_scope.cancel()


async def test_a_handler_may_take_its_time(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(inbox_messages=5, stall_seconds=10))
    taken: list[int] = []

    @live.socket("/slow")
    async def slow(conn: Connection) -> None:
        async for n in conn:
            await trio.sleep(9)
            taken.append(n)

    async with serve(app) as server, peer(server, "/slow") as client:
        await client.stream.send_all(b"".join(encode(TEXT, message(n)) for n in range(12)))
        await trio.sleep(100)  # all that time there is something of the client's to be heard
        assert taken == list(range(11))


@pytest.mark.parametrize("limits", [Limits(inbox_messages=5), Limits(inbox_bytes=600)])
async def test_a_client_whose_messages_nobody_takes_is_ended_at_the_bound(
    limits: Limits, autojump_clock: MockClock
) -> None:
    app, live = make_shop(limits)

    @live.socket("/deaf")
    async def deaf(conn: Connection) -> None:
        await trio.sleep_forever()

    async with serve(app) as server, peer(server, "/deaf") as client:
        for _ in range(5):
            await client.send(TEXT, message("x" * 100))
        await trio.sleep(30)
        assert server.connections == 1
        await client.send(TEXT, message("x" * 100))
        assert await client.ended() == 1008
        assert trio.current_time() == pytest.approx(40)


async def test_a_client_that_closes_is_noticed_while_its_messages_wait(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(inbox_messages=5))

    @live.socket("/deaf")
    async def deaf(conn: Connection) -> None:
        await trio.sleep_forever()

    async with serve(app) as server:
        async with peer(server, "/deaf") as client:
            for _ in range(20):
                await client.send(TEXT, message(1))
        await trio.sleep(11)
        assert server.connections == 0


async def test_a_message_where_nobody_takes_any_is_a_bad_one(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, peer(server, "/live") as client:
        await client.send(TEXT, message(1))
        assert await client.ended() == 1008


@pytest.mark.parametrize("cursor", ["", "now", "1." * 50, "e.-1", "9" * 5_000])
async def test_an_ack_of_what_is_no_cursor_ends_the_connection(cursor: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, peer(server, ORDERS) as client:
        await client.until("live")
        await client.say(type="ack", channel=ORDER, cursor=cursor)
        assert await client.ended() == 1008


@pytest.mark.parametrize(
    ("channel", "cursor"),
    [(ORDER, "999999999"), (ORDER, "foreign.1"), (ORDER, "0"), ("another's", "1"), ("", "1"), ("x" * 10_000, "1")],
)
async def test_an_ack_of_what_was_not_sent_changes_nothing(
    channel: str, cursor: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with serve(app) as server, peer(server, ORDERS) as client:
        await client.until("live")
        await client.say(type="ack", channel=channel, cursor=cursor)
        await live.publish(ORDER, "still here")
        assert (await client.until("event"))["data"] == "still here"
        assert live.statistics().counts.acknowledged.count == 0
