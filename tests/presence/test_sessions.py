"""This process's own sessions: what is written of them, and when they are stated again."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.presence.processes import LIMITS, ROOM, Log, cluster, here
from triolet import Limits, Member
from triolet.bounds import POLLED_PRESENCE_SECONDS, PRESENCE_DRAFTS
from triolet.counters import Metrics
from triolet.presence.sessions import Session, Sessions
from triolet.presence.statements import JOIN, Statement, presence_channel


async def end_as_others_do(log: Log, session: Session) -> None:
    """Another process takes this one for dead, and ends its session."""
    said = Statement(session.member, session.name, session.stated)
    await log.append(presence_channel(session.channel), [said.leaves("lost")])


async def test_after_an_overrun_all_sessions_are_stated_again(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with cluster() as it:
        process, other = await it.start("one"), await it.start("other")
        ada = process.join(ROOM, Member("ada"))
        process.join("rooms/2", Member("bob"))
        await wait_all_tasks_blocked()
        with monkeypatch.context() as deaf:  # it is not heard of: nobody will say so again
            deaf.setattr(it.log._tail, "announce", lambda _: None)
            await end_as_others_do(it.log, ada)
        it.log._tail.lose()
        await wait_all_tasks_blocked()
        assert await it.told() == [("join", "ada"), ("leave", "ada"), ("join", "ada")]
        assert await it.told("rooms/2") == [("join", "bob"), ("join", "bob")]
        assert await here(other) == ["ada"]


async def test_who_is_ended_by_others_is_stated_again_and_nobody_else(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        process = await it.start("one")
        ada, _ = process.join(ROOM, Member("ada")), process.join(ROOM, Member("bob"))
        await wait_all_tasks_blocked()
        await end_as_others_do(it.log, ada)
        await wait_all_tasks_blocked()
        assert (await it.told())[2:] == [("leave", "ada"), ("join", "ada")]
        assert [event.data["stated"] for event in await it.events()] == [1, 1, 1, 2]


async def test_a_member_in_two_polls_is_there_until_the_last_of_them_and_a_little_longer(
    autojump_clock: MockClock,
) -> None:
    async with cluster() as it:
        process = await it.start("one")
        with process.polls(ROOM, Member("ada")):
            with process.polls(ROOM, Member("ada")):
                await trio.sleep(1)
            await trio.sleep(POLLED_PRESENCE_SECONDS + 20)
            assert await here(process) == ["ada"]
        await trio.sleep(POLLED_PRESENCE_SECONDS - 1)
        assert await here(process) == ["ada"]
        await trio.sleep(1 + LIMITS.lease_seconds / 3)
        assert await it.told() == [("join", "ada"), ("leave", "ada")]


async def test_a_member_that_polls_again_while_it_lingers_is_still_the_same_session(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        process = await it.start("one")
        for _ in range(5):
            with process.polls(ROOM, Member("ada")):
                await trio.sleep(20)
            await trio.sleep(POLLED_PRESENCE_SECONDS - 1)
        assert await it.told() == [("join", "ada")]


async def test_nothing_is_kept_of_a_channel_that_all_have_left(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        process = await it.start("one")
        for number in range(100):
            process.leave(process.join(f"rooms/{number}", Member("ada")))
            session = process.join(f"rooms/{number}", Member("bob"))
            await wait_all_tasks_blocked()
            process.leave(session)
        await wait_all_tasks_blocked()
        assert process.statistics().sessions == 0
        assert not process._sessions._rooms


async def test_who_leaves_while_its_join_is_on_its_way_leaves_and_who_came_meanwhile_joins(
    autojump_clock: MockClock,
) -> None:
    async with cluster() as it:
        process = await it.start("one")
        it.log.away = True
        leaving = [process.join(ROOM, Member(f"a{number}")) for number in range(3)]
        await trio.sleep(0.5)
        for session in leaving:
            process.leave(session)
        for number in range(PRESENCE_DRAFTS + 1):
            process.join(ROOM, Member(f"b{number}"))
        it.log.away = False
        await trio.sleep(2)
        told = await it.told()
        assert told[:6] == [(what, f"a{number}") for what in ("join", "leave") for number in range(3)]
        assert told[6:] == [(JOIN, f"b{number}") for number in range(PRESENCE_DRAFTS + 1)]


async def test_a_process_that_ends_waits_for_what_is_being_written_again(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        process = await it.start("one")
        session = process.join(ROOM, Member("ada"))
        await wait_all_tasks_blocked()
        it.log.away = True
        process.leave(session)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.finish, 10)
            await trio.sleep(3)
            it.log.away = False
        assert (await it.told())[-1] == ("leave", "ada")


async def test_a_look_has_an_old_join_stated_again_once(autojump_clock: MockClock) -> None:
    limits = Limits(keep_seconds=1_000)
    log = Log(limits, trio.current_time)
    sessions = Sessions("one", log, limits, Metrics())
    async with log.open(), trio.open_nursery() as nursery:
        nursery.start_soon(sessions.write)
        ada = sessions.join(ROOM, Member("ada"))
        for seconds, stated in ((499, 1), (2, 2), (5, 2), (490, 2), (6, 3)):
            await trio.sleep(seconds)
            sessions.look()
            await wait_all_tasks_blocked()
            assert ada.stated == stated
        nursery.cancel_scope.cancel()


async def test_a_join_that_grows_old_is_stated_again_in_the_middle_of_retention_and_once(
    autojump_clock: MockClock,
) -> None:
    async with cluster(Limits(keep_seconds=1_000)) as it:
        process = await it.start("one")
        process.join(ROOM, Member("ada"))
        await trio.sleep(499)
        assert len(await it.told()) == 1
        await trio.sleep(11)
        assert len(await it.told()) == 2
        await trio.sleep(480)
        assert len(await it.told()) == 2


async def test_a_join_is_stated_again_in_the_middle_of_the_events_that_are_kept_and_not_with_each_behind_it(
    autojump_clock: MockClock,
) -> None:
    log = Log(Limits(keep_events=100))
    sessions = Sessions("one", log, Limits(keep_events=100), Metrics())
    async with log.open(), trio.open_nursery() as nursery:
        nursery.start_soon(sessions.write)
        ada = sessions.join(ROOM, Member("ada"))
        await wait_all_tasks_blocked()
        for since, upto, stated in ((0, 49, 1), (49, 59, 2), (59, 60, 2), (60, 90, 2), (90, 120, 3)):
            await trio.sleep(20)
            others = [Statement("x", "y.1", number).joins() for number in range(since, upto)]
            for event in await log.append(presence_channel(ROOM), others):
                sessions.passed(event)
            await wait_all_tasks_blocked()
            assert ada.stated == stated
        nursery.cancel_scope.cancel()


async def test_a_channel_that_began_again_counts_its_events_from_there(autojump_clock: MockClock) -> None:
    log = Log(Limits(keep_events=100))
    sessions = Sessions("one", log, Limits(keep_events=100), Metrics())
    async with log.open(), trio.open_nursery() as nursery:
        nursery.start_soon(sessions.write)
        ada = sessions.join(ROOM, Member("ada"))
        await wait_all_tasks_blocked()
        await trio.sleep(20)
        told = presence_channel(ROOM)
        for epoch, number, stated in (("E", 49, 1), ("F", 900, 1), ("F", 950, 1), ("F", 951, 2)):
            log._epoch = epoch
            log._channels.pop(told, None)
            log._bare_heads[told] = number - 1
            (event,) = await log.append(told, [Statement("x", "y.1", number).joins()])
            sessions.passed(event)
            await wait_all_tasks_blocked()
            assert ada.stated == stated
        nursery.cancel_scope.cancel()
