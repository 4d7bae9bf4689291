"""The Python client against real servers: workers that are killed, Redis restarted, TLS, and without Trio."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle, product
from pathlib import Path
from typing import Any, Self

import pytest
import trio

from tests.client.stage import WAYS, options_of
from triolet.client import ClientError, End, Event, Gap, Live, MemoryStore, open_client, sync_client

from .certificate import make_certificate
from .many.history import Log, check_publisher, read
from .many.test_many_workers import Scene, restart, scene
from .needs import needs
from .redis.servers import running
from .server import START_SECONDS, Server, serving, wait_for

CHANNELS = ("a", "b")
KILLS_EVERY = 2.5
KILLS_EVERY_LONG = 16.0
"""Where it goes on for long: a place whose workers never hold for ``WORKER_STEADY_SECONDS`` is given up."""
LONG = [20, pytest.param(120, marks=pytest.mark.on_request)]


class History:
    """What one client heard: offset and data of each event."""

    def __init__(self, way: str, channel: str) -> None:
        self.way = way
        self.channel = channel
        self.heard: list[tuple[int, Any]] = []
        self.wrong: list[str] = []
        self.state = "connecting"

    @property
    def place(self) -> int:
        """The offset that it has come to."""
        return self.heard[-1][0] if self.heard else 0


class Listeners:
    """Clients in a thread that runs Trio, two follows each, until the block ends."""

    def __init__(self, url: str, count: int) -> None:
        kinds = cycle(product(WAYS, CHANNELS))
        self.histories = [History(*kind) for kind, _ in zip(kinds, range(count), strict=False)]
        self.failure: BaseException | None = None
        self._url = url
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            self._token.run_sync_soon(self._scope.cancel)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:
            self.failure = error

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with trio.open_nursery() as nursery:
                for number in range(0, len(self.histories), 2):
                    nursery.start_soon(self._client, self.histories[number : number + 2])

    async def _client(self, pair: list[History]) -> None:
        """One client, which begins anew now and then: its store knows how far it has come."""
        store = MemoryStore()
        while True:
            with trio.move_on_after(7):
                opened = open_client(self._url, store=store, **options_of(pair[0].way))
                async with opened as live, trio.open_nursery() as nursery:
                    for history in pair:
                        nursery.start_soon(self._follow, live, history)

    async def _follow(self, live: Any, history: History) -> None:
        events = live.follow(f"/c/{history.channel}/events", after=0, auto_commit=False, name=history.channel)
        async with events:
            async for item in events:
                if isinstance(item, Event):
                    history.heard.append((item.offset, item.data))
                elif isinstance(item, Gap):
                    history.wrong.append(f"told {item} at {history.place}")
                with trio.CancelScope(shield=True):  # in memory, at once: what is heard is kept
                    await events.commit()
                history.state = events.state


def check(found: Scene, listeners: Listeners) -> None:
    """Each history is the log."""
    for publisher in found.publishers:
        publisher.finish()
    wait_for(found.server.whole, "all workers", START_SECONDS)
    logs: dict[str, Log] = {channel: read(found.server.address, channel) for channel in CHANNELS}

    def are_there() -> bool:
        assert listeners.failure is None, listeners.failure
        return all(history.place == len(logs[history.channel]) for history in listeners.histories)

    try:
        wait_for(are_there, "all clients at the end", 45)
    except AssertionError:
        behind = [(one.way, one.place, one.state, len(logs[one.channel])) for one in listeners.histories]
        raise AssertionError(f"{behind}\n{found.server.log[-2000:]}") from None
    for history in listeners.histories:
        assert not history.wrong, (history.way, history.wrong[:3])
        assert history.heard == sorted(logs[history.channel].items()), history.way
    for publisher in found.publishers:
        check_publisher(publisher, logs[publisher.channel])


def trouble(found: Scene, seconds: float, meanwhile: Callable[[int], None] = lambda turn: None) -> None:
    """Kill a worker again and again."""
    every = KILLS_EVERY if seconds < 60 else KILLS_EVERY_LONG
    found.kill_every(every, int(seconds / every), meanwhile)


@pytest.mark.parametrize("seconds", LONG)
def test_the_clients_histories_are_the_log_of_sqlite_while_workers_are_killed(tmp_path: Path, seconds: float) -> None:
    with ExitStack() as all:
        found = all.enter_context(scene(tmp_path, f"sqlite:///{tmp_path / 'events.db'}", CHANNELS))
        listeners = all.enter_context(Listeners(found.server.url, 4 * len(WAYS)))
        all.enter_context(publishing(found))
        trouble(found, seconds)
        check(found, listeners)


@needs("redis-server", "redis-cli")
@pytest.mark.parametrize("seconds", LONG)
def test_the_clients_histories_are_the_log_of_redis_which_is_restarted(tmp_path: Path, seconds: float) -> None:
    kept = ("--appendonly", "yes", "--appendfsync", "always")
    with ExitStack() as all:
        redis = all.enter_context(running(tmp_path / "redis", *kept))
        found = all.enter_context(scene(tmp_path, f"{redis.url}?start=wait", CHANNELS))
        listeners = all.enter_context(Listeners(found.server.url, 4 * len(WAYS)))
        all.enter_context(publishing(found))
        trouble(found, seconds, lambda turn: restart(redis, away=0.5) if turn % 4 == 1 else None)
        check(found, listeners)


@contextmanager
def publishing(found: Scene) -> Iterator[None]:
    """All publishers publish."""
    for publisher in found.publishers:
        publisher.__enter__()
    try:
        yield
    finally:
        for publisher in found.publishers:
            publisher.__exit__(None, None, None)


# --- one server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as served:
        yield served


def test_a_program_without_trio_follows_and_asks(server: Server) -> None:
    server.publish_many("sync", [1, 2, 3])
    with sync_client(server.url) as live:
        heard = []
        for item in live.follow("/c/sync/events", after=0):
            if isinstance(item, Live):
                break
            assert isinstance(item, Event)
            heard.append(item.data)
        assert heard == [1, 2, 3]
        with live.follow("/c/sync/events") as events:
            items = iter(events)
            assert isinstance(next(items), Live)
            server.publish("sync", 4)
            event = next(items)
            assert isinstance(event, Event)
            assert (event.data, events.state, events.behind) == (4, "live", 0)
        with pytest.raises(ClientError) as caught:
            next(iter(live.follow("/c/forbidden/events")))
        assert (caught.value.kind, caught.value.status) == ("refused", 403)
        assert live.send("/c/sync").status == 404
    with pytest.raises(RuntimeError, match="closed"):
        live.send("/c/sync")
    with pytest.raises(ZeroDivisionError), sync_client(server.url):
        raise ZeroDivisionError
    with pytest.raises(ValueError, match="base"), sync_client("nowhere"):
        pass


def test_the_end_of_a_channel_ends_a_loop_without_trio_and_the_command(server: Server) -> None:
    for letter in "abc":
        server.publish("ended", letter, key="k", fold="concat")
    server.request("POST", "/c/ended/end", {"outcome": "done"})
    with sync_client(server.url) as live:
        event, end = live.follow("/c/ended/events", after=0, fold=True)
        assert isinstance(event, Event)
        assert (event.data, event.folded) == ("abc", 3)
        assert isinstance(end, End)
        assert end.data == {"outcome": "done"}
        assert list(live.follow("/c/ended/events")) == [end]
    following = run_follow(f"{server.url}/c/ended/events", "--after", "0", "--fold")
    out, err = following.communicate()
    assert (following.returncode, err) == (0, "")
    assert [(line["type"], line["data"]) for line in map(json.loads, out.splitlines())] == [
        ("event", "abc"),
        ("end", {"outcome": "done"}),
    ]


def test_nobody_there_is_tried_again_and_a_program_may_give_up() -> None:
    with sync_client("http://127.0.0.1:9") as live:
        with pytest.raises(ClientError, match="happened") as caught:
            live.send("/x", timeout=0.3)
        assert caught.value.kind == "unanswered"


def run_follow(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "triolet", "follow", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_prints_events_as_they_come_and_ends_at_a_signal(server: Server, tmp_path: Path) -> None:
    server.publish("printed", {"a": 1}, name="paid")
    following = run_follow(f"{server.url}/c/printed/events", "--after", "0", "--store", str(tmp_path / "cursor"))
    assert following.stdout is not None
    first, live = (json.loads(following.stdout.readline()) for _ in range(2))
    assert (first["event"], first["data"], live["type"]) == ("paid", {"a": 1}, "live")
    server.publish("printed", 2)
    assert json.loads(following.stdout.readline())["data"] == 2
    following.terminate()
    out, err = following.communicate()
    assert (following.returncode, out, err) == (0, "", "")
    server.publish("printed", 3)
    again = run_follow(f"{server.url}/c/printed/events", "--store", str(tmp_path / "cursor"), "--count", "1")
    out, err = again.communicate()
    assert (again.returncode, err) == (0, "")
    assert json.loads(out.splitlines()[0])["data"] in (2, 3)  # at least once: the last line may come again


def test_the_command_says_what_is_wrong(server: Server) -> None:
    for path, says in (("/c/forbidden/events", "HTTP 403"), ("/", "a page in HTML")):
        out, err = run_follow(f"{server.url}{path}").communicate()
        assert out == ""
        assert says in err
        assert len(err.splitlines()) == 1


def test_the_command_ends_when_nobody_reads_any_more(server: Server) -> None:
    server.publish_many("head", list(range(5)))
    following = run_follow(f"{server.url}/c/head/events", "--after", "0")
    assert following.stdout is not None
    following.stdout.readline()
    following.stdout.close()
    time.sleep(0.5)
    server.publish("head", 6)
    assert following.wait() == 0
    assert following.stderr is not None
    assert following.stderr.read() == ""
    following.stderr.close()


@needs("openssl")
def test_every_way_goes_over_tls(tmp_path: Path) -> None:
    arguments = make_certificate(tmp_path)
    with serving(tmp_path, arguments=arguments) as secure:
        secure.publish_many("tls", [1, 2])
        context = ssl.create_default_context(cafile=arguments[1])
        for way in WAYS:
            options = {name: value for name, value in options_of(way).items() if name != "socket"}
            with sync_client(secure.url, tls=context, **options) as live:
                items = iter(live.follow("/c/tls/events", after=0))
                assert [next(items).data for _ in range(2)] == [1, 2]  # type: ignore[union-attr]  # as was published
        with sync_client(secure.url) as live, live.follow("/c/tls/events") as events:
            wait_for(lambda: events.reason, "what is wrong")
            assert events.state == "connecting"
            assert "certificate" in str(events.reason).lower()
