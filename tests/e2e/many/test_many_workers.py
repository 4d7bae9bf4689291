"""Two workers, a crowd over four transports, publishes through both, and what can befall them: nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle, product
from pathlib import Path

from tests.e2e.needs import needs
from tests.e2e.redis.servers import RedisServer, running
from tests.e2e.server import START_SECONDS, wait_for
from tests.e2e.workers import Workers, workers

from .followers import TRANSPORTS, Flock, Follower
from .history import Log, check_follower, check_publisher, read
from .publishers import Publisher

LIMITS = {"beat_seconds": 1, "away_seconds": 0.8, "answer_seconds": 0.5, "look_seconds": 0.3}
CHANNELS = ("a", "b", "c", "d")
KILLS_EVERY = 3.0
"""Seconds: a worker starts in one, and the crowd is back by then."""


class Scene:
    """The workers, who publishes there, and who listens."""

    def __init__(self, server: Workers, channels: Sequence[str]) -> None:
        self.server = server
        self.channels = channels
        self.publishers = [Publisher(server.address, name, f"{name}{part}", 0.04) for name in channels for part in "xy"]
        self.killed: list[int] = []

    def kill_one(self) -> None:
        """Kill a worker as ``kill -9`` does: each time the one that has lived longest."""
        victim = self.server.kill_one()
        self.killed.append(victim)
        wait_for(lambda: victim not in self.server.pids, "its end")

    def kill_every(self, seconds: float, times: int, meanwhile: Callable[[int], None] = lambda turn: None) -> None:
        for turn in range(times):
            until = time.monotonic() + seconds
            self.kill_one()
            meanwhile(turn)
            time.sleep(max(0.0, until - time.monotonic()))

    def finish(self, flock: Flock) -> dict[str, Log]:
        """Publish no more; all come to the end. Returns what the channels have."""
        for publisher in self.publishers:
            publisher.finish()
        wait_for(self.server.whole, "all workers", START_SECONDS)
        logs = {channel: read(self.server.address, channel) for channel in self.channels}
        heads = {channel: len(log) for channel, log in logs.items()}
        try:
            wait_for(lambda: flock.are_at(heads), f"all followers at {heads}", 30)
        except AssertionError:
            behind = [follower for follower in flock.followers if follower.place != heads[follower.channel]]
            raise AssertionError(f"{len(behind)} are not at {heads}: {behind[:5]}\n{self.server.log[-3000:]}") from None
        return logs


@contextmanager
def scene(directory: Path, log: str, channels: Sequence[str]) -> Iterator[Scene]:
    arguments = ["--app-dir", str(Path(__file__).parent)]
    with workers(directory, app="many_app:app", log=log, limits=LIMITS, arguments=arguments) as server:
        yield Scene(server, channels)


def flock_of(clients: int, channels: Sequence[str]) -> list[Follower]:
    """So many followers, as many of each transport; most from the beginning, every fifth from now."""
    kinds = cycle(product(channels, TRANSPORTS))
    return [
        Follower(kind, name, "0" if number % 5 else None)
        for number, (name, kind) in zip(range(clients), kinds, strict=False)
    ]


def check(found: Scene, flock: Flock, logs: dict[str, Log]) -> None:
    for publisher in found.publishers:
        check_publisher(publisher, logs[publisher.channel])
    for follower in flock.followers:
        check_follower(follower, logs[follower.channel])
    assert "Traceback" not in found.server.log, found.server.log
    acknowledged = set().union(*(publisher.pids for publisher in found.publishers))
    assert acknowledged & set(found.killed), "some were killed that had published"
    assert acknowledged - set(found.killed), "and who came in their place did too"


@needs("redis-server", "redis-cli")
def test_nobody_misses_anything_while_workers_are_killed_and_redis_is_restarted(tmp_path: Path) -> None:
    kept = ("--appendonly", "yes", "--appendfsync", "always")
    with ExitStack() as all:
        redis = all.enter_context(running(tmp_path / "redis", *kept))
        found = all.enter_context(scene(tmp_path, f"{redis.url}?start=wait", CHANNELS))  # workers start meanwhile, too
        flock = all.enter_context(Flock(found.server.address, flock_of(200, CHANNELS)))
        for publisher in found.publishers:
            all.enter_context(publisher)
        wait_for(lambda: all_are_in(flock), "200 followers", 30)
        found.kill_every(KILLS_EVERY, 5, lambda turn: restart(redis, away=turn / 2) if turn in (1, 3) else None)
        check(found, flock, found.finish(flock))


def test_nobody_misses_anything_of_sqlite_while_workers_are_killed(tmp_path: Path) -> None:
    log = f"sqlite:///{tmp_path / 'events.db'}"
    with scene(tmp_path, log, CHANNELS[:2]) as found, ExitStack() as all:
        flock = all.enter_context(Flock(found.server.address, flock_of(40, found.channels)))
        for publisher in found.publishers:
            all.enter_context(publisher)
        wait_for(lambda: all_are_in(flock), "40 followers", 30)
        found.kill_every(2.0, 3)
        check(found, flock, found.finish(flock))


def all_are_in(flock: Flock) -> bool:
    assert flock.failure is None, flock.failure
    return all(follower.place is not None and follower.lives for follower in flock.followers)


def restart(redis: RedisServer, away: float) -> None:
    """Kill Redis, and start it again on what it has written, after so many seconds."""
    redis.stop()
    time.sleep(away)
    redis.start()
