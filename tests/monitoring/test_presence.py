"""Presence in statistics and in Prometheus' metrics."""

from __future__ import annotations

from typing import Any

import trio
from prometheus_client.parser import text_string_to_metric_families
from quart import request
from quart_trio import QuartTrio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.presence.processes import ROOM, cluster
from triolet import Draft, Limits, Member, Triolet
from triolet.counters import Metrics
from triolet.presence.leases import PROCESSES
from triolet.presence.statements import Statement, presence_channel
from triolet.testing.server import serve


def make_rooms() -> tuple[QuartTrio, Triolet]:
    """A room in which whoever says a name is present under it."""
    app = QuartTrio("rooms")
    live = Triolet(app)

    @live.channel("/room", member=lambda: request.args.get("as"))
    async def events() -> str:
        return ROOM

    return app, live


def metrics(live: Triolet) -> dict[str, float]:
    """What Prometheus reads of presence, without the beginning of the names."""
    families = text_string_to_metric_families(live.service.exposition()[1].decode())
    found = {sample.name: sample.value for family in families for sample in family.samples}
    begin = "triolet_presence_"
    return {name.removeprefix(begin): value for name, value in found.items() if name.startswith(begin)}


async def test_sessions_and_leases_are_counted_while_they_are_there(autojump_clock: MockClock) -> None:
    app, live = make_rooms()
    async with serve(app) as server:
        assert set(metrics(live).values()) == {0}
        async with server.events("/room?as=ada") as one, server.events("/room?as=bob") as other:
            await one.own("live")
            await other.own("live")
            await wait_all_tasks_blocked()
            seen = live.statistics().presence
            assert (seen.sessions, seen.leases, dict(seen.known)) == (2, 1, {})
            async with server.events("/room?as=ada") as again:
                await again.own("live")
                assert (metrics(live)["sessions"], metrics(live)["members"]) == (3, 2)
            await live.presence(ROOM).roster()
            seen = live.statistics().presence
            assert dict(seen.known) == {seen.process: 2}
        await trio.sleep(1)
        assert metrics(live)["sessions"] == live.statistics().presence.sessions == 0


async def test_what_is_known_of_another_process_is_counted_by_its_name(autojump_clock: MockClock) -> None:
    app, live = make_rooms()
    async with serve(app):
        await live.presence(ROOM).roster()
        joins = [Statement(name, f"other.{name}", 1).joins() for name in ("ada", "bob", "cyd")]
        await live.log.append(presence_channel(ROOM), joins)
        await live.log.append(PROCESSES, [Draft.of({"process": "other"}, name="alive")])
        await live.presence(ROOM).roster()
        seen = live.statistics().presence
        assert (dict(seen.known), seen.leases) == ({"other": 3}, 2)
        assert (metrics(live)["sessions_elsewhere"], metrics(live)["leases"]) == (3, 2)
        await trio.sleep(60)
        await live.presence(ROOM).roster()
        seen = live.statistics().presence
        assert (dict(seen.known), seen.leases, live.statistics().counts.processes_lost) == ({}, 1, 1)
        assert (metrics(live)["sessions_elsewhere"], metrics(live)["processes_lost_total"]) == (0, 1)


async def test_a_process_that_ends_in_order_is_not_lost(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        one, ends, dies = [await it.start(name) for name in ("one", "ends", "dies")]
        await trio.sleep(20)
        assert one.statistics().leases == 3
        await ends.finish(5)
        await it.kill(ends)
        await trio.sleep(1)
        assert one.statistics().leases == 2
        await trio.sleep(40)
        assert it.metrics[one].processes_lost == 0
        await it.kill(dies)
        await trio.sleep(40)
        assert (it.metrics[one].processes_lost, one.statistics().leases) == (1, 1)


async def test_joins_that_are_written_again_are_counted_and_first_ones_are_not(autojump_clock: MockClock) -> None:
    async with cluster(Limits(keep_seconds=100)) as it:
        process = await it.start("one")
        process.join(ROOM, Member("ada"))
        process.leave(process.join(ROOM, Member("bob")))
        await trio.sleep(40)
        assert it.metrics[process].restatements == 0
        await trio.sleep(20)
        assert it.metrics[process].restatements == 1
        process.join(ROOM, Member("cyd"))
        await wait_all_tasks_blocked()
        assert it.metrics[process].restatements == 1
        it.log._tail.lose()
        await wait_all_tasks_blocked()
        assert it.metrics[process].restatements == 3, "an overrun has all stated again"


async def test_joins_and_leaves_are_counted_by_what_came_of_them(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        one, dies = [await it.start(name) for name in ("one", "dies")]
        sessions = [one.join(ROOM, Member(name)) for name in ("ada", "bob")]
        dies.join(ROOM, Member("cyd"))
        await trio.sleep(1)
        counted = it.metrics[one].statements
        assert counted == {"joined": 2, "left": 0, "lost": 0, "failed": 0}
        it.log.away = True
        one.leave(sessions[0])
        await wait_all_tasks_blocked()
        assert (counted["left"], counted["failed"]) == (0, 1)
        it.log.away = False
        await it.kill(dies)
        await trio.sleep(40)
        assert (counted["joined"], counted["left"], counted["lost"]) == (2, 1, 1)


async def test_before_the_app_is_served_nobody_is_there() -> None:
    _, live = make_rooms()
    seen: Any = live.statistics()
    assert (seen.presence.sessions, seen.presence.leases, dict(seen.presence.known)) == (0, 0, {})
    assert (Metrics().snapshot().restatements, Metrics().snapshot().processes_lost) == (0, 0)
