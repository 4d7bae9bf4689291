"""The supervisor's decisions, with processes that are none, on the virtual clock."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet.admin.contract import Answer, Question
from triolet.admin.gather import ask_connections, ask_metrics
from triolet.bounds import ADMIN_GATHER_SECONDS
from triolet.workers.bounds import (
    WORKER_BEAT_SECONDS,
    WORKER_DEAD_BEATS,
    WORKER_KILL_SECONDS,
    WORKER_NOW_SECONDS,
    WORKER_PAUSES,
    WORKER_SILENT_BEATS,
    WORKER_STEADY_SECONDS,
)
from triolet.workers.places import Place
from triolet.workers.supervisor import Supervisor


class Process:
    """A worker's process, as the test wants it to behave."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = 1_000 + number
        self.ready = False
        self.code = 0
        self.decided, self.left, self.ended = trio.Event(), trio.Event(), trio.Event()
        self.serves: set[int] = set()
        self.orders: list[str] = []
        self.asked: list[str] = []
        self.stubborn = False
        self.unanswered = 0
        self.answers = True
        self.obeys = trio.Event()
        self.obeys.set()
        self.deaf = False

    def become_ready(self) -> None:
        self.ready = True
        self.decided.set()

    def leave(self) -> None:
        self.serves.clear()
        self.left.set()

    def die(self, code: int = -9) -> None:
        self.code = self.code if self.ended.is_set() else code
        self.leave()
        self.decided.set()
        self.ended.set()

    def accept(self, place: Place) -> None:
        self.serves.add(place.number)

    def release(self, place: Place) -> None:
        self.serves.discard(place.number)

    def beat(self) -> None:
        self.unanswered = 0 if self.answers else self.unanswered + 1

    async def obeyed(self) -> None:
        await self.obeys.wait()

    def stop(self) -> None:
        self.orders.append("stop")
        self.leave()
        if not self.stubborn:
            self.die(0)

    def now(self) -> None:
        self.orders.append("now")
        if not self.deaf:
            self.die(0)

    def kill(self) -> None:
        self.orders.append("kill")
        self.die(-9)

    async def ask(self, question: Question) -> Answer | None:
        self.asked.append(question.operation)
        if self.stubborn:
            await trio.sleep_forever()
        return None if self.ended.is_set() else Answer(200, b"# HELP a A.\n# TYPE a gauge\na 1.0\n")


class House:
    """A supervisor of two places, and what became of it. ``broken``: the code with which workers that are started end
    at once; ``exhausted``: the machine has no room for another process."""

    def __init__(self, places: int = 2, broken: int = 0) -> None:
        self.places = [Place(number, ()) for number in range(places)]
        self.processes: list[Process] = []
        self.broken = broken
        self.hangs = False
        self.exhausted = False
        self.obeys = True
        self.started_at: list[float] = []
        self.code: int | None = None
        self.over = trio.Event()
        self.supervisor = Supervisor(self.places, self._start, grace=10)
        self._send, self._receive = trio.open_memory_channel[int](10)

    async def _start(self, number: int) -> Process:
        await trio.lowlevel.checkpoint()
        if self.exhausted:
            raise BlockingIOError("Resource temporarily unavailable")
        process = Process(number)
        self.processes.append(process)
        if not self.obeys:
            process.obeys = trio.Event()
        self.started_at.append(trio.current_time())
        if self.broken:
            process.die(self.broken)
        elif not self.hangs:
            process.become_ready()
        return process

    async def run(self) -> None:
        self.code = await self.supervisor.run(self._receive)
        self.over.set()

    async def signal(self, number: int) -> None:
        await self._send.send(number)
        await wait_all_tasks_blocked()

    @property
    def alive(self) -> list[Process]:
        return [process for process in self.processes if not process.ended.is_set()]

    @property
    def served(self) -> list[set[int]]:
        return [process.serves for process in self.alive]


@asynccontextmanager
async def house(places: int = 2) -> AsyncIterator[House]:
    """Workers that serve; at the end they are told to stop."""
    made = House(places)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        await wait_all_tasks_blocked()
        assert sorted(map(sorted, made.served)) == [[number] for number in range(places)]
        yield made
        if made.code is None:
            await made.signal(signal.SIGTERM)
        assert not made.alive


