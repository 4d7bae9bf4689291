"""The documented nginx and haproxy before two workers, round robin, for all four transports."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.needs import needs
from tests.e2e.redis.servers import running
from tests.e2e.server import wait_for

from .followers import STREAMS, TRANSPORTS, Flock, Follower
from .fronts import FRONTS, Worker, front, two_workers
from .history import check_follower, check_publisher, read
from .publishers import Publisher, ask

pytestmark = needs("redis-server", "redis-cli")

BEFORE = [pytest.param(kind, marks=needs(kind)) for kind in FRONTS]


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Worker]]:
    """Two that no test harms."""
    folder = tmp_path_factory.mktemp("workers")
    with running(folder / "redis") as redis, two_workers(folder, redis.url) as both:
        yield both


@pytest.mark.parametrize("kind", BEFORE)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_goes_on_at_the_other_worker(kind: str, transport: str, workers: list[Worker], tmp_path: Path) -> None:
    channel = f"{kind}-{transport}".replace(" ", "-")
    follower = Follower(transport, channel, "0")
    numbers = itertools.count(1)
    with front(kind, workers, tmp_path) as address, Flock(address, [follower]) as flock:
        for _ in range(3):  # lives
            for worker in workers:  # whoever publishes
                number = next(numbers)
                status, _ = ask(worker.address, "POST", f"/c/{channel}", {"data": f"x.{number}", "dedupe": None})
                assert status == 200
                wait_for(partial(flock.are_at, {channel: number}), f"event {number}")
            follower.give_up()
        wait_for(lambda: follower.lives > 3, "its last return")
        log = read(workers[0].address, channel)
        wait_for(lambda: flock.are_at({channel: len(log)}), "the end")
    check_follower(follower, log)
    answered = follower.answered_by
    assert len(set(answered)) == 2, f"both have served it: {answered}"
    if transport in STREAMS:
        assert all(one != other for one, other in itertools.pairwise(answered)), answered


@needs("haproxy")
def test_workers_that_are_busy_for_two_seconds_are_not_taken_for_gone(workers: list[Worker], tmp_path: Path) -> None:
    """haproxy asks for their health each half a second: were that its patience as well, clients would be told 503."""
    with front("haproxy", workers, tmp_path) as address:
        wait_for(lambda: ask(address, "GET", "/pid")[0] == 200, "the workers")
        try:
            for worker in workers:
                os.kill(worker.pid, signal.SIGSTOP)
            time.sleep(2)
        finally:
            for worker in workers:
                os.kill(worker.pid, signal.SIGCONT)
        assert [ask(address, "GET", "/pid")[0] for _ in range(4)] == [200] * 4


@pytest.mark.parametrize("kind", BEFORE)
def test_nobody_misses_anything_behind_a_proxy_whose_workers_come_and_go(kind: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        redis = stack.enter_context(running(tmp_path / "redis"))
        workers = stack.enter_context(two_workers(tmp_path, redis.url))
        address = stack.enter_context(front(kind, workers, tmp_path))
        flock = stack.enter_context(Flock(address, [Follower(how, "a", "0") for how in TRANSPORTS * 8]))
        publishers = [stack.enter_context(Publisher(address, "a", name, 0.04)) for name in "xyz"]
        wait_for(lambda: all(follower.heard for follower in flock.followers), "all to be there")
        _publish_through(workers, publishers)
        workers[0].kill()
        time.sleep(1)
        workers[0].start()
        _publish_through(workers, publishers)
        assert workers[1].terminate() == 0
        time.sleep(0.5)
        workers[1].start()
        _publish_through(workers, publishers)
        for publisher in publishers:
            publisher.finish()
        log = read(workers[0].address, "a")
        wait_for(lambda: flock.are_at({"a": len(log)}), f"all to be at {len(log)}", 30)
    for publisher in publishers:
        check_publisher(publisher, log)
    for follower in flock.followers:
        check_follower(follower, log, {502, 503})


def _publish_through(workers: list[Worker], publishers: list[Publisher]) -> None:
    """Wait until each of the publishers has had answers of both workers as they are now."""
    living = {worker.pid for worker in workers}

    def all_have() -> bool:
        assert not any(publisher.failure for publisher in publishers), [publisher.failure for publisher in publishers]
        return all(living <= publisher.pids for publisher in publishers)

    wait_for(all_have, "all to publish through both", 60)
