"""Two workers on Redis, 200 clients over four transports, and what is revoked through a view of one of them.

What is measured is the server: each event says when its publishing began, and one that began more than a second after
the revocation had returned is heard by none that it ended, however busy the machine is.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice, product
from pathlib import Path

from tests.e2e.many.followers import TRANSPORTS, Flock
from tests.e2e.many.history import check_follower, read
from tests.e2e.many.publishers import ask
from tests.e2e.needs import needs
from tests.e2e.redis.servers import running
from tests.e2e.server import wait_for
from tests.e2e.workers import Workers, workers

from .visitors import Visitor

HERE = Path(__file__).parent
CHANNELS = ("a", "b")
SUBJECTS = ("ann", "ben", "cat", "dan")
CLIENTS = 200
BOUND = 1.0
"""Seconds after the revocation has returned: no event of later ends up with whom it ended."""
LIMITS = {"beat_seconds": 1, "look_seconds": 0.3}


class Publisher:
    """Publishes to both channels, and says in each event when it began to."""

    def __init__(self, server: Workers) -> None:
        self.last = 0.0
        self.failure: BaseException | None = None
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join(30)
        assert self.failure is None, self.failure

    def _run(self) -> None:
        try:
            while not self._over.wait(0.08):
                began = time.monotonic()
                for channel in CHANNELS:
                    status, answer = ask(self._server.address, "POST", f"/c/{channel}", {"began": began})
                    assert status == 200, answer
                self.last = began
        except BaseException as error:
            self.failure = error


class Scene:
    """The workers, the clients, and the publisher that goes on."""

    def __init__(self, server: Workers, visitors: list[Visitor], flock: Flock, publisher: Publisher) -> None:
        self.server = server
        self.visitors = visitors
        self.flock = flock
        self.publisher = publisher

    def revoke(self, ends: Callable[[Visitor], bool], **what: str) -> None:
        """Revoke, and see those ended that are to be, and no others."""
        ended = [visitor for visitor in self.visitors if visitor.ended is None and ends(visitor)]
        others = [visitor for visitor in self.visitors if visitor.ended is None and not ends(visitor)]
        assert Counter(visitor.transport for visitor in ended).keys() == set(TRANSPORTS), "some of each transport"
        status, answer = ask(self.server.address, "POST", "/revoke", what)
        returned = time.monotonic()
        assert (status, answer["told"]) == (200, True)
        wait_for(lambda: self.publisher.last > returned + 2 * BOUND or self.publisher.failure, "events of later")
        wait_for(lambda: all(visitor.ended for visitor in ended), f"the end of {len(ended)}: {what}")
        late = [
            (visitor, data["began"] - returned)
            for visitor in ended
            for _, data in visitor.heard
            if data["began"] > returned + BOUND
        ]
        assert not late, late[:5]
        assert not [visitor for visitor in ended if not visitor.ended_rightly]
        assert not [visitor for visitor in others if visitor.ended]

    def finish(self) -> None:
        """Publish no more. Who is there still has all, and who was ended all of its time."""
        self.publisher.__exit__()
        logs = {channel: read(self.server.address, channel) for channel in CHANNELS}
        heads = {channel: len(log) for channel, log in logs.items()}
        there = [visitor for visitor in self.visitors if visitor.ended is None]
        wait_for(lambda: all(visitor.place == heads[visitor.channel] for visitor in there), f"the others at {heads}")
        for visitor in there:
            check_follower(visitor, logs[visitor.channel])
        for visitor in self.visitors:
            assert not visitor.wrong, (visitor, visitor.wrong[:3])
            assert visitor.prefix_of(logs[visitor.channel]), visitor
            assert set(visitor.statuses) <= {101, 200, 403}, (visitor, visitor.statuses)
        assert not self.server.crashes()


@contextmanager
def scene(directory: Path) -> Iterator[Scene]:
    """Workers with everybody following, while events go on."""
    arguments = ["--app-dir", str(HERE)]
    with ExitStack() as all_of_it:
        redis = all_of_it.enter_context(running(directory / "redis"))
        server = all_of_it.enter_context(
            workers(directory, app="shop_app:app", log=redis.url, limits=LIMITS, arguments=arguments)
        )
        kinds = islice(cycle(product(SUBJECTS, ("one", "two"), CHANNELS, TRANSPORTS)), CLIENTS)
        visitors = [
            Visitor(transport, channel, "0", subject, f"{subject}-{login}")
            for subject, login, channel, transport in kinds
        ]
        flock = all_of_it.enter_context(Flock(server.address, [*visitors]))
        publisher = all_of_it.enter_context(Publisher(server))
        wait_for(lambda: all(visitor.heard for visitor in visitors) or flock.failure, f"{CLIENTS} followers", 60)
        yield Scene(server, visitors, flock, publisher)
        assert flock.failure is None, flock.failure


@needs("redis-server", "redis-cli")
def test_who_is_revoked_hears_nothing_of_a_second_later_and_nobody_else_misses_anything(tmp_path: Path) -> None:
    with scene(tmp_path) as found:
        found.revoke(lambda visitor: visitor.subject == "ann", subject="ann")
        found.revoke(lambda visitor: visitor.session == "ben-two", session="ben-two")
        found.revoke(lambda visitor: visitor.channel == "b", channel="b")
        found.finish()
        streams = sum(visitor.ended == 4403 for visitor in found.visitors)
        samples = found.server.metrics()
        assert streams == sum(samples[f'triolet_revoked_total{{worker="{at}",what="connections"}}'] for at in range(2))
