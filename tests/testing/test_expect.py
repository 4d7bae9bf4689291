"""What a failed expectation tells: what was expected, what came, the nearest, and the dialogue with virtual times."""

from __future__ import annotations

from contextlib import AsyncExitStack
from textwrap import dedent
from typing import Any
from unittest.mock import ANY

import pytest
import trio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import Limits
from triolet.log import MemoryLog
from triolet.testing.client_sse import SseClient
from triolet.testing.clients import MOST_NOTES, Message
from triolet.testing.server import serve
from triolet.testing.transcript import KEPT, SHOWN, Transcript, differences, tell


def shop() -> Any:
    """The shop, with a log whose epoch and hour are known."""
    return make_shop(log=MemoryLog(Limits(), clock=lambda: 1_000.0, epoch="e"))


def text(template: str) -> str:
    """A report as it is to be, without the margin it has here."""
    return dedent(template).strip("\n")


def said(error: BaseException) -> str:
    """A report as it is, but for the cursors and times of beats."""
    return "\n".join(line.rstrip() for line in str(error).splitlines() if "beat" not in line)


async def test_what_is_expected_is_returned(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.sse(ORDERS) as page:
        await trio.sleep(100)  # beats are passed over, and so are open and live
        await live.publish(ORDER, {"state": "paid", "sum": 0.1 + 0.2}, name="status")
        event = await page.expect(event="status", data={"state": "paid", "sum": pytest.approx(0.3)}, id=ANY)
        assert (event["id"], page.cursor) == ("e.1", "e.1")
        server.stop.set()
        await page.expect("bye", code=1012)


async def test_another_message_than_was_expected(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.sse(ORDERS, after=0) as page:
        await page.until("live")
        await live.publish(ORDER, {"state": "paid"}, name="status")
        await page.expect(data={"state": "paid"})
        await trio.sleep(30)
        await live.publish(ORDER, {"state": "packed"}, name="status")
        with pytest.raises(AssertionError) as raised:
            await page.expect(event="status", data={"state": "paid"}, color="red")
    assert said(raised.value) == text(
        """
        expected  event  event='status' data={'state': 'paid'} color='red'
        but came  event  channel='orders/A123' id='e.2' event='status' data={'state': 'packed'} time=1000000
                  data: expected {'state': 'paid'}, got {'state': 'packed'}
                  color: expected 'red', and there is none
        nearest   event  channel='orders/A123' id='e.1' event='status' data={'state': 'paid'} time=1000000
                  came at 0.000 s, and was taken before
                  color: expected 'red', and there is none

        sse /orders/A123/events from 198.18.0.1, cursor e.2, open
               0.000 s -> GET /orders/A123/events?after=0
               0.000 s <- open   channel='orders/A123' cursor='e.0'
               0.000 s <- live   channel='orders/A123' cursor='e.0'
               0.000 s <- event  channel='orders/A123' id='e.1' event='status' data={'state': 'paid'} time=1000000
              30.000 s <- event  channel='orders/A123' id='e.2' event='status' data={'state': 'packed'} time=1000000
        """
    )


async def test_nothing_in_time(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.long_poll(ORDERS, wait=20) as page:
        await trio.sleep(1.5)
        await live.publish(ORDER, 1)
        await page.expect(data=1)
        with pytest.raises(AssertionError) as raised:
            await page.expect(data=2, within=30)
        assert trio.current_time() == 31.5
    assert said(raised.value) == text(
        """
        expected  event  data=2
        but nothing came within 30 s
        nearest   event  channel='orders/A123' id='e.1' event='message' data=1 time=1000000
                  came at 1.500 s, and was taken before
                  data: expected 2, got 1

        long poll /orders/A123/events from 198.18.0.1, cursor e.1, open
               0.000 s -> GET /orders/A123/events
               0.000 s <- open   channel='orders/A123' cursor='e.0'
               0.000 s <- live   channel='orders/A123' cursor='e.0'
               0.000 s -> GET /orders/A123/events?after=e.0&wait=20
               1.500 s <- event  channel='orders/A123' id='e.1' event='message' data=1 time=1000000
               1.500 s -> GET /orders/A123/events?after=e.1&wait=20
              21.500 s -- 200: nothing new
              21.500 s -> GET /orders/A123/events?after=e.1&wait=20
        """
    )


async def test_an_end_in_place_of_a_message(autojump_clock: MockClock) -> None:
    app, _ = shop()
    async with serve(app) as server, server.websocket("/warehouse") as socket:
        await socket.say(type="message", data=1)
        await socket.expect("message", data={"echo": 1})
        socket.cut()
        with pytest.raises(AssertionError) as raised:
            await socket.expect("message", data={"echo": 2})
    assert said(raised.value) == text(
        """
        expected  message data={'echo': 2}
        but the connection had ended: cut
        nearest   message data={'echo': 1}
                  came at 0.000 s, and was taken before
                  data: expected {'echo': 2}, got {'echo': 1}

        websocket /warehouse from 198.18.0.1, cursor None, ended: cut
               0.000 s -> upgrade /warehouse
               0.000 s -> message data=1
               0.000 s <- open   channel=None cursor=None
               0.000 s <- message data={'echo': 1}
               0.000 s -- cut
        """
    )


async def test_what_was_expected_waits_behind_what_came(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.sse(ORDERS, after=0) as page:
        await live.publish_many(ORDER, [1, 2])
        await trio.sleep(1)
        with pytest.raises(AssertionError, match=r"(?s)but came  event .*data=1.*came at 0\.000 s, and is still to be"):
            await page.expect(data=2)
        await page.expect(data=2)


async def test_a_gap_where_an_event_was_expected(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server:
        await live.publish(ORDER, 1)
        async with server.sse(ORDERS, after="d.1") as page:
            with pytest.raises(AssertionError, match="type: expected 'event', got 'gap'"):
                await page.expect()
        async with server.sse(ORDERS, after="d.1") as page:
            await page.expect("gap", from_="d.1", reason="epoch")


async def test_nothing_is_expected(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.websocket(ORDERS) as page:
        await page.nothing_for(600)
        assert trio.current_time() == 600
        await live.publish(ORDER, 1)
        with pytest.raises(AssertionError, match=r"expected  nothing for 600 s\nbut came  event .*data=1"):
            await page.nothing_for(600)
        server.stop.set()
        with pytest.raises(AssertionError, match="but came  bye"):
            await page.nothing_for(600)
        with pytest.raises(AssertionError, match="the connection had ended: closed by the server: 1012"):
            await page.nothing_for(600)


async def test_a_message_of_a_type_is_waited_for(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.sse(ORDERS) as page, server.long_poll("/orders/B/events") as quiet:
        await page.until("live")
        await quiet.until("live")
        await live.publish(ORDER, 1)
        await page.until("event")
        with pytest.raises(AssertionError, match="expected  event\nbut none came within 5 s"):
            await page.until("event", within=5)
        with pytest.raises(AssertionError, match="expected  a message\nbut none came within 5 s"):
            await quiet.next(within=5)
        server.stop.set()
        with pytest.raises(AssertionError, match="expected  event\nbut the connection had ended: the stream ended"):
            await page.until("event")


async def test_a_message_with_such_fields_is_waited_for(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.sse(ORDERS) as page:
        await live.publish_many(ORDER, [1, 2, 3])
        assert (await page.until("event", data=2))["data"] == 2
        with pytest.raises(AssertionError, match=r"expected  event  data=1\nbut none came within 5 s"):
            await page.until("event", data=1, within=5)
        assert [message["data"] for message in page.heard if message["type"] == "event"] == [1, 2, 3]


async def test_what_has_come_has_come_in_no_time(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.sse(ORDERS) as page:
        await page.until("live")
        await live.publish_many(ORDER, [1, 2, 3, 4])
        await trio.sleep(1)
        await page.expect(data=1, within=0)
        assert (await page.next(within=0) or {})["data"] == 2
        await page.until("event", within=0)
        with pytest.raises(AssertionError, match="expected  nothing for 0 s\nbut came  event"):
            await page.nothing_for(0)
        await page.nothing_for(0)
        with pytest.raises(AssertionError, match="but nothing came within 0 s"):
            await page.expect(within=0)


async def test_what_never_comes_ends_a_test_all_the_same(autojump_clock: MockClock) -> None:
    app, _ = shop()
    app.add_url_rule("/never", view_func=trio.sleep_forever)
    async with serve(app) as server, server.long_poll(ORDERS) as page:
        await page.until("live")
        with pytest.raises(AssertionError, match="expected  a message\nbut none came within 3600 s"):
            await page.next()
        with pytest.raises(AssertionError, match="expected  a message"):
            await anext(page)
        with pytest.raises(trio.TooSlowError):
            await server.get("/never")


async def test_an_end_that_does_not_come_is_told(autojump_clock: MockClock) -> None:
    app, _ = shop()
    async with serve(app) as server, server.websocket(ORDERS) as page:
        with pytest.raises(AssertionError, match="expected  the end\nbut it did not come within 60 s"):
            await page.ended()


async def test_what_cannot_be_read_is_raised_at_the_latest_on_leaving(autojump_clock: MockClock) -> None:
    class Picky(SseClient):
        def hear(self, message: Message) -> None:
            if message["type"] == "event":
                raise ValueError("not to my taste")
            super().hear(message)

    app, live = shop()

    async def listen(*, takes: bool = False, fails: bool = False) -> None:
        async with Picky(server, ORDERS) as page:
            await live.publish(ORDER, 1)
            await trio.sleep(1)
            if takes:
                await page.until("event")
            assert not fails

    async with serve(app) as server:
        with pytest.raises(ValueError, match="taste"):
            await listen()
        with pytest.raises(ValueError, match="taste"):
            await listen(takes=True)
        with pytest.raises(AssertionError):  # what the test itself raises comes first
            await listen(fails=True)


async def test_an_assertion_of_the_tests_own_is_told_with_the_dialogues(autojump_clock: MockClock) -> None:
    app, _ = shop()
    async with serve(app) as server:

        async def fail() -> None:
            async with server.sse(ORDERS) as page, server.websocket(ORDERS) as other:
                await page.until("live")
                await other.until("live")
                raise AssertionError("mine")

        with pytest.raises(AssertionError) as raised:
            await fail()
        assert [note.split()[0] for note in raised.value.__notes__] == ["websocket", "sse"]


async def test_of_a_crowd_a_few_dialogues_are_told(autojump_clock: MockClock) -> None:
    app, _ = shop()

    async def fail() -> None:
        async with AsyncExitStack() as stack:
            for _ in range(10):
                await stack.enter_async_context(server.sse(ORDERS))
            raise AssertionError("mine")

    async with serve(app) as server:
        with pytest.raises(AssertionError, match="mine") as raised:
            await fail()
    assert len(raised.value.__notes__) == MOST_NOTES


async def test_what_has_told_its_dialogue_does_not_tell_it_twice(autojump_clock: MockClock) -> None:
    app, _ = shop()
    async with serve(app) as server:
        with pytest.raises(AssertionError) as raised:
            async with server.sse(ORDERS) as page:
                await page.expect(within=1)
        assert not hasattr(raised.value, "__notes__")  # it has told already


def test_a_transcript_keeps_and_shows_the_newest_lines() -> None:
    transcript = Transcript(0.0)
    assert "nothing was said" in transcript.text()
    for n in range(KEPT + 10):
        transcript.heard(float(n), {"type": "event", "data": n})
    lines = transcript.text().splitlines()
    assert len(lines) == SHOWN + 1
    assert lines[0].split() == ["…", f"{KEPT - SHOWN}", "lines", "before"]
    assert lines[-1].endswith(f"data={KEPT + 9}")
    assert transcript.nearest("event", {"data": 0}) == (KEPT + 9, {"type": "event", "data": KEPT + 9})
    assert transcript.nearest("gap", {"reason": "epoch"}) is None


def test_long_values_are_cut_and_every_difference_is_told() -> None:
    message = {"type": "event", "data": "x" * 1_000}
    assert tell(message) == f"event  data='{'x' * 119} … {'x' * 29}' (1,002 characters)"
    assert differences(message, "event", {"data": "x" * 1_000}) == []
    assert differences(message, "gap", {"data": 1}) == ["type: expected 'gap', got 'event'"]
    assert len(differences(message, "event", {"data": 1, "id": 2})) == 2
