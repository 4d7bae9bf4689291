"""What waits for the writer besides events: in which order it is taken, what it holds, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet.bounds import WRITE_BYTES
from triolet.budget import Budget
from triolet.closing import FLOOD, NORMAL
from triolet.connection.ending import Ending
from triolet.connection.holding import Holding
from triolet.connection.outgoing import Outgoing
from triolet.errors import ConnectionEnded
from triolet.limits import Limits
from triolet.sockets.direct_outlet import DirectOutlet
from triolet.sockets.turn import Turn
from triolet.testing.network import ClientEnd, link_pair
from triolet.wire.codec import WEBSOCKET
from triolet.wire.messages import Refused

REFUSED = WEBSOCKET.say(Refused("/x"))


@dataclass
class Slow:
    """The outgoing of a client whose kernel is full, and what surrounds it."""

    outgoing: Outgoing
    ending: Ending
    budget: Budget
    client: ClientEnd


def slow(limits: Limits | None = None) -> Slow:
    client, link = link_pair(kernel_bytes=2)
    budget, ending = Budget(1 << 30), Ending()
    outlet = DirectOutlet(link, Budget(1 << 30))
    outlet.write(b"xxx")
    return Slow(
        Outgoing(limits or Limits(), WEBSOCKET, outlet, ending, Holding(budget), Turn()), ending, budget, client
    )


async def test_the_pong_comes_first_then_answers_then_the_apps_messages() -> None:
    one = slow()
    await one.outgoing.send(b"app 1")
    one.outgoing.answer(Refused("/x"))
    await one.outgoing.send(b"app 2")
    one.outgoing.control(b"an older pong")
    one.outgoing.control(b"pong")
    taken = [one.outgoing.take() for _ in range(5)]
    assert taken == [b"pong", REFUSED, b"app 1", b"app 2", None]


async def test_what_the_app_says_does_not_get_ahead_of_an_answer_that_waits() -> None:
    turn, (_, link), budget = Turn(), link_pair(), Budget(1 << 30)
    turn.runs = True
    outlet = DirectOutlet(link, budget)
    outgoing = Outgoing(Limits(), WEBSOCKET, outlet, Ending(), Holding(budget), turn)
    outgoing.answer(Refused("/x"))
    assert not outgoing.say(b"app")
    await outgoing.send(b"app")
    assert [outgoing.take(), outgoing.take()] == [REFUSED, b"app"]


async def test_what_waits_is_counted_until_it_is_taken() -> None:
    one = slow()
    await one.outgoing.send(b"12345")
    one.outgoing.answer(Refused("/x"))
    assert one.budget.held == 5 + len(REFUSED)
    while one.outgoing.take() is not None:
        pass
    assert one.budget.held == 0


async def test_a_client_that_asks_and_does_not_read_is_given_up() -> None:
    one = slow(Limits(follows=3))
    for _ in range(4):
        one.outgoing.answer(Refused("/x"))
    assert one.ending.closing is None
    one.outgoing.answer(Refused("/x"))
    assert one.ending.closing is FLOOD


async def test_a_send_that_waits_and_is_cancelled_holds_nothing(autojump_clock: MockClock) -> None:
    one = slow(Limits(outbox_messages=1))
    await one.outgoing.send(b"1")
    with trio.move_on_after(1) as patience:
        await one.outgoing.send(b"22")
    assert patience.cancelled_caught
    assert one.budget.held == 1
    assert [one.outgoing.take(), one.outgoing.take()] == [b"1", None]


async def test_what_was_sent_is_kept_for_the_last_words_with_what_waited() -> None:
    one = slow(Limits(outbox_messages=2))
    async with trio.open_nursery() as nursery:
        for n in range(5):  # three of them wait
            nursery.start_soon(one.outgoing.send, b"%d" % n)
            await wait_all_tasks_blocked()
        one.ending.end(NORMAL)
        one.outgoing.close()
    assert [one.outgoing.take() for _ in range(2)] == [b"01234", None]
    with pytest.raises(ConnectionEnded):
        await one.outgoing.send(b"too late")


async def test_answers_that_wait_are_among_the_last_words_before_what_the_app_said() -> None:
    one = slow()
    await one.outgoing.send(b"app")
    one.outgoing.answer(Refused("/x"))
    one.outgoing.close()
    assert [one.outgoing.take() for _ in range(2)] == [REFUSED + b"app", None]
    assert one.budget.held == 0


async def test_answers_that_wait_are_taken_together_and_not_without_end() -> None:
    one = slow()
    long = Refused("/" + "x" * WRITE_BYTES)
    for message in (Refused("/x"), Refused("/x"), long, Refused("/x")):
        one.outgoing.answer(message)
    assert [one.outgoing.take() for _ in range(4)] == [2 * REFUSED, WEBSOCKET.say(long), REFUSED, None]
    assert one.budget.held == 0


async def test_the_writer_is_started_when_there_is_something_to_take_and_sleeps_until_there_is_more() -> None:
    one = slow()
    started = []

    async def write() -> None:
        started.append("writer")
        await one.outgoing.woken()

    one.outgoing.answer(Refused("/x"))  # before there is a nursery
    async with trio.open_nursery() as nursery:
        one.ending.begin(nursery)
        one.outgoing.begin(partial(nursery.start_soon, write))
        assert one.outgoing.waits
        one.outgoing.wake()
        one.outgoing.answer(Refused("/x"))
        await wait_all_tasks_blocked()
        assert started == ["writer"]
        assert nursery.child_tasks
        one.outgoing.control(b"pong")
        await wait_all_tasks_blocked()
        assert not nursery.child_tasks
        assert started == ["writer"]


async def test_no_writer_is_started_in_a_nursery_that_is_cancelled() -> None:
    one = slow()
    async with trio.open_nursery() as nursery:
        one.ending.begin(nursery)
        one.outgoing.begin(partial(nursery.start_soon, trio.sleep_forever))
        nursery.cancel_scope.cancel()
        one.outgoing.answer(Refused("/x"))
        assert not nursery.child_tasks
