"""What makes a command happen once: two at the same moment, two processes, a log with faults, processes that end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from quart import abort, request
from trio.testing import MockClock

from triolet import Command, Limits, LogAway, LogFull, LogUncertain, TrioletError
from triolet.app.commands import ASKED
from triolet.log import MemoryLog
from triolet.testing import MemoryServer, ScriptedLog, failing, serve, slow

from .warehouse import ANN, ORDER, PICK, SharedLog, Warehouse, ask, events, two_processes


async def test_the_same_id_at_the_same_moment_is_done_once_and_all_are_answered(autojump_clock: MockClock) -> None:
    shop, answers = Warehouse(), []
    async with serve(shop.app) as server:

        async def one() -> None:
            answers.append(await ask(server, f"{PICK}?seconds=5"))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(one)
        assert trio.current_time() == pytest.approx(5)
    assert len(shop.done) == 1
    assert {answer.body for answer in answers} == {answers[0].body}
    assert sorted("idempotency-replayed" in answer.headers for answer in answers) == [False] + 9 * [True]


async def test_a_client_that_waits_for_anothers_run_and_goes_changes_nothing(autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with serve(shop.app) as server, trio.open_nursery() as nursery:
        nursery.start_soon(partial(ask, server, f"{PICK}?seconds=5"))
        await trio.sleep(1)
        with trio.move_on_after(1):
            await ask(server, f"{PICK}?seconds=5")
        await trio.sleep(0.1)
        assert shop.closed == ["A1"], "its request is over"
    assert shop.closed == ["A1", "A1"]


async def test_the_same_id_with_other_data_is_answered_422(autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with serve(shop.app) as server, trio.open_nursery() as nursery:
        nursery.start_soon(partial(ask, server, f"{PICK}?seconds=5", b'{"bin": 7}'))
        await trio.sleep(1)
        for _ in range(2):
            mismatch = await ask(server, f"{PICK}?seconds=5", b'{"bin": 8}')
            assert (mismatch.status, mismatch.json["error"]) == (422, "id")
            await trio.sleep(10)
        assert (await ask(server, f"{PICK}?seconds=5", b'{ "bin":7 }')).status == 200
    assert len(shop.done) == 1


async def test_an_id_that_is_used_with_other_data_costs_the_right_one_nothing(autojump_clock: MockClock) -> None:
    shop, log = Warehouse(), ScriptedLog(MemoryLog())
    statuses: dict[bytes, int] = {}
    async with serve(shop.app, log=log) as server:

        async def one(body: bytes) -> None:
            statuses[body] = (await ask(server, body=body)).status

        await one(b"1")
        with log.having(slow("claim", 1)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one, b"2")
                await trio.sleep(0.5)
                nursery.start_soon(one, b"1")
    assert statuses == {b"1": 200, b"2": 422}


async def test_what_an_app_does_before_and_after_a_view_has_an_end_too(autojump_clock: MockClock) -> None:
    shop = Warehouse(Limits(command_run_seconds=10, write_seconds=20))

    @shop.app.after_request
    async def for_ever(response: Any) -> Any:
        await trio.sleep_forever()

    async with serve(shop.app) as server:
        assert ((answer := await ask(server)).status, answer.json["error"]) == (504, "timeout")
        assert trio.current_time() == pytest.approx(60)
        assert shop.closed == ["A1"]


async def test_another_process_says_that_it_runs_and_then_what_came_of_it(autojump_clock: MockClock) -> None:
    first, second = Warehouse(), Warehouse()
    async with two_processes(first, second) as (one, other, store, _), trio.open_nursery() as nursery:
        nursery.start_soon(partial(ask, one, f"{PICK}?seconds=25"))
        await trio.sleep(20)
        running = await ask(other, f"{PICK}?seconds=25")
        assert (running.status, running.json["error"], running.headers["retry-after"]) == (409, "running", "1")
        assert (await ask(other, f"{PICK}?seconds=25", b"8")).status == 422
        async with other.websocket("/live", headers=ANN) as client:
            reply = await client.command(f"{PICK}?seconds=25", None, "1")
        assert (reply["data"]["times"], reply["repeated"]) == (1, True)
        assert trio.current_time() == pytest.approx(25, abs=1)
        assert (await ask(other, f"{PICK}?seconds=25", b"8")).status == 422
        assert len(await events(store)) == 1
        assert other.app.extensions["triolet"].statistics().counts.commands["conflict"] >= 5
    assert (len(first.done), second.done) == (1, [])


async def test_the_answer_is_there_after_a_restart_and_for_a_day(autojump_clock: MockClock) -> None:
    store = MemoryLog()
    async with store.open():
        for day in range(2):
            for _ in range(2):
                shop = Warehouse()
                async with serve(shop.app, log=SharedLog(store)) as server:
                    assert (await ask(server)).json == {"picked": "A1", "times": 1}
                    assert len(await events(store)) == day + 1
            await trio.sleep(24 * 3600)


async def test_a_process_that_dies_between_publishing_and_answering_has_done_nothing(
    autojump_clock: MockClock,
) -> None:
    first, second = Warehouse(), Warehouse()
    async with two_processes(first, second) as (one, other, store, hands), trio.open_nursery() as nursery:
        nursery.start_soon(partial(ask, one, f"{PICK}?seconds=20"))
        await trio.sleep(3)
        assert len(first.done) == 1
        with hands.having(failing("claim"), failing("commit"), failing("release")):  # nothing more is heard of it
            assert (await ask(other, f"{PICK}?seconds=20")).status == 409
            async with other.sse("/orders/A1/events", headers=ANN) as client:
                reply = await client.command(f"{PICK}?seconds=20", None, "1")
            assert (reply["status"], "repeated" in reply, len(second.done)) == (200, False, 1)
            assert trio.current_time() == pytest.approx(15 + 20, abs=2), "the lease lapsed, and then it ran"
        assert len(await events(store)) == 1


async def test_a_process_that_stood_still_gives_the_answer_of_the_one_that_did_it(autojump_clock: MockClock) -> None:
    first, second = Warehouse(), Warehouse()
    answers = []
    async with two_processes(first, second) as (one, other, store, hands), trio.open_nursery() as nursery:
        second.done.append("so that its answer differs")

        async def frozen() -> None:
            answers.append(await ask(one, f"{PICK}?seconds=25"))

        with hands.having(failing("claim", nth=range(2, 100))):  # it cannot renew
            nursery.start_soon(frozen)
            await trio.sleep(16)
            nursery.start_soon(partial(ask, other, f"{PICK}?seconds=25"))
            await trio.sleep(12)
            (lost,) = answers
            assert (lost.status, lost.json["error"]) == (409, "running"), "the other one does it now"
            await trio.sleep(20)
        again = await ask(one, f"{PICK}?seconds=25")
        assert (again.json["times"], again.headers["idempotency-replayed"]) == (2, "true")
        assert len(await events(store)) == 1


async def test_a_claim_that_lapsed_and_that_nobody_took_is_taken_anew(autojump_clock: MockClock) -> None:
    shop, log = Warehouse(), ScriptedLog(MemoryLog())
    async with serve(shop.app, log=log) as server:
        with log.having(failing("claim", nth=range(2, 6))):
            answer = await ask(server, f"{PICK}?seconds=24")
        assert answer.json == {"picked": "A1", "times": 1}
        assert len(await events(log)) == 1
        assert (await ask(server, f"{PICK}?seconds=24")).headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("stored", [False, True])
async def test_a_log_that_is_away_for_a_while_is_asked_until_it_is_known(
    stored: bool, autojump_clock: MockClock
) -> None:
    shop, log = Warehouse(), ScriptedLog(MemoryLog())
    async with serve(shop.app, log=log) as server:
        with log.having(failing("commit", nth=range(1, 6), stored=stored, error=LogUncertain if stored else LogAway)):
            answer = await ask(server)
        assert answer.status == 200
        assert trio.current_time() == pytest.approx(5)
        assert len(await events(log)) == 1
        assert (await ask(server)).body == answer.body
    assert len(shop.done) == 1


@pytest.mark.parametrize("stored", [False, True])
async def test_a_log_that_is_away_for_too_long_is_503_and_a_repeat_finds_out(
    stored: bool, autojump_clock: MockClock
) -> None:
    shop, log = Warehouse(), ScriptedLog(MemoryLog())
    async with serve(shop.app, log=log) as server:
        with log.having(failing("commit", stored=stored, error=LogUncertain if stored else LogAway)):
            answer = await ask(server)
        assert (answer.status, answer.json["error"], answer.headers["retry-after"]) == (503, "log", "1")
        assert trio.current_time() == pytest.approx(30)
        again = await ask(server)
        assert (again.status, again.headers.get("idempotency-replayed")) == (200, "true" if stored else None)
        assert len(await events(log)) == 1
    assert len(shop.done) == (1 if stored else 2)


@pytest.mark.parametrize("error", [LogFull, None])
async def test_a_log_that_is_full_keeps_nothing_and_the_next_one_may_do_it(
    error: type[LogFull] | None, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    shop, log = Warehouse(), ScriptedLog(MemoryLog())
    async with serve(shop.app, log=log) as server:
        with log.having(failing("commit", error=error)):
            answer = await ask(server)
            assert (answer.status, answer.json["error"], answer.headers["retry-after"]) == (503, "log", "1")
        assert await events(log) == []
        assert (await ask(server)).json["times"] == 2
        assert len(await events(log)) == 1
    assert "what came of a command could not be stored: Log" in caplog.text


async def test_a_log_in_which_nothing_can_be_claimed_runs_no_view(autojump_clock: MockClock) -> None:
    shop, log = Warehouse(), ScriptedLog(MemoryLog())
    async with serve(shop.app, log=log) as server:
        for fault in (failing("claim", error=LogFull), failing("claim", stored=True)):
            with log.having(fault):
                assert ((answer := await ask(server)).status, answer.json["error"]) == (503, "log")
        assert shop.done == []
        assert (await ask(server)).status == 200, "what may have been claimed was given back"


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 425, 429])
async def test_an_answer_that_says_not_now_is_not_kept(status: int, autojump_clock: MockClock) -> None:
    shop, statuses = Warehouse(), [status, 200]

    @shop.live.command("/try")
    async def attempt(command: Command) -> Any:
        await command.publish(ORDER, len(statuses))
        return {"left": len(statuses)}, statuses.pop(0)

    async with serve(shop.app) as server:
        assert (await ask(server, "/try")).status == status
        answer = await ask(server, "/try")
        assert (answer.status, answer.json, "idempotency-replayed" in answer.headers) == (200, {"left": 1}, False)
        assert [event.data for event in await events(shop.live.log)] == [1]


@pytest.mark.parametrize("way", ["abort", "return", "redirect"])
async def test_a_no_is_kept_and_publishes_nothing(way: str, autojump_clock: MockClock) -> None:
    shop, asked = Warehouse(), []

    @shop.live.command("/no")
    async def no(command: Command) -> Any:
        asked.append(command.id)
        await command.publish(ORDER, 1)
        if way == "abort":
            abort(403)
        return ("see there", 303, {"location": "/there"}) if way == "redirect" else ({"why": "sold out"}, 409)

    async with serve(shop.app) as server:
        first, again = await ask(server, "/no"), await ask(server, "/no")
        assert (first.status, first.body) == (again.status, again.body)
        assert again.headers["idempotency-replayed"] == "true"
        assert again.headers.get("location") == ("/there" if way == "redirect" else None)
        assert len(await events(shop.live.log)) == (way == "redirect")
    assert len(asked) == 1


async def test_an_error_in_the_view_is_500_logged_with_its_place_and_not_kept(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Warehouse()
    async with serve(shop.app) as server:
        for times in (1, 2):
            assert (await ask(server, "/orders/broken/pick")).status == 500
            assert len(shop.done) == times
        assert await events(shop.live.log, "orders/broken") == []
    assert "a command failed: RuntimeError at warehouse.py:" in caplog.text
    assert "a bug of the app's" in caplog.text


async def test_those_who_wait_for_a_run_that_fails_are_told_so(autojump_clock: MockClock) -> None:
    shop, statuses = Warehouse(), []

    @shop.live.command("/fail")
    async def fail(command: Command) -> Any:
        await trio.sleep(5)
        raise RuntimeError

    async with serve(shop.app) as server:

        async def one() -> None:
            statuses.append((await ask(server, "/fail")).status)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(one)
    assert statuses == [500, 500, 500]


async def test_a_run_that_is_broken_off_is_anothers_to_do_that_has_waited_for_it(autojump_clock: MockClock) -> None:
    shop, log = Warehouse(), ScriptedLog(MemoryLog())

    @shop.app.before_request
    async def its_client_goes() -> None:
        if "x-gone" in request.headers:
            scope: Any = request.scope
            scope[ASKED].scope.cancel()  # too late to be noticed before the command begins

    async with serve(shop.app, log=log) as server:
        with log.having(slow("release", 1)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(server.post, PICK, b"", idempotency_key="1", x_gone="yes", **ANN))
                await trio.sleep(0.5)
                assert (await ask(server)).status == 200
    assert len(shop.done) == 1


async def test_a_view_that_takes_too_long_is_504_and_not_kept(autojump_clock: MockClock) -> None:
    shop = Warehouse(Limits(command_run_seconds=10))
    async with serve(shop.app) as server:
        answer = await ask(server, f"{PICK}?seconds=60")
        assert (answer.status, answer.json["error"]) == (504, "timeout")
        assert trio.current_time() == pytest.approx(10)
        assert (await ask(server, f"{PICK}?seconds=60")).status == 504
        assert await events(shop.live.log) == []
    assert len(shop.done) == 2


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_that_is_too_large_is_the_apps_fault_and_nothing_is_published(
    streamed: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Warehouse(Limits(answer_bytes=1_000))

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100

    @shop.live.command("/large")
    async def large(command: Command) -> Any:
        await command.publish(ORDER, 1)
        return endless() if streamed else "x" * 990

    @shop.live.command("/fits")
    async def fits(command: Command) -> Any:
        return "x" * 900

    async with serve(shop.app) as server:
        assert (await ask(server, "/large")).status == 500
        assert (await ask(server, "/fits")).status == 200
        assert await events(shop.live.log) == []
    assert "larger than limits.answer_bytes (1000)" in caplog.text


async def test_a_command_publishes_so_much_and_only_before_it_is_answered(autojump_clock: MockClock) -> None:
    shop = Warehouse(Limits(command_events=3, event_bytes=100))
    told: list[str] = []
    kept: list[Command] = []

    async def attempt(command: Command, channel: str, data: Any) -> None:
        try:
            await command.publish(channel, data)
        except TrioletError as error:
            told.append(f"{type(error).__name__}: {error}")

    @shop.live.command("/much")
    async def much(command: Command) -> Any:
        kept.append(command)
        for channel, data in [
            ("a", 1),
            ("triolet.a", 1),
            ("b", "x" * 90),
            ("b", "x" * 9),
            ("b", "x" * 200),
            ("b", {1}),
        ]:
            await attempt(command, channel, data)
        await attempt(command, "a", 2)
        await attempt(command, "a", 3)
        return "done"

    async with serve(shop.app) as server:
        assert (await ask(server, "/much")).status == 200
        await attempt(kept.pop(), "a", 4)
        log: Any = shop.live.log
        assert [[event.data for event in await events(log, channel)] for channel in "ab"] == [[1, 2], ["x" * 90]]
    words = [
        "Triolet's own",
        "all together",
        "more than limits.event_bytes",
        "cannot be sent as JSON",
        "at most 3 events",
    ]
    assert len(told) == 6
    for word, line in zip([*words, "answered already"], told, strict=True):
        assert word in line
    assert told[-1].startswith("LocalError")
    assert told[0].startswith("ChannelNameError")
    assert told[4].startswith("DataError")


async def test_events_of_several_channels_and_the_answer_are_stored_together(autojump_clock: MockClock) -> None:
    shop, log = Warehouse(), ScriptedLog(MemoryLog())

    @shop.live.command("/move")
    async def move(command: Command) -> Any:
        for channel, data in [("a", 1), ("a", 2), ("b", 3), ("a", 4)]:
            await command.publish(channel, data, name="moved", key=channel)
        return "moved"

    async with serve(shop.app, log=log) as server:
        with log.having(failing("append", nth=1, error=LogFull)):
            assert (await ask(server, "/move")).status == 503
        assert [await events(log, channel) for channel in "ab"] == [[], []]
        assert (await ask(server, "/move")).text == "moved"
        stored = await events(log, "a")
        assert [(event.data, event.name, event.key) for event in stored] == [
            (number, "moved", "a") for number in (1, 2, 4)
        ]
        assert len(await events(log, "b")) == 1


async def test_a_process_that_stood_still_and_comes_last_gives_the_answer_that_is_kept(
    autojump_clock: MockClock,
) -> None:
    first, second = Warehouse(), Warehouse(faster=True)
    first.done.append("so that its answer differs")
    async with (
        two_processes(first, second) as (one, other, store, hands),
        one.websocket("/live", headers=ANN) as client,
    ):
        with hands.having(failing("claim", nth=range(2, 100))):
            await client.say(type="command", id="1", url=f"{PICK}?seconds=25")
            await trio.sleep(16)
            assert (await ask(other, f"{PICK}?seconds=25")).json["times"] == 1
            reply = await client.expect("reply", id="1", status=200)
        assert (reply["data"]["times"], reply["repeated"]) == (1, True)
        assert len(await events(store)) == 1
    assert (len(first.done), len(second.done)) == (2, 1)


async def test_a_slow_log_holds_up_nobody_else(autojump_clock: MockClock) -> None:
    shop, log = Warehouse(), ScriptedLog(MemoryLog())
    async with serve(shop.app, log=log) as server, trio.open_nursery() as nursery:
        with log.having(slow("commit", 3)):
            for number in range(5):
                nursery.start_soon(partial(ask, server, id=str(number)))
            await trio.sleep(3.5)
            assert len(await events(log)) == 5


async def test_two_processes_on_one_file_do_it_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    first, second = Warehouse(), Warehouse()
    url, replies = f"sqlite:///{tmp_path}/orders.db", []
    async with serve(first.app, log=url) as one, serve(second.app, log=url) as other, trio.open_nursery() as nursery:

        async def command(server: MemoryServer, transport: str) -> None:
            async with server.client(transport, "/orders/A1/events", headers=ANN) as client:
                replies.append(await client.command(f"{PICK}?seconds=5", {"bin": 7}, "1"))
                await client.until("event")

        for server in (one, other):
            for transport in ("websocket", "sse"):
                nursery.start_soon(command, server, transport)
    assert len(first.done) + len(second.done) == 1
    assert {str(reply["data"]) for reply in replies} == {"{'picked': 'A1', 'times': 1}"}
    assert sorted("repeated" in reply for reply in replies) == [False, True, True, True]


async def test_of_two_commands_for_the_same_thing_one_publishes_and_both_are_answered(
    autojump_clock: MockClock,
) -> None:
    shop = Warehouse()

    @shop.live.command("/pack")
    async def pack(command: Command) -> Any:
        await command.publish(ORDER, {"by": command.id}, dedupe="packed")
        await command.publish("desk", {"seen": command.id})
        return {"packed": True}

    async with serve(shop.app) as server:
        answers = [await ask(server, "/pack", id=id) for id in ("one", "two")]
        assert [answer.json for answer in answers] == [{"packed": True}] * 2
        assert [event.data for event in await events(shop.live.log)] == [{"by": "one"}]
        assert len(await events(shop.live.log, "desk")) == 2
