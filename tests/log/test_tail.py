"""A listener of a log: bounded, never waited for, told everything since its last step."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from triolet.bounds import TAIL_BYTES
from triolet.errors import ConfigError, NotServingError
from triolet.event import Cursor, Event
from triolet.log.tail import Tail, Waiting, waiting


def _events(*offsets: int, size: int = 1) -> list[Event]:
    return [Event(Cursor("e", offset), "c", "message", b"1" * size, None, 0.0) for offset in offsets]


def _offsets(events: Sequence[Event]) -> list[int]:
    return [event.offset for event in events]


async def test_a_listener_gets_all_batches_since_its_last_step_as_one() -> None:
    tail = Tail()
    with tail.opened(), tail.listen() as listener:
        tail.announce(_events(1))
        assert _offsets(await anext(listener)) == [1]
        tail.announce(_events(2, 3))
        tail.announce(_events(4))
        assert _offsets(await anext(listener)) == [2, 3, 4]


async def test_a_waiting_listener_is_woken() -> None:
    tail = Tail()
    heard: list[int] = []

    async def listen() -> None:
        with tail.listen() as listener:
            heard.extend(_offsets(await anext(listener)))

    with tail.opened():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked()
            tail.announce(_events(1, 2))
    assert heard == [1, 2]


async def test_a_listener_that_is_behind_loses_its_oldest_batches() -> None:
    tail = Tail(max_events=5)
    with tail.opened(), tail.listen() as slow, tail.listen() as quick:
        for first in range(1, 12, 2):
            tail.announce(_events(first, first + 1))
            assert _offsets(await anext(quick)) == [first, first + 1]
        size = sum(len(event.json) for event in _events(9, 10, 11, 12))
        assert waiting(slow) == Waiting(4, size, 5, TAIL_BYTES, 8)
        assert await anext(slow) == ()
        assert _offsets(await anext(slow)) == [9, 10, 11, 12]
        assert waiting(slow).events == 0
        statistics = tail.statistics()
    assert (statistics.listeners, statistics.waiting, statistics.peak, statistics.dropped) == (2, 0, 4, 8)


async def test_a_listener_holds_at_most_so_many_bytes() -> None:
    tail = Tail(max_bytes=100)
    with tail.opened(), tail.listen() as listener:
        for offset in range(1, 10):
            tail.announce(_events(offset, size=40))
        assert await anext(listener) == ()
        assert _offsets(await anext(listener)) == [8, 9]


async def test_a_batch_over_every_bound_is_still_heard() -> None:
    tail = Tail(max_events=2, max_bytes=2)
    with tail.opened(), tail.listen() as listener:
        tail.announce(_events(1))
        tail.announce(_events(2, 3, 4))
        assert await anext(listener) == ()
        assert _offsets(await anext(listener)) == [2, 3, 4]


async def test_a_listener_is_told_of_a_loss_and_then_only_what_came_after_it() -> None:
    tail = Tail()
    with tail.opened(), tail.listen() as listener:
        tail.announce(_events(1, 2))
        tail.lose()
        tail.announce(_events(4))
        assert list(await anext(listener)) == []
        assert _offsets(await anext(listener)) == [4]
        assert tail.statistics().dropped == 2


async def test_a_waiting_listener_is_told_of_a_loss_at_once() -> None:
    tail = Tail()
    heard: list[Sequence[Event]] = []

    async def listen() -> None:
        with tail.listen() as listener:
            heard.append(await anext(listener))

    with tail.opened():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked()
            tail.lose()
    assert heard == [()]


async def test_what_a_listener_was_woken_with_comes_before_a_loss_and_what_follows_after_it() -> None:
    tail = Tail()
    heard: list[list[int]] = []

    async def listen() -> None:
        with tail.listen() as listener:
            for _ in range(3):
                heard.append(_offsets(await anext(listener)))

    with tail.opened():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked()
            tail.announce(_events(1))
            tail.lose()
            tail.announce(_events(2))
    assert heard == [[1], [], [2]]
    assert tail.statistics().dropped == 0


@pytest.mark.parametrize("passes", range(4))
async def test_a_loss_wakes_a_listener_wherever_it_is_on_its_way_to_wait(passes: int) -> None:
    tail = Tail()
    heard: list[list[int]] = []

    async def listen() -> None:
        with tail.listen() as listener:
            heard.append(_offsets(await anext(listener)))

    with tail.opened(), trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            for _ in range(passes):
                await trio.lowlevel.checkpoint()
            while not tail.statistics().listeners:
                await trio.lowlevel.checkpoint()
            tail.lose()
    assert heard == [[]]


async def test_a_woken_listener_that_is_overrun_before_its_task_runs_is_told() -> None:
    tail = Tail(max_events=2)
    heard: list[list[int]] = []

    async def listen() -> None:
        with tail.listen() as listener:
            for _ in range(2):
                heard.append(_offsets(await anext(listener)))

    with tail.opened():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked()
            for offset in range(1, 5):
                tail.announce(_events(offset))
            assert tail.statistics().waiting == 2
    assert heard[0] == []
    assert heard[1][-1] == 4
    assert tail.statistics().dropped + len(heard[1]) == 4


async def test_a_listener_hears_the_rest_and_then_the_end() -> None:
    tail = Tail()
    with tail.opened():
        context = tail.listen()
        listener = context.__enter__()
        tail.announce(_events(1))
    assert [_offsets(events) async for events in listener] == [[1]]
    context.__exit__(None, None, None)


async def test_a_waiting_listener_is_told_the_end() -> None:
    tail = Tail()

    async def listen() -> None:
        with tail.listen() as listener:
            assert [events async for events in listener] == []

    async with trio.open_nursery() as nursery:
        with tail.opened():
            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked()


async def test_a_closed_tail_refuses_listeners() -> None:
    tail = Tail()
    with tail.opened():
        pass
    with pytest.raises(NotServingError, match=r"async with log\.open"), tail.listen():
        pass


async def test_a_tail_is_opened_once_at_a_time() -> None:
    tail = Tail()
    with tail.opened():
        with pytest.raises(ConfigError, match="open already"), tail.opened():
            pass
        tail.check_open()
