"""Presence over several processes of one log: leases, deaths, and each leave told once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.presence.processes import ROOM, cluster, here
from triolet import Cursor, Draft, Event, Limits, Member
from triolet.bounds import PRESENCE_DRAFTS
from triolet.errors import ChannelNameError, DataError
from triolet.presence.leases import PROCESSES
from triolet.presence.presence import Presence
from triolet.presence.record import apply
from triolet.presence.sessions import Session
from triolet.presence.statements import Statement, presence_channel


async def test_each_process_knows_the_members_of_all(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        one, other = await it.start("one"), await it.start("other")
        one.join(ROOM, Member("ada"))
        await wait_all_tasks_blocked()
        session = other.join(ROOM, Member("bob"))
        await wait_all_tasks_blocked()
        assert await here(one) == await here(other) == ["ada", "bob"]
        other.leave(session)
        await wait_all_tasks_blocked()
        assert await here(one) == await here(other) == ["ada"]


async def test_members_of_a_process_that_died_leave_once_when_its_lease_ends(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        others = [await it.start(name) for name in ("one", "two", "three")]
        dead = await it.start("dead")
        await trio.sleep(20)
        dead.join(ROOM, Member("ada"))
        dead.join(ROOM, Member("bob"))
        await wait_all_tasks_blocked()
        await it.kill(dead)
        await trio.sleep(9)
        assert await here(others[0]) == ["ada", "bob"]
        await trio.sleep(12)
        assert await it.told() == [("join", "ada"), ("join", "bob"), ("leave", "ada"), ("leave", "bob")]
        assert {event.data["reason"] for event in (await it.events())[2:]} == {"lost"}
        for process in others:
            assert await here(process) == []


async def test_members_of_a_process_that_died_before_anybody_listened_leave_too(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        dead = await it.start("dead")
        dead.join(ROOM, Member("ada"))
        await wait_all_tasks_blocked()
        await it.kill(dead)
        later = await it.start("later")
        assert await here(later) == ["ada"], "nobody can know yet"
        await trio.sleep(21)
        assert await it.told() == [("join", "ada"), ("leave", "ada")]


async def test_nobody_looks_so_the_leave_is_written_by_whoever_asks(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        dead, other = await it.start("dead", watches=()), await it.start("other", watches=())
        dead.join("rooms/2", Member("ada"))
        await wait_all_tasks_blocked()
        await it.kill(dead)
        await trio.sleep(100)
        assert await it.told("rooms/2") == [("join", "ada")]
        assert await here(other, "rooms/2") == []
        assert await it.told("rooms/2") == [("join", "ada"), ("leave", "ada")]


async def test_a_process_that_says_goodbye_is_known_to_be_gone_at_once(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        ends, other = await it.start("ends"), await it.start("other")
        await trio.sleep(20)
        session = ends.join(ROOM, Member("ada"))
        ends.join(ROOM, Member("bob"))
        await wait_all_tasks_blocked()
        ends.leave(session)
        await ends.finish(5)
        await it.kill(ends)
        assert (await it.told())[2:] == [("leave", "ada"), ("leave", "bob")], "its own leaves are written by itself"
        assert {event.data["reason"] for event in (await it.events())[2:]} == {"left"}
        assert await here(other) == []


async def test_a_process_whose_leaves_take_their_time_says_goodbye_behind_them(autojump_clock: MockClock) -> None:
    """Else another one would say meanwhile that its members were lost."""
    async with cluster() as it:
        await it.start("other")
        await trio.sleep(4)
        ends = await it.start("ends")
        await trio.sleep(20)  # the other one looks before it does
        ends.join(ROOM, Member("ada"))
        await wait_all_tasks_blocked()
        append, slow = it.log.append, {presence_channel(ROOM)}

        async def append_late(channel: str, drafts: Sequence[Draft]) -> list[Event]:
            if channel in slow:
                slow.clear()
                await trio.sleep(8)
            return await append(channel, drafts)

        it.log.append = append_late  # type: ignore[method-assign]  # the log is slow once
        await ends.finish(20)
        await it.kill(ends)
        assert [event.data["reason"] for event in (await it.events())[1:]] == ["left"]


async def test_a_process_taken_for_dead_that_is_not_states_its_members_again(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        slow, other = await it.start("slow"), await it.start("other")
        await trio.sleep(20)
        session = slow.join(ROOM, Member("ada"))
        await wait_all_tasks_blocked()
        said = Statement("ada", session.name, session.stated)
        await it.log.append(presence_channel(ROOM), [said.leaves("lost")])  # by somebody who has not heard of it
        await wait_all_tasks_blocked()
        assert await it.told() == [("join", "ada"), ("leave", "ada"), ("join", "ada")]
        assert await here(other) == ["ada"]
        slow.leave(session)
        await wait_all_tasks_blocked()
        assert (await it.told())[3:] == [("leave", "ada")]
        assert await here(other) == []


async def test_a_log_that_is_away_delays_what_is_told_and_loses_none(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        process = await it.start("one")
        first = process.join(ROOM, Member("ada"))
        await wait_all_tasks_blocked()
        it.log.away = True
        brief = process.join(ROOM, Member("brief"))
        process.leave(first)
        process.leave(brief)
        process.join(ROOM, Member("bob"))
        await trio.sleep(60)
        it.log.away = False
        await trio.sleep(5)
        assert await it.told() == [("join", "ada"), ("leave", "ada"), ("join", "bob")]


async def test_who_joins_and_leaves_while_its_join_is_being_written_leaves(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        process = await it.start("one")
        it.log.away = True
        session = process.join(ROOM, Member("ada"))
        await trio.sleep(1.5)
        process.leave(session)
        it.log.away = False
        await trio.sleep(5)
        assert await it.told() == [("join", "ada"), ("leave", "ada")]
        assert await here(process) == []


async def test_a_log_that_was_away_for_longer_than_a_lease_has_nobody_taken_for_dead(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        first = await it.start("one")
        await trio.sleep(2.5)  # so that each looks for the dead when the other has not spoken yet
        other = await it.start("other")
        first.join(ROOM, Member("ada"))
        other.join(ROOM, Member("bob"))
        dies = await it.start("dies")
        dies.join(ROOM, Member("cyd"))
        await trio.sleep(20)
        it.log.away = True
        await it.kill(dies)
        await trio.sleep(61)
        it.log.away = False
        await trio.sleep(9)
        assert await it.told() == [("join", "ada"), ("join", "bob"), ("join", "cyd")]
        await trio.sleep(20)
        assert (await it.told())[3:] == [("leave", "cyd")], "its lease has ended, counted from when the log was back"
        assert await here(first) == await here(other) == ["ada", "bob"]


async def test_members_of_a_process_that_died_before_a_lost_hint_leave_too(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        other, dies = await it.start("other"), await it.start("dies")
        dies.join(ROOM, Member("ada"))
        await trio.sleep(40)
        await it.kill(dies)
        it.log._tail.lose()
        await trio.sleep(30)
        assert await it.told() == [("join", "ada"), ("leave", "ada")]
        assert await here(other) == []


@pytest.mark.parametrize("data", [7, None, ["one"], {"process": 7}, {"other": "x"}])
async def test_what_is_no_lease_is_passed_over(data: object, autojump_clock: MockClock) -> None:
    async with cluster() as it:
        process = await it.start("one")
        await it.log.append(PROCESSES, [Draft.of(data, name=name) for name in ("alive", "gone", "other")])
        process.join(ROOM, Member("ada"))
        await trio.sleep(30)
        assert await here(process) == ["ada"]


async def test_who_cannot_be_present_is_told_so_and_nobody_else_notices(autojump_clock: MockClock) -> None:
    async with cluster(Limits(event_bytes=1_000)) as it:
        process = await it.start("one")
        with pytest.raises(ChannelNameError):
            process.join("x" * 250, Member("ada"))
        with pytest.raises(DataError, match="event_bytes"):
            process.join(ROOM, Member("ada", "x" * 1_000))
        info: list[object] = ["red"]
        process.join(ROOM, Member("bob", info))
        info.append(object())
        await trio.sleep(1)
        assert [(each.member, each.info) for each in (await process.roster(ROOM)).sessions] == [("bob", ["red"])]


# --- retention


async def test_members_outlive_the_retention_of_their_join_by_age(autojump_clock: MockClock) -> None:
    async with cluster(Limits(lease_seconds=15, keep_seconds=3_600)) as it:
        process = await it.start("one")
        process.join(ROOM, Member("ada"))
        await trio.sleep(20_000)
        newcomer = await it.start("newcomer")
        assert await here(newcomer) == ["ada"]
        assert len(await it.events()) <= 3


@pytest.mark.parametrize("limits", [Limits(keep_events=400), Limits(keep_bytes=40_000)])
async def test_members_outlive_the_retention_of_their_join_by_size(limits: Limits, autojump_clock: MockClock) -> None:
    async with cluster(limits) as it:
        process = await it.start("one")
        process.join(ROOM, Member("ada"))
        for _ in range(2_000):
            process.leave(process.join(ROOM, Member("fickle")))
            guest = process.join(ROOM, Member("guest"))
            await wait_all_tasks_blocked()
            process.leave(guest)
            await trio.sleep(1)
        newcomer = await it.start("newcomer")
        assert await here(newcomer) == await here(process) == ["ada"]


async def test_a_log_begun_again_has_its_members_stated_again(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        process = await it.start("one")
        process.join(ROOM, Member("ada"))
        await wait_all_tasks_blocked()
        it.log._channels.clear()
        it.log._bare_heads.clear()
        it.log._epoch = "F"
        assert await here(process) == []
        await trio.sleep(6)
        assert await here(process) == ["ada"]


# --- many


async def test_thousands_come_and_go(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        one, other = await it.start("one"), await it.start("other")
        sessions = [one.join(ROOM, Member(str(number))) for number in range(10 * PRESENCE_DRAFTS)]
        scattered = [one.join(f"halls/{number}", Member("ada")) for number in range(500)]
        await wait_all_tasks_blocked()
        assert len(await here(other)) == len(sessions)
        await it.kill(one)
        await trio.sleep(30)
        assert await here(other) == []
        assert Counter(name for name, _ in await it.told()) == {"join": len(sessions), "leave": len(sessions)}
        for session in scattered[::100]:
            assert await here(other, session.channel) == []


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_the_roster_is_who_is_there_and_nobody_leaves_twice(
    seed: int, autojump_clock: MockClock
) -> None:
    draw = random.Random(seed)
    async with cluster(Limits(lease_seconds=6)) as it:
        alive: dict[Presence, list[Session]] = {}
        for step in range(120):
            if not alive or (draw.random() < 0.05 and len(alive) < 4):
                alive[await it.start(f"process{step}")] = []
            process = draw.choice(list(alive))
            match draw.choices(["join", "leave", "die", "away", "sleep"], [8, 6, 1, 1, 4])[0]:
                case "join":
                    alive[process].append(process.join(ROOM, Member(f"member{draw.randrange(5)}")))
                case "leave" if alive[process]:
                    process.leave(alive[process].pop(draw.randrange(len(alive[process]))))
                case "die":
                    del alive[process]
                    await it.kill(process)
                case "away":
                    it.log.away = not it.log.away
                case "sleep":
                    await trio.sleep(draw.random() * 5)
        it.log.away = False
        watcher = await it.start("watcher")
        await trio.sleep(30)
        expected = Counter(session.name for sessions in alive.values() for session in sessions)
        events = await it.events()
        for process in [watcher, *alive]:
            roster = await process.roster(ROOM)
            assert Counter(session.session for session in roster.sessions) == expected
        once: Counter[Any] = Counter((event.name, event.data["session"], event.data["stated"]) for event in events)
        assert max(once.values(), default=1) == 1
        check_dialogue(events)


def check_dialogue(events: list[Event]) -> None:
    """A client that follows along hears of each session a join first, and at most one leave for each join."""
    present: set[str] = set()
    for event in events:
        session = event.data["session"]
        if event.name == "join":
            present.add(session)
        else:
            assert session in present
            present.remove(session)


def test_what_is_no_statement_is_passed_over() -> None:
    present: dict[str, tuple[Statement, float]] = {}
    events = [
        Event(Cursor("E", 1), ROOM, "join", b'{"member": 7}', None, 0),
        Event(Cursor("E", 2), ROOM, "other", b"1", None, 0),
        Event(Cursor("E", 3), ROOM, "leave", b'{"member":"ada","session":"x.1","stated":1}', None, 0),
    ]
    apply(present, events)
    assert present == {}


async def test_leases_are_renewed_and_cost_one_event_each(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        await it.start("one")
        await trio.sleep(100.5)
        assert (await it.log.head(PROCESSES)).offset == 1 + 100 // 5