async def test_they_serve_as_soon_as_all_have_their_sockets(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "triolet")
    async with trio.open_nursery() as nursery:
        house = House()
        house.obeys = False
        nursery.start_soon(house.run)
        for process in (None, 0, 1):
            if process is not None:
                house.processes[process].obeys.set()
            await wait_all_tasks_blocked()
            assert ("2 workers serve" in caplog.text) == house.supervisor.begun.is_set() == (process == 1)
        await house.signal(signal.SIGTERM)
    assert house.code == 0


async def test_sigterm_stops_all_and_the_exit_code_is_0(autojump_clock: MockClock) -> None:
    async with house() as it:
        assert it.supervisor.ready
        await it.signal(signal.SIGTERM)
        assert [process.orders for process in it.processes] == [["stop"], ["stop"]]
        assert not it.supervisor.ready
    assert it.code == 0


async def test_a_worker_that_outstays_its_grace_is_killed_and_that_is_a_failure(autojump_clock: MockClock) -> None:
    async with house() as it:
        it.processes[1].stubborn = True
        start = trio.current_time()
        await it.signal(signal.SIGTERM)
        await it.over.wait()
        assert trio.current_time() - start == pytest.approx(10 + WORKER_KILL_SECONDS, abs=2)
        assert it.processes[1].orders == ["stop", "kill"]
    assert it.code == 1


async def test_a_second_signal_means_now(autojump_clock: MockClock) -> None:
    async with house() as it:
        it.processes[0].stubborn = True
        await it.signal(signal.SIGINT)
        await it.signal(signal.SIGINT)
        assert it.processes[0].orders == ["stop", "now"]
    assert it.code == 0


async def test_a_worker_that_ends_badly_when_told_to_stop_is_a_failure(autojump_clock: MockClock) -> None:
    async with house() as it:
        it.processes[0].stubborn = True
        await it.signal(signal.SIGTERM)
        it.processes[0].die(1)
    assert it.code == 1


async def test_a_worker_that_dies_is_replaced_at_once_and_has_its_number_again(autojump_clock: MockClock) -> None:
    async with house() as it:
        it.processes[0].die()
        await wait_all_tasks_blocked()
        assert it.served == [{1}, {0}]
        assert [process.number for process in it.alive] == [1, 0]
        assert it.supervisor.restarts == 1
    assert it.code == 0


async def test_a_neighbour_serves_the_queue_of_one_that_died_until_there_is_another(autojump_clock: MockClock) -> None:
    async with house() as it:
        it.hangs = True
        it.processes[1].die()
        await wait_all_tasks_blocked()
        assert it.served == [{0, 1}, set()]
        it.processes[2].become_ready()
        await wait_all_tasks_blocked()
        assert it.served == [{0}, {1}]


async def test_one_that_leaves_by_itself_is_replaced_while_it_drains(autojump_clock: MockClock) -> None:
    async with house() as it:
        it.processes[0].leave()
        await wait_all_tasks_blocked()
        assert it.served == [set(), {1}, {0}]
        assert it.processes[2].number == 2
        it.processes[0].die(0)


async def test_the_stand_in_dies_too(autojump_clock: MockClock) -> None:
    async with house() as it:
        it.hangs = True
        it.processes[1].die()
        await wait_all_tasks_blocked()
        it.processes[0].die()
        await wait_all_tasks_blocked()
        assert not it.supervisor.ready
        it.processes[2].become_ready()
        await wait_all_tasks_blocked()
        assert it.processes[2].serves == {0, 1}, "nobody else is there for place 0"
        it.processes[3].become_ready()
        await wait_all_tasks_blocked()
        assert it.served == [{1}, {0}]


