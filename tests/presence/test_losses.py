"""A log that comes back with less than it had, or loses hints: nobody stays present who has gone, and what is stated
again is bounded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.presence.processes import LIMITS, ROOM, Log, cluster, here
from triolet import Cursor, Event, LogError, Member
from triolet.log.memory import MemoryLog
from triolet.presence import losses
from triolet.presence.leases import PROCESSES
from triolet.presence.losses import Losses

THIRD = LIMITS.lease_seconds / 3


def moved(event: Event, epoch: str) -> Event:
    """The same event in another epoch."""
    place = Cursor(epoch, event.offset)
    return Event(place, event.channel, event.name, event.json, event.key, event.published_at)


def backup(log: Log) -> Callable[[], None]:
    """Take what the log has now. Calling what is returned puts that back, as a failover does."""
    channels, heads = copy.deepcopy(log._channels), dict(log._bare_heads)

    def put_back() -> None:
        log._channels, log._bare_heads = channels, heads
        log._epoch += "'"
        for channel in channels.values():  # as in Redis: what is kept goes on in the new epoch
            channel._events = [moved(event, log._epoch) for event in channel._events]
        log._tail.lose()

    return put_back


@pytest.mark.parametrize("stays", [True, False])
async def test_a_leave_that_the_log_has_lost_is_said_again(stays: bool, autojump_clock: MockClock) -> None:
    async with cluster() as it:
        process, other = await it.start("one", watches=()), await it.start("other")
        gone, here_on = process.join(ROOM, Member("ada")), process.join(ROOM, Member("bob"))
        await trio.sleep(20)
        put_back = backup(it.log)
        process.leave(gone)
        if not stays:
            process.leave(here_on)
        await wait_all_tasks_blocked()
        put_back()
        await trio.sleep(2 * THIRD + 1)
        assert (await it.told())[2:].count(("leave", "ada")) == 1
        assert {event.data["reason"] for event in await it.events() if event.name == "leave"} == {"left"}
        assert await here(other) == (["bob"] if stays else [])
        await trio.sleep(200)
        assert (await it.told()).count(("leave", "ada")) == 1, "and not a third time"


async def test_a_leave_is_lost_while_the_log_is_away_afterwards(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        process, other = await it.start("one", watches=()), await it.start("other", watches=())
        gone = process.join(ROOM, Member("ada"))
        await trio.sleep(20)
        put_back = backup(it.log)
        process.leave(gone)
        await wait_all_tasks_blocked()
        put_back()
        it.log.away = True
        await trio.sleep(4 * THIRD)
        it.log.away = False
        await trio.sleep(2 * THIRD)
        assert await here(other) == []


async def test_whoever_asks_the_process_itself_hears_of_no_session_that_is_over(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        process = await it.start("one", watches=())
        gone = process.join(ROOM, Member("ada"))
        await wait_all_tasks_blocked()
        put_back = backup(it.log)
        process.leave(gone)
        await wait_all_tasks_blocked()
        put_back()
        assert await here(process) == []


async def test_an_overrun_without_a_new_epoch_has_no_channel_read(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        process = await it.start("one", watches=())
        process.join(ROOM, Member("ada"))
        process.leave(process.join("rooms/2", Member("bob")))
        await trio.sleep(20)
        reads = it.log.reads
        it.log._tail.lose()
        await trio.sleep(20)
        assert it.log.reads == reads + 1, "what other processes said meanwhile, and no more"


async def test_the_channels_left_longest_ago_are_forgotten_first(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "PRESENCE_LEFT_CHANNELS", 2)
    log = MemoryLog(epoch="E")
    async with log.open():
        lost = Losses(log)
        for channel in ("1", "2", "3"):
            lost.leave(channel, "E")
        lost.leave("never written", "")
        assert await lost.take() == []
        log._epoch = "F"
        assert await lost.take() == [], "nobody has spoken of a loss"
        lost.suspect()
        assert await lost.take() == ["2", "3"]
        lost.suspect()
        assert await lost.take() == [], "once for each epoch"
        assert [lost.enter(channel) for channel in ("1", "2")] == ["", "F"]


class Failing(MemoryLog):
    """Cannot be read, at first."""

    fails = True

    async def head(self, channel: str) -> Cursor:
        if self.fails:
            raise LogError("away")
        return await super().head(channel)


async def test_a_log_that_cannot_be_asked_is_asked_again(autojump_clock: MockClock) -> None:
    log = Failing(epoch="E")
    async with log.open():
        lost = Losses(log)
        lost.leave("1", "E")
        lost.suspect()
        log._epoch = "F"
        with pytest.raises(LogError):
            await lost.take()
        log.fails = False
        assert await lost.take() == ["1"]


# --- overruns


async def test_sessions_are_stated_again_once_in_a_third_of_a_lease_however_often_the_tail_is_overrun(
    autojump_clock: MockClock,
) -> None:
    async with cluster() as it:
        process = await it.start("one")
        process.join(ROOM, Member("ada"))
        await trio.sleep(20.05)
        for _ in range(500):
            it.log._tail.lose()
            await trio.sleep(0.1)
        joins = await it.events()
        assert 6 <= len(joins) <= 2 + 50 / THIRD
        await trio.sleep(2 * THIRD)
        assert len(await it.events()) == len(joins) + 1, "after the last of them once more"
        stated = [event.published_at for event in await it.events()]
        assert all(later - before >= THIRD - 0.001 for before, later in pairwise(stated))


async def test_a_process_that_dies_while_hints_are_lost_is_found(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        other, dies = await it.start("other"), await it.start("dies")
        dies.join(ROOM, Member("ada"))
        await trio.sleep(40)
        await it.kill(dies)
        for _ in range(30):
            it.log._tail.lose()
            await trio.sleep(1)
        assert await it.told() == [("join", "ada"), ("leave", "ada")]
        assert await here(other) == []


async def test_a_process_whose_renewals_are_all_lost_to_hints_is_not_taken_for_dead(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        other, lives = await it.start("other"), await it.start("lives")
        lives.join(ROOM, Member("ada"))
        await trio.sleep(40)
        for _ in range(60):
            await trio.sleep(1)
            it.log._tail.lose()
        assert await here(other) == ["ada"]
        assert "leave" not in {event.name for event in await it.events()}


async def test_a_process_that_cannot_read_what_was_lost_begins_to_listen_anew(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        other, dies = await it.start("other"), await it.start("dies")
        dies.join(ROOM, Member("ada"))
        await trio.sleep(40)
        await it.kill(dies)
        await trio.sleep(LIMITS.lease_seconds - 3)
        it.log.unreadable = True
        it.log._tail.lose()
        await wait_all_tasks_blocked()
        it.log.unreadable = False
        await trio.sleep(LIMITS.lease_seconds)
        assert await here(other) == ["ada"], "what it said may be among what was lost"
        await trio.sleep(LIMITS.lease_seconds)
        assert await here(other) == []


# --- a process that ends


async def test_members_that_poll_have_left_when_their_process_ends(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        ends, other = await it.start("ends"), await it.start("other")
        with ends.polls(ROOM, Member("ada")):
            await trio.sleep(20)
        await trio.sleep(1)
        await ends.finish(5)
        assert [(event.name, event.data.get("reason")) for event in await it.events()] == [
            ("join", None),
            ("leave", "left"),
        ]
        assert (await it.log.head(PROCESSES)).offset > 0
        await it.kill(ends)
        assert await here(other) == []


async def test_a_session_that_ends_after_its_process_has_ended_it_changes_nothing(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        ends = await it.start("ends")
        with ends.polls(ROOM, Member("ada")):
            bob = ends.join(ROOM, Member("bob"))
            await wait_all_tasks_blocked()
            await ends.finish(5)
        ends.leave(bob)
        await wait_all_tasks_blocked()
        assert [name for name, _ in await it.told()] == ["join", "join", "leave", "leave"]