async def test_a_place_where_no_worker_holds_is_given_up_with_a_failure(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with house() as it:
        it.broken = 1
        it.processes[0].die()
        start = trio.current_time()
        await it.over.wait()
        assert trio.current_time() - start == pytest.approx(sum(WORKER_PAUSES), abs=2)
        assert len(it.processes) == 2 + len(WORKER_PAUSES)
        assert it.processes[1].orders == ["stop"]
    assert it.code == 1
    assert [record.message for record in caplog.records if record.levelno == logging.CRITICAL] == [
        f"giving up: the worker at place 0 has ended {len(WORKER_PAUSES)} times in a row"
    ]


async def test_workers_that_start_and_do_not_hold_are_given_up_too(autojump_clock: MockClock) -> None:
    async with house() as it:
        while it.code is None:
            for process in it.alive:
                if 0 in process.serves and process.number == 0:
                    process.die()
            await trio.sleep(1)
    assert it.code == 1


async def test_one_that_has_served_for_long_is_no_repeated_failure(autojump_clock: MockClock) -> None:
    async with house() as it:
        for _ in range(2 * len(WORKER_PAUSES)):
            await trio.sleep(WORKER_STEADY_SECONDS)
            next(process for process in it.alive if 0 in process.serves).die()
            before = trio.current_time()
            await wait_all_tasks_blocked()
            assert it.started_at[-1] == before
    assert it.code == 0


# --- SIGHUP


async def test_sighup_has_new_workers_first_and_then_the_old_ones_drain(autojump_clock: MockClock) -> None:
    async with house() as it:
        it.hangs = True
        await it.signal(signal.SIGHUP)
        it.processes[2].become_ready()
        await wait_all_tasks_blocked()
        assert it.served == [{0}, {1}, set(), set()]
        it.processes[3].become_ready()
        await wait_all_tasks_blocked()
        assert sorted(it.served, key=str) == [{0}, {1}]
        assert [process.orders for process in it.processes] == [["stop"], ["stop"], [], []]
    assert it.code == 0


async def test_new_workers_that_cannot_start_leave_the_old_ones(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with house() as it:
        it.hangs = True
        await it.signal(signal.SIGHUP)
        it.processes[2].become_ready()
        await wait_all_tasks_blocked()
        it.processes[3].die(1)
        await wait_all_tasks_blocked()
        assert it.served == [{0}, {1}]
        assert it.processes[2].orders == ["stop"]
    assert it.code == 0
    assert "the OLD ones serve on" in caplog.text


async def test_sighup_on_a_machine_without_room_for_a_process_leaves_the_old_ones(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with house() as it:
        it.exhausted = True
        await it.signal(signal.SIGHUP)
        assert it.served == [{0}, {1}]
        it.exhausted = False
        await it.signal(signal.SIGHUP)
        assert sorted(it.served, key=str) == [{0}, {1}]
    assert it.code == 0
    assert "the OLD ones serve on" in caplog.text


async def test_a_worker_is_started_again_once_there_is_room_for_a_process(autojump_clock: MockClock) -> None:
    async with house() as it:
        it.exhausted = True
        it.processes[0].die()
        await trio.sleep(5)
        assert it.served == [{0, 1}]
        it.exhausted = False
        await trio.sleep(5)
        assert it.served == [{1}, {0}]
    assert it.code == 0


async def test_a_place_that_is_empty_is_filled_by_sighup(autojump_clock: MockClock) -> None:
    async with house() as it:
        it.broken = 1
        it.processes[0].die()
        await trio.sleep(5)
        it.broken = 0
        await it.signal(signal.SIGHUP)
        assert sorted(it.served, key=str) == [{0}, {1}]
        started = len(it.processes)
        await trio.sleep(100)
        assert len(it.processes) == started
    assert it.code == 0


async def test_sighup_while_workers_are_being_replaced_is_refused(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with house() as it:
        it.hangs = True
        await it.signal(signal.SIGHUP)
        await it.signal(signal.SIGHUP)
        assert len(it.processes) == 3
        assert "not now" in caplog.text


# --- metrics


async def test_metrics_are_those_of_all_workers_that_answer_and_name_the_others(autojump_clock: MockClock) -> None:
    async with house() as it:
        it.processes[1].stubborn = True
        start = trio.current_time()
        answer = await ask_metrics(it.supervisor, Question("metrics"))
        assert trio.current_time() - start == ADMIN_GATHER_SECONDS
        assert answer.kind.startswith("text/plain")
        text = answer.body
        assert b'a{worker="0"} 1.0\n' in text
        assert b'a{worker="1"}' not in text
        assert b'triolet_worker_answers{worker="0"} 1.0\ntriolet_worker_answers{worker="1"} 0.0\n' in text
        assert b"triolet_workers_serving 2.0\n" in text
        it.processes[1].stubborn = False


async def test_one_worker_is_asked_that_answers_and_stays_and_no_other_after_it(autojump_clock: MockClock) -> None:
    question = Question("publish")
    async with house() as it:
        first, second = it.processes
        assert (await it.supervisor.ask_one(question)).status == 200
        assert (len(first.asked), len(second.asked)) == (1, 0)
        first.unanswered = 2
        await it.supervisor.ask_one(question)
        assert (len(first.asked), len(second.asked)) == (1, 1)
        first.unanswered = 0
        first.left.set()
        await it.supervisor.ask_one(question)
        assert (len(first.asked), len(second.asked)) == (1, 2)
        first.die(0)


async def test_a_worker_that_ends_before_it_answers_may_have_done_it(autojump_clock: MockClock) -> None:
    async with house() as it:
        worker = it.processes[0]

        async def die(question: Question) -> None:
            worker.die()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(worker, "ask", die)
            answer = await it.supervisor.ask_one(Question("publish"))
        assert (answer.status, answer.retry) == (503, 1)
        assert b"worker 0 ended before it answered; what was asked for may be done" in answer.body


async def test_where_no_worker_serves_it_is_said(autojump_clock: MockClock) -> None:
    supervisor = House().supervisor
    assert (await supervisor.ask_one(Question("publish"))).status == 503
    assert (await ask_connections(supervisor, Question("connections"))).status == 503


async def test_sighup_renews_what_the_supervisor_itself_has_read(autojump_clock: MockClock) -> None:
    async with house() as it:
        renewed: list[bool] = []
        it.supervisor._renew = lambda: renewed.append(True)
        await it.signal(signal.SIGHUP)
        assert renewed == [True]


async def test_a_worker_that_does_not_answer_is_not_serving_and_a_neighbour_serves_its_queue(
    autojump_clock: MockClock,
) -> None:
    async with house() as it:
        first, second = it.processes
        first.answers = False
        await trio.sleep((WORKER_SILENT_BEATS + 2) * WORKER_BEAT_SECONDS)
        assert it.supervisor._places.serving == 1
        assert (first.serves, second.serves) == ({0}, {0, 1})
        assert first.orders == []


async def test_one_that_answers_again_in_time_stays(autojump_clock: MockClock) -> None:
    async with house() as it:
        first, second = it.processes
        first.answers = False
        await trio.sleep((WORKER_SILENT_BEATS + 2) * WORKER_BEAT_SECONDS)
        first.answers = True
        await trio.sleep(3 * WORKER_BEAT_SECONDS)
        assert it.supervisor._places.serving == 2
        assert (first.serves, second.serves) == ({0}, {1})


async def test_one_that_does_not_answer_for_long_is_killed_and_replaced(autojump_clock: MockClock) -> None:
    async with house() as it:
        first, second = it.processes
        first.answers = False
        await trio.sleep((WORKER_DEAD_BEATS + 2) * WORKER_BEAT_SECONDS)
        assert first.orders == ["kill"]
        (third,) = it.processes[2:]
        await trio.sleep(WORKER_BEAT_SECONDS)
        assert it.supervisor._places.serving == 2
        assert (second.serves, third.serves) == ({1}, {0})


async def test_a_stand_in_that_does_not_answer_is_relieved(autojump_clock: MockClock) -> None:
    async with house(3) as it:
        first, second, third = sorted(it.processes, key=lambda process: min(process.serves))
        first.answers = False
        await trio.sleep((WORKER_SILENT_BEATS + 2) * WORKER_BEAT_SECONDS)
        assert second.serves == {0, 1}
        second.answers = False
        await trio.sleep((WORKER_SILENT_BEATS + 2) * WORKER_BEAT_SECONDS)
        assert third.serves == {0, 1, 2}
        assert it.supervisor._places.serving == 1


async def test_after_a_second_signal_workers_that_stay_are_killed_soon(autojump_clock: MockClock) -> None:
    async with house() as it:
        for process in it.processes:
            process.stubborn = process.deaf = True
        await it.signal(signal.SIGTERM)
        await trio.sleep(1)
        await it.signal(signal.SIGTERM)
        await trio.sleep(WORKER_NOW_SECONDS + 1)
        assert [process.orders[-1] for process in it.processes] == ["kill", "kill"]
